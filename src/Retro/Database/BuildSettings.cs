namespace Retro.Database;

/// <summary>What decides the bytes of a database, besides its documents.</summary>
internal sealed record BuildSettings
{
    public required int FormatVersion { get; init; }

    public required string TokenizerKind { get; init; }

    public required string TokenizerHash { get; init; }

    public required int VocabularySize { get; init; }

    public required int EndOfText { get; init; }

    /// <summary>Null where it is the end-of-text token.</summary>
    public int? BeginOfText { get; init; }

    public required int ChunkLength { get; init; }

    public required string Cleaning { get; init; }

    /// <summary>Every difference to other settings as "name there, asked" values; empty where there is none.</summary>
    public IReadOnlyList<string> DifferencesTo(BuildSettings asked)
    {
        List<string> differences = [];
        Compare("format version", FormatVersion, asked.FormatVersion);
        Compare("tokenizer kind", TokenizerKind, asked.TokenizerKind);
        Compare("tokenizer hash", TokenizerHash, asked.TokenizerHash);
        Compare("vocabulary size", VocabularySize, asked.VocabularySize);
        Compare("end-of-text token", EndOfText, asked.EndOfText);
        Compare("begin-of-text token", BeginOfText ?? EndOfText, asked.BeginOfText ?? asked.EndOfText);
        Compare("chunk length", ChunkLength, asked.ChunkLength);
        Compare("cleaning", Cleaning, asked.Cleaning);
        return differences;

        void Compare<T>(string name, T there, T wanted)
        {
            if (!EqualityComparer<T>.Default.Equals(there, wanted))
            {
                differences.Add($"{name} {there} there, {wanted} asked");
            }
        }
    }
}
