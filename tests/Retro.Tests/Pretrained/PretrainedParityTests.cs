namespace Retro.Tests.Pretrained;

/// <summary>Models of others, in the folders that their users have, against what the original implementations give.</summary>
public sealed class PretrainedParityTests(ITestOutputHelper output)
{
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
}
