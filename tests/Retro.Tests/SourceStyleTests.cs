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
            new[] { "src", "tests", "samples" }.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(Fixtures.Root, folder), "*.cs", SearchOption.AllDirectories))
                .Where(file => !Generated().IsMatch(file))
                .SelectMany(file => File.ReadLines(file).Select((line, number) => (Line: line, Place: $"{Path.GetRelativePath(Fixtures.Root, file)}:{number + 1}")))
                .Where(line => line.Line.Length > MostColumns && !LongText().IsMatch(line.Line))
                .Select(line => line.Place));

    [Fact]
    public void Tests_are_named_in_sentences()
        => Assert.Empty(
            typeof(SourceStyleTests).Assembly.GetTypes()
                .SelectMany(type => type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly))
                .Where(method => method.IsDefined(typeof(FactAttribute), inherit: false) && !Sentence().IsMatch(method.Name))
                .Select(method => $"{method.DeclaringType!.FullName}.{method.Name}"));

    [GeneratedRegex("[/\\\\](obj|bin)[/\\\\]")]
    private static partial Regex Generated();

    // A text under test or an attribute's, in one piece.
    [GeneratedRegex("^\\s*(\\[InlineData\\(|\\[Theory|\"|\\$?@?\"\"\"|[^\"]*\"[^\"]{60,}\"|\\{)")]
    private static partial Regex LongText();

    // A word alone, or words with underscores between them.
    [GeneratedRegex("^[A-Z][a-z0-9]*$|_")]
    private static partial Regex Sentence();
}
