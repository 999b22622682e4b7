using System.Diagnostics;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;

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
public sealed class RetroGenerator
{
    private readonly RetroModel _model;
    private readonly IReader? _reader;
    private readonly RetroTokenizer _tokenizer;
    private readonly ChunkDatabase? _database;
    private readonly INeighborSource? _source;
    private readonly StretchPlan? _plan;
    private readonly Lock _lock = new();
    private ExcludedDocuments? _documents;

    /// <summary>Creates a generator.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokenizer">The tokenizer that it was trained with.</param>
    /// <param name="database">The database to read from; null to generate without retrieval.</param>
    /// <param name="source">Finds chunks of the database; null to generate without retrieval.</param>
    /// <exception cref="ArgumentException">Only one of database and source was given, or the source searches another database.</exception>
    /// <exception cref="DatabaseException">The database was made with another tokenizer or chunk length.</exception>
    /// <exception cref="RetroException">The tokenizer has more tokens than the model.</exception>
    public RetroGenerator(RetroModel model, RetroTokenizer tokenizer, ChunkDatabase? database = null, INeighborSource? source = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        CheckTokenizer(tokenizer, model);
        if ((database is null) != (source is null))
        {
            throw new ArgumentException(
                "To read from a database takes both the database and a source that searches it; give both or neither.",
                database is null ? nameof(database) : nameof(source));
        }

        if (source?.Database is { } searched && searched != database)
        {
            throw new ArgumentException(
                $"The source {source.Name} searches the database {searched.Folder}, but the text is to be read from {database!.Folder}; give the same one.",
                nameof(source));
        }

        database?.RequireTokenizer(tokenizer);
        if (model.Config.Retrieval is { } retrieval)
        {
            database?.RequireChunkLength(retrieval.ChunkLength);
            _plan = new(retrieval.Neighbors, retrieval.RetrievedLength, retrieval.ChunkLength, retrieval.ChunkLength);
        }

        _model = model;
        _tokenizer = tokenizer;
        _database = database;
        _source = source;
    }

