using System.Text;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

public class PieceCutterTests
{
    /// <summary>
    /// Ids that the sentencepiece library (0.1.97) gives for such models. Scores that tie but for rounding are reported at
    /// https://github.com/google/sentencepiece/issues/843 and https://github.com/huggingface/tokenizers/issues/1213.
    /// </summary>
    [Theory]
    [InlineData("a -2.7, aa -4.9, aaa -2.9", "aaaa", "3 1")]
    [InlineData("a -1.8, aa -3.5, aaa -2.5", "aaaaaaa", "3 3 1")]
    [InlineData("a -4.3, aa -2.3, aaa -3.5", "aaaaaaa", "3 2 2")]
    [InlineData("a -3.6, aa -4.4, aaa -1.7", "aaaaaaa", "3 1 3")]
    [InlineData("a -1.9, aa -4.2, aaa -4.8", "aaaaa", "3 1 1")]
    [InlineData("a -4.6, b -0.6, !aa 0, aab -0.8", "aab", "3 2")]
    [InlineData("a -2.6, b -3.7, !aa 0, aab -3.5", "baaaa", "2 3 3")]
    [InlineData("a -2.4, b -4.8, !aa 0, aab -5.9", "aabbb", "3 2 2 2")]
    [InlineData("a -1.2, b -3.3, !aa 0, aab -4.1", "aaaba", "3 1 2 1")]
    public void A_unigram_model_s_near_ties_and_a_user_s_symbols_are_cut_as_the_original_cuts_them(string pieces, string text, string expected)
        => Assert.Equal(expected.Split(' ').Select(int.Parse), Ids(pieces, type: 1, text));

    [Fact]
    public void A_model_of_characters_gives_each_and_a_user_s_symbols()
    {
        Assert.Equal([1, 2, 0, 1, 4, 1], Ids("a -1, b -2, ab -0.5, !bb 0", type: 4, "ab\U0001F600abba"));
        Assert.Contains("4 (characters)", Assert.Throws<FormatException>(() => Ids("a -1", type: 3, "a")).Message, StringComparison.Ordinal);
    }

    /// <summary>Whatever the pieces and the text are, sections as short as they can be give the cuts of the whole.</summary>
    [Theory]
    [InlineData(1, "a -1.8, b -2.1, ab -3.5, aaa -2.5, bab -4.1, !bb 0, ca -3, \u2581a -2, \u2581 -1, \u2581\u2581 -1.5")]
    [InlineData(2, "a -9, b -9, ab -1, aab -3, bab -2, !bb 0, ca -4, \u2581a -2.5, \u2581 -9, \u2581\u2581 -1.5, abab -5, \u4E2Da -6")]
    [InlineData(4, "a -1, b -2, !bab 0")]
    public void Sections_give_the_cuts_of_the_whole_text(int type, string pieces)
    {
        SentencePieceModel model = Model(pieces, type);
        PieceCutter whole = new(model, int.MaxValue), sections = new(model, 1), longer = new(model, 7);
        Random random = new(11);
        string[] parts = ["a", "b", "ab", "bb", "\u2581", "\u2581", "c", "\u4E2D", "\U0001F600", "x"];
        int most = 0;
        for (int round = 0; round < 500; round++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(60)).Select(_ => parts[random.Next(parts.Length)]));
            List<Cut> expected = [.. Cuts(whole, text, out _)];
            Assert.Equal(expected, Cuts(sections, text, out int count));
            Assert.Equal(expected, Cuts(longer, text, out _));
            most = Math.Max(most, count);
        }

        Assert.True(most > 15, $"{most} sections of a text at most");
    }

    private static List<Cut> Cuts(PieceCutter cutter, string text, out int sections)
    {
        List<Cut> all = [], some = [];
        float score = 0;
        sections = 0;
        for (int begin = 0; begin < text.Length; sections++)
        {
            begin = cutter.Cut(text, begin, ref score, some);
            all.AddRange(some);
        }

        return all;
    }

    private static IEnumerable<int> Ids(string pieces, int type, string text)
        => Cuts(new PieceCutter(Model(pieces, type)), text, out _).Select(cut => cut.Id);

    private static SentencePieceModel Model(string pieces, int type)
    {
        List<byte> model = [];
        Append(model, 1, [.. Text(1, "<unk>"), .. Number(3, (int)PieceKind.Unknown)]);
        foreach (string piece in pieces.Split(", "))
        {
            bool userDefined = piece[0] == '!';
            string[] parts = piece.TrimStart('!').Split(' ');
            byte[] score = BitConverter.GetBytes(float.Parse(parts[1], System.Globalization.CultureInfo.InvariantCulture));
            Append(
                model,
                1,
                [.. Text(1, parts[0]), (2 << 3) | 5, .. score, .. Number(3, (int)(userDefined ? PieceKind.UserDefined : PieceKind.Normal))]);
        }

        Append(model, 2, Number(3, type));
        return SentencePieceModel.Parse(model.ToArray());
    }

    [Fact]
    public void A_long_piece_costs_nothing_where_the_text_does_not_begin_it()
    {
        string longest = new('q', 4_000), text = string.Concat(Enumerable.Repeat("abab", 5_000));
        using TemporaryFolder folder = new();
        folder.File(
            "tokenizer.json",
            "{\"added_tokens\": [{\"id\": 5, \"content\": \"</s>\", \"special\": true}], \"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": "
                + $"[[\"<unk>\", 0], [\"a\", -2], [\"b\", -2], [\"ab\", -3], [\"{longest}\", -9], [\"</s>\", 0]]}}}}");
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        Assert.Equal(Enumerable.Repeat(3, 10_000), RetroTokenizer.Load(folder.Path).Encode(text));
        Assert.InRange(System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalSeconds, 0, 5);

        Random random = new(7);
        for (int round = 0; round < 300; round++)
        {
            string Word(int most) => string.Concat(Enumerable.Range(0, 1 + random.Next(most)).Select(_ => "ab"[random.Next(2)]));
            string[] pieces = [.. Enumerable.Range(0, 5).Select(_ => Word(4)).Distinct()];
            string sought = Word(12);
            PieceTrie trie = new(pieces);
            Assert.Equal(Array.IndexOf(pieces, sought), trie.ValueOf(sought));
            Assert.Equal(
                pieces.Where(piece => sought.StartsWith(piece, StringComparison.Ordinal)).Select(piece => piece.Length).DefaultIfEmpty(0).Max(),
                trie.LongestAt(sought, 0));
        }
    }

    private static byte[] Number(int field, int value) => [(byte)(field << 3), (byte)value];

    private static byte[] Text(int field, string value)
        => [(byte)((field << 3) | 2), (byte)Encoding.UTF8.GetByteCount(value), .. Encoding.UTF8.GetBytes(value)];

    private static void Append(List<byte> model, int field, byte[] message) => model.AddRange([(byte)((field << 3) | 2), (byte)message.Length, .. message]);
}
