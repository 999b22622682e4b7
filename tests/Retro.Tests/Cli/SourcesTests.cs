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

    /// <summary>What is ready is what is there: keys that another embedder has made are neither used nor made anew.</summary>
    [Fact]
    public void Nothing_is_made_of_what_only_has_to_be_ready()
    {
        Workspace workspace = new(_folder["work"]);
        Retro.Tokenizers.RetroTokenizer tokenizer = EmbeddingInputs.Tokenizer;
        tokenizer.Save(workspace.Tokenizer);
        ChunkDatabaseBuilder.Build(
            workspace.Database,
            Enumerable.Range(0, 4).Select(i => new Retro.Corpora.Document($"{i}", $"{i}", $"The river number {i} has {7 * i} stones.", $"{i}.md")),
            tokenizer,
            new() { ChunkLength = 16 }).Dispose();
        string keys = Path.Combine(workspace.Database, "keys.bin");
        using (TextEmbedder embedder = TextEmbedder.Load(Fixtures.Pretrained("bert")))
        {
            embedder.Save(workspace.Embedder);
        }

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
}
