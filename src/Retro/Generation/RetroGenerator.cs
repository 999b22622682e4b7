using System.Diagnostics;
using System.Runtime.CompilerServices;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>
/// Continues prompts, and names what the model read while it did so: whenever a chunk is complete, its neighbors are retrieved and read from its last token on
/// (RETRO, section 2.4). Another reader does the same in its way: a <see cref="CopyReader"/> with stretches of its own length, which it copies from; an
/// <see cref="InContextReader"/> or an <see cref="EnsembleReader"/> with passages in front of the text.
/// </summary>
/// <remarks>
/// The text is what a document of the database would be: the end-of-text token, then the prompt. The prompt retrieves too. Safe for concurrent use where model
/// and source are; it owns none of them.
/// </remarks>
public sealed partial class RetroGenerator
{
    private readonly RetroModel _model;
    private readonly IReader? _reader; // null: the model reads by itself
    private readonly int? _mostNeighbors; // null: as many as are given
    private readonly RetroTokenizer _tokenizer;
    private readonly ChunkDatabase? _database;
    private readonly INeighborSource? _source;
    private readonly ReadingPlan? _plan;
    private readonly Lazy<SharedBatch> _batch;
    private readonly Lock _lock = new();
    private ExcludedDocuments? _documents;

    /// <summary>Creates a generator.</summary>
    /// <param name="model">The model; whenever a text is asked for, it is put in evaluation mode, and left in it.</param>
    /// <param name="tokenizer">The tokenizer that it was trained with.</param>
    /// <param name="source">
    /// Finds chunks of its database, which are read from; null to generate without retrieval. A model without retrieval reads none, whatever is given.
    /// </param>
    /// <exception cref="ArgumentException">The source has no database, as a <see cref="NoNeighborSource"/> has none.</exception>
    /// <exception cref="DatabaseException">The database was made with another tokenizer or chunk length.</exception>
    /// <exception cref="RetroException">The tokenizer has more tokens than the model, but for special ones, or is not that of its training.</exception>
    public RetroGenerator(RetroModel model, RetroTokenizer tokenizer, INeighborSource? source = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        CheckTokenizer(tokenizer, model);
        _model = model;
        _batch = new(() => new(model, Prefixes));
        _tokenizer = tokenizer;
        _source = source;
        _database = source is null ? null : DatabaseOf(source, "read", "no source, to generate without retrieval");
        _database?.RequireTokenizer(tokenizer);
        if (model.Config.Retrieval is { } retrieval)
        {
            _database?.RequireChunkLength(retrieval.ChunkLength);
            _plan = new(retrieval.Neighbors, retrieval.RetrievedLength, retrieval.ChunkLength, retrieval.ChunkLength);
        }
    }

