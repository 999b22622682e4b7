using Retro.Generation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;

namespace Retro.Cli;

/// <summary>How probable an answer is, in bits, with what was read while it was written and without.</summary>
internal sealed class AnswerScores
{
    private readonly ReadingOptions.Opened _opened;
    private readonly int[] _prompt;
    private readonly IReadOnlyList<int> _answer;
    private readonly IReadOnlyList<RetrievedNeighbors> _read;
    private readonly IReader _alone;
    private readonly IReader? _reading;

    /// <summary>Prepares the scores.</summary>
    /// <param name="opened">The model, and what it reads from.</param>
    /// <param name="neighbors">Neighbors read at once; null: as many as the model was trained with.</param>
    /// <param name="prompt">The prompt.</param>
    /// <param name="answer">The answer's tokens.</param>
    /// <param name="read">What was read.</param>
    public AnswerScores(
        ReadingOptions.Opened opened, int? neighbors, string prompt, IReadOnlyList<int> answer, IReadOnlyList<RetrievedNeighbors> read)
    {
        (_opened, _answer, _read) = (opened, answer, read);
        _prompt = Tokens(prompt);
        RetroModel model = opened.Trained.Model;
        _alone = new DecoderReader(model);
        _reading = opened.Source?.Database is null ? null
            : (IReader?)opened.Copying ?? (model.Config.HasRetrieval ? new RetroReader(model, neighbors) : null);
    }

    /// <summary>Whether the model reads while it writes.</summary>
    public bool ReadsWhileWriting => _reading is not null && _read.Count > 0;

    /// <summary>Log₂ of the answer's probability without what is read while writing.</summary>
    /// <param name="prompt">Another prompt; null: the answer's own.</param>
    public double Off(string? prompt = null) => Bits(_alone, prompt is null ? _prompt : Tokens(prompt), null);

    /// <summary>Log₂ of the answer's probability with what was read while writing.</summary>
    /// <param name="chunk">The only chunk of the database that is read; null: all that were.</param>
    public double On(long? chunk)
    {
        IReader reader = _reading!;
        int stride = reader.ChunkLength!.Value, length = _prompt.Length + _answer.Count - 1, stretches = length / stride;
        if (stretches == 0)
        {
            return Off();
        }

        RetrievedTokens retrieved = new(1, stretches, reader.Neighbors, reader.RetrievedLength!.Value);
        foreach (RetrievedNeighbors one in _read.Where(one => one.Chunk < stretches))
        {
            // What is left out keeps its place, which is then empty.
            long[] kept = [.. one.Neighbors.Select(neighbor => chunk is null || neighbor.Chunk == chunk ? neighbor.Chunk : -1)];
            retrieved.Take(0, one.Chunk, _opened.Sources!.Database, kept);
        }

        return Bits(reader, _prompt, retrieved);
    }

    private int[] Tokens(string prompt) => [_opened.Tokenizer.BeginOfText, .. _opened.Tokenizer.Encode(prompt)];

    private double Bits(IReader reader, int[] prompt, RetrievedTokens? retrieved)
        => _answer.Count == 0 ? 0
            : -TextReading.Bits(reader, [.. prompt, .. _answer], prompt.Length, retrieved, _opened.Sources!.Database.ChunkLength)[prompt.Length..].Sum();
}
