using Retro.Database;
using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>Continues prompts, and names what the model read while it did so: whenever a chunk is complete, its neighbors are retrieved and read from its last token on (RETRO, section 2.4).</summary>
/// <remarks>
/// The text is what a document of the database would be: the end-of-text token, then the prompt. The chunks of the prompt retrieve too. Safe for concurrent use where model and source are;
/// it owns none of them.
/// </remarks>
public sealed class RetroGenerator
{
    private readonly RetroModel _model;
    private readonly RetroTokenizer _tokenizer;
    private readonly ChunkDatabase? _database;
    private readonly INeighborSource? _source;
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
        ArgumentNullException.ThrowIfNull(tokenizer);
        if (tokenizer.VocabularySize > model.Config.VocabularySize)
        {
            throw new RetroException($"The tokenizer has {tokenizer.VocabularySize} tokens, the model {model.Config.VocabularySize}; take the tokenizer that the model was trained with.");
        }

        if ((database is null) != (source is null))
        {
            throw new ArgumentException("To read from a database takes both the database and a source that searches it; give both or neither.", database is null ? nameof(database) : nameof(source));
        }

        if (source?.Database is { } searched && searched != database)
        {
            throw new ArgumentException($"The source {source.Name} searches the database {searched.Folder}, but the text is to be read from {database!.Folder}; give the same one.", nameof(source));
        }

        database?.RequireTokenizer(tokenizer);
        if (model.Config.Retrieval is { } retrieval)
        {
            database?.RequireChunkLength(retrieval.ChunkLength);
        }

        _model = model;
        _tokenizer = tokenizer;
        _database = database;
        _source = source;
    }

    /// <summary>Continues a prompt.</summary>
    /// <param name="prompt">The beginning of the text; may be empty. It is not part of what is generated.</param>
    /// <param name="options">How to continue it.</param>
    /// <param name="cancellationToken">Ends the work before the next token.</param>
    /// <returns>
    /// One piece for each chunk of the prompt that was retrieved for, one for each token, and a last one that says why the text ended. Tokens are computed on the thread pool, one after the other, as they are asked for.
    /// The first text that excludes documents reads the entries of all.
    /// </returns>
    /// <exception cref="RetroOptionsException">The options contradict themselves.</exception>
    /// <exception cref="ArgumentException">The prompt is longer than the model's positions reach.</exception>
    /// <exception cref="RetroException">The model's logits are not numbers.</exception>
    /// <exception cref="OperationCanceledException">The work was canceled.</exception>
    public IAsyncEnumerable<GeneratedPiece> GenerateAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        options = (options ?? new GenerationOptions()).Validate();
        int[] tokens = [_tokenizer.BeginOfText, .. _tokenizer.Encode(prompt)];
        if (_model.Config.MaximumLength is int longest && tokens.Length > longest)
        {
            throw new ArgumentException($"The prompt has {tokens.Length} tokens, the model takes at most {longest}; shorten it.", nameof(prompt));
        }

        return Generate(tokens, options, cancellationToken);
    }

    private async IAsyncEnumerable<GeneratedPiece> Generate(
        int[] prompt, GenerationOptions options, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        // All tensors live inside of one call of Read or Next, or in the cache; none is open while the caller has the thread.
        ChunkRetriever? retriever = options.Retrieval && _model.Config.Retrieval is { } config && _database is not null
            ? new ChunkRetriever(
                _tokenizer, _database, _source!, options.Neighbors ?? config.Neighbors, config.RetrievedLength, await Excluded(options.ExcludedDocuments, cancellationToken).ConfigureAwait(false))
            : null;
        using GenerationSequence sequence = new(_model, _tokenizer, retriever, options, prompt);
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
