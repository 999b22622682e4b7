using Retro.Database;
using Retro.Search;
using Retro.Tests.Build;
using Retro.Tests.Database;
using Retro.Tests.Search;
using Retro.Vectors;

namespace Retro.Tests.Vectors;

/// <summary>What a program does that finds no libfaiss_c: tests of this class run in a process of their own, in a folder without it.</summary>
public class MissingFaissTests
{
    private const string DatabaseVariable = "RETRO_TEST_DATABASE";

    [Fact]
    public void Without_its_library_a_program_searches_exactly()
    {
        Assert.SkipWhen(!FaissNative.IsLoaded, "There is no libfaiss_c to leave out.");
        using TemporaryFolder folder = new();
        using SearchDatabase data = new(SearchDatabase.Documents(20, seed: 61));
        DenseNeighborSource.Build(data.Database, data.Keyer()).Dispose();
        TestDatabases.Copy(data.Database.Folder, folder["db"]);
        string program = Directory.CreateDirectory(folder["program"]).FullName;
        foreach (string file in Directory.GetFiles(AppContext.BaseDirectory).Where(file => Path.GetExtension(file) is ".dll" or ".json"))
        {
            File.Copy(file, Path.Combine(program, Path.GetFileName(file)));
        }

        (int exitCode, string output) = Tool.Run(
            "dotnet",
            program,
            new Dictionary<string, string?> { [DatabaseVariable] = folder["db"] },
            ["Retro.Tests.dll", .. ChildTest.Arguments(An_index_of_FAISS_is_refused_in_a_sentence_and_building_again_makes_an_exact_one)]);

        Assert.True(exitCode == 0 && output.Contains("Total: 1, Errors: 0, Failed: 0, Skipped: 0", StringComparison.Ordinal), output);
        using ChunkDatabase made = ChunkDatabase.Open(folder["db"], verify: true);
        using VectorIndex exact = VectorIndexFile.Open(made);
        using VectorIndex faiss = VectorIndexFile.Open(data.Database);
        Assert.Equal((VectorEngine.Exact, VectorEngine.Faiss), (exact.Engine, faiss.Engine));
        Assert.Equal(data.Dense(faiss).Ask(data.OwnQueries(), 3).Chunks, data.Dense(exact).Ask(data.OwnQueries(), 3).Chunks);
    }

    [Fact(Explicit = true)]
    public void An_index_of_FAISS_is_refused_in_a_sentence_and_building_again_makes_an_exact_one()
    {
        Assert.False(FaissNative.IsLoaded, "This test is for a folder without libfaiss_c; the other one makes such a folder and runs it.");
        using ChunkDatabase database = ChunkDatabase.Open(ChildTest.Given(DatabaseVariable));
        string refused = Assert.Throws<FaissException>(() => VectorIndexFile.Open(database)).Message;
        Assert.Contains("index.faiss was made by FAISS", refused, StringComparison.Ordinal);
        Assert.Contains("build the index again, which makes an exact one", refused, StringComparison.Ordinal);
        Assert.Contains("libfaiss_c", Assert.Throws<FaissException>(() => VectorIndex.Create(4, engine: VectorEngine.Faiss)).Message, StringComparison.Ordinal);
        Assert.Contains("IVF4,Flat", Assert.Throws<FaissException>(() => VectorIndex.Create(4, "IVF4,Flat")).Message, StringComparison.Ordinal);

        List<string> messages = [];
        Reports<StageProgress> reports = new(report =>
        {
            if (report.Message is { } message)
            {
                messages.Add(message);
            }
        });
        VectorIndexFile.Build(database, progress: reports).Dispose();
        VectorIndexFile.Build(database, progress: reports).Dispose();
        Assert.Contains("exact", Assert.Single(messages), StringComparison.Ordinal);
        Assert.Equal("exact", database.Manifest.Find("index.faiss")!.Details["factory"]);
        using VectorIndex index = VectorIndexFile.Open(database);
        Assert.Equal(VectorEngine.Exact, index.Engine);
    }
}
