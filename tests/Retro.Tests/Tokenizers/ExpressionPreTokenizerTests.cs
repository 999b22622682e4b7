using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

public class ExpressionPreTokenizerTests
{
    private const string Upper = @"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]";
    private const string Lower = @"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";
    private const string Tekken = @"[^\r\n\p{L}\p{N}]?" + Upper + "*" + Lower + @"+|[^\r\n\p{L}\p{N}]?" + Upper + "+" + Lower
        + @"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string NewerTiktoken =
        @"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s";

    [Theory]
    [InlineData(Tekken, "HELLOWorld helloWorld 12  x", "HELLOWorld| hello|World| |1|2| | x")]
    [InlineData(Tekken, "𐐀𐐨𐐨𐐀 𝟘𝟙 😀//\n", "𐐀𐐨𐐨|𐐀| |𝟘|𝟙| 😀//\n")]
    [InlineData(@"\p{N}{1,3}", "a12345b", "a|123|45|b")]
    [InlineData(@"[0-9][0-9][0-9]", "12345", "123|45")]
    [InlineData(@"\s?\p{L}+", "a b  c", "a| b| | c")]
    [InlineData(@"[一-龥ࠀ-一가-퟿]+", "a日本b한", "a|日本|b|한")]
    [InlineData(@" ?[^(\s|[.,!?…。，、।۔،])]+", "ab cd, (e|f)", "ab| cd|, (|e|||f|)")]
    [InlineData(@"'(?i:[sdmt]|ll|ve|re)", "it'S we'Ll 'ſ", "it|'S| we|'Ll| |'ſ")]
    [InlineData(@"a++a|b", "aab", "aa|b")]
    [InlineData(@"\p{N}{1,3}+", "a12345678b", "a|12345678|b")]
    [InlineData(@"\s+$", "a  \nb", "a|  |\nb")]
    [InlineData(@"\s+$", "a\n b \n", "a\n b| \n")]
    [InlineData(@"\s++$", "a  \nb", "a  \nb")]
    [InlineData(@"\s++$", "a \n\n", "a| \n\n")]
    [InlineData(@"\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))", "a12345678b 1234\n5", "a|12|345|678|b |1|234|\n|5")]
    [InlineData(NewerTiktoken, "It's 12345 ok!!\n\n  x  y  ", "It|'s| |12345| ok|!!\n\n| | x| | y|  ")]
    [InlineData(NewerTiktoken, "a \n\n b  c\n ", "a| \n\n| b| | c|\n ")]
    [InlineData("[a-cμ𐐀-𐑏]+", "abμ𐐀𐑏𐑐z", "abμ𐐀𐑏|𐑐z")]
    [InlineData("[A-Zǅǈǋǲᾈ-ᾏᾘ-ᾟᾨ-ᾯᾼῌῼ𐐀-𐐧]+", "AǅZ𐐀𐐨", "AǅZ𐐀|𐐨")]
    [InlineData("[^a𐐨]+", "𐐀𐐨𐐩a𐐨𐐨", "𐐀|𐐨|𐐩|a𐐨𐐨")]
    public void Text_is_split_where_the_expression_matches(string expression, string text, string expected)
        => Assert.Equal(expected, string.Join('|', Pieces(ExpressionPreTokenizer.Create(expression, SplitBehavior.Isolated, inverted: false)!, text)));

    /// <summary>As the original's documentation has it: https://huggingface.co/docs/tokenizers/api/pre-tokenizers (Split).</summary>
    [Theory]
    [InlineData("Isolated", false, "the|-|final|-|-|countdown")]
    [InlineData("Removed", false, "the|final|countdown")]
    [InlineData("MergedWithPrevious", false, "the-|final-|-|countdown")]
    [InlineData("MergedWithNext", false, "the|-final|-|-countdown")]
    [InlineData("Contiguous", false, "the|-|final|--|countdown")]
    [InlineData("Removed", true, "-|-|-")]
    public void What_matches_is_kept_apart_joined_or_taken_away(string behavior, bool inverted, string expected)
        => Assert.Equal(
            expected, string.Join('|', Pieces(ExpressionPreTokenizer.OfText("-", Enum.Parse<SplitBehavior>(behavior), inverted), "the-final--countdown")));

    [Theory]
    [InlineData("(a+)+")]
    [InlineData("a*")]
    [InlineData("a+?")]
    [InlineData(@"\w+")]
    [InlineData(@"\p{Han}+")]
    [InlineData("[a&&b]")]
    [InlineData("[[:digit:]]")]
    [InlineData("[^a[:space:]]+")]
    [InlineData("[[a][:^alpha:]]")]
    [InlineData("[a-z")]
    [InlineData("a+b+c+d+")]
    [InlineData("^a")]
    [InlineData("a{,3}")]
    [InlineData("a{2}+")]
    [InlineData("[\u0080-\uFFFF]+")]
    [InlineData("😀")]
    [InlineData("[a-😀]")]
    [InlineData("[😀-z]")]
    [InlineData("a{2,3}+")]
    [InlineData("$+")]
    [InlineData("")]
    public void Other_expressions_are_not_taken(string expression)
        => Assert.Null(ExpressionPreTokenizer.Create(expression, SplitBehavior.Isolated, inverted: false));

    [Fact]
    public void An_expression_takes_time_in_proportion_to_the_text()
    {
        ExpressionPreTokenizer split = ExpressionPreTokenizer.Create(Tekken, SplitBehavior.Isolated, inverted: false)!;
        foreach (string unit in (string[])[" ", "A", "a", "日", "\n", ".", "\u0301", "😀", "1"])
        {
            string text = string.Concat(Enumerable.Repeat(unit, 400_000 / unit.Length));
            Assert.Equal(text.Length, split.PreTokenize(text).Sum(piece => piece.Length));
        }
    }

    [Fact]
    public void An_expression_that_takes_time_without_end_is_refused_in_time()
    {
        ExpressionPreTokenizer split = ExpressionPreTokenizer.Create("[ab]*[bc]*[bd]*x|b", SplitBehavior.Isolated, inverted: false)!;
        Assert.Contains(
            "takes more than", Assert.Throws<CorpusException>(() => split.PreTokenize(new string('b', 3_000))).Message, StringComparison.Ordinal);
    }

    private static IEnumerable<string> Pieces(ExpressionPreTokenizer split, string text)
        => split.PreTokenize(text).Select(piece => text.Substring(piece.Offset, piece.Length));
}
