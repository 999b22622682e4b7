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
    public void A_wrong_answer_stands_where_the_right_one_stood(string title, string text, string kind, string right, string wrong, string? expected)
    {
        using ChunkDatabase database = Build(new Document("d#0", title, $"{title}\n{text}", ""));
        QuestionPassages passages = new(database, s_tokenizer);
        Question question = new("q", "?", [right], kind, "d", "d#0");
        long[]? changed = passages.Changed(passages.Oracle(question), question, wrong, 2 * M);
        Assert.Equal(expected, changed is null ? null : s_tokenizer.Decode([.. changed[1..^1].Select(token => (int)token)]));
        Assert.True(changed is null || (changed[0] == s_tokenizer.BeginOfText && changed[^1] == s_tokenizer.EndOfText));
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

    private ChunkDatabase Build(Document passage)
    {
        string other = Guid.NewGuid().ToString("N");
        return ChunkDatabaseBuilder.Build(
            _folder[other], [passage, new(other, "", string.Concat(Enumerable.Repeat("Some text. ", M)), "")], s_tokenizer, new() { ChunkLength = M });
    }
}
