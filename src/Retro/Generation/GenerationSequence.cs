using System.Diagnostics;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>One text while it is generated: its tokens, what was found for it, and what is held back of the output. Whoever computes gives it logits.</summary>
internal sealed class GenerationSequence
{
    /// <summary>
    /// Tokens that may be drawn and refused for one that comes, before those that hold a banned string by themselves are ruled out together: they can be nearly
    /// all, and each draw goes through the vocabulary.
    /// </summary>
    private const int FewRefused = 16;

    private readonly RetroTokenizer _tokenizer;
    private readonly StretchRetriever? _retriever;
    private readonly GenerationOptions _options;
    private readonly List<int> _tokens;
    private readonly List<(RetrievedTokens From, int Stretch)> _found = [];
    private readonly int _promptLength;
    private readonly TokenSampler _sampler;
    private readonly TokenTextStream _text;
    private readonly StopStrings _stops;
    private readonly BannedStrings _banned;
    private readonly HashSet<int> _ends;
    private readonly HashSet<int> _bannedTokens;
    private readonly Lazy<int[]> _bannedAlone; // tokens that hold a banned string by themselves
    private readonly int _longest;
    private ReadOnlyMemory<float> _logits;
    private float[] _changed = []; // what the sampler may change
    private double? _logSum;
    private GenerationEnd? _end;
    private (int Token, double LogProbability, TokenAlternative[] Alternatives)? _endJudged; // where the model ended the text

    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="retriever">Finds neighbors; null: none are read.</param>
    /// <param name="options">How to go on.</param>
    /// <param name="prompt">The beginning, as tokens.</param>
    /// <param name="longest">Tokens that the text may have.</param>
    public GenerationSequence(RetroTokenizer tokenizer, StretchRetriever? retriever, GenerationOptions options, int[] prompt, int longest)
    {
        _tokenizer = tokenizer;
        _retriever = retriever;
        _options = options;
        _tokens = [.. prompt];
        _promptLength = prompt.Length;
        _sampler = new TokenSampler(options);
        _sampler.See(prompt.AsSpan(1), generated: false); // the document's beginning is no repetition
        bool begins = prompt.All(tokenizer.IsSpecial);
        _text = new TokenTextStream(tokenizer, begins);
        _stops = new StopStrings(options.Stop, options.SkipsLeadingSpace);
        _banned = new BannedStrings(options.BannedStrings, tokenizer, begins);
        _ends = [.. tokenizer.EndTokens, .. options.StopTokens];
        _bannedTokens = [.. options.BannedTokens, .. tokenizer.SpecialTokens.Except(_ends)];
        _bannedAlone = new(() => [.. Enumerable.Range(0, tokenizer.VocabularySize).Where(token => !_ends.Contains(token) && _banned.IsIn(token))]);
        _longest = longest;
        _end = options.MaximumNewTokens == 0 ? GenerationEnd.MaximumNewTokens : null;
    }

    private GenerationSequence(GenerationSequence other, GenerationOptions options)
    {
        (_tokenizer, _retriever, _options, _longest) = (other._tokenizer, other._retriever, options, other._longest);
        (_ends, _bannedTokens, _bannedAlone) = (other._ends, other._bannedTokens, other._bannedAlone);
        (_tokens, _found, _promptLength) = ([.. other._tokens], [.. other._found], other._promptLength);
        (_sampler, _text, _stops, _banned) = (other._sampler.Copy(options), other._text.Copy(), other._stops.Copy(), other._banned.Copy());
        (_logits, _logSum, _end, _endJudged, Activity) = (other._logits, other._logSum, other._end, other._endJudged, other.Activity);
    }

    /// <summary>The activity that this is part of, which is not the current one between two tokens; null: nobody listens.</summary>
    public Activity? Activity { get; init; }

    /// <summary>The tokens that end the text.</summary>
    public IReadOnlySet<int> Ends => _ends;

    /// <summary>The text so far, prompt included.</summary>
    public IReadOnlyList<int> Tokens => _tokens;

    /// <summary>What was found for the stretches that the last tokens completed; null: none was, or retrieval is off.</summary>
    public StretchRetriever.Found? Found { get; private set; }

    /// <summary>What was found for each stretch so far, the first one first, each with its place among what was found with it; nothing where retrieval is
    /// off.</summary>
    public IReadOnlyList<(RetrievedTokens From, int Stretch)> AllFound => _found;

    /// <summary>Whether the logits of the next token are wanted before it can be chosen.</summary>
    public bool WantsLogits => _end is null;

    /// <summary>Tokens that were generated.</summary>
    public int NewTokens => _tokens.Count - _promptLength;

