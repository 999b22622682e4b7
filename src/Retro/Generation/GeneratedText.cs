using System.Text;
using Retro.Search;

namespace Retro.Generation;

/// <summary>A text that was generated, whole.</summary>
/// <param name="Text">The text, without its prompt.</param>
/// <param name="Neighbors">
/// What was read for prompt and text, in the order in which it was first read, each once (<see cref="GeneratedPiece.Sources(ISet{long})"/>).
/// </param>
/// <param name="End">Why the text ended.</param>
public sealed record GeneratedText(string Text, IReadOnlyList<RetrievedNeighbor> Neighbors, GenerationEnd End)
{
    /// <summary>The text.</summary>
    public override string ToString() => Text;

    /// <summary>The text, and behind it " [Title]" for each document that was read; the id of one without a title, and nothing of given passages.</summary>
    public string WithSources() => Text + string.Concat(
        Neighbors.Where(neighbor => neighbor.Chunk >= 0).DistinctBy(neighbor => neighbor.DocumentId)
            .Select(neighbor => $" [{(neighbor.Title.Length > 0 ? neighbor.Title : neighbor.DocumentId)}]"));

    /// <summary>Collects the pieces of one text.</summary>
    internal static async Task<GeneratedText> OfAsync(IAsyncEnumerable<GeneratedPiece> pieces)
    {
        StringBuilder text = new();
        List<RetrievedNeighbor> read = [];
        HashSet<long> seen = [];
        GenerationEnd end = default;
        await foreach (GeneratedPiece piece in pieces.ConfigureAwait(false))
        {
            text.Append(piece.Text);
            read.AddRange(piece.Sources(seen));
            end = piece.End ?? end;
        }

        return new(text.ToString(), [.. Distinct(read)], end);
    }

    /// <summary>Each neighbor once: a chunk by its number, a passage that was given by its text.</summary>
    internal static IEnumerable<RetrievedNeighbor> Distinct(IEnumerable<RetrievedNeighbor> neighbors)
        => neighbors.DistinctBy(neighbor => (neighbor.Chunk, neighbor.Chunk < 0 ? neighbor.ChunkInDocument : 0));
}
