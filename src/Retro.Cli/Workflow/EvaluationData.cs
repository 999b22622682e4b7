using Retro.Corpora;
using Retro.Database;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Cli.Workflow;

/// <summary>What is trained on, read from and measured on: a corpus cut into two databases, and what is found in them.</summary>
internal sealed class EvaluationData : IDisposable
{
    /// <summary>Held-out documents from which a difference of 1 % is seen.</summary>
    internal const int LeastHeldOut = 60;

    private const int Vocabulary = 2048;

    private readonly int _neighbors;
    private readonly CancellationToken _cancellationToken;
    private readonly Stack<IDisposable> _owned = [];
    private readonly Lazy<NeighborTable> _found, _random;
    private readonly Lazy<(TokenIndex Index, double[] Precisions)> _runs;

    private EvaluationData(
        SampleCorpus corpus,
        IReadOnlyList<Document> retrieved,
        RetroTokenizer tokenizer,
        string folder,
        bool startOver,
        int neighbors,
        long seed,
        CancellationToken cancellationToken)
    {
        (Corpus, Tokenizer, _neighbors, _cancellationToken) = (corpus, tokenizer, neighbors, cancellationToken);
        Database = Own(Cut("cut chunks", Path.Combine(folder, "database"), retrieved, tokenizer, cancellationToken, startOver));
        HeldOut = Own(Cut("cut held-out chunks", Path.Combine(folder, "held-out"), corpus.HeldOut, tokenizer, cancellationToken, startOver));
        Stages.Run("look for held-out documents in the database", progress =>
            Retro.Search.HeldOut.Require(HeldOut, Database, tokenizer, progress: progress, cancellationToken: cancellationToken));
        Keyword = Own(Words(Database, cancellationToken));
        Neighbors = Own(Stages.Make(
            "find neighbors",
            progress => NeighborTable.Build(Database, Keyword, neighbors, progress: progress, cancellationToken: cancellationToken),
            cancellationToken));
        _found = new(() => Find(Keyword, "find held-out neighbors"));
        _random = new(() => Find(new RandomNeighborSource(Database, seed), "draw random neighbors"));
        _runs = new(() =>
        {
            TokenIndex index = Stages.Run("sort runs of tokens", progress => TokenIndex.Build(Database, progress, cancellationToken));
            return (index, Stages.Run(
                "count runs", progress => RunReader.CountPrecisions(index, progress: progress, cancellationToken: cancellationToken)));
        });
    }

    /// <summary>The documents.</summary>
    public SampleCorpus Corpus { get; }

    /// <summary>Trained on the documents to train on.</summary>
    public RetroTokenizer Tokenizer { get; }

    /// <summary>The documents to train on and to retrieve from.</summary>
    public ChunkDatabase Database { get; }

    /// <summary>The documents to measure on; none of them, nor anything that nearly repeats or contains one, is in <see cref="Database"/>.</summary>
    public ChunkDatabase HeldOut { get; }

    /// <summary>Finds neighbors for the last tokens of a text.</summary>
    public KeywordNeighborSource Keyword { get; }

    /// <summary>Neighbors of the database's chunks, from other documents, by their words.</summary>
    public NeighborTable Neighbors { get; }

    /// <summary>Neighbors of the held-out chunks, by their words; a stage of its own, as what follows, when it is first asked for.</summary>
    public NeighborTable Found => _found.Value;

    /// <summary>As many neighbors of the held-out chunks, drawn at random.</summary>
    public NeighborTable Random => _random.Value;

    /// <summary>Where runs of tokens stand in the database, and how far the longest of them is trusted.</summary>
    public (TokenIndex Index, double[] Precisions) Runs => _runs.Value;

    /// <summary>Cuts the databases, makes sure that nothing of one is in the other, and finds neighbors within the one that is trained on.</summary>
    /// <param name="corpus">The documents.</param>
    /// <param name="folder">Where the tokenizer and the databases are written.</param>
    /// <param name="neighbors">Neighbors of each chunk.</param>
    /// <param name="cancellationToken">Ends it, and all that is asked for later.</param>
    /// <param name="startOver">Whether databases that lie there are built anew.</param>
    /// <param name="retrieved">The documents that are retrieved from, some of those to train on; null: all of them.</param>
    /// <param name="tokenizer">The tokenizer; null: one is trained on the documents to train on.</param>
    /// <param name="seed">Seed of the random neighbors.</param>
    public static EvaluationData Make(
        SampleCorpus corpus,
        string folder,
        int neighbors,
        CancellationToken cancellationToken,
        bool startOver = true,
        IReadOnlyList<Document>? retrieved = null,
        RetroTokenizer? tokenizer = null,
        long seed = 1)
        => new(
            corpus,
            retrieved ?? corpus.Training,
            tokenizer ?? TrainTokenizer(corpus.Training, folder, cancellationToken),
            folder,
            startOver,
            neighbors,
            seed,
            cancellationToken);

    /// <summary>Neighbors of the held-out chunks by another source.</summary>
    /// <param name="source">The source.</param>
    /// <param name="stage">What is shown meanwhile; null: the source's name.</param>
    /// <param name="neighbors">Neighbors of each chunk; null: as many as in the other tables.</param>
    /// <returns>The table, which is closed with the databases.</returns>
    public NeighborTable Find(INeighborSource source, string? stage = null, int? neighbors = null) => Own(Stages.Make(
        stage ?? $"find held-out neighbors, {source.Name}",
        progress => NeighborTable.Build(HeldOut, source, neighbors ?? _neighbors, excludeOwnDocument: false, progress, _cancellationToken),
        _cancellationToken));

    /// <summary>Trains a tokenizer of the size that small models have.</summary>
    /// <param name="documents">What it is trained on.</param>
    /// <param name="folder">The folder in which it gets one of its own.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static RetroTokenizer TrainTokenizer(IEnumerable<Document> documents, string folder, CancellationToken cancellationToken) => Stages.Run(
        "train the tokenizer",
        progress => BpeTrainer.Train(
            documents.Select(document => document.Text), Vocabulary, Path.Combine(folder, "tokenizer"), progress, cancellationToken));

    /// <summary>Cuts documents into a database.</summary>
    /// <param name="stage">What is shown meanwhile.</param>
    /// <param name="folder">The database's folder.</param>
    /// <param name="documents">The documents.</param>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="startOver">Whether a database that lies there is built anew.</param>
    public static ChunkDatabase Cut(
        string stage, string folder, IEnumerable<Document> documents, RetroTokenizer tokenizer, CancellationToken cancellationToken, bool startOver = true)
        => Stages.Run(
            stage, progress => ChunkDatabaseBuilder.Build(folder, documents, tokenizer, new() { StartOver = startOver }, progress, cancellationToken));

    /// <summary>Indexes the words of a database.</summary>
    /// <param name="database">The database.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static KeywordNeighborSource Words(ChunkDatabase database, CancellationToken cancellationToken) => Stages.Make(
        "index words", progress => KeywordNeighborSource.Build(database, progress: progress, cancellationToken: cancellationToken), cancellationToken);

    /// <inheritdoc/>
    public void Dispose()
    {
        while (_owned.TryPop(out IDisposable? last))
        {
            last.Dispose();
        }
    }

    private T Own<T>(T made)
        where T : IDisposable
    {
        _owned.Push(made);
        return made;
    }
}
