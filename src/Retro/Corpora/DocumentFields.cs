namespace Retro.Corpora;

/// <summary>
/// What the members of a JSON line, or the columns of a table, are called that say something of a document. Data that others published often has names of its
/// own: "_id" for the id, or "article" for the text.
/// </summary>
public sealed record DocumentFields
{
    /// <summary>The text, without which a row is broken; "text" by default.</summary>
    public string Text { get; init; } = "text";

    /// <summary>The id; "id" by default. A row without one is called by a hash of its text.</summary>
    public string Id { get; init; } = "id";

    /// <summary>The title; "title" by default.</summary>
    public string Title { get; init; } = "title";

    /// <summary>
    /// The labels, which say who may read the document: a string, or a list of them, around which white space does not count; "labels" by default. Another name
    /// that differs from this in case alone is refused: labels must not be passed over.
    /// </summary>
    public string Labels { get; init; } = "labels";

    /// <summary>All names.</summary>
    internal IReadOnlyList<string> Names => [Text, Id, Title, Labels];

    /// <summary>Whether a name says nothing of a document, and differs from that of the labels in case alone.</summary>
    internal bool IsNearlyLabels(string name) => name.Equals(Labels, StringComparison.OrdinalIgnoreCase) && !Names.Contains(name);
}
