using System.Text.Json;
using Retro.Search;

namespace Retro.Tests.Search;

/// <summary>Index files written by Python's faiss open and give its answers, in every fixture folder that has a <c>faiss</c> folder.</summary>
public class FaissFileTests(ITestOutputHelper output)
{
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
                using VectorIndex index = VectorIndex.Open(path, memoryMapped, entry.Value.GetProperty("parameters").GetString() ?? "");
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
