namespace Retro.Database;

/// <summary>
/// The names of the files that later stages leave in a database's folder, all in one place: of what was begun of one, and never done, nothing but its name
/// tells what it is.
/// </summary>
internal static class StageNames
{
    /// <summary>The keys of the chunks, the keyword index, and the recall that was measured over all segments of a changed database.</summary>
    public const string Keys = "keys.bin", Keywords = "bm25.bin", Recall = "recall.json";

    /// <summary>The vector index, and the chunks that have no key and so no row in it; of a database, or of all segments of a changed one.</summary>
    public const string Index = "index.faiss", AllIndex = "index-all.faiss", Unkeyed = "unkeyed.bin", AllUnkeyed = "unkeyed-all.bin";

    /// <summary>The lines that the cleaning took out, see <see cref="DatabaseCleaning"/>.</summary>
    public const string Lines = "lines.bin";

    /// <summary>The order of the places of all tokens, see <see cref="Search.TokenIndex"/>.</summary>
    public const string Runs = "runs.bin";

    private const string TablePrefix = "neighbors-", TableEnding = ".bin";
    private const int TableDigits = 12;

    /// <summary>The name of a table of neighbors: two sources of one kind, or one with other settings, have different ones.</summary>
    /// <param name="source">The source's name.</param>
    /// <param name="identity">A hash of what the table is made of, in hexadecimal digits.</param>
    public static string OfTable(string source, string identity) => $"{TablePrefix}{source}-{identity[..TableDigits]}{TableEnding}";

    /// <summary>Whether a name is that of a table of neighbors.</summary>
    public static bool IsTable(string name)
        => name.StartsWith(TablePrefix, StringComparison.Ordinal) && name.EndsWith(TableEnding, StringComparison.Ordinal)
            && name[..^TableEnding.Length].Split('-')[^1] is { Length: TableDigits } digits && digits.All(char.IsAsciiHexDigitLower);

    /// <summary>Whether a name is that of a stage's file in which something of the chunks stands.</summary>
    public static bool IsOne(string name) => name is Keys or Keywords or Index or AllIndex or Unkeyed or AllUnkeyed or Lines or Runs || IsTable(name);
}
