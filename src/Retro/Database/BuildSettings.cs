using System.Text.Json.Serialization;

namespace Retro.Database;

/// <summary>What decides the bytes of a database, besides its documents.</summary>
internal sealed record BuildSettings
{
    public required int FormatVersion { get; init; }

    public required string TokenizerKind { get; init; }

    public required string TokenizerHash { get; init; }

    /// <summary>The hash that what was made before may have in its place; null: none, or it is not known.</summary>
    [JsonIgnore]
    public string? EarlierTokenizerHash { get; init; }

    public required int VocabularySize { get; init; }

    public required int EndOfText { get; init; }

    /// <summary>Null where it is the end-of-text token.</summary>
    public int? BeginOfText { get; init; }

    public required int ChunkLength { get; init; }

    public required string Cleaning { get; init; }

    /// <summary>Those of a tokenizer and options.</summary>
    public static BuildSettings Of(TokenizerFacts tokenizer, ChunkDatabaseOptions options) => new()
    {
        FormatVersion = DatabaseManifest.CurrentFormatVersion,
        TokenizerKind = tokenizer.Kind,
        TokenizerHash = tokenizer.Hash,
        EarlierTokenizerHash = tokenizer.EarlierHash,
        VocabularySize = tokenizer.VocabularySize,
        EndOfText = tokenizer.EndOfText,
        BeginOfText = tokenizer.BeginOfText == tokenizer.EndOfText ? null : tokenizer.BeginOfText,
        ChunkLength = options.ChunkLength,
        Cleaning = options.Cleaning,
    };

    /// <summary>Every difference to other settings as "name there, asked" values; empty where there is none.</summary>
    public IReadOnlyList<string> DifferencesTo(BuildSettings asked)
    {
        List<string> differences = [];
        Compare(differences, "format version", FormatVersion, asked.FormatVersion);
        Compare(differences, "tokenizer kind", TokenizerKind, asked.TokenizerKind);
        Compare(differences, "tokenizer hash", TokenizerHash, HasTokenizerOf(asked) ? TokenizerHash : asked.TokenizerHash);
        Compare(differences, "vocabulary size", VocabularySize, asked.VocabularySize);
        Compare(differences, "end-of-text token", EndOfText, asked.EndOfText);
        Compare(differences, "begin-of-text token", BeginOfText ?? EndOfText, asked.BeginOfText ?? asked.EndOfText);
        Compare(differences, "chunk length", ChunkLength, asked.ChunkLength);
        Compare(differences, "cleaning", Cleaning, asked.Cleaning);
        return differences;
    }

    /// <summary>Whether the tokenizer is that of other settings, by which of its two hashes each may know it.</summary>
    public bool HasTokenizerOf(BuildSettings other)
        => TokenizerHash == other.TokenizerHash || TokenizerHash == other.EarlierTokenizerHash || EarlierTokenizerHash == other.TokenizerHash;

    /// <summary>Whether other settings differ in nothing but the tokenizer.</summary>
    public bool DiffersInTokenizerAlone(BuildSettings asked)
        => (FormatVersion, ChunkLength, Cleaning) == (asked.FormatVersion, asked.ChunkLength, asked.Cleaning);

    /// <summary>Adds a setting to the differences, where it is one.</summary>
    public static void Compare<T>(List<string> differences, string name, T there, T wanted)
    {
        if (!EqualityComparer<T>.Default.Equals(there, wanted))
        {
            differences.Add($"{name} {there} there, {wanted} asked");
        }
    }
}
