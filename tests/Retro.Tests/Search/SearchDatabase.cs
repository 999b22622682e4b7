using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Vectors;
using Retro.Vectors;

namespace Retro.Tests.Search;

/// <summary>A small database of byte tokens with keys that need no model: the mean of a fixed random vector for each token.</summary>
internal sealed class SearchDatabase : IDisposable
{
    public const int Dimensions = 24;
    public const string KeyIdentity = "mean of random vectors";

    private static readonly float[] s_tokenVectors = TestVectors.Random(257, Dimensions, seed: 99);
    private readonly TestDatabases _folders = new();

    public SearchDatabase(IEnumerable<Document> documents, int chunkLength = 8)
    {
        Database = _folders.Build(documents, chunkLength);
        for (long chunk = 0; chunk < Database.ChunkCount; chunk++)
        {
            Chunks.Add(Database.Tokens(chunk)[..Database.TokenCount(chunk)].ToArray());
        }

        AllKeys = Chunks.SelectMany(KeyOf).ToArray();
    }

    public ChunkDatabase Database { get; }

    public List<int[]> Chunks { get; } = [];

    public float[] AllKeys { get; }

    /// <summary>How many keys were made.</summary>
    public int KeysMade { get; private set; }

    public static List<Document> Documents(int count, int seed, int maximumLength = 60)
        => TestDatabases.Documents(count, seed, maximumLength).Where(document => document.Text.Length > 0).ToList();

    public static float[] KeyOf(int[] tokens)
    {
        float[] key = new float[Dimensions];
        for (int j = 0; j < Dimensions; j++)
        {
            double sum = 0;
            foreach (int token in tokens)
            {
                sum += s_tokenVectors[token * Dimensions + j];
            }

            key[j] = (float)(sum / tokens.Length);
        }

        return key;
    }

    public void Keys(IReadOnlyList<ReadOnlyMemory<int>> chunks, Span<float> keys, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        KeysMade += chunks.Count;
        for (int i = 0; i < chunks.Count; i++)
        {
            KeyOf(chunks[i].ToArray()).CopyTo(keys[(i * Dimensions)..]);
        }
    }

    /// <summary>The function that makes the keys of any database of byte tokens.</summary>
    /// <param name="told">Told how many are made.</param>
    public static TestKeyer AnyKeyer(Action<int>? told = null) => new(
        (chunks, keys, _) =>
        {
            told?.Invoke(chunks.Count);
            for (int i = 0; i < chunks.Count; i++)
            {
                KeyOf(chunks[i].ToArray()).CopyTo(keys[(i * Dimensions)..]);
            }
        },
        Dimensions,
        KeyIdentity);

    /// <summary>The function that made the keys, known by a name.</summary>
    public TestKeyer Keyer(string identity = KeyIdentity) => new(Keys, Dimensions, identity);

    public VectorIndex Index(string factory = "Flat", VectorMetric metric = VectorMetric.SquaredL2, string parameters = "")
    {
        VectorIndex index = VectorIndex.Create(Dimensions, factory, metric, parameters: parameters);
        index.Train(AllKeys);
        index.Add(AllKeys);
        return index;
    }

    public DenseNeighborSource Dense(VectorIndex index) => new(Database, index, Keyer());

    public Bm25Index Keywords() => Bm25Index.Build(Database.ChunkCount, chunk => KeywordNeighborSource.TermsOf(Database, chunk));

    /// <summary>The queries that the database's own chunks make, each without its own document.</summary>
    public NeighborQuery[] OwnQueries()
        => Enumerable.Range(0, Chunks.Count).Select(chunk => new NeighborQuery(Chunks[chunk], [Database.DocumentOf(chunk)])).ToArray();

    /// <summary>The nearest chunks outside of documents by comparing with all.</summary>
    public long[] Nearest(int[] tokens, int count, params int[] without) => TestVectors.Nearest(AllKeys, KeyOf(tokens), Chunks.Count)
        .Where(pair => !without.Contains(Database.DocumentOf(pair.Id)))
        .Select(pair => pair.Id)
        .Take(count)
        .ToArray();

    /// <summary>Checks that chunks are those of <see cref="Nearest"/> up to ties.</summary>
    public void AssertNearest(int[] tokens, ReadOnlySpan<long> came, params int[] without)
    {
        long[] expected = new long[came.Length], chunks = came.ToArray();
        expected.AsSpan().Fill(-1);
        Nearest(tokens, came.Length, without).CopyTo(expected, 0);
        Dictionary<long, float> distances = TestVectors.Nearest(AllKeys, KeyOf(tokens), Chunks.Count)
            .ToDictionary(pair => pair.Id, pair => (float)pair.Distance);
        float[] Scores(long[] ids) => [.. ids.Select(id => id < 0 ? float.NaN : distances[id])];
        NeighborResults.AssertSame((expected, Scores(expected)), (chunks, Scores(chunks)), chunks.Length);
        Assert.DoesNotContain(chunks, chunk => chunk >= 0 && without.Contains(Database.DocumentOf(chunk)));
    }

    public string this[string file] => Path.Combine(Database.Folder, file);

    public void Dispose()
    {
        Database.Dispose();
        _folders.Dispose();
    }
}
