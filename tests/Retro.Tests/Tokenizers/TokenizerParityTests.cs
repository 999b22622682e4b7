namespace Retro.Tests.Tokenizers;

/// <summary>Pretrained tokenizers against what the libraries that wrote their files give.</summary>
public class TokenizerParityTests(ITestOutputHelper output)
{
    [Fact]
    public void Every_text_of_every_folder_gives_the_original_s_ids_and_texts()
    {
        string[] folders = Fixtures.Folders("RETRO_PRETRAINED", "pretrained")
            .Append(Path.Combine(Fixtures.Own, "pretrained"))
            .Append(Path.Combine(Fixtures.Shared, "tokenizers", "sentencepiece"))
            .Where(Directory.Exists)
            .SelectMany(root => Directory.EnumerateDirectories(root).Prepend(root))
            .Distinct(StringComparer.Ordinal)
            .Where(folder => File.Exists(Path.Combine(folder, "expected-tokens.json")))
            .Order(StringComparer.Ordinal)
            .ToArray();
        Assert.SkipWhen(folders.Length == 0, "No folder holds expected-tokens.json.");

        foreach (string folder in folders)
        {
            output.WriteLine($"{folder}: {TokenizerParity.Compare(folder)}");
        }
    }
}
