using System.Text.RegularExpressions;
using Retro.Pretrained;
using Retro.Tests.Build;

namespace Retro.Tests.Samples;

/// <summary>samples/Retrofit as its users run it.</summary>
public sealed partial class RetrofitSampleTests : IDisposable
{
    private static readonly string s_program = Fixtures.Sample("Retrofit");

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_decoder_is_trained_on_one_half_and_reads_the_other_beside_what_more_training_gives()
    {
        string corpus = WriteCorpus();
        (int code, string output) = Tool.Run(
            "dotnet", _folder.Path, s_program, "--corpus", corpus, "--output", Path.Combine(_folder.Path, "out"), "--decoder-steps", "3", "--steps", "2");
        Assert.True(code == 0, output);
        string report = File.ReadAllText(Path.Combine(_folder.Path, "out", "retrofit.md"));
        Assert.Equal(
            [
                "decoder", "decoder + pointer rule, k = 8", "fitted off", "fitted random", "fitted", "decoder, trained on",
                "decoder, trained on + pointer rule, k = 8",
            ],
            Row().Matches(report).Select(row => row.Groups[1].Value));
        Assert.Contains("| decoder, trained on | - | - | 5 |", report, StringComparison.Ordinal);
        Assert.Contains("Off, the fitted model is the decoder to the bit.", report, StringComparison.Ordinal);
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Path.Combine(_folder.Path, "out", "decoder"));
        using Retrofit retrofit = Retrofit.Load(Path.Combine(_folder.Path, "out", "model"), decoder);
        Assert.True(retrofit.Model.Config.Retrieval!.MatchBias);

        // The decoder that it trained is one to fit onto as any other, in another type, too.
        (code, output) = Tool.Run(
            "dotnet",
            _folder.Path,
            s_program,
            "--corpus",
            corpus,
            "--model",
            Path.Combine(_folder.Path, "out", "decoder"),
            "--tokenizer",
            Path.Combine(_folder.Path, "out", "tokenizer"),
            "--output",
            Path.Combine(_folder.Path, "again"),
            "--steps",
            "2",
            "--dtype",
            "bfloat16");
        Assert.True(code == 0, output);
        report = File.ReadAllText(Path.Combine(_folder.Path, "again", "retrofit.md"));
        Assert.Contains("the decoder to the bit.\nAll models are in bfloat16.", report, StringComparison.Ordinal);
    }

    private string WriteCorpus()
    {
        Random random = new(1);
        string[] words = [.. Enumerable.Range(0, 300).Select(_ => new string(random.GetItems("abcdefghijklmnopqrstuvwxyz".AsSpan(), random.Next(2, 9))))];
        for (int i = 0; i < 80; i++)
        {
            string[] lines = [.. Enumerable.Range(0, 10).Select(_ => string.Join(' ', random.GetItems(words, 12)) + ".")];
            _folder.File(Path.Combine("corpus", $"{i}.md"), string.Join('\n', lines));
        }

        return Path.Combine(_folder.Path, "corpus");
    }

    [GeneratedRegex(@"^\| ((?!reader)[a-zA-Z][^|]*) \|", RegexOptions.Multiline)]
    private static partial Regex Row();
}
