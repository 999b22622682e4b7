using Retro.Cli;
using Retro.Database;
using Retro.Embedders;
using Retro.Search;
using Retro.Tests.Embedders;

namespace Retro.Tests.Cli;

/// <summary>The sources over a database that a command line names.</summary>
public sealed class SourcesTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Where the writing of one was stopped, its folder is there already.</summary>
    [Fact]
    public void A_folder_holds_an_embedder_where_its_files_are()
    {
        Directory.CreateDirectory(_folder["empty"]);
        _folder.File("bert/config.json", "{}");
        _folder.File("sentences/modules.json", "[]");
        Assert.Equal([false, false, true, true], new[] { "none", "empty", "bert", "sentences" }.Select(name => Sources.IsEmbedder(_folder[name])));
    }

    /// <summary>By the verb that makes it as by those that would make it themselves, so that none makes it anew.</summary>
    [Fact]
    public void A_vector_index_is_made_as_it_was_last_said()
    {
        (Workspace workspace, _) = Made();
        DenseNeighborOptions byDefault = new() { Threads = 1 };
        using (Sources sources = new(workspace.Folder, null, null, 1, null, default))
        {
            Assert.Equal(byDefault, sources.Keys);
        }

        workspace.Write("neighbors", new() { ["recall"] = "0.9", ["index-memory"] = "2.5" });
        using (Sources sources = new(workspace.Folder, null, null, 1, null, default))
        {
            Assert.Equal(byDefault with { Recall = 0.9, IndexMemory = 2_500_000_000 }, sources.Keys);
        }

        using (Sources sources = new(workspace.Folder, null, null, 1, null, default) { Recall = 0.99, IndexGigabytes = 1 })
        {
            Assert.Equal(byDefault with { Recall = 0.99, IndexMemory = 1_000_000_000 }, sources.Keys);
        }
    }

    /// <summary>What is ready is what is there: keys that another embedder has made are neither used nor made anew.</summary>
    [Fact]
    public void Nothing_is_made_of_what_only_has_to_be_ready()
    {
        (Workspace workspace, Retro.Tokenizers.RetroTokenizer tokenizer) = Made();
        string keys = Path.Combine(workspace.Database, "keys.bin");
        using (Sources sources = new(workspace.Folder, null, null, 1, null, default))
        {
            Assert.Empty(sources.Ready());
            sources.Open("dense", 1);
        }

        byte[] before = File.ReadAllBytes(keys);
        using (Sources sources = new(workspace.Folder, null, null, 1, null, default))
        {
            Assert.IsType<DenseNeighborSource>(Assert.Single(sources.Ready()));
        }

        using (Sources sources = new(workspace.Folder, null, Fixtures.Pretrained("bert-cased-cls"), 1, null, default))
        {
            Assert.Empty(sources.Ready());
        }

        Assert.Equal(before, File.ReadAllBytes(keys));

        // Of what was added there is nothing yet.
        Retro.Corpora.Document added = new("added", "", "The mountain has 12 steps.", "");
        ChunkDatabaseUpdate.Apply(workspace.Database, [added], [], tokenizer).Database.Dispose();
        using (Sources sources = new(workspace.Folder, null, null, 1, null, default))
        {
            Assert.Empty(sources.Ready());
            sources.Open("dense", 1);
        }

        using (Sources sources = new(workspace.Folder, null, null, 1, null, default))
        {
            Assert.IsType<DenseNeighborSource>(Assert.Single(sources.Ready()));
        }
    }

    /// <summary>Keys are made by the embedder alone that made those of the database.</summary>
    [Fact]
    public void What_comes_to_a_database_gets_the_indexes_that_this_has()
    {
        (Workspace workspace, Retro.Tokenizers.RetroTokenizer tokenizer) = Made();
        using (Sources sources = new(workspace.Folder, null, null, 1, null, default))
        {
            Assert.Null(sources.Preparation());
            sources.Open("hybrid", 1);
        }

        Prepare(null, prepare => Add("added", prepare));
        AssertReady(1);
        Prepare(null, prepare => DatabaseCompaction.Compact(workspace.Database, prepare));
        Prepare(null, prepare => Add("more", prepare));
        AssertReady(1);
        Prepare(Fixtures.Pretrained("bert-cased-cls"), prepare => Add("most", prepare));
        AssertReady(0);

        ChunkDatabase Add(string id, Action<ChunkDatabase> prepare)
            => ChunkDatabaseUpdate.Apply(workspace.Database, [new(id, "", $"The mountain has {id} steps.", "")], [], tokenizer, null, prepare).Database;

        void Prepare(string? embedder, Func<Action<ChunkDatabase>, ChunkDatabase> change)
        {
            using Sources sources = new(workspace.Folder, null, embedder, 1, null, default);
            Action<ChunkDatabase, IProgress<StageProgress>> prepare = sources.Preparation()!;
            change(part => prepare(part, new SynchronousProgress<StageProgress>(_ => { }))).Dispose();
        }

        void AssertReady(int dense)
        {
            using Sources sources = new(workspace.Folder, null, null, 1, null, default);
            KeywordNeighborSource.Open(sources.Database).Dispose();
            Assert.Equal(dense, sources.Ready().OfType<DenseNeighborSource>().Count());
        }
    }

    /// <summary>The library can be told to divide keys by their lengths; the tool goes on with such as with others of the same embedder.</summary>
    [Fact]
    public void Keys_of_length_1_stay_such()
    {
        Workspace workspace = Made().Workspace;
        Retro.Tokenizers.RetroTokenizer tokenizer = Retro.Tokenizers.RetroTokenizer.Load(workspace.Tokenizer);
        string identity;
        using (TextEmbedder embedder = TextEmbedder.Load(workspace.Embedder))
        using (ChunkDatabase database = ChunkDatabase.Open(workspace.Database))
        {
            ChunkKeyer keyer = new(tokenizer, embedder, normalize: true);
            identity = keyer.Identity;
            DenseNeighborSource.Build(database, keyer).Dispose();
        }

        AssertMade(mends: false);
        AssertMade(mends: true);
        using (Sources sources = new(workspace.Folder, null, null, 1, null, default))
        {
            Action<ChunkDatabase, IProgress<StageProgress>> prepare = sources.Preparation()!;
            ChunkDatabaseUpdate.Apply(
                workspace.Database,
                [new("added", "", "The mountain has 12 steps.", "")],
                [],
                tokenizer,
                null,
                part => prepare(part, new SynchronousProgress<StageProgress>(_ => { }))).Database.Dispose();
        }

        AssertMade(mends: false);

        void AssertMade(bool mends)
        {
            using (Sources sources = new(workspace.Folder, null, null, 1, null, default))
            {
                Assert.Equal(identity, Assert.IsType<DenseNeighborSource>(Assert.Single(sources.Ready())).KeyIdentity);
            }

            using (Sources sources = new(workspace.Folder, null, null, 1, null, default))
            {
                Assert.Equal(identity, sources.Open("dense", 1, mends).KeyIdentity);
            }
        }
    }

    /// <summary>Opening compares what it reads when it reads it; where everything is made of the keys, all of them are compared first.</summary>
    [Fact]
    public void What_is_made_is_opened_and_what_is_missing_or_is_to_be_mended_is_built()
    {
        Workspace workspace = Made().Workspace;
        string keys = Path.Combine(workspace.Database, "keys.bin");
        Open(mends: false);
        byte[] whole = File.ReadAllBytes(keys), damaged = [.. whole];
        damaged[400] ^= 1;
        File.WriteAllBytes(keys, damaged);
        Open(mends: false);
        Assert.Equal(damaged, File.ReadAllBytes(keys));
        Open(mends: true);
        Assert.Equal(whole, File.ReadAllBytes(keys));
        File.Delete(keys);
        Open(mends: false);
        Assert.Equal(whole, File.ReadAllBytes(keys));

        void Open(bool mends)
        {
            using Sources sources = new(workspace.Folder, null, null, 1, null, default);
            Assert.IsType<DenseNeighborSource>(sources.Open("dense", 1, mends));
        }
    }

    /// <summary>A folder with a tokenizer, an embedder and a small database.</summary>
    private (Workspace Workspace, Retro.Tokenizers.RetroTokenizer Tokenizer) Made()
    {
        Workspace workspace = new(_folder["work"]);
        Retro.Tokenizers.RetroTokenizer tokenizer = EmbeddingInputs.Tokenizer;
        tokenizer.Save(workspace.Tokenizer);
        ChunkDatabaseBuilder.Build(
            workspace.Database,
            Enumerable.Range(0, 4).Select(i => new Retro.Corpora.Document($"{i}", $"{i}", $"The river number {i} has {7 * i} stones.", $"{i}.md")),
            tokenizer,
            new() { ChunkLength = 16 }).Dispose();
        using (TextEmbedder embedder = TextEmbedder.Load(Fixtures.Pretrained("bert")))
        {
            embedder.Save(workspace.Embedder);
        }

        return (workspace, tokenizer);
    }
}
