using System.Text.Json.Nodes;
using Retro.Generation;
using Retro.Search;

namespace Retro.Cli;

/// <summary>Where the tokens of a text were copied from.</summary>
internal sealed class CopiedTokens
{
    private readonly List<RetrievedNeighbor> _from = [];
    private int _tokens;

    /// <summary>Takes a piece of the text.</summary>
    public void Add(GeneratedPiece piece)
    {
        _tokens += piece.Token is null ? 0 : 1;
        if (piece.CopiedFrom is { } from)
        {
            _from.Add(from);
        }
    }

    /// <summary>Prints the passages that most was copied from; nothing where nothing was.</summary>
    /// <param name="most">Passages at most.</param>
    public void Print(int most)
    {
        (RetrievedNeighbor Passage, int Tokens)[] passages = [.. Passages()];
        if (passages.Length == 0)
        {
            return;
        }

        Screen.Note($"\ncopied, {_from.Count:#,0} of {Amount.Of(_tokens, "token")}; from each passage so many:");
        foreach ((RetrievedNeighbor passage, int tokens) in passages.Take(most))
        {
            string name = passage.Chunk < 0 ? "given passage" : $"{Cli.Passages.Name(passage.Title, passage.DocumentId)}, chunk {passage.ChunkInDocument + 1}";
            Screen.Item($"{tokens:#,0}", $"{name}: {Cli.Passages.Shorten(passage.Text)}");
        }

        if (passages.Length > most)
        {
            Screen.Item($"", $"and {passages.Length - most} with fewer");
        }
    }

    /// <summary>The passages for programs, each with its "tokens", those that most was copied from first.</summary>
    public JsonArray Json() => [.. Passages().Select(one =>
    {
        JsonObject json = ReadingOptions.Json(one.Passage);
        json["tokens"] = one.Tokens;
        return json;
    })];

    private IEnumerable<(RetrievedNeighbor Passage, int Tokens)> Passages() => _from
        .GroupBy(from => (from.Chunk, from.Chunk < 0 ? from.ChunkInDocument : 0))
        .Select(same => (same.First(), same.Count()))
        .OrderByDescending(one => one.Item2);
}
