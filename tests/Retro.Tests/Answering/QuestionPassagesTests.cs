using Retro.Answering;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tokenizers;

namespace Retro.Tests.Answering;

public sealed class QuestionPassagesTests : IDisposable
{
    private const int M = 64;

    private static readonly RetroTokenizer s_tokenizer = EmbeddingInputs.Tokenizer;

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Where the right answer went on to stand, a reader that holds to its passage would be counted as one that does not.</summary>
    [Theory]
    [InlineData("Python tutorial", "Python\nThis language is old.", "section", "Python", "Fortran", "Python tutorial\nFortran\nThis language is old.")]
    [InlineData("Atland", "Total Area: 57\nArea: 5", "Area", "5", "8", "Atland\nTotal Area: 57\nArea: 8")]
    [InlineData("Usefulness", "Use\nIt is of use.", "section", "Use", "Cost", "Usefulness\nCost\nIt is of use.")]
    [InlineData("Iron", "Iron is a metal.", "definition", "a metal", "a gas", "Iron\nIron is a gas.")]
    [InlineData("Iron", "It is found in iron ore.", "title", "Iron", "Gold", "Gold\nIt is found in iron ore.")]
    [InlineData("a metal", "Iron is a metal.", "definition", "a metal.", "a gas.", "a metal\nIron is a gas.")]
    [InlineData("Iron", "Iron is a metal, a metal.", "definition", "a metal", "a gas", null)]
    [InlineData("Iron", "Color: red\nColor: red", "Color", "red", "blue", null)]
    [InlineData("Iron", "A useful thing.", "section", "use", "cost", null)]
    [InlineData("Use", "A useful thing.", "definition", "Us", "it", null)]
    [InlineData("Japan", "日本の首都は東京です。", "首都", "東京", "京都", "Japan\n日本の首都は京都です。")]
    [InlineData("Iron", "Color: Gray\nIt is GRAY.", "Kind", "gray", "red", null)]
    [InlineData("Café", "cafe\u0301s and a café", "definition", "Cafe\u0301", "bar", "bar\ncafe\u0301s and a café")]
    public void A_wrong_answer_stands_where_the_right_one_stood(string title, string text, string kind, string right, string wrong, string? expected)
    {
        using ChunkDatabase database = Build(new Document("d#0", title, $"{title}\n{text}", ""));
        QuestionPassages passages = new(database, s_tokenizer);
        Question question = new("q", "?", [right], kind, "d", "d#0");
        long[]? changed = passages.Changed(passages.Oracle(question), question, wrong, 2 * M);
        Assert.Equal(expected, changed is null ? null : s_tokenizer.Decode([.. changed[1..^1].Select(token => (int)token)]));
        Assert.True(changed is null || (changed[0] == s_tokenizer.BeginOfText && changed[^1] == s_tokenizer.EndOfText));
    }

    /// <summary>Worked by hand after DPR's SimpleTokenizer and has_answer; of scripts without spaces, by characters.</summary>
    [Theory]
    [InlineData("Paris's mayor", "Paris", true)]
    [InlineData("Paris's mayor", "Pariss", false)]
    [InlineData("The London-based team", "London", true)]
    [InlineData("in 2019/2020, I think", "2020", true)]
    [InlineData("the Rome–Milan line", "Milan", true)]
    [InlineData("the Rome–Milan line", "Rome–Milan", true)]
    [InlineData("the Rome–Milan line", "Rome-Milan", false)]
    [InlineData("3.14 km", "3.14", true)]
    [InlineData("314 km", "3.14", false)]
    [InlineData("a useful thing", "use", false)]
    [InlineData("It costs\n$ 5 or so", "$5", true)]
    [InlineData("THE OFFICES OF ΟΔΟΣ", "οδος", true)]
    [InlineData("cafe\u0301 noir", "Café", true)]
    [InlineData("cafe\u0301 noir", "cafe", false)]
    [InlineData("a trans\u00ADparent wall", "transparent", true)]
    [InlineData("日本の首都は東京です。", "東京", true)]
    [InlineData("日本の首都は東京です。", "京東", false)]
    [InlineData("2020年に東京で", "2020年", true)]
    [InlineData("12020年に東京で", "2020年", false)]
    [InlineData("がっこう", "か", false)]
    [InlineData("ฉันอยู่กรุงเทพมหานคร", "กรุงเทพ", true)]
    [InlineData("ดีมาก", "ด", false)]
    [InlineData("서울은 크다", "서울", false)]
    [InlineData("𝐚𝐛 𝐜", "𝐚", false)]
    [InlineData("no words", "\u00A0", false)]
    [InlineData("", "\u00A0", false)]
    public void An_answer_is_held_where_its_words_stand(string text, string answer, bool held)
    {
        Assert.Equal(held, TextWords.Hold(TextWords.Of(text), answer));
        Assert.Equal(held, TextWords.Places(text, answer).Any());
    }

