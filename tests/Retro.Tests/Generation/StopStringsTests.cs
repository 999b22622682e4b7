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
        Gen<string> word = Gen.Elements('a', '\n').ArrayOf().Select(letters => new string(letters));
        Gen<(string[], string[], bool)> cases = word.ArrayOf().SelectMany(pieces => word.Where(stop => stop.Length > 0).ArrayOf()
            .SelectMany(stops => Gen.Elements(true, false).Select(skips => (pieces, stops, skips))));
        Prop.ForAll(cases.ToArbitrary(), one =>
        {
            (string[] pieces, string[] stops, bool skips) = one;
            string whole = string.Concat(pieces);
            StopStrings filter = new(stops, skips);

            string let = string.Concat(pieces.Select(piece => filter.Add(piece))) + filter.Flush();

            int? end = EarliestStart(pieces, stops, skips);
            Assert.Equal(end is not null, filter.Found);
            string expected = whole[..(end ?? whole.Length)];
            Assert.Equal(skips ? expected.TrimStart() : expected, let);
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

    [Fact]
    public void What_ends_too_early_is_let_through_and_what_only_begins_too_early_ends_the_text()
    {
        StopStrings filter = new(["\n\n"]);
        Assert.Equal(["A", "\n\nB", "", ""], [filter.Add("A\n", ends: false), filter.Add("\nB\n", ends: false), filter.Add("\nC\n"), filter.Add("\nD")]);
        Assert.True(filter.Found);

        // What may begin one stop string holds another, whole, that ended too early.
        StopStrings within = new(["aa", "xaay"]);
        Assert.Equal(["", "xaab"], [within.Add("xaa", ends: false), within.Add("b")]);
        Assert.False(within.Found);
    }

    [Fact]
    public void Half_a_surrogate_pair_cuts_no_character_in_two()
    {
        StopStrings filter = new(["\ude00", "\U0001F600\ud83d"]);
        Assert.Equal("a\U0001F600\U0001F601", filter.Add("a\U0001F600") + filter.Add("\U0001F601") + filter.Flush());
        Assert.False(filter.Found);
        Assert.Equal("", filter.Add("\ufffd") + filter.Flush()); // which it is taken as
    }

    /// <summary>What is no word ends no answer, but the next question does, whatever it begins with.</summary>
    [Theory]
    [InlineData("\n\n|Paris|\n\nand", "Paris", true)]
    [InlineData("\n|\n| \n|\n| Paris", "Paris", false)]
    [InlineData("\n|Question|: and", "", true)]
    [InlineData(" \n|\nQuestion", "Question", false)]
    [InlineData("\n\n\n", "", false)]
    public void An_answer_s_stop_strings_count_behind_its_first_word(string pieces, string expected, bool found)
    {
        StopStrings filter = new(["\nQuestion:", "\n\n"], skipsLeadingSpace: true);
        Assert.Equal(expected, string.Concat(pieces.Split('|').Select(piece => filter.Add(piece))) + filter.Flush());
        Assert.Equal(found, filter.Found);
    }

    /// <summary>
    /// What the literal rule gives: after each piece, the first stop string in what has come so far ends the text, but one that lies within white space which
    /// is passed over; null: none does.
    /// </summary>
    private static int? EarliestStart(string[] pieces, string[] stops, bool skips)
    {
        string sofar = "";
        foreach (string piece in pieces)
        {
            sofar += piece;
            int space = skips ? sofar.Length - sofar.TrimStart().Length : 0;
            int[] found = [.. Enumerable.Range(0, sofar.Length).Where(
                at => stops.Any(stop => at + stop.Length > space && sofar[at..].StartsWith(stop, StringComparison.Ordinal)))];
            if (found.Length > 0)
            {
                return found.Min();
            }
        }

        return null;
    }
}
