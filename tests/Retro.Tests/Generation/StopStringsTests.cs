using FsCheck;
using FsCheck.Fluent;
using Retro.Generation;

namespace Retro.Tests.Generation;

public class StopStringsTests
{
    /// <summary>Texts and stops over two letters collide in every way there is.</summary>
    [Fact]
    public void However_the_text_is_cut_it_ends_before_the_first_stop_string()
    {
        Gen<string> word = Gen.Elements('a', 'b').ArrayOf().Select(letters => new string(letters));
        Gen<(string[], string[])> cases = word.ArrayOf().SelectMany(pieces => word.Where(stop => stop.Length > 0).ArrayOf().Select(stops => (pieces, stops)));
        Prop.ForAll(cases.ToArbitrary(), one =>
        {
            (string[] pieces, string[] stops) = one;
            string whole = string.Concat(pieces);
            StopStrings filter = new(stops);

            string let = string.Concat(pieces.Select(filter.Add)) + filter.Flush();

            Assert.Equal(stops.Any(stop => whole.Contains(stop, StringComparison.Ordinal)), filter.Found);
            Assert.Equal(whole[..EarliestStart(pieces, stops)], let);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void Only_what_may_begin_a_stop_string_is_held_back()
    {
        StopStrings filter = new(["\n\n", "END"]);

        Assert.Equal("one", filter.Add("one\n"));
        Assert.Equal("\ntwo E", filter.Add("two EE"));
        Assert.False(filter.Found);
    }

    [Fact]
    public void A_stop_string_over_several_pieces_ends_the_text()
    {
        StopStrings filter = new(["</s>"]);

        string text = filter.Add("a<") + filter.Add("/") + filter.Add("s") + filter.Add(">b") + filter.Add("c") + filter.Flush();

        Assert.Equal("a", text);
        Assert.True(filter.Found);
    }

    /// <summary>What the literal rule gives: after each piece, the first stop string in what has come so far ends the text.</summary>
    private static int EarliestStart(string[] pieces, string[] stops)
    {
        string sofar = "";
        foreach (string piece in pieces)
        {
            sofar += piece;
            int[] found = stops.Select(stop => sofar.IndexOf(stop, StringComparison.Ordinal)).Where(index => index >= 0).ToArray();
            if (found.Length > 0)
            {
                return found.Min();
            }
        }

        return sofar.Length;
    }
}