    /// <summary>
    /// Creates a generator that reads as a reader does: tokens are drawn from its distribution, and neighbors are asked for after as many tokens, and with as
    /// many of the last ones of prompt and text, as in evaluation. The model's own cross-attention reads none, but for a RETRO's reader.
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
    /// <exception cref="RetroException">The tokenizer has more tokens than the model.</exception>
    public RetroGenerator(IReader reader, RetroTokenizer tokenizer, INeighborSource? source = null)
    {
        ArgumentNullException.ThrowIfNull(reader);
        _model = ModelOf(reader)
            ?? throw new ArgumentException(
                $"{reader.Name} reads whole texts alone and cannot go on token by token; give a reader that can, such as a {nameof(CopyReader)} or an "
                    + $"{nameof(InContextReader)}, or generate with the model itself.",
                nameof(reader));
        CheckTokenizer(tokenizer, _model);
        if (source is null != (reader.Neighbors == 0))
        {
            throw new ArgumentException(
                source is null
                    ? $"{reader.Name} reads neighbors; give a source that finds them."
                    : $"{reader.Name} reads no neighbors that it is given; give no source.",
                nameof(source));
        }

        _reader = reader;
        _tokenizer = tokenizer;
        _source = source;
        if (source is null)
        {
            _database = reader.Database;
            _database?.RequireTokenizer(tokenizer);
            return;
        }

        _database = source.Database
            ?? throw new ArgumentException(
                $"The source {source.Name} has no database to {(reader is CopyReader ? "copy" : "read")} from; give one that has, or generate with the model "
                    + "alone.",
                nameof(source));
        _database.RequireTokenizer(tokenizer);
        if (reader is CopyReader { Index: { } index } && index.Database != _database)
        {
            throw new ArgumentException(
                $"The reader copies from anywhere in {index.Database.Folder}, and the source searches {_database.Folder}; " +
                "give a source over the database that the reader's index was built of.",
                nameof(source));
        }

        int chunkLength = _database.ChunkLength;
        if (reader is RetroReader)
        {
            _database.RequireChunkLength(reader.ChunkLength!.Value);
        }

        _plan = new(
            reader.Neighbors, reader.RetrievedLength ?? (2 * chunkLength), reader.ChunkLength ?? chunkLength, reader.QueryLength ?? chunkLength);
        if (reader is PromptReader prompts)
        {
            prompts.Prompt.RequireRoomFor(_plan.Stride, reader.Name, prompts.CrossAttended > 0);
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
    /// <exception cref="ArgumentException">The prompt is longer than the model's positions reach.</exception>
    /// <exception cref="RetroException">The model's logits are not numbers.</exception>
    /// <exception cref="OperationCanceledException">The work was canceled.</exception>
    public IAsyncEnumerable<GeneratedPiece> GenerateAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        options = (options ?? new GenerationOptions()).Validate();
        if (_reader is { Neighbors: > 0 } && options.Neighbors > _reader.Neighbors)
        {
            throw new RetroOptionsException(
                nameof(GenerationOptions),
                [$"Neighbors {options.Neighbors} has to be at most {_reader.Neighbors}, as many as the reader reads."]);
        }

        int[] tokens = [_tokenizer.BeginOfText, .. _tokenizer.Encode(prompt)];
        if (_model.Config.MaximumLength is int longest && tokens.Length > longest)
        {
            throw new ArgumentException($"The prompt has {tokens.Length} tokens, the model takes at most {longest}; shorten it.", nameof(prompt));
        }

        return ContinueAsync(tokens, options, cancellationToken);
    }

    /// <summary>The model that a reader goes on token by token with; null: it cannot.</summary>
    internal static RetroModel? ModelOf(IReader reader) => reader switch
    {
        RetroReader retro => retro.Model,
        DecoderReader alone => alone.Model,
        CopyReader copying => copying.Model,
        PromptReader prompting => prompting.Model,
        DecoupledReader own => own.Model,
        NearestNeighborReader nearest => nearest.Model,
        _ => null,
    };

    /// <summary>Continues a prompt of tokens, the first of which begins a text.</summary>
    /// <param name="prompt">The prompt.</param>
    /// <param name="options">How to continue it.</param>
    /// <param name="cancellationToken">Ends the work before the next token.</param>
    internal async IAsyncEnumerable<GeneratedPiece> ContinueAsync(
        int[] prompt, GenerationOptions options, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using Activity? activity = RetroTelemetry.Activities.StartActivity("retro.generate");
        activity?.SetTag("retro.prompt_tokens", prompt.Length);

        // All tensors live inside of one call of Read or Next, or in the cache; none is open while the caller has the thread.
        bool reads = options.Retrieval && _database is not null && (_plan is not null || _reader is not null);
        int[] excluded = reads ? await Excluded(options.ExcludedDocuments, cancellationToken).ConfigureAwait(false) : [];
        StretchRetriever? retriever = reads && _plan is not null
            ? new StretchRetriever(_tokenizer, _database!, _source!, _plan with { Neighbors = options.Neighbors ?? _plan.Neighbors }, excluded, options.Labels)
            : null;

        // What looks up by itself, and in no source, passes over all that may not be seen.
        HashSet<int>? unread = reads && _reader is CopyReader or NearestNeighborReader
            ? await Task.Run<HashSet<int>>(() => [.. excluded, .. _database!.Labels.Hidden(options.Labels)], cancellationToken).ConfigureAwait(false)
            : null;
        using GenerationSequence sequence = new(
            _model, capacity => Decoding(capacity, retriever, unread), _tokenizer, retriever, options, prompt)
        {
            Activity = activity,
        };
        foreach (GeneratedPiece piece in await Task.Run(() => sequence.Read(cancellationToken), cancellationToken).ConfigureAwait(false))
        {
            yield return piece;
        }

        GeneratedPiece next;
        do
        {
            cancellationToken.ThrowIfCancellationRequested();
            next = await Task.Run(() => sequence.Next(cancellationToken), cancellationToken).ConfigureAwait(false);
            yield return next;
        }
        while (next.End is null);
    }

    /// <param name="capacity">Tokens to reserve memory for.</param>
    /// <param name="retriever">Finds neighbors; null: none are read.</param>
    /// <param name="unread">Documents that a reader passes over which looks up by itself; null: it looks up nothing at all.</param>
    private IDecoding Decoding(int capacity, StretchRetriever? retriever, HashSet<int>? unread) => _reader switch
    {
        CopyReader copying => new CopyDecoding(copying, capacity, retriever is null ? null : unread),
        PromptReader prompting when retriever is not null => new PromptDecoding(prompting, capacity, retriever.Stride),
        DecoupledReader own when retriever is not null => new DecoupledDecoding(own, capacity, retriever.Stride),
        NearestNeighborReader nearest when unread is not null => new NearestNeighborDecoding(nearest, capacity, unread),
        _ => new ModelDecoding(_model, capacity),
    };

    private static void CheckTokenizer(RetroTokenizer tokenizer, RetroModel model)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        if (tokenizer.VocabularySize > model.Config.VocabularySize)
        {
            throw new RetroException(
                $"The tokenizer has {tokenizer.VocabularySize} tokens, the model {model.Config.VocabularySize}; " +
                "take the tokenizer that the model was trained with.");
        }
    }

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
