using Retro.Cli;
using Retro.Tests.Embedders;

namespace Retro.Tests.Cli;

/// <summary>What a model's folder says for those that use the model.</summary>
public sealed class ModelFolderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("made", true)]
    [InlineData("made", false)]
    [InlineData("made/model", true)]
    [InlineData("made/model", false)]
    public void The_database_beside_a_model_is_found_however_the_model_is_named(string name, bool isBuilt)
    {
        _folder.File("made/model/config.json", "{}");
        _folder.File("made/database/manifest.json", "{}");
        _folder.File("retro.json", """{"train": {"database": "another"}}""");
        if (isBuilt)
        {
            _folder.File("made/retro.json", """{"build": {"corpus": "docs"}}""");
        }

        string relative = Path.GetRelativePath(Environment.CurrentDirectory, _folder[name]);
        foreach (string path in new[] { relative, _folder[name], relative + "/" })
        {
            (Workspace workspace, System.Text.Json.Nodes.JsonObject section) = ModelFolder.Made(path);
            Assert.Equal(_folder["made/database"], workspace.FromRelative((string)section["database"]!));
        }
    }

    /// <summary>A vocabulary that has lost its merges is no tokenizer.</summary>
    [Fact]
    public void A_folder_without_a_tokenizer_of_its_own_is_taken_as_it_is()
    {
        _folder.File("model/vocab.json", "{}");
        Assert.Same(EmbeddingInputs.Tokenizer, ModelFolder.OwnTokenizer(_folder["model"], EmbeddingInputs.Tokenizer));
    }

    [Theory]
    [InlineData("a/b/model", "a/b/model/database", "database")]
    [InlineData("a/b/model", "a/b/work", "../work")]
    [InlineData("a/b/model", "a/b", "..")]
    [InlineData("a/models/model", "a/data/work", "../../data/work")]
    public void Paths_of_one_project_are_kept_relative(string folder, string path, string kept)
    {
        Workspace workspace = new(_folder[folder]);
        Assert.Equal(kept.Replace('/', Path.DirectorySeparatorChar), workspace.ToRelative(_folder[path]));
        Assert.Equal(_folder[path], workspace.FromRelative(kept));
        Assert.Equal(_folder[path], workspace.Locate(kept));
    }

    [Fact]
    public void What_shares_but_the_disk_or_a_home_with_a_folder_is_kept_whole()
    {
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), root = Path.GetPathRoot(_folder.Path)!;
        (string Folder, string Path)[] apart =
        [
            (_folder["model"], Path.Combine(root, "elsewhere", "llama")), (Path.Combine(home, "one", "model"), Path.Combine(home, "two", "work")),
        ];
        Assert.All(apart, pair => Assert.Equal(pair.Path, new Workspace(pair.Folder).ToRelative(pair.Path)));
        Assert.Equal(Path.Combine("..", "work"), new Workspace(Path.Combine(home, "model")).ToRelative(Path.Combine(home, "work")));
    }

    [Fact]
    public void Of_two_that_write_what_was_typed_at_once_neither_loses_what_the_other_writes()
    {
        Parallel.ForEach(["train", "fit", "neighbors"], verb =>
        {
            for (int i = 0; i < 40; i++)
            {
                new Workspace(_folder["work"]).Write(verb, new() { ["steps"] = i });
                Assert.Equal(i, (int)new Workspace(_folder["work"]).Section(verb)!["steps"]!);
            }
        });
    }

    [Fact]
    public void A_path_is_found_where_it_was_and_that_of_a_copy_is_its_own()
    {
        _folder.File("project/work/database/manifest.json", "{}");
        Workspace made = new(_folder["project/model"]);
        made.Write("train", new() { ["database"] = made.ToRelative(_folder["project/work"]) });
        string typed = File.ReadAllText(made.SettingsPath);

        // Moved alone, it reads on where it did; beside a copy of what it reads, that.
        _folder.File("alone/model/retro.json", typed);
        Workspace alone = new(_folder["alone/model"]);
        Assert.Equal(_folder["project/work"], alone.Locate("../work"));
        _folder.File("alone/work/database/manifest.json", "{}");
        Assert.Equal(_folder["alone/work"], alone.Locate("../work"));
        Assert.Equal(_folder["alone/steps.csv"], alone.FromRelative("../steps.csv"));

        // Of before paths were relative: what is named is read as long as it is there, and then what lies so beside.
        Assert.Equal(_folder["project/work"], alone.Locate(_folder["project/work"]));
        Directory.Delete(_folder["project"], recursive: true);
        Assert.Equal(_folder["alone/work"], alone.Locate(_folder["project/work"]));
        Assert.Equal(_folder["project/other"], alone.Locate(_folder["project/other"]));
    }
}
