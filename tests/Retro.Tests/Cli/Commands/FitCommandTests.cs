using Retro.Tokenizers;

namespace Retro.Tests.Cli.Commands;

/// <summary>`retro fit`: what is fitted onto a decoder, and what is left of what was there before.</summary>
public sealed class FitCommandTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    /// <summary>A folder holds one model: what belonged to the one before it goes with it, and what is typed takes the place of what excludes it.</summary>
    [Fact]
    public void A_model_that_is_replaced_leaves_nothing_of_its_own()
    {
        string[] copying = ["copying.safetensors"], training = ["training.safetensors", "training.json", "steps.jsonl", "retrofit.safetensors"];
        _retro.Build();
        string[] train = ["train", "--database", "work", "--out", "decoder", "--source", "none", .. CliRun.Tiny];
        _retro.Done([.. train, "--minutes", "0.02"]);
        _retro.Done([.. train, "--steps", "3", "--start-over", "--json", "train.json"]);
        Assert.Equal(3, (int)_retro.Json("train.json")["steps"]!);

        string[] fit = ["fit", "--base", "decoder", "--database", "work", "--out", "fitted", "--window", "64"];
        _retro.Done([.. fit, "--minutes", "0.02", "--csv", "steps.csv"]);
        Assert.Equal(training.Order(), Files([.. copying, .. training]));
        _retro.Done([.. fit, "--reader", "copying", "--steps", "2", "--start-over"]);
        Assert.Equal(copying, Files([.. copying, .. training]));
        Assert.Contains("a reader that copies", _retro.Done("info", "fitted"), StringComparison.Ordinal);
        Assert.Contains("so is what copies on top", _retro.Done("verify", "fitted"), StringComparison.Ordinal);
        string file = Path.Combine(_retro["fitted"], "model", copying[0]);
        byte[] whole = File.ReadAllBytes(file);
        File.WriteAllBytes(file, new byte[100]);
        Assert.Equal(1, _retro.Run("verify", "fitted").ExitCode);
        File.WriteAllBytes(file, whole);
        _retro.Done([.. fit, "--reader", "retro", "--steps", "2", "--start-over"]);
        Assert.Equal(training.Order(), Files([.. copying, .. training]));

        string[] Files(string[] names) => [.. names.Where(name => File.Exists(Path.Combine(_retro["fitted"], "model", name))).Order()];
    }

    /// <summary>What fails behind the training, such as a report that cannot be written, costs nothing of the model, and nothing is said to be next.</summary>
    [Fact]
    public void What_was_fitted_is_saved_before_the_report()
    {
        _retro.Build();
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "2", .. CliRun.Tiny]);
        Directory.CreateDirectory(_retro["fitted/report.html"]);
        ChildProcess.Outcome fit = _retro.Run("fit", "--base", "decoder", "--database", "work", "--out", "fitted", "--steps", "2", "--window", "64");
        Assert.Equal(1, fit.ExitCode);
        Assert.DoesNotContain("Next:", fit.Output, StringComparison.Ordinal);
        Assert.True(File.Exists(_retro["fitted/model/retrofit.safetensors"]));
    }

    /// <summary>A shell that completes the name of a folder leaves a slash behind it.</summary>
    [Theory]
    [InlineData("llama/model")]
    [InlineData("llama/model/")]
    public void A_decoder_is_not_replaced_by_what_is_fitted_onto_it_however_it_is_named(string named)
    {
        Directory.CreateDirectory(_retro["llama/model"]);
        File.Copy(Path.Combine(Fixtures.Pretrained("llama-rope-linear"), "config.json"), _retro["llama/model/config.json"]);
        ChildProcess.Outcome refused = _retro.Run("fit", "--base", named, "--database", "nowhere", "--out", "llama", "--start-over");
        Assert.Equal(2, refused.ExitCode);
        Assert.StartsWith("--out is the decoder's own folder, ", refused.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void Retrieval_is_fitted_onto_a_pretrained_decoder_which_stays_as_it_is()
    {
        _retro.WriteCorpus();
        string decoder = Fixtures.Pretrained("llama-rope-linear");
        _retro.Done("build", "--corpus", "docs", "--tokenizer", decoder, "--out", "work", "--chunk", "16", "--quiet");
        _retro.Done("fit", "--base", decoder, "--attention", "paper", "--out", "work", "--steps", "2", "--window", "32", "--json", "fit.json");
        Assert.True((long)_retro.Json("fit.json")["added"]! > 0);
        Assert.True(File.Exists(Path.Combine(_retro["work"], "model", "retrofit.safetensors")));
        _retro.Done("eval", "--model", "work", "--window", "32", "--json", "eval.json", "--quiet");
        Assert.Equal("RETRO off", (string)_retro.Json("eval.json")["readers"]![0]!["reader"]!);
    }

    /// <summary>The database has the same ids, and was built before the model's own files said where its texts end.</summary>
    [Fact]
    public void A_model_ends_its_texts_where_its_own_files_say_and_what_is_fitted_onto_it_does_too()
    {
        _retro.WriteCorpus();
        string decoder = Fixtures.Pretrained("llama-rope-linear");
        _retro.Done("build", "--corpus", "docs", "--tokenizer", decoder, "--out", "work", "--chunk", "16", "--quiet");
        Directory.CreateDirectory(_retro["base"]);
        foreach (string file in new[] { "config.json", "model.safetensors", "tokenizer.json" })
        {
            File.Copy(Path.Combine(decoder, file), Path.Combine(_retro["base"], file));
        }

        RetroTokenizer tokenizer = RetroTokenizer.Load(decoder);
        string ends = $"{{\"eos_token_id\": [{string.Join(", ", Enumerable.Range(0, tokenizer.VocabularySize).Prepend(tokenizer.EndOfText))}]}}";
        _retro.WriteFile("base/generation_config.json", ends);
        _retro.WriteFile("base/chat_template.jinja", "{{ messages[0].content }}");
        Assert.Equal("EndOfText", End("base"));

        _retro.Done("fit", "--base", "base", "--database", "work", "--out", "fitted", "--steps", "2", "--window", "32", "--quiet");
        Assert.Equal("EndOfText", End("fitted"));
        Assert.Equal(ends, File.ReadAllText(_retro["fitted/model/generation_config.json"]));
        Assert.Equal("{{ messages[0].content }}", File.ReadAllText(_retro["fitted/model/chat_template.jinja"]));
        _retro.Done("fit", "--resume", "--out", "fitted", "--steps", "3", "--quiet");
        Assert.Equal(ends, File.ReadAllText(_retro["fitted/model/generation_config.json"]));

        string End(string model)
        {
            _retro.Done("generate", "--model", model, "--database", "work", "--tokens", "4", "--json", "text.json", "The river");
            return (string)_retro.Json("text.json")["end"]!;
        }
    }
}
