using System.Text.Json.Nodes;

namespace Retro.Tests.Pretrained;

/// <summary>Models of others, in the folders that their users have, against what the original implementations give.</summary>
public sealed class PretrainedParityTests(ITestOutputHelper output)
{
    private static readonly string[] s_own = [Path.Combine(Fixtures.Own, "pretrained"), Path.Combine(Fixtures.Own, "sentencepiece")];
    private static readonly string[] s_shared = [Path.Combine(Fixtures.Shared, "pretrained"), Path.Combine(Fixtures.Shared, "tokenizers", "sentencepiece")];

    /// <summary>The families that users have, and by what a folder is one of them. The project itself holds a folder of each.</summary>
    private static readonly (string Family, Func<string, bool> IsOne)[] s_families =
    [
        ("BERT", folder => Type(folder) == "bert"),
        ("RoBERTa", folder => Type(folder) is "roberta" or "xlm-roberta" or "camembert"),
        ("MPNet", folder => Type(folder) == "mpnet"),
        ("DistilBERT", folder => Type(folder) == "distilbert"),
        ("ModernBERT", folder => Type(folder) == "modernbert"),
        ("ModernBERT of transformers 5", folder => Type(folder) == "modernbert" && Config(folder).Contains("\"rope_parameters\"", StringComparison.Ordinal)),
        ("sentence-transformers", folder => File.Exists(Path.Combine(folder, "modules.json"))),
        ("GPT-2", folder => Type(folder) == "gpt2"),
        ("GPT-Neo", folder => Type(folder) == "gpt_neo"),
        ("GPT-NeoX", folder => Type(folder) == "gpt_neox"),
        ("Llama", folder => Type(folder) == "llama"),
        ("Mistral", folder => Type(folder) == "mistral"),
        ("Qwen2", folder => Type(folder) == "qwen2"),
        ("OLMo 2", folder => Type(folder) == "olmo2"),
        ("Phi-3", folder => Type(folder) == "phi3"),
        ("SmolLM3", folder => Type(folder) == "smollm3"),
        ("Gemma 3", folder => Type(folder) == "gemma3_text"),
        ("linear RoPE scaling", folder => Config(folder).Contains("\"linear\"", StringComparison.Ordinal)),
        ("llama3 RoPE scaling", folder => Config(folder).Contains("\"llama3\"", StringComparison.Ordinal)),
        ("shards", folder => File.Exists(Path.Combine(folder, "model.safetensors.index.json"))),
        ("SentencePiece models", folder => File.Exists(Path.Combine(folder, "tokenizer.model"))),
    ];

    /// <summary>Every folder with answers: our own, the shared ones, and those of RETRO_PRETRAINED.</summary>
    public static IEnumerable<string> Folders()
    {
        string[] named = (Environment.GetEnvironmentVariable("RETRO_PRETRAINED") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        string[] parents = [.. s_own, .. s_shared];
        return parents.Where(Directory.Exists)
            .SelectMany(Directory.EnumerateDirectories)
            .Concat(named.SelectMany(WithChildren))
            .Distinct()
            .Order(StringComparer.Ordinal);
    }

    /// <summary>A row for each of them, which shows the folder's name and where it lies.</summary>
    public static IEnumerable<TheoryDataRow<string>> Answers() => Folders().Select(folder => new TheoryDataRow<string>(folder)
        .WithTestDisplayName(
            $"PretrainedParity({Path.GetFileName(Path.TrimEndingDirectorySeparator(folder))}, in "
                + $"{Path.GetFileName(Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(folder)))})"));

    /// <summary>
    /// Every row of <see cref="EveryAnswerOfAFolderIsGiven"/> fails where it compares nothing, so that a folder of a family is a comparison of it.
    /// </summary>
    [Fact]
    public void Every_family_is_compared_with_or_without_the_shared_folders()
    {
        string[] folders = [.. Folders()];
        foreach ((string family, Func<string, bool> isOne) in s_families)
        {
            int own = folders.Count(folder => s_own.Contains(Path.GetDirectoryName(folder)) && isOne(folder)), all = folders.Count(isOne);
            output.WriteLine($"{family}: {all} folders, {own} of them the project's own");
            Assert.True(own > 0, $"{family}: the project holds no folder to compare with.");
        }

        foreach (string parent in s_shared.Where(parent => !Directory.Exists(parent)))
        {
            NotCompared.Add($"the folders of shared/{Path.GetRelativePath(Fixtures.Shared, parent)}");
        }
    }

    [Theory]
    [MemberData(nameof(Answers))]
    public void Every_answer_of_a_folder_is_given(string folder)
    {
        Assert.True(Directory.Exists(folder), $"RETRO_PRETRAINED names the folder {folder}, which does not exist.");
        string[] answers = [.. Directory.EnumerateFiles(folder, "expected*")
            .Select(file => Path.GetFileName(file)!)
            .Where(name => !AnswerComparers.IsNoAnswer(name))
            .Order(StringComparer.Ordinal)];
        Assert.True(answers.Length > 0, $"{folder} holds no answers to compare with.");
        foreach (string answer in answers)
        {
            Func<string, string>? compare = AnswerComparers.Of(folder, answer);
            Assert.True(compare is not null, $"{folder} holds {answer}, and nothing compares with it.");
            output.WriteLine($"{Path.GetFileName(folder)}: {compare(folder)}");
        }
    }

    private static IEnumerable<string> WithChildren(string folder)
        => !Directory.Exists(folder) || Directory.EnumerateFiles(folder, "expected*").Any() ? [folder]
            : Directory.EnumerateDirectories(folder).Where(child => Directory.EnumerateFiles(child, "expected*").Any()).DefaultIfEmpty(folder);

    private static string Config(string folder)
    {
        string path = Path.Combine(folder, "config.json");
        return File.Exists(path) ? File.ReadAllText(path) : "";
    }

    private static string? Type(string folder)
        => Config(folder) is { Length: > 0 } json && JsonNode.Parse(json)!["model_type"] is { } type ? type.GetValue<string>() : null;
}
