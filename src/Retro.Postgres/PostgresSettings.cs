using Retro.Database;
using Retro.Search;
using Retro.Vectors;

namespace Retro.Postgres;

/// <summary>What decides a database's rows, besides its documents.</summary>
/// <param name="Build">Tokenizer, chunk length and cleaning.</param>
/// <param name="KeyIdentity">The identity of the function that makes the keys.</param>
/// <param name="Dimensions">Numbers in a key.</param>
/// <param name="Metric">How keys are compared.</param>
/// <param name="TextSearch">The text search configuration that makes words of text.</param>
internal sealed record PostgresSettings(BuildSettings Build, string KeyIdentity, int Dimensions, VectorMetric Metric, string TextSearch)
{
    /// <summary>Every difference to other settings as "name there, asked" values; empty where there is none.</summary>
    public IReadOnlyList<string> DifferencesTo(PostgresSettings asked)
    {
        List<string> differences = [.. Build.DifferencesTo(asked.Build)];
        BuildSettings.Compare(differences, "embedder and tokenizer of the keys", KeyIdentity, asked.KeyIdentity);
        BuildSettings.Compare(differences, "numbers in a key", Dimensions, asked.Dimensions);
        BuildSettings.Compare(differences, "metric", Metric, asked.Metric);
        BuildSettings.Compare(differences, "text search configuration", TextSearch, asked.TextSearch);
        return differences;
    }
}
