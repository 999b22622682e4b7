using Retro.Tests.Pretrained;

namespace Retro.Tests.Tokenizers;

/// <summary>
/// Pretrained tokenizers against what the libraries that wrote their files give: of the folders that <see cref="PretrainedParityTests"/> compares, the
/// tokenizers alone.
/// </summary>
public class TokenizerParityTests(ITestOutputHelper output)
{
    [Fact]
    public void Every_text_of_every_folder_gives_the_original_s_ids_and_texts()
    {
        string[] folders = [.. PretrainedParityTests.Folders().Where(folder => File.Exists(Path.Combine(folder, "expected-tokens.json")))];
        Assert.True(folders.Length >= 10, "The project's own folders hold at least ten expected-tokens.json.");
        foreach (string folder in folders)
        {
            output.WriteLine($"{folder}: {TokenizerParity.Compare(folder)}");
        }
    }
}
