namespace Retro.Tests.Checkpoints.Pretrained;

/// <summary>Models of others, in the folders that their users have, against what the original implementations give.</summary>
public sealed class PretrainedParityTests(ITestOutputHelper output)
{
    /// <summary>Answers, as folder/file, that do not agree with the original yet, and why. The rest of the folder is compared; then the test is skipped with the reason, so that every run names it.</summary>
    private static readonly IReadOnlyDictionary<string, string> Open = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["bert/expected-embeddings.safetensors"] = "sentence embeddings of Hugging Face encoders do not agree with the original's yet",
        ["bert-cased-cls/expected-embeddings.safetensors"] = "sentence embeddings of Hugging Face encoders do not agree with the original's yet",
        ["all-MiniLM-L6-v2/expected-embeddings.safetensors"] = "sentence embeddings of Hugging Face encoders do not agree with the original's yet",
    };

    /// <summary>Every folder with answers: our own, the shared ones, and those of RETRO_PRETRAINED. The folder's name, and where it lies.</summary>
    public static IEnumerable<TheoryDataRow<string>> Answers()
    {
        string[] named = (Environment.GetEnvironmentVariable("RETRO_PRETRAINED") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        string[] parents = [Path.Combine(Fixtures.Own, "pretrained"), Path.Combine(Fixtures.Shared, "pretrained"), Path.Combine(Fixtures.Shared, "tokenizers", "sentencepiece")];
        return parents.Where(Directory.Exists).SelectMany(Directory.EnumerateDirectories).Concat(named.SelectMany(WithChildren)).Distinct().Order(StringComparer.Ordinal)
            .Select(folder => new TheoryDataRow<string>(folder).WithTestDisplayName($"PretrainedParity({Path.GetFileName(Path.TrimEndingDirectorySeparator(folder))}, in {Path.GetFileName(Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(folder)))})"));
    }

    [Theory]
    [MemberData(nameof(Answers))]
    public void EveryAnswerOfAFolderIsGiven(string folder)
    {
        Assert.True(Directory.Exists(folder), $"RETRO_PRETRAINED names the folder {folder}, which does not exist.");
        string[] answers = [.. Directory.EnumerateFiles(folder, "expected*").Select(file => Path.GetFileName(file)!).Where(name => !AnswerComparers.IsNoAnswer(name)).Order(StringComparer.Ordinal)];
        Assert.True(answers.Length > 0, $"{folder} holds no answers to compare with.");
        List<string> open = [];
        foreach (string answer in answers)
        {
            Func<string, string>? compare = AnswerComparers.Of(folder, answer);
            Assert.True(compare is not null, $"{folder} holds {answer}, and nothing compares with it.");
            if (Open.TryGetValue($"{Path.GetFileName(folder)}/{answer}", out string? reason))
            {
                open.Add($"{answer}: {reason}");
                continue;
            }

            output.WriteLine($"{Path.GetFileName(folder)}: {compare(folder)}");
        }

        Assert.SkipWhen(open.Count > 0, string.Join("; ", open));
    }

    private static IEnumerable<string> WithChildren(string folder)
        => !Directory.Exists(folder) || Directory.EnumerateFiles(folder, "expected*").Any() ? [folder]
            : Directory.EnumerateDirectories(folder).Where(child => Directory.EnumerateFiles(child, "expected*").Any()).DefaultIfEmpty(folder);
}