    /// <summary>Retrieves for the prompt.</summary>
    /// <param name="whole">Whether for each of its stretches, or for the last alone.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <returns>What was retrieved for its stretches.</returns>
    public IReadOnlyList<GeneratedPiece> Begin(bool whole, CancellationToken cancellationToken)
    {
        int stretches = _retriever is null ? 0 : _tokens.Count / _retriever.Stride, first = whole ? 0 : stretches - 1;
        Found = stretches == 0 ? null : Retrieve(first, stretches - first, cancellationToken);
        return Found?.PerStretch.Select(retrieved => new GeneratedPiece("", null, retrieved)).ToArray() ?? [];
    }

    /// <summary>Takes what the model says of the next token, and keeps it where it lies: it, and others that go on from here, read it until they take the
    /// next.</summary>
    public void Take(ReadOnlyMemory<float> logits) => (_logits, _logSum) = (logits, null);

    /// <summary>Chooses the next token, or ends the text.</summary>
    public GeneratedPiece Next(CancellationToken cancellationToken)
    {
        Found = null;
        if (_end is null)
        {
            RequireNumbers(); // so that a token that may not come is the options' doing
            ReadOnlySpan<float> said = Logits;
            _changed = _changed.Length == said.Length ? _changed : new float[said.Length];
            Span<float> logits = _changed;
            said.CopyTo(logits);
            Ban(_bannedTokens, logits);
            if (IsTooShort)
            {
                Ban(_ends, logits);
            }

            bool isOpen = _banned.IsOpen;
            for (int id = 0; isOpen && id < logits.Length; id++)
            {
                logits[id] = _banned.Continues(id) ? logits[id] : float.NegativeInfinity; // else each would be drawn, and refused, by itself
            }

            _sampler.Adjust(logits);
            Process(logits);
            int token = Draw(logits, cancellationToken);
            if (!_ends.Contains(token))
            {
                return Go(token, cancellationToken);
            }

            End(token);
        }

        string broken = _text.Flush(), rest = _stops.Add(_banned.Completes(broken) ? "" : broken);
        return new GeneratedPiece(rest + _stops.Flush(), End: _stops.Found ? GenerationEnd.StopString : _end)
        {
            EndToken = _endJudged?.Token,
            LogProbability = _endJudged?.LogProbability,
            Alternatives = _endJudged?.Alternatives ?? [],
        };
    }

    private int Draw(Span<float> logits, CancellationToken cancellationToken)
    {
        for (int refused = 0; ; refused++)
        {
            // For each token anew: what it is drawn from depends on nothing that was refused for those before.
            if (refused == FewRefused && !_banned.IsAtBeginning)
            {
                Ban(_bannedAlone.Value, logits);
            }

            int token = _sampler.Next(logits);
            if (!IsRefused(token))
            {
                return token;
            }

            cancellationToken.ThrowIfCancellationRequested();
            logits[token] = float.NegativeInfinity;
        }
    }

    /// <summary>The most probable tokens that may come, the end of the text among them, best first; of equal ones the lower id is better.</summary>
    /// <exception cref="RetroException">A logit is not a number.</exception>
    public List<(int Token, double LogProbability)> Likeliest(int count)
    {
        RequireNumbers();
        return Likeliest(count, token => !float.IsNegativeInfinity(_logits.Span[token]) && !IsRefused(token));
    }

    /// <summary>Goes on with a token.</summary>
    public GeneratedPiece Go(int token, CancellationToken cancellationToken)
    {
        Found = null;
        (double logProbability, TokenAlternative[] alternatives) = Judge(token);
        return Add(token, cancellationToken) with { LogProbability = logProbability, Alternatives = alternatives };
    }

    /// <summary>How probable a token is by the logits that were taken, in nats, and the most probable ones in its place.</summary>
    /// <exception cref="RetroException">A logit is not a number.</exception>
    public (double LogProbability, TokenAlternative[] Alternatives) Judge(int token)
    {
        RequireNumbers();
        return (
            Logits[token] - LogSum,
            [
                .. Likeliest(_options.Alternatives, _ => true)
                    .Select(other => new TokenAlternative(other.Token, _tokenizer.DecodeWithin([other.Token]), other.LogProbability)),
            ]);
    }

    /// <summary>Ends the text as the model does, by one of its ends.</summary>
    public void End(int token)
    {
        (double logProbability, TokenAlternative[] alternatives) = Judge(token);
        _end = GenerationEnd.EndOfText;
        _endJudged = (token, logProbability, alternatives);
    }

    /// <summary>Another text of the same prompt and the same tokens, which has drawn nothing yet.</summary>
    /// <param name="options">How it goes on, with another seed; null: as this one does.</param>
    public GenerationSequence Fork(GenerationOptions? options = null) => new(this, options ?? _options);

    // Rows beyond the tokenizer's ids pad the embedding; special tokens may have none.
    private ReadOnlySpan<float> Logits => _logits.Span[..Math.Min(_tokenizer.VocabularySize, _logits.Length)];

    /// <summary>What a logit's token is more probable than its logit says, in nats.</summary>
    private double LogSum => _logSum ??= LogSumOf(Logits);

