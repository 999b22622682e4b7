using Retro.Generation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;

namespace Retro.Cli;

/// <summary>How probable an answer is, in bits, with what was read while it was written and without.</summary>
internal sealed class AnswerScores
{
    private readonly ReadingOptions.Opened _opened;
    private readonly RetroGenerator _generator;
    private readonly GenerationOptions _options;
    private readonly string _prompt;
    private readonly IReadOnlyList<int> _answer;
    private readonly IReadOnlyList<RetrievedNeighbors> _read;
    private readonly IReader? _reading;

    /// <summary>Prepares the scores.</summary>
    /// <param name="opened">The model, and what it reads from.</param>
    /// <param name="options">How the answer was written.</param>
    /// <param name="prompt">The prompt.</param>
    /// <param name="answer">The answer's tokens.</param>
    /// <param name="read">What was read.</param>
    public AnswerScores(
        ReadingOptions.Opened opened, GenerationOptions options, string prompt, IReadOnlyList<int> answer, IReadOnlyList<RetrievedNeighbors> read)
    {
        (_opened, _generator, _options, _prompt, _answer, _read) = (opened, opened.Generator(), options, prompt, answer, read);
        RetroModel model = opened.Trained.Model;
        _reading = opened.Source?.Database is null ? null
            : opened.Copying?.FromNeighborsAlone ?? (model.Config.HasRetrieval ? new RetroReader(model, options.Neighbors) : null);
    }

    /// <summary>Whether the model reads while it writes.</summary>
    public bool ReadsWhileWriting => _reading is not null && (_read.Count > 0 || _opened.Copying is not null);

    /// <summary>Log₂ of the answer's probability without what is read while writing.</summary>
    /// <param name="prompt">Another prompt; null: the answer's own.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public Task<double> OffAsync(string? prompt, CancellationToken cancellationToken)
        => BitsAsync(prompt ?? _prompt, _options with { Retrieval = false }, cancellationToken);

    /// <summary>Log₂ of the answer's probability as it was written: by the rules that say what is passed over.</summary>
    public Task<double> OnAsync(CancellationToken cancellationToken) => BitsAsync(_prompt, _options, cancellationToken);

    /// <summary>Log₂ of the answer's probability with one chunk of those that were found, and nothing else of the database.</summary>
    /// <param name="chunk">The chunk.</param>
    public double With(long chunk)
    {
        if (_answer.Count == 0)
        {
            return 0;
        }

        int[] prompt = [_opened.Tokenizer.BeginOfText, .. Tokens(_prompt)];
        IReader reader = _reading!;
        int stretches = (prompt.Length + _answer.Count - 1) / reader.ChunkLength!.Value;
        RetrievedTokens? retrieved = stretches == 0 ? null : new(1, stretches, reader.Neighbors, reader.RetrievedLength!.Value);
        foreach (RetrievedNeighbors one in _read.Where(one => one.Chunk < stretches))
        {
            // What is left out keeps its place, which is then empty.
            long[] kept = [.. one.Neighbors.Select(neighbor => neighbor.Chunk == chunk ? chunk : -1)];
            retrieved!.Take(0, one.Chunk, _opened.Sources!.Database, kept);
        }

        double[] bits = TextReading.Bits(reader, [.. prompt, .. _answer], prompt.Length, retrieved, _opened.Sources!.Database.ChunkLength);
        return -bits[prompt.Length..].Sum();
    }

    private int[] Tokens(string prompt) => _opened.Tokenizer.Encode(_opened.AsCleaned(prompt));

    private async Task<double> BitsAsync(string prompt, GenerationOptions options, CancellationToken cancellationToken)
    {
        if (_answer.Count == 0)
        {
            return 0;
        }

        IReadOnlyList<ScoredToken> scored =
            await _generator.ScoreAsync((int[])[.. Tokens(prompt), .. _answer], options, cancellationToken).ConfigureAwait(false);
        return scored.TakeLast(_answer.Count).Sum(token => token.LogProbability!.Value) / Math.Log(2);
    }
}
