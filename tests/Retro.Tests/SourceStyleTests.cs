using System.Reflection;
using System.Text.RegularExpressions;
using Retro.Tests.Documentation;

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
                .Where(file => !Generated().IsMatch(file))
                .SelectMany(LongLines));

    [Theory]
    [InlineData("            $\"{a} of {(b ? \"c\" : \"d\")}\"));", true)]
    [InlineData("    [InlineData(\"a\", \"b\")]", true)]
    [InlineData("            + @\"a\",", true)]
    [InlineData("            \"\"\"{\"a\": 1}\"\"\";", true)]
    [InlineData("            throw new InvalidOperationException(\"a\");", false)]
    [InlineData("            \"a\" + name + \"b\";", false)]
    [InlineData("            $\"{a}\" + name + $\"{b}\";", false)]
    [InlineData("            \"a\", name, other);", false)]
    [InlineData("            \"a\", \"b\");", false)]
    [InlineData("    [InlineData(\"a\")] public void A_method() { }", false)]
    public void Only_a_line_that_is_one_text_may_be_longer(string line, bool longer) => Assert.Equal(longer, LongText().IsMatch(line));

    /// <summary>An argument of a call on what may be null is not evaluated where it is null: what it counts would depend on whether anyone watches.</summary>
    [Fact]
    public void Nothing_is_counted_within_a_call_that_may_not_be_made()
        => Assert.Empty(
            Directory.EnumerateFiles(Path.Combine(Fixtures.Root, "src"), "*.cs", SearchOption.AllDirectories)
                .Where(file => !Generated().IsMatch(file))
                .SelectMany(
                    file => File.ReadLines(file).Where(line => CountsWithin().IsMatch(line)),
                    (file, line) => $"{Path.GetFileName(file)}: {line.Trim()}"));

    [Theory]
    [InlineData("progress?.Report(new(\"copy\", done++, total));", true)]
    [InlineData("progress?.Report(new($\"copy {name}\", ++_done, total));", true)]
    [InlineData("progress?.Report(new(\"copy\", done += some, total));", true)]
    [InlineData("progress?.Report(new(\"copy --all\", done + 1, total) { Loss = loss });", false)]
    [InlineData("progress.Report(new(\"copy\", done++, total));", false)]
    public void A_call_that_may_not_be_made_is_told_by_its_sign(string line, bool counts) => Assert.Equal(counts, CountsWithin().IsMatch(line));

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
        string readme = Path.GetFileName(file) == "ReadmeTests.cs" ? DocumentationTests.Text : "";
        foreach (string line in File.ReadLines(file))
        {
            number++;
            bool was = text;
            text ^= line.Split("\"\"\"").Length % 2 == 0;
            if (line.Length > MostColumns && !was && !text && !LongText().IsMatch(line) && !readme.Contains(line.Trim(), StringComparison.Ordinal))
            {
                yield return $"{Path.GetRelativePath(Fixtures.Root, file)}:{number}";
            }
        }
    }

    [GeneratedRegex("[/\\\\](obj|bin)[/\\\\]")]
    private static partial Regex Generated();

    // A text in one piece and nothing beside it: under test, an attribute's, or an interpolated string that must not be a sum.
    [GeneratedRegex("""^\s*(\[InlineData\(.*\)\]|(\+ )?("([^"\\]|\\.)*"|""\".*""\"|[$@]+(?!.*" [+] )".*")[);,]*)$""")]
    private static partial Regex LongText();

    [GeneratedRegex(@"\?\.\w+\(.*(\+\+\w+[,)]|\w(\+\+|--)[,)]|\w [-+]= )")]
    private static partial Regex CountsWithin();

    // A word alone, or words with underscores between them.
    [GeneratedRegex("^[A-Z][a-z0-9]*$|_")]
    private static partial Regex Sentence();
}