    [Fact]
    public void What_holds_an_answer_in_another_form_or_script_is_no_distractor_of_it()
    {
        using ChunkDatabase database = Build(
            new("d#0", "", "日本の首都は東京です。", ""), new("d#1", "", "多くの人が東京を訪れます。", ""), new("d#2", "", "Paris's mayor.", ""));
        QuestionPassages passages = new(database, s_tokenizer);
        Question tokyo = new("q", "首都:", ["東京"], "首都", "d", "d#0"), paris = new("q", "Capital:", ["Paris"], "Capital", "d", "d#3");
        Assert.True(passages.Holds(1, tokyo) && passages.Holds(passages.Tokens(1, 2 * M), tokyo) && !passages.Holds(2, tokyo));
        Assert.True(passages.Holds(2, paris) && !passages.Holds(0, paris));
        Assert.DoesNotContain(1, passages.Distractors(tokyo, 2));
        Assert.DoesNotContain(2, passages.Distractors(paris, 3));
    }

    /// <summary>However many chunks a passage has, and however many of those that are found hold the answer.</summary>
    [Fact]
    public void As_many_passages_are_found_as_there_are_and_as_are_asked_for()
    {
        string Long(int i) => string.Concat(Enumerable.Range(0, 40).Select(j => $"The bell {(char)('a' + ((i + j) % 26))} is gray. "));
        using ChunkDatabase database = Build([.. Enumerable.Range(0, 12).Select(i => new Document($"d#{i}", "", Long(i) + (i < 8 ? "Iron." : ""), ""))]);
        using KeywordNeighborSource words = KeywordNeighborSource.Build(database);
        QuestionPassages passages = new(database, s_tokenizer, words);
        Assert.True(database.ChunksOf(0).Count > 4);
        foreach (int count in new[] { 1, 2, 4, 8, 12 })
        {
            Assert.Equal(count, passages.Found("The bell is gray", count).Distinct().Count());
        }

        // One more has a token of them.
        Assert.Equal(13, passages.Found("The bell is gray", 100).Count);
        Assert.Equal(12, passages.Found("The bell is gray", 100, null, [5]).Count);

        // Of the passages that are found, four do not hold the answer: all of these are hard ones.
        Question iron = new("q", "The bell is gray", ["iron"], "k", "d", "d#0");
        long[] without = [.. passages.Found(iron, 12).Where(chunk => !passages.Holds(chunk, iron))];
        Assert.Equal(4, without.Length);
        Assert.Equal(without, passages.Distractors(iron, 4, hardShare: 1));
    }

    [Fact]
    public void Two_passages_of_one_id_are_refused_by_name()
    {
        using ChunkDatabase one = Build(new Document("d#0", "One", "One\nSize: 4", "")), other = Build(new Document("d#0", "Two", "Two\nSize: 5", ""));
        using ChunkDatabase both = ChunkDatabase.Open([one.Folder, other.Folder]);
        string message = Assert.Throws<DatabaseException>(() => new QuestionPassages(both, s_tokenizer)).Message;
        Assert.Contains("two passages \"d#0\"", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_source_over_another_database_or_over_another_state_of_the_same_one_is_refused()
    {
        using ChunkDatabase database = Build(new Document("d#0", "One", "One\nSize: 4", "")), other = Build(new Document("d#1", "Two", "Two\nSize: 5", ""));
        using KeywordNeighborSource elsewhere = KeywordNeighborSource.Build(other), before = KeywordNeighborSource.Build(database);
        Assert.StartsWith(
            $"The source bm25 searches {other.Folder}, and the passages are in {database.Folder}; give one over them.",
            Refused(database, elsewhere),
            StringComparison.Ordinal);
        using ChunkDatabase after = ChunkDatabaseUpdate.Apply(database.Folder, [new("d#2", "", "One more.", "")], [], s_tokenizer).Database;
        string message = Refused(after, before);
        Assert.StartsWith(
            $"The source bm25 searches {database.Folder}, and the passages are in the same folder in another state: it was changed",
            message,
            StringComparison.Ordinal);

        static string Refused(ChunkDatabase database, INeighborSource source)
            => Assert.Throws<ArgumentException>(() => new QuestionPassages(database, s_tokenizer, source)).Message;
    }

    [Fact]
    public void No_passage_is_found_that_may_not_be_seen_or_is_excluded()
    {
        using ChunkDatabase database = Build(new Document("d#0", "D", "D\nThe bell is gray.", "") { Labels = ["secret"] });
        using KeywordNeighborSource words = KeywordNeighborSource.Build(database);
        QuestionPassages passages = new(database, s_tokenizer, words);
        const string Prompt = "D\nThe bell is";
        Assert.Equal(passages.Found(new("q", Prompt, ["gray"], "definition", "d", "d#0"), 1), passages.Found(Prompt, 1));
        Assert.Equal([0], passages.Found(Prompt, 1));
        Assert.Equal([0], passages.Found(Prompt, 1, ["secret"]));
        Assert.DoesNotContain(0, passages.Found(Prompt, 1, []));
        Assert.DoesNotContain(0, passages.Found(Prompt, 1, null, [0]));
    }

    private ChunkDatabase Build(params Document[] passages)
    {
        string other = Guid.NewGuid().ToString("N");
        return ChunkDatabaseBuilder.Build(
            _folder[other], [.. passages, new(other, "", string.Concat(Enumerable.Repeat("Some text. ", M)), "")], s_tokenizer, new() { ChunkLength = M });
    }
}
