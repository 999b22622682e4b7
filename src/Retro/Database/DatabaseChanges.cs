using System.Globalization;

namespace Retro.Database;

/// <summary>What was added to a database and removed from it since its tokens were made: further segments, and the documents that count no more.</summary>
internal sealed record DatabaseChanges
{
    /// <summary>The folder of a database's folder that holds its segments, each in a folder of its number.</summary>
    public const string SegmentsFolder = "segments";

    /// <summary>The number of the last change; each has one of its own, which the files that it wrote are named by.</summary>
    public required int Number { get; init; }

    /// <summary>The segments after the first, which is that of the manifest itself; each is a database in a folder of its own, never changed.</summary>
    public required IReadOnlyList<DatabaseSegment> Segments { get; init; }

    /// <summary>The file that says which documents of which segment were removed; null: none was.</summary>
    public DatabaseFile? Removed { get; init; }

    /// <summary>The folder of a segment, below that of the database.</summary>
    public static string FolderOf(int segment) => Path.Combine(SegmentsFolder, segment.ToString(CultureInfo.InvariantCulture));

    /// <summary>Whether a path from the database's folder is that of a segment's folder.</summary>
    public static bool IsFolder(string path) => Path.GetDirectoryName(path) == SegmentsFolder && Path.GetFileName(path).All(char.IsAsciiDigit);
}

/// <summary>A segment of a database.</summary>
/// <param name="Number">The number of its folder.</param>
/// <param name="TokensHash">SHA-256 of its tokens.</param>
internal sealed record DatabaseSegment(int Number, string TokensHash);
