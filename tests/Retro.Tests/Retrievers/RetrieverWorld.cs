using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tokenizers;

namespace Retro.Tests.Retrievers;

/// <summary>
/// Texts in which what follows is known and the words for it are not: a document begins with words of a topic and goes on with others of the same topic, and
/// the passages have the others alone. An embedder that knows words alone finds nothing.
/// </summary>
internal sealed class RetrieverWorld : IDisposable
{
    public const int M = 16, Topics = 8;

    private readonly TemporaryFolder _root = new();

    public RetrieverWorld(Func<Random, IEnumerable<Document>>? passages = null, Func<Random, IEnumerable<Document>>? examples = null)
    {
        Random random = new(8);
        Embedder = new(new TextEncoder(EmbeddingInputs.Tiny, 3), Tokenizer);
        Passages = Build(
            "passages", passages?.Invoke(random) ?? Enumerable.Range(0, Topics * 5).Select(i => new Document($"p{i}", "", Words(i, true, random), "")));
        Examples = Build("examples", examples?.Invoke(random) ?? Texts("e", Topics * 12, random));
        HeldOut = Build("held", Texts("h", Topics * 5, new Random(99)));
        Source = DenseNeighborSource.Build(Passages, new ChunkKeyer(Tokenizer, Embedder));
    }

    public static RetroTokenizer Tokenizer => EmbeddingInputs.Tokenizer;

    public static UnigramReader Reader(int neighbors = 4) => new(Tokenizer.VocabularySize, neighbors);

    public static RetrieverTrainingOptions Options { get; } = new() { Steps = 4, BatchSize = 6, Neighbors = 4, WindowLength = 3 * M, LearningRate = 3e-3 };

    public TextEmbedder Embedder { get; }

    public ChunkDatabase Passages { get; }

    public ChunkDatabase Examples { get; }

    public ChunkDatabase HeldOut { get; }

    public DenseNeighborSource Source { get; }

    public string this[string name] => _root[name];

    public static IEnumerable<Document> Texts(string name, int count, Random random)
        => Enumerable.Range(0, count).Select(i => new Document($"{name}{i}", "", Words(i, false, random) + Words(i, true, random), "")).ToArray();

    public static string Words(int topic, bool second, Random random)
    {
        Random naming = new(100 + (topic % Topics));
        string[] words = [.. Enumerable.Range(0, 8).Select(_ => new string([.. Enumerable.Range(0, 2).Select(_ => (char)('a' + naming.Next(26)))]))];
        return string.Concat(Enumerable.Range(0, 10).Select(_ => words[(second ? 4 : 0) + random.Next(4)] + " "));
    }

    public ChunkDatabase Build(string name, IEnumerable<Document> documents)
        => ChunkDatabaseBuilder.Build(_root[name], documents, Tokenizer, new ChunkDatabaseOptions { ChunkLength = M });

    public RetrieverTrainer Trainer(RetrieverObjective? objective = null, RetrieverTrainingOptions? options = null)
        => new(
            Embedder, Tokenizer, Source, Reader(), objective ?? RetrieverObjective.LanguageModelSupervision(), options ?? Options, Examples, HeldOut);

    public void Dispose()
    {
        Source.Dispose();
        Passages.Dispose();
        Examples.Dispose();
        HeldOut.Dispose();
        Embedder.Dispose();
        _root.Dispose();
    }
}

/// <summary>A world that no test changes.</summary>
public sealed class SharedRetrieverWorld : IDisposable
{
    internal RetrieverWorld World { get; } = new();

    /// <inheritdoc/>
    public void Dispose() => World.Dispose();
}
