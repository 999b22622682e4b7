using System.Text.RegularExpressions;
using Retro.Database;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Tests.Build;

namespace Retro.Tests.Samples;

/// <summary>samples/Retrofit as its users run it.</summary>
public sealed partial class RetrofitTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Windows are as long as the decoder reads: 96 tokens of this one, of chunks that two of fit into them.</summary>
    [Fact]
    public void Retrieval_is_fitted_onto_a_decoder_of_Hugging_Face()
    {
        string output = Fit(Fixtures.Pretrained("qwen2-v4"));
        Assert.Contains("step 2 of 2", output, StringComparison.Ordinal);
        Assert.Contains("of 4 held-out documents", output, StringComparison.Ordinal);
        using (ChunkDatabase database = ChunkDatabase.Open(_folder["made/database"]), heldOut = ChunkDatabase.Open(_folder["made/held-out"]))
        {
            Assert.Equal((48, 48, 4), (database.ChunkLength, heldOut.ChunkLength, heldOut.Documents.Count));
            Assert.Empty(database.Documents.Select(document => document.Id).Intersect(heldOut.Documents.Select(document => document.Id)));
        }

        // The additions alone are there, for the decoder that they were made for.
        Assert.Equal([Retrofit.FileName], Directory.GetFiles(_folder["made/additions"]).Select(Path.GetFileName));
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Fixtures.Pretrained("qwen2-v4"));
        using Retrofit retrofit = Retrofit.Load(_folder["made/additions"], decoder);
        Assert.Equal((48, true), (retrofit.Model.Config.Retrieval!.ChunkLength, retrofit.Model.Config.Retrieval.MatchBias));
    }

    [Fact]
    public void Retrieval_is_fitted_onto_a_decoder_of_llama2c()
    {
        string tokenizer = Fixtures.SharedPath("models/stories260K/tok512.bin");
        Fit(Fixtures.SharedPath("models/stories260K/stories260K.bin"), tokenizer);
    }

    [Theory]
    [InlineData("usage: Retrofit", 2)]
    [InlineData("usage: Retrofit", 2, "decoder", "docs", "made", "0")]
    [InlineData("There is neither a folder nor a file nowhere.", 1, "nowhere", "docs", "made")]
    public void A_wrong_command_line_gets_one_sentence_and_an_exit_code(string said, int expected, params string[] arguments)
    {
        (int code, string output) = Tool.Run("dotnet", _folder.Path, [Fixtures.Sample("Retrofit"), .. arguments]);
        Assert.Equal(expected, code);
        Assert.Contains(said, output, StringComparison.Ordinal);
        Assert.Single(output.TrimEnd().Split('\n'));
    }

    /// <summary>Fits for two steps, and expects that off the model is the decoder, to the bit.</summary>
    private string Fit(string decoder, params string[] tokenizer)
    {
        string corpus = MadeUpCorpus.Write(_folder, documents: 40, lines: 10, words: 300);
        (int code, string output) = Tool.Run("dotnet", _folder.Path, [Fixtures.Sample("Retrofit"), decoder, corpus, "made", "2", .. tokenizer]);
        Assert.True(code == 0, output);
        (string Reader, string Bits)[] rows = [.. Row().Matches(output).Select(row => (row.Groups["reader"].Value, row.Groups["bits"].Value))];
        Assert.Equal(["decoder", "off", "random neighbors", "on"], rows.Select(row => row.Reader));
        Assert.Equal(rows[0].Bits, rows[1].Bits);
        Assert.All(rows[2..], row => Assert.NotEqual(rows[0].Bits, row.Bits));
        return output;
    }

    [GeneratedRegex(@"^\| (?<reader>(?!reader)[a-z][^|]*) \|(?:[^|\n]*\|)*? (?<bits>\d+\.\d{4}) \|", RegexOptions.Multiline)]
    private static partial Regex Row();
}