    /// <summary>
    /// Creates a generator that reads as a reader does: tokens are drawn from its distribution, and neighbors are asked for after as many tokens, and with as
    /// many of the last ones of prompt and text, as in evaluation. The model's own cross-attention reads none, but for a RETRO's reader, which is the model
    /// alone, as a <see cref="DecoderReader"/> is with its retrieval off.
    /// </summary>
    /// <param name="reader">
    /// A <see cref="RetroReader"/>, a <see cref="CopyReader"/>, an <see cref="InContextReader"/>, an <see cref="EnsembleReader"/>, a
    /// <see cref="RetroInContextReader"/>, a <see cref="DecoupledReader"/>, or, without a source, a <see cref="NearestNeighborReader"/> or a
    /// <see cref="DecoderReader"/>.
    /// </param>
    /// <param name="tokenizer">The tokenizer that its model was trained with.</param>
    /// <param name="source">Finds chunks of its database, which are read from; null for a reader that looks up by itself.</param>
    /// <exception cref="ArgumentException">
    /// The reader is of another kind, a source is missing, too much or has no database, or the reader's index is of another one.
    /// </exception>
    /// <exception cref="DatabaseException">The database was made with another tokenizer.</exception>
    /// <exception cref="RetroException">The tokenizer has more tokens than the model, but for special ones, or is not that of its training.</exception>
    public RetroGenerator(IReader reader, RetroTokenizer tokenizer, INeighborSource? source = null)
    {
        ArgumentNullException.ThrowIfNull(reader);
        _model = reader.Model
            ?? throw new ArgumentException(
                $"{reader.Name} reads whole texts alone and cannot go on token by token; give a reader that can, such as a {nameof(CopyReader)} or an "
                    + $"{nameof(InContextReader)}, or generate with the model itself.",
                nameof(reader));
        _batch = new(() => new(_model, Prefixes));
        CheckTokenizer(tokenizer, _model);
        if (source is null != (reader.Neighbors == 0))
        {
            throw new ArgumentException(
                source is null
                    ? $"{reader.Name} reads neighbors; give a source that finds them."
                    : $"{reader.Name} reads no neighbors that it is given; give no source.",
                nameof(source));
        }

        _reader = reader is RetroReader or DecoderReader ? null : reader;
        _tokenizer = tokenizer;
        _source = source;
        if (source is null)
        {
            _database = reader.Database;
            _database?.RequireTokenizer(tokenizer);
            return;
        }

        _database = DatabaseOf(source, reader is CopyReader ? "copy" : "read", "generate with the model alone");
        _database.RequireTokenizer(tokenizer);
        if (reader is CopyReader { Index: { } index } && !index.Database.HasSameChunks(_database))
        {
            throw new ArgumentException(
                $"The reader copies from anywhere in {index.Database.Folder}, and the source searches {_database.Folder}; " +
                "give a source over the database that the reader's index was built of.",
                nameof(source));
        }

        _mostNeighbors = reader.Neighbors;
        _plan = ReadingPlan.Of(reader, _database.ChunkLength, _database);
        if (reader is PromptReader prompts)
        {
            prompts.Prompt.RequireRoomFor(_plan.Stride, reader.Name, prompts.CrossAttended > 0);
        }
    }

    /// <summary>
    /// Whether texts of calls that run at the same time are computed as one batch, as a server wants it: a text joins the others at the next token after its
    /// prompt was read, and leaves them when it ends. A token of all of them costs less than one of each by itself; while a prompt is read, or neighbors of a
    /// text are found, the others wait. Each has its own options, and what is wrong with one call, or that it is canceled, is no other's affair.
    /// </summary>
    /// <remarks>
    /// What a text is computed beside changes its numbers within rounding, so that a draw, or one of two tokens that are as probable, can come out otherwise
    /// than alone. Whoever asks for a piece computes a token of all: what others have not asked for yet is kept for them. Beams, readers, and neighbors that
    /// are found anew within a chunk stay by themselves.
    /// </remarks>
    /// <value>The default is false: each call computes by itself, side by side with the others.</value>
    public bool BatchesCalls { get; init; }

    /// <summary>
    /// Remembers texts that have ended, so that those that begin alike go on from there; several generators may share one. Beams, readers, and neighbors that
    /// are found anew within a chunk do without it.
    /// </summary>
    /// <value>The default is null: each text is read whole.</value>
    public PrefixCache? Prefixes { get; init; }