    private void RequireNumbers()
    {
        if (double.IsNaN(LogSum))
        {
            throw new RetroException("The model's logits are not all numbers: its weights are damaged or its training diverged.");
        }
    }

    // A special token without a row comes in no case.
    private static void Ban(IEnumerable<int> tokens, Span<float> logits)
    {
        foreach (int token in tokens)
        {
            if (token < logits.Length)
            {
                logits[token] = float.NegativeInfinity;
            }
        }
    }

    private void Process(Span<float> logits)
    {
        if (_options.LogitsProcessor is not { } processor)
        {
            return;
        }

        processor(CollectionsMarshal.AsSpan(_tokens), logits);
        float most = TensorPrimitives.Max(logits); // the first that is no number, or the highest
        if (!float.IsFinite(most))
        {
            int token = logits.IndexOf(most);
            throw new RetroException(
                float.IsNegativeInfinity(most)
                    ? $"The {nameof(LogitsProcessor)} rules out every token after {_tokens.Count}; leave one that may come, such as an end of the text."
                    : FormattableString.Invariant(
                        $"The {nameof(LogitsProcessor)} makes the logit of token {token} {most}; expected a number, or minus infinity."));
        }
    }

    private bool IsTooShort => NewTokens < _options.MinimumNewTokens;

    private bool IsRefused(int token)
        => _bannedTokens.Contains(token) || (_ends.Contains(token) ? IsTooShort || _banned.IsOpen : _banned.Completes(token));

    /// <summary>The most probable of some tokens, best first; of equal ones the lower id is better.</summary>
    private List<(int Token, double LogProbability)> Likeliest(int count, Func<int, bool> mayCome)
    {
        ReadOnlySpan<float> logits = Logits;
        count = Math.Min(count, logits.Length);
        PriorityQueue<int, (float Logit, int Order)> best = new(count + 1);
        for (int token = 0; count > 0 && token < logits.Length; token++)
        {
            bool isAmong = best.Count < count || (best.TryPeek(out _, out (float Logit, int Order) least) && logits[token] > least.Logit);
            if (isAmong && mayCome(token))
            {
                best.Enqueue(token, (logits[token], -token));
                if (best.Count > count)
                {
                    best.Dequeue();
                }
            }
        }

        List<(int Token, double LogProbability)> all = new(best.Count);
        while (best.TryDequeue(out int token, out _))
        {
            all.Add((token, logits[token] - LogSum));
        }

        all.Reverse();
        return all;
    }

    private GeneratedPiece Add(int token, CancellationToken cancellationToken)
    {
        _tokens.Add(token);
        _sampler.See([token], generated: true);
        _banned.Add(token);
        string own = _text.Add(token);
        GeneratedPiece piece = new(_stops.Add(own, ends: !IsTooShort), token) { TokenText = own };
        _end = _stops.Found ? GenerationEnd.StopString
            : _tokens.Count - _promptLength == _options.MaximumNewTokens ? GenerationEnd.MaximumNewTokens
            : _tokens.Count > _longest ? GenerationEnd.MaximumLength
            : null;
        if (_end is not null)
        {
            return piece;
        }

        // The token that completes a stretch is the first to read the stretch's neighbors, so they are found before it is computed.
        Found = _retriever is not null && _tokens.Count % _retriever.Stride == 0
            ? Retrieve(_tokens.Count / _retriever.Stride - 1, 1, cancellationToken)
            : null;
        return piece with { Retrieved = Found?.PerStretch[0] };
    }

    private StretchRetriever.Found Retrieve(int first, int count, CancellationToken cancellationToken)
    {
        using Activity? activity = RetroTelemetry.Activities.StartActivity("retro.retrieve", ActivityKind.Internal, Activity?.Context ?? default);
        activity?.SetTag("retro.stretches", count);
        StretchRetriever.Found found = RetroTelemetry.Timed(
            RetroTelemetry.GenerationDuration, "retro.stage", "retrieve", () => _retriever!.Find(_tokens, first, count, cancellationToken));
        _found.AddRange(Enumerable.Range(0, count).Select(stretch => (found.Tokens, stretch)));
        return found;
    }

    private static double LogSumOf(ReadOnlySpan<float> logits)
    {
        const int Together = 1024; // so that what is computed stays in the processor's cache
        Span<double> some = stackalloc double[Math.Min(Together, logits.Length)];
        double most = TensorPrimitives.Max(logits), sum = 0;
        for (int start = 0; start < logits.Length; start += Together)
        {
            ReadOnlySpan<float> read = logits.Slice(start, Math.Min(Together, logits.Length - start));
            Span<double> now = some[..read.Length];
            TensorPrimitives.ConvertTruncating(read, now);
            TensorPrimitives.Subtract(now, most, now);
            TensorPrimitives.Exp(now, now);
            sum += TensorPrimitives.Sum<double>(now);
        }

        return most + Math.Log(sum);
    }
}
