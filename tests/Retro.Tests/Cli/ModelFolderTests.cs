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
        ModelFolder.RequireTokenizer(_folder["model"], EmbeddingInputs.Tokenizer);
    }
}