    /// <summary>
    /// Texts of one call that are computed at once, at most, where several are: the next ones begin when these have ended, so that a call takes no more memory
    /// than for so many texts. A prompt is read anew for each lot of its texts. Their seeds are those that they have all at once.
    /// </summary>
    /// <value>The default is null: all of them.</value>
    /// <exception cref="ArgumentOutOfRangeException">It is not positive.</exception>
    public int? TextsAtOnce
    {
        get;
        init
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(value ?? 1, nameof(value));
            field = value;
        }
    }

    /// <summary>Continues a prompt.</summary>
    /// <param name="prompt">The beginning of the text; may be empty. It is not part of what is generated.</param>
    /// <param name="options">How to continue it.</param>
    /// <param name="cancellationToken">Ends the work before the next token.</param>
    /// <returns>
    /// One piece for each chunk of the prompt that was retrieved for, one for each token, and a last one that says why the text ended. A model retrieves for
    /// every chunk of the prompt, another reader for its last complete stretch alone: no new token would read the others' neighbors. Tokens are computed on
    /// the thread pool, one after the other, as they are asked for. The first text that excludes documents reads the entries of all.
    /// </returns>
    /// <exception cref="RetroOptionsException">The options contradict themselves, or ask for more neighbors than the reader reads.</exception>
    /// <exception cref="ArgumentException">The prompt is longer than the model's positions reach; a reader that writes passages in front of the text takes any,
    /// since it reads windows of it.</exception>
    /// <exception cref="RetroException">The model's logits are not numbers; a <see cref="RetroOptionsException"/> where what is banned leaves no token that may
    /// follow.</exception>
    /// <exception cref="OperationCanceledException">The work was canceled.</exception>
    public IAsyncEnumerable<GeneratedPiece> GenerateAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        options = CheckOne(options);
        return ContinueOneAsync(Begun(prompt, options), options, cancellationToken);
    }

    /// <summary>Continues a prompt that is encoded already, such as a conversation's (<see cref="ChatTemplate.Encode"/>).</summary>
    /// <param name="prompt">
    /// Its ids. The token that begins a text is put before them, but where they begin with a special token already: what a chat template writes is read as it
    /// is.
    /// </param>
    /// <param name="options">How to continue it.</param>
    /// <param name="cancellationToken">Ends the work before the next token.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside the vocabulary.</exception>
    /// <inheritdoc cref="GenerateAsync(string, GenerationOptions?, CancellationToken)"/>
    public IAsyncEnumerable<GeneratedPiece> GenerateAsync(
        ReadOnlyMemory<int> prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        options = CheckOne(options);
        return ContinueOneAsync(Begun(prompt, options), options, cancellationToken);
    }

    /// <summary>
    /// Continues several prompts, each by as many texts as are asked for (<see cref="GenerationOptions.Samples"/>). A model reads a prompt once, and computes a
    /// token of all texts, and of each of their beams, at once, which costs little more than a token of one; where another reader generates, or neighbors are
    /// found anew within a chunk, the texts are generated one after the other.
    /// </summary>
    /// <param name="prompts">The beginnings of the texts. None is part of what is generated.</param>
    /// <param name="options">How to continue each; what is drawn for one is independent of what is drawn for another.</param>
    /// <param name="cancellationToken">Ends the work before the next token.</param>
    /// <returns>
    /// The pieces of all texts, each with the number of its text, from 0: with s samples, the texts of prompt p are p·s to p·s + s - 1. Those of one text come
    /// in order.
    /// </returns>
    /// <inheritdoc cref="GenerateAsync(string, GenerationOptions?, CancellationToken)"/>
    public IAsyncEnumerable<(int Text, GeneratedPiece Piece)> GenerateAsync(
        IReadOnlyList<string> prompts, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        options = Check(options);
        if (prompts.Contains(null!))
        {
            throw new ArgumentException("A prompt is null; it may be empty.", nameof(prompts));
        }

        return ContinueAllAsync([.. prompts.Select(prompt => Begun(prompt, options))], options, cancellationToken);
    }

    /// <summary>Continues several prompts that are encoded already, as several of text are continued.</summary>
    /// <param name="prompts">The ids of each, read as those of one are.</param>
    /// <param name="options">How to continue each; what is drawn for one is independent of what is drawn for another.</param>
    /// <param name="cancellationToken">Ends the work before the next token.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside the vocabulary.</exception>
    /// <inheritdoc cref="GenerateAsync(IReadOnlyList{string}, GenerationOptions?, CancellationToken)"/>
    public IAsyncEnumerable<(int Text, GeneratedPiece Piece)> GenerateAsync(
        IReadOnlyList<ReadOnlyMemory<int>> prompts, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        options = Check(options);
        return ContinueAllAsync([.. prompts.Select(prompt => Begun(prompt, options))], options, cancellationToken);
    }

    /// <summary>The model's tokenizer.</summary>
    internal RetroTokenizer Tokenizer => _tokenizer;

    /// <summary>A text that is asked with, in the form of the texts that are read from.</summary>
    internal string AsCleaned(string text) => _database?.AsCleaned(text) ?? text;

    internal int[] Encode(string prompt) => _tokenizer.Encode(AsCleaned(prompt));

    /// <summary>How many tokens a prompt has, the begin-of-text token before it included.</summary>
    /// <param name="prompt">The prompt.</param>
    /// <returns>At least 1.</returns>
    public int CountTokens(string prompt)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return 1 + Encode(prompt).Length;
    }

    /// <summary>How many tokens are read of a prompt that is encoded already, the begin-of-text token included where it is put before it.</summary>
    /// <param name="prompt">Its ids.</param>
    /// <returns>At least 1.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The first is outside the vocabulary.</exception>
    public int CountTokens(ReadOnlyMemory<int> prompt) => _tokenizer.Begun(prompt.Span).Length;

    /// <summary>
    /// How many tokens a prompt may have, the begin-of-text token before it included, so that as many can follow as are generated at least
    /// (<see cref="GenerationOptions.MinimumNewTokens"/>).
    /// </summary>
    /// <param name="options">How it is continued; null: by the defaults.</param>
    /// <returns>The most; null: the model takes any number.</returns>
    /// <exception cref="RetroOptionsException">The options contradict themselves, or ask for more neighbors than the reader reads.</exception>
    public int? LongestPrompt(GenerationOptions? options = null)
    {
        options = Check(options);
        int longest = Longest(options);
        return longest == int.MaxValue ? null : longest - Math.Max(0, options.MinimumNewTokens - 1); // the last token is not read
    }

    private GenerationOptions CheckOne(GenerationOptions? given)
    {
        GenerationOptions options = Check(given);
        OptionFaults faults = new(nameof(GenerationOptions));
        faults.Require(options.Samples == 1, options.Samples, "1 for a single prompt; give a list of it, whose texts come with their numbers");
        faults.Throw();
        return options;
    }

    private GenerationOptions Check(GenerationOptions? given)
    {
        _model.Evaluate();
        GenerationOptions options = (given ?? new GenerationOptions()).Validate();
        OptionFaults faults = new(nameof(GenerationOptions));
        faults.Require(!(options.Neighbors > _mostNeighbors), options.Neighbors, $"at most {_mostNeighbors}, as many as the reader reads");
        if (options.RetrievalStride is { } stride)
        {
            string? expected = _reader switch
            {
                null when _plan is null => "not set: the model does not retrieve",
                null when _plan.QueryLength % stride != 0 => $"a divisor of the chunk length, {_plan.QueryLength}",
                PromptReader { CrossAttended: 0, Prompt: var prompt } when stride > prompt.Room
                    => $"at most {prompt.Room}: of the {prompt.WindowLength} tokens that {_reader.Name} reads at once, the others may stand in front of the "
                        + "text",
                null or PromptReader { CrossAttended: 0 } => null,
                _ => $"not set: {_reader.Name} asks as often as it was made to",
            };
            faults.Require(expected is null, stride, expected ?? "", nameof(options.RetrievalStride));
        }

        if (options.Beams > 1)
        {
            faults.Require(_reader is null, options.Beams, $"1: {_reader?.Name} goes on with one text at a time; a model alone follows several");
            faults.Require(
                !Refreshes(options),
                options.Beams,
                $"1 with {nameof(options.RetrievalStride)} {options.RetrievalStride}, which reads one text anew each time");
        }

        faults.Require(
            options.Passages.Count == 0 || _plan is not null, options.Passages.Count, "none: the model reads no neighbors", nameof(options.Passages));
        faults.Require(
            !(options.Passages.Count > (options.Neighbors ?? _mostNeighbors)) || _plan is null,
            options.Passages.Count,
            options.Neighbors is null ? $"at most {_mostNeighbors}, as many as the reader reads" : $"at most {options.Neighbors}, as Neighbors says",
            nameof(options.Passages));
        foreach ((string name, IEnumerable<int> ids) in new[]
            {
                (nameof(options.BannedTokens), options.BannedTokens), (nameof(options.StopTokens), options.StopTokens),
                (nameof(options.LogitBias), options.LogitBias.Keys),
            })
        {
            if (ids.FirstOrDefault(token => token >= _tokenizer.VocabularySize, -1) is >= 0 and int unknown)
            {
                faults.Add($"{name} holds {unknown}; the tokenizer has {_tokenizer.VocabularySize} tokens.");
            }
        }

        faults.Throw();
        return options.Passages.Count == 0 ? options : options with { Passages = [.. options.Passages.Select(AsCleaned)] };
    }

    private int[] Begun(string prompt, GenerationOptions options) => Fitting([_tokenizer.BeginOfText, .. Encode(prompt)], Longest(options));

    private int[] Begun(ReadOnlyMemory<int> prompt, GenerationOptions options) => Begun(prompt, Longest(options));

    private int[] Begun(ReadOnlyMemory<int> prompt, int longest)
    {
        foreach (int id in prompt.Span)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(id, nameof(prompt));
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(id, _tokenizer.VocabularySize, nameof(prompt));
        }

        return Fitting(_tokenizer.Begun(prompt.Span), longest);
    }

    private int[] Fitting(int[] prompt, int longest)
    {
        PaddedVocabulary.RequireRows(_tokenizer, prompt, _model.Config.VocabularySize);
        return prompt.Length <= longest
            ? prompt
            : throw new ArgumentException($"The prompt has {prompt.Length} tokens, the model takes at most {longest}; shorten it.", nameof(prompt));
    }

    // Tokens that a text may have: a reader that writes passages in front of it reads windows of it, and where neighbors are found anew within a chunk it is
    // filled up to whole chunks at its beginning.
    private int Longest(GenerationOptions options)
        => _model.Config.MaximumLength is not { } longest || (_reader is PromptReader && Reads(options)) ? int.MaxValue
            : Refreshes(options) ? longest - _plan!.Stride + 1
            : longest;

    private bool Reads(GenerationOptions options)
        => options.Retrieval && (options.Passages.Count > 0 || _database is not null) && (_plan is not null || _reader is not null);

    private bool Refreshes(GenerationOptions options) => _reader is null && options.RetrievalStride < _plan?.Stride && Reads(options);

    /// <summary>
    /// Finds neighbors as the options want them, and says which documents a reader passes over that looks up by itself; null: nothing is read.
    /// </summary>
    private async ValueTask<(StretchRetriever? Retriever, HashSet<int>? Unread)> Retriever(GenerationOptions options, CancellationToken cancellationToken)
    {
        if (!Reads(options))
        {
            return (null, null);
        }

        int[] excluded = _database is null ? [] : await Excluded(options.ExcludedDocuments, cancellationToken).ConfigureAwait(false);
        ReadingPlan? plan = _plan is null ? null
            : _plan with
            {
                Neighbors = options.Neighbors ?? Math.Max(_plan.Neighbors, options.Passages.Count), Stride = options.RetrievalStride ?? _plan.Stride,
            };

        // What looks up by itself, and in no source, passes over all that may not be seen.
        HashSet<int>? unread = Copying(options) is { Index: null } ? []
            : _reader is CopyReader or NearestNeighborReader
            ? await Task.Run(() => With(excluded, _database!.Labels.Hidden(options.Labels)), cancellationToken).ConfigureAwait(false)
            : null;
        return (plan is null ? null : new StretchRetriever(_tokenizer, _database, _source, plan, excluded, options, _reader as PromptReader), unread);

        // The hidden ones may be nearly all there are, and are not copied for each text.
        static HashSet<int> With(int[] excluded, HashSet<int> hidden) => excluded.Length == 0 ? hidden : [.. hidden, .. excluded];
    }

    /// <summary>Continues a prompt of tokens, the first of which begins a text.</summary>
    /// <param name="prompt">The prompt.</param>
    /// <param name="options">How to continue it.</param>
    /// <param name="cancellationToken">Ends the work before the next token.</param>
    internal async IAsyncEnumerable<GeneratedPiece> ContinueAsync(
        int[] prompt, GenerationOptions options, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        _model.Evaluate(); // who answers questions comes past what checks the options
        using Activity? activity = RetroTelemetry.Activities.StartActivity("retro.generate");
        activity?.SetTag("retro.prompt_tokens", prompt.Length);

        // All tensors live inside of one call of Decode, or in the cache; none is open while the caller has the thread.
        (StretchRetriever? retriever, HashSet<int>? unread) = await Retriever(options, cancellationToken).ConfigureAwait(false);
        GenerationSequence sequence = new(_tokenizer, retriever, options, prompt, Longest(options)) { Activity = activity };
        using IDecoding decoding = Decoding(prompt.Length + 64, retriever, unread, options);
        bool gated = FinalizerGate.IsNeededFor(_model);
        float[] logits = [];
        IReadOnlyList<GeneratedPiece> first = await Task.Run(
            () => sequence.Begin(_reader?.ReadsEarlierNeighbors ?? true, cancellationToken), cancellationToken).ConfigureAwait(false);
        foreach (GeneratedPiece piece in first)
        {
            yield return piece;
        }

        // A token is handed out before the model reads it: whoever watches waits for no step too many, and whoever stops has not paid for one.
        GeneratedPiece next;
        string stage = "prefill";
        do
        {
            cancellationToken.ThrowIfCancellationRequested();
            next = await OnPool(
                () =>
                {
                    Decode(stage);
                    GeneratedPiece piece = sequence.Next(cancellationToken);
                    return piece.Token is { } token ? piece with { CopiedFrom = decoding.CopiedFrom(token, piece.LogProbability!.Value) } : piece;
                },
                cancellationToken).ConfigureAwait(false);
            stage = "step";
            yield return next;
        }
        while (next.End is null);

        void Decode(string called)
        {
            if (sequence.WantsLogits)
            {
                sequence.Take(RetroTelemetry.Timed(RetroTelemetry.GenerationDuration, "retro.stage", called, Logits));
            }
        }

        Memory<float> Logits()
        {
            using DisposeScope scope = NewDisposeScope();
            using FinalizerGate.Hold gate = FinalizerGate.Close(gated, lingers: true);
            return decoding.Read(sequence.Tokens, sequence.Found, cancellationToken).Floats(ref logits);
        }
    }

    /// <summary>Continues a prompt of tokens, the first of which begins a text, by as many texts as the options say, which are checked.</summary>
    /// <param name="prompt">The prompt.</param>
    /// <param name="options">How to continue it.</param>
    /// <param name="stride">The retrieval stride, which whoever laid out the prompt knows to be the reader's.</param>
    /// <param name="cancellationToken">Ends the work before the next token.</param>
    internal IAsyncEnumerable<(int Text, GeneratedPiece Piece)> ContinueAsync(
        int[] prompt, GenerationOptions options, int stride, CancellationToken cancellationToken)
    {
        options = Check(options) with { RetrievalStride = stride };
        return ContinueAllAsync([Fitting(prompt, Longest(options))], options, cancellationToken);
    }

    private IAsyncEnumerable<GeneratedPiece> ContinueOneAsync(int[] prompt, GenerationOptions options, CancellationToken cancellationToken)
    {
        return options.Beams == 1 && !BatchesCalls && Prefixes is null ? ContinueAsync(prompt, options, cancellationToken) : One(cancellationToken);

        async IAsyncEnumerable<GeneratedPiece> One([EnumeratorCancellation] CancellationToken canceled)
        {
            await foreach ((_, GeneratedPiece piece) in ContinueAllAsync([prompt], options, canceled).ConfigureAwait(false))
            {
                yield return piece;
            }
        }
    }

    private IAsyncEnumerable<(int Text, GeneratedPiece Piece)> ContinueAllAsync(int[][] prompts, GenerationOptions options, CancellationToken cancellationToken)
        => options.Beams > 1
            ? InLots(SearchAsync, prompts, options, cancellationToken)
            : (BatchesCalls || Prefixes is not null || prompts.Length * options.Samples > 1) && _reader is null && !Refreshes(options)
            ? InLots(GenerateAtOnce, prompts, options, cancellationToken)
            : GenerateInTurn(prompts, options, cancellationToken);

    /// <param name="write">Writes the texts from one number on to before another.</param>
    /// <param name="prompts">The prompts of all texts.</param>
    /// <param name="options">How to continue each.</param>
    /// <param name="cancellationToken">Ends the work before the next token.</param>
    private async IAsyncEnumerable<(int Text, GeneratedPiece Piece)> InLots(
        Func<int[][], GenerationOptions, int, int, CancellationToken, IAsyncEnumerable<(int Text, GeneratedPiece Piece)>> write,
        int[][] prompts,
        GenerationOptions options,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        int texts = prompts.Length * options.Samples, most = Math.Min(texts, TextsAtOnce ?? texts);
        for (int first = 0; first < texts; first += most)
        {
            await foreach ((int Text, GeneratedPiece Piece) piece in write(prompts, options, first, Math.Min(texts, first + most), cancellationToken)
                .ConfigureAwait(false))
            {
                yield return piece;
            }
        }
    }

    private async IAsyncEnumerable<(int Text, GeneratedPiece Piece)> SearchAsync(
        int[][] prompts, GenerationOptions options, int first, int end, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        (StretchRetriever? retriever, _) = await Retriever(options, cancellationToken).ConfigureAwait(false);
        BeamSearch search = new(_model, _tokenizer, retriever, options, Longest(options));
        IReadOnlyList<GeneratedPiece>[] texts = await Task.Run(
            () => search.Run(prompts[first..end], cancellationToken), cancellationToken).ConfigureAwait(false);
        for (int i = 0; i < texts.Length; i++)
        {
            foreach (GeneratedPiece piece in texts[i])
            {
                yield return (first + i, piece);
            }
        }
    }

    private async IAsyncEnumerable<(int Text, GeneratedPiece Piece)> GenerateAtOnce(
        int[][] prompts, GenerationOptions options, int first, int end, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        int samples = options.Samples;
        Range ofLot = (first / samples)..(((end - 1) / samples) + 1);
        using Activity? activity = RetroTelemetry.Activities.StartActivity("retro.generate");
        activity?.SetTag("retro.prompt_tokens", prompts[ofLot].Sum(prompt => prompt.Length));
        (StretchRetriever? retriever, _) = await Retriever(options, cancellationToken).ConfigureAwait(false);

        // One text of each prompt is read, and the others go on from there.
        (GenerationSequence Text, int Number, int Count)[] texts =
        [
            .. prompts.Index().Take(ofLot).Select(prompt =>
            {
                int number = Math.Max(first, prompt.Index * samples), count = Math.Min(end, (prompt.Index + 1) * samples) - number;
                GenerationSequence text = new(_tokenizer, retriever, options.OfText(number), prompt.Item, Longest(options)) { Activity = activity };
                return (text, number, count);
            }),
        ];
        List<(int Text, GeneratedPiece Piece)> found = await Task.Run(
            () => texts.SelectMany(text =>
            {
                IReadOnlyList<GeneratedPiece> of = text.Text.Begin(whole: true, cancellationToken);
                return Enumerable.Range(text.Number, text.Count).SelectMany(number => of.Select(piece => (number, piece)));
            }).ToList(),
            cancellationToken).ConfigureAwait(false);
        foreach ((int Text, GeneratedPiece Piece) piece in found)
        {
            yield return piece;
        }

        SharedBatch batch = BatchesCalls ? _batch.Value : new(_model, Prefixes);
        await foreach ((int Text, GeneratedPiece Piece) piece in batch.ContinueAsync(texts, options, cancellationToken).ConfigureAwait(false))
        {
            yield return piece;
        }
    }

    private async IAsyncEnumerable<(int Text, GeneratedPiece Piece)> GenerateInTurn(
        int[][] prompts, GenerationOptions options, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        for (int i = 0; i < prompts.Length * options.Samples; i++)
        {
            await foreach (GeneratedPiece piece in ContinueAsync(prompts[i / options.Samples], options.OfText(i), cancellationToken).ConfigureAwait(false))
            {
                yield return (i, piece);
            }
        }
    }

    // Where the caller's thread is the pool's already, bound to nothing else, and nobody waits for one, right there: to hand each token to another one takes
    // longer than many a token. Where somebody waits, behind what waits: a text that never gave its thread back would let others wait for its end.
    internal static ValueTask<T> OnPool<T>(Func<T> work, CancellationToken cancellationToken)
        => Thread.CurrentThread.IsThreadPoolThread && SynchronizationContext.Current is null && TaskScheduler.Current == TaskScheduler.Default
            && ThreadPool.PendingWorkItemCount == 0
                ? new(work())
                : new(Task.Factory.StartNew(
                    work, cancellationToken, TaskCreationOptions.PreferFairness | TaskCreationOptions.DenyChildAttach, TaskScheduler.Default));

    /// <param name="capacity">Tokens to reserve memory for.</param>
    /// <param name="retriever">Finds neighbors; null: none are read.</param>
    /// <param name="unread">Documents that a reader passes over which looks up by itself; null: it looks up nothing at all.</param>
    /// <param name="options">How often neighbors are asked for, and whether they are given.</param>
    private IDecoding Decoding(int capacity, StretchRetriever? retriever, HashSet<int>? unread, GenerationOptions options) => _reader switch
    {
        CopyReader => new CopyDecoding(Copying(options)!, capacity, retriever, unread ?? []),
        PromptReader prompting when retriever is not null => new PromptDecoding(prompting, retriever.Stride),
        DecoupledReader own when retriever is not null => new DecoupledDecoding(own, capacity, retriever.Stride),
        NearestNeighborReader nearest when unread is not null => new NearestNeighborDecoding(nearest, capacity, unread),
        null when Refreshes(options) => new RefreshedDecoding(_model, _tokenizer.BeginOfText, capacity, retriever!.Stride),
        _ => new ModelDecoding(_model, capacity),
    };

    /// <summary>The reader that copies; of passages that are given, which stand for all that would be found, from these alone. Null: nothing copies.</summary>
    private CopyReader? Copying(GenerationOptions options)
        => _reader is CopyReader copying && options.Passages.Count > 0 ? (CopyReader)copying.FromNeighborsAlone : _reader as CopyReader;

    private static void CheckTokenizer(RetroTokenizer tokenizer, RetroModel model)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        if (!PaddedVocabulary.HasRows(tokenizer, model.Config.VocabularySize))
        {
            throw new RetroException(
                $"The tokenizer has {tokenizer.VocabularySize} tokens, the model {model.Config.VocabularySize}; " +
                "take the tokenizer that the model was trained with.");
        }

        model.RequireTokenizer(tokenizer.Hashes);
    }

    private static ChunkDatabase DatabaseOf(INeighborSource source, string use, string instead)
        => source.Database
            ?? throw new ArgumentException($"The source {source.Name} has no database to {use} from; give one that has, or {instead}.", nameof(source));

    private async ValueTask<int[]> Excluded(IReadOnlyList<string> ids, CancellationToken cancellationToken)
    {
        if (ids.Count == 0)
        {
            return [];
        }

        return await Task.Run(
            () =>
            {
                // Texts that begin meanwhile wait for the one reading.
                lock (_lock)
                {
                    _documents ??= new(_database!, cancellationToken);
                }

                return _documents.Of(ids);
            },
            cancellationToken).ConfigureAwait(false);
    }
}
