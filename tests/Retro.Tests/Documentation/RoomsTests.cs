using System.Text.RegularExpressions;

namespace Retro.Tests.Documentation;

/// <summary>The library's rooms, its namespaces, stand on each other as docs/how-it-works.md says, and in one direction.</summary>
public sealed partial class RoomsTests
{
    /// <summary>The library's own namespace, which all others stand on.</summary>
    private const string Root = "";

    private static readonly string s_library = Path.Combine(Fixtures.Root, "src", "Retro");

    /// <summary>What each room stands on, as the page's table says.</summary>
    private static readonly Dictionary<string, string[]> s_rooms = File.ReadLines(Path.Combine(Fixtures.Root, "docs", "how-it-works.md"))
        .Select(line => RowPattern().Match(line))
        .Where(row => row.Success)
        .ToDictionary(
            row => row.Groups["room"].Value,
            row => row.Groups["below"].Value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries));

    [Fact]
    public void Every_folder_is_a_room_of_the_table_and_no_other() => Assert.Equal(
        Directory.GetDirectories(s_library).Select(folder => Path.GetFileName(folder)).Where(name => name is not ("bin" or "obj")).Append(Root).Order(),
        s_rooms.Keys.Order());

    [Fact]
    public void No_room_stands_on_itself()
        => Assert.All(s_rooms.Keys, room => Assert.DoesNotContain(room, Below(room)));

    [Fact]
    public void A_room_uses_no_more_than_what_it_stands_on() => Assert.All(s_rooms.Keys, room =>
    {
        SearchOption all = room == Root ? SearchOption.TopDirectoryOnly : SearchOption.AllDirectories;
        IEnumerable<string> used = Directory.EnumerateFiles(Path.Combine(s_library, room), "*.cs", all)
            .SelectMany(file => NamePattern().Matches(File.ReadAllText(file)))
            .Select(name => name.Groups["room"].Value)
            .Where(s_rooms.ContainsKey);
        Assert.Empty(used.Distinct().Except([.. Below(room), room]).Select(other => $"{room} uses {other}"));
    });

    /// <summary>All that a room stands on, and what those do.</summary>
    private static HashSet<string> Below(string room)
    {
        HashSet<string> below = [];
        Stack<string> open = new(s_rooms[room]);
        while (open.TryPop(out string? next))
        {
            if (below.Add(next))
            {
                Array.ForEach(s_rooms[next], open.Push);
            }
        }

        return below;
    }

    [GeneratedRegex(@"^\| `Retro\.?(?<room>[A-Za-z]*)` \| .* \|(?<below>[A-Za-z, ]*)\|$")]
    private static partial Regex RowPattern();

    [GeneratedRegex(@"\bRetro\.(?<room>[A-Z][A-Za-z]+)\b")]
    private static partial Regex NamePattern();
}
