using System.Text.Json;
using Retro.Search;
using Retro.Tests.Search;
using Retro.Vectors;

namespace Retro.Tests.Vectors;

/// <summary>Index files written by Python's faiss open and give its answers, in every fixture folder that has a <c>faiss</c> folder.</summary>
public class FaissFileTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData("flat-l2", null)]
    [InlineData("flat-ip", null)]
    [InlineData("ivf-sq8-ip", null)]
    [InlineData("hnsw", "of the kind IHNf")]
    [InlineData("ivf-pq", null)]
    [InlineData("idmap-flat", "of the kind IxM")]
    [InlineData("opq-ivf-pq", null)]
    public void Files_of_kinds_that_are_not_made_by_size_are_told(string name, string? fault)
    {
        string path = Path.Combine(Fixtures.Own, "faiss", name + ".faissindex");
        if (fault is not null)
        {
            Assert.Contains(fault, FaissFile.FaultOf(path), StringComparison.Ordinal);
            return;
        }

        Assert.Null(FaissFile.FaultOf(path));
        using TemporaryFolder folder = new();
        byte[] whole = File.ReadAllBytes(path);
        for (int length = 0; length < whole.Length; length += length < 1024 ? 1 : 997)
        {
            Assert.NotNull(FaissFile.FaultOf(folder.File("cut", whole[..length])));
        }

        Assert.NotNull(FaissFile.FaultOf(folder.File("longer", [.. whole, 0])));

        if (name == "ivf-sq8-ip")
        {
            // What follows the quantizer, 8 bytes of lists' map aside: kind of codes, their sizes, the learned ranges' number.
            int codes = whole.AsSpan(0, whole.Length - 8).LastIndexOf("ilar"u8) - 9 - (2 * BitConverter.ToInt32(whole, 4) * sizeof(float)) - 36;
            Assert.Equal(0, whole[codes - 9]); // FAISS reads a map behind the vector where this is 2
            foreach (int place in new[] { codes - 9, codes - 8, codes, codes + 12, codes + 20, codes + 28, whole.AsSpan().LastIndexOf("ilar"u8) - 9 })
            {
                byte[] changed = [.. whole];
                changed[place]++;
                Assert.NotNull(FaissFile.FaultOf(folder.File("changed", changed)));
            }
        }

        // Sizes: dimensions, vectors, numbers.
        foreach (int place in new[] { 4, 8, 37, 41 })
        {
            byte[] changed = [.. whole];
            changed[place + 3] = 0x7f;
            Assert.NotNull(FaissFile.FaultOf(folder.File("changed", changed)));
        }
    }

    [Fact]
    public void What_is_made_by_size_for_many_chunks_is_of_a_kind_that_opens()
    {
        using TemporaryFolder folder = new();
        foreach (string factory in new[] { "IVF4,Flat", "IVF4,SQ8", "IVF4,PQ4np", "OPQ4,IVF4,PQ4np", "Flat" })
        {
            using VectorIndex index = VectorIndex.Create(8, factory, engine: VectorEngine.Faiss);
            index.Train(TestVectors.Random(400, 8, seed: 1));
            index.Add(TestVectors.Random(400, 8, seed: 1));
            index.Save(folder["index"]);
            Assert.Null(FaissFile.FaultOf(folder["index"]));
        }
    }

    [Fact]
    public void An_index_of_another_kind_opens_where_it_is_named_or_trusted()
    {
        using SearchDatabase data = new(SearchDatabase.Documents(20, seed: 71));
        DenseNeighborOptions named = new() { Factory = "HNSW8" };
        DenseNeighborSource.Build(data.Database, data.Keyer(), named).Dispose();

        string message = Assert.Throws<DatabaseException>(() => DenseNeighborSource.Open(data.Database, data.Keyer())).Message;
        Assert.Contains("of the kind IHNf", message, StringComparison.Ordinal);
        Assert.Contains("HNSW8", message, StringComparison.Ordinal);
        Assert.Throws<DatabaseException>(() => DenseNeighborSource.Open(data.Database, data.Keyer(), new() { MemoryMapped = true }));
        DenseNeighborSource.Open(data.Database, data.Keyer(), named).Dispose();
        DenseNeighborSource.Open(data.Database, data.Keyer(), new() { TrustIndexFile = true }).Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Index_files_of_another_faiss_open_and_give_the_stored_answers(bool memoryMapped)
    {
        List<string> folders = Fixtures.Folders()
            .Select(folder => Path.Combine(folder, "faiss"))
            .Where(folder => File.Exists(Path.Combine(folder, "expected.json")))
            .ToList();
        Assert.True(folders.Count > 0, "No fixture folder holds a folder faiss with an expected.json.");
        foreach (string folder in folders)
        {
            using JsonDocument expected = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "expected.json")));
            int k = expected.RootElement.GetProperty("k").GetInt32();
            (float[] queries, int[] shape) = NpyFile.Read<float>(Path.Combine(folder, "queries.npy"), "f4");
            foreach (JsonProperty entry in expected.RootElement.GetProperty("indexes").EnumerateObject())
            {
                string path = Path.Combine(folder, entry.Name + ".faissindex");
                output.WriteLine(path);
                using VectorIndex index = VectorIndex.Open(path, memoryMapped, entry.Value.GetProperty("parameters").GetString() ?? "", trusted: true);
                Assert.Equal(entry.Value.GetProperty("d").GetInt32(), index.Dimensions);
                Assert.Equal(entry.Value.GetProperty("ntotal").GetInt64(), index.Count);
                Assert.Equal(
                    Enum.Parse<VectorMetric>(entry.Value.GetProperty("metric").GetString()!.Replace("L2", "SquaredL2", StringComparison.Ordinal)),
                    index.Metric);
                Assert.True(index.IsTrained);
                Assert.Equal(shape[1], index.Dimensions);

                long[] ids = new long[shape[0] * k];
                float[] distances = new float[ids.Length];
                index.Search(queries, k, ids, distances);

                (long[] expectedIds, int[] idShape) = NpyFile.Read<long>(Path.Combine(folder, entry.Name + ".ids.npy"), "i8");
                (float[] expectedDistances, _) = NpyFile.Read<float>(Path.Combine(folder, entry.Name + ".distances.npy"), "f4");
                Assert.Equal([shape[0], k], idShape);
                Assert.Equal(expectedIds, ids);
                for (int i = 0; i < distances.Length; i++)
                {
                    Assert.True(
                        Math.Abs(expectedDistances[i] - distances[i]) <= 5e-5, $"{path}: distance {i} is {distances[i]}, expected {expectedDistances[i]}.");
                }
            }
        }
    }
}
