using System.Reflection;
using System.Text.RegularExpressions;

namespace Retro.Tests;

/// <summary>
/// The 32 properties that RETRO's specification asks tests for: each has tests whose names begin with its number, as in P07, and one of them is no long one.
/// </summary>
public partial class PropertyNumbersTests
{
    private const int Properties = 32;

    [Fact]
    public void Every_property_has_a_test_that_bears_its_number()
    {
        int[] numbers = [.. typeof(PropertyNumbersTests).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly))
            .Where(method => method.IsDefined(typeof(FactAttribute)))
            .Where(method => !method.GetCustomAttributes<TraitAttribute>().Any(trait => (trait.Name, trait.Value) == ("Category", "Long")))
            .Select(method => Number().Match(method.Name)).Where(match => match.Success).Select(match => int.Parse(
                match.Groups[1].ValueSpan, null)).Distinct().Order()];

        Assert.Equal(Enumerable.Range(1, Properties), numbers);
    }

    [GeneratedRegex("^P([0-9]{2})_")]
    private static partial Regex Number();
}
