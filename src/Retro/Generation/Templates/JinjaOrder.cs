using static Retro.Generation.Templates.JinjaValues;

namespace Retro.Generation.Templates;

/// <summary>The filters that put values in an order: by themselves or by a member of theirs, of texts without their case unless it is asked for.</summary>
internal static class JinjaOrder
{
    // Each sorts anew.
    private const int MostMembers = 8;

    private const int MostSorted = 1_000_000;

    /// <summary>Values in their order. Of several members, with commas between them, the first counts most.</summary>
    public static List<object?> Sorted(List<object?> items, object? members, object? minds, bool reversed)
    {
        object?[] all = members is string text ? text.Split(',') : [members];
        return all.Length <= MostMembers
            ? Enumerable.Reverse(all).Aggregate(items, (sorted, member) => Ordered(sorted, member, Undefined, minds, reversed).ConvertAll(one => one.Item))
            : throw new ArgumentException($"{all.Length} members to sort by");
    }

    /// <summary>A dictionary's names and values, in the order of either.</summary>
    public static List<object?> SortedPairs(object? map, object? minds, object? by, bool reversed)
    {
        long place = by == Undefined || by is "key" ? 0 : by is "value" ? 1 : throw new ArgumentException($"to sort by {Text(by)}");
        return Sorted(Pairs((Dictionary<string, object?>)map!), place, minds, reversed);
    }

    /// <summary>The least value or, with the sign 1, the greatest; the first of those that are equal.</summary>
    public static object? Extreme(List<object?> items, object? member, object? minds, int sign)
    {
        List<(object? Item, object? Key)> all = Keyed(items, member, Undefined, minds);
        return all.Count == 0 ? Undefined : all.Aggregate((best, one) => Math.Sign(Compare(one.Key, best.Key)) == sign ? one : best).Item;
    }

    /// <summary>Values in groups that have a member in common: the member and the group of each.</summary>
    public static List<object?> Grouped(List<object?> items, object? member, object? otherwise, object? minds)
    {
        List<object?> groups = [];
        List<object?> group = [];
        object? last = null;
        foreach ((object? item, object? key) in Ordered(items, member, otherwise, minds, reversed: false))
        {
            if (groups.Count == 0 || !AreEqual(key, last))
            {
                group = [];
                groups.Add(new Series([Of(item, member, otherwise), group]));
            }

            group.Add(item);
            last = key;
        }

        return groups;
    }

    private static List<(object? Item, object? Key)> Ordered(List<object?> items, object? member, object? otherwise, object? minds, bool reversed)
    {
        if (items.Count > MostSorted)
        {
            throw new RetroException($"The chat template sorts more than {MostSorted:#,0} values.");
        }

        Comparer<object?> order = Comparer<object?>.Create((one, other) => ReferenceEquals(one, other) ? 0 : Compare(one, other));
        List<(object? Item, object? Key)> keyed = Keyed(items, member, otherwise, minds);
        try
        {
            return [.. reversed ? keyed.OrderByDescending(one => one.Key, order) : keyed.OrderBy(one => one.Key, order)];
        }
        catch (InvalidOperationException fault) when (fault.InnerException is RetroException said)
        {
            throw new RetroException(said.Message, fault);
        }
    }

    /// <summary>Values with what they are compared by, which all together has no more characters than a text.</summary>
    private static List<(object? Item, object? Key)> Keyed(List<object?> items, object? member, object? otherwise, object? minds)
    {
        int characters = 0;
        return items.ConvertAll(item =>
        {
            object? key = Of(item, member, otherwise);
            characters = Within(characters + (key is string text ? text.Length : 0));
            return (item, key is string said && !(minds != Undefined && IsTrue(minds)) ? JinjaCase.Lower(said) : key);
        });
    }

    private static object? Of(object? item, object? member, object? otherwise)
        => member is null || member == Undefined ? item : At(item, member) is var found && found == Undefined ? otherwise : found;
}
