using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Cli.Workflow;

/// <summary>What is trained on, read from and measured on: a corpus cut into two databases, and the neighbors of both by their words.</summary>
/// <param name="corpus">The documents.</param>
/// <param name="tokenizer">Trained on those to train on.</param>
/// <param name="database">The documents to train on and to retrieve from.</param>
/// <param name="heldOut">The documents to measure on.</param>
internal sealed class EvaluationData(SampleCorpus corpus, RetroTokenizer tokenizer, ChunkDatabase database, ChunkDatabase heldOut) : IDisposable
{
    /// <summary>Held-out documents from which a difference of 1 % is seen.</summary>
    internal const int LeastHeldOut = 60;

    private const int Vocabulary = 2048;

    /// <summary>The documents.</summary>
    public SampleCorpus Corpus { get; } = corpus;

    /// <summary>Trained on the documents to train on.</summary>
    public RetroTokenizer Tokenizer { get; } = tokenizer;

    /// <summary>The documents to train on and to retrieve from.</summary>
    public ChunkDatabase Database { get; } = database;

    /// <summary>The documents to measure on; none of them, nor anything that nearly repeats or contains one, is in <see cref="Database"/>.</summary>
    public ChunkDatabase HeldOut { get; } = heldOut;

    /// <summary>Finds neighbors for the last tokens of a text.</summary>
    public required KeywordNeighborSource Keyword { get; init; }

    /// <summary>Neighbors of the database's chunks, from other documents.</summary>
    public required NeighborTable Neighbors { get; init; }

    /// <summary>Neighbors of the held-out chunks.</summary>
    public required NeighborTable Found { get; init; }

    /// <summary>As many neighbors of the held-out chunks, drawn at random.</summary>
    public required NeighborTable Random { get; init; }

    /// <summary>Makes all of it, stage by stage. The split has one seed, so that trainings differ and not what they are measured on.</summary>
    /// <param name="corpus">The documents.</param>
    /// <param name="folder">Where the tokenizer and the databases are written.</param>
    /// <param name="startOver">Whether databases that lie there are built anew.</param>
    /// <param name="neighbors">Neighbors of each chunk.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static EvaluationData Make(SampleCorpus corpus, string folder, bool startOver, int neighbors, CancellationToken cancellationToken)
    {
        RetroTokenizer tokenizer = TrainTokenizer(corpus.Training, folder, cancellationToken);
        return Of(corpus, corpus.Training, tokenizer, folder, startOver, neighbors, 1, cancellationToken);
    }

    /// <summary>Makes the databases and the neighbors.</summary>
    /// <param name="corpus">The documents.</param>
    /// <param name="retrieved">Those that are retrieved from, all or some of those to train on.</param>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="folder">Where the databases are written.</param>
    /// <param name="startOver">Whether databases that lie there are built anew.</param>
    /// <param name="neighbors">Neighbors of each chunk.</param>
    /// <param name="seed">Seed of the random neighbors.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static EvaluationData Of(
        SampleCorpus corpus,
        IReadOnlyList<Document> retrieved,
        RetroTokenizer tokenizer,
        string folder,
        bool startOver,
        int neighbors,
        long seed,
        CancellationToken cancellationToken)
    {
        ChunkDatabase database = Cut("cut chunks", Path.Combine(folder, "database"), retrieved, tokenizer, cancellationToken, startOver);
        ChunkDatabase heldOut = Cut("cut held-out chunks", Path.Combine(folder, "held-out"), corpus.HeldOut, tokenizer, cancellationToken, startOver);
        Stages.Run("look for held-out documents in the database", progress =>
            Retro.Search.HeldOut.Require(heldOut, database, tokenizer, progress: progress, cancellationToken: cancellationToken));
        KeywordNeighborSource keyword = Words(database, cancellationToken);
        return new(corpus, tokenizer, database, heldOut)
        {
            Keyword = keyword,
            Neighbors = Stages.Make(
                "find neighbors",
                progress => NeighborTable.Build(database, keyword, neighbors, progress: progress, cancellationToken: cancellationToken),
                cancellationToken),
            Found = Stages.Make(
                "find held-out neighbors",
                progress => NeighborTable.Build(heldOut, keyword, neighbors, excludeOwnDocument: false, progress, cancellationToken),
                cancellationToken),
            Random = Stages.Make(
                "draw random neighbors",
                progress => NeighborTable.Build(
                    heldOut, new RandomNeighborSource(database, seed), neighbors, excludeOwnDocument: false, progress, cancellationToken),
                cancellationToken),
        };
    }

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
        Random.Dispose();
        Found.Dispose();
        Neighbors.Dispose();
        Keyword.Dispose();
        HeldOut.Dispose();
        Database.Dispose();
    }
}
