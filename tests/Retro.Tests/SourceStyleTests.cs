using System.Reflection;
using System.Text.RegularExpressions;

namespace Retro.Tests;

/// <summary>What the compiler's style rules cannot say of the sources.</summary>
public partial class SourceStyleTests
{
    private const int MostColumns = 160;

    [Fact]
    public void Lines_have_at_most_160_columns()
        => Assert.Empty(
            new[] { "src", "tests", "samples" }.SelectMany(folder =>
                Directory.EnumerateFiles(Path.Combine(Fixtures.Root, folder), "*.cs", SearchOption.AllDirectories))
                .Where(file => !Generated().IsMatch(file) && Path.GetFileName(file) != "ReadmeTests.cs") // whose lines stand in the README word for word
                .SelectMany(LongLines));

    [Fact]
    public void Tests_are_named_in_sentences()
        => Assert.Empty(
            typeof(SourceStyleTests).Assembly.GetTypes()
                .SelectMany(type => type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly))
                .Where(method => method.IsDefined(typeof(FactAttribute), inherit: false) && !Sentence().IsMatch(method.Name))
                .Select(method => $"{method.DeclaringType!.FullName}.{method.Name}"));

    private static IEnumerable<string> LongLines(string file)
    {
        bool text = false;
        int number = 0;
        foreach (string line in File.ReadLines(file))
        {
            number++;
            bool was = text;
            text ^= line.Split("\"\"\"").Length % 2 == 0;
            if (line.Length > MostColumns && !was && !text && !LongText().IsMatch(line))
            {
                yield return $"{Path.GetRelativePath(Fixtures.Root, file)}:{number}";
            }
        }
    }

    [GeneratedRegex("[/\\\\](obj|bin)[/\\\\]")]
    private static partial Regex Generated();

    // A text in one piece: under test, an attribute's, or of an interpolated string that must not be a sum.
    [GeneratedRegex("^\\s*\\[InlineData\\(|\"([^\"\\\\]|\\\\.){60,}\"|^\\s*\\+? ?[$@]*\"")]
    private static partial Regex LongText();

    // A word alone, or words with underscores between them.
    [GeneratedRegex("^[A-Z][a-z0-9]*$|_")]
    private static partial Regex Sentence();
}
