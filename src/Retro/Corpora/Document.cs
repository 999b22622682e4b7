namespace Retro.Corpora;

/// <summary>A document of a corpus.</summary>
/// <param name="Id">Names it within its corpus: a relative path, an id of the file, that of a file with a hash of the text, a type's full name with that of
/// its assembly.</param>
/// <param name="Title">What people call it.</param>
/// <param name="Text">Its cleaned text: newlines are '\n', no byte order mark, no white space at either end, but for what
/// a program gave otherwise and an export says to stay as it is. Empty: what is there of the id is to be taken out
/// (<see cref="CorpusOptions.KeepEmpty"/>, <see cref="Database.ChunkDatabaseUpdate"/>).</param>
/// <param name="Location">Where it was read from: a file, and the line where one file holds many.</param>
public sealed record Document(string Id, string Title, string Text, string Location)
{
    /// <summary>
    /// What whoever is to see it has to be allowed to see: every one of these labels (see <see cref="Search.NeighborQuery.Labels"/>). None by default, and then
    /// everybody may; an empty one is refused.
    /// </summary>
    public IReadOnlyList<string> Labels { get; init; } = [];

    /// <summary>Whether it has all of some labels, so that whoever may see it may see what has these.</summary>
    internal bool HasAll(IReadOnlyList<string> labels) => labels.All(Labels.Contains);
}
