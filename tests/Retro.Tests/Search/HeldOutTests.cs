using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tokenizers;

namespace Retro.Tests.Search;

public class HeldOutTests
{
    /// <summary>What a database keeps of a text is what the tokenizer leaves of it: no accents, no word that is not known, other forms of letters.</summary>
    [Theory]
    [InlineData("pretrained/bert", "Müller drank 東 a café")]
    [InlineData("sentencepiece/unigram-nfkc", "ﬁne ½ ｗｉｄｅ wines")]
    public void What_nearly_repeats_a_held_out_document_is_found_whatever_the_tokenizer_loses(string name, string lossy)
    {
        using TemporaryFolder folder = new();
        RetroTokenizer tokenizer = RetroTokenizer.Load(Path.Combine(Fixtures.Own, name));
        string text = Text("is {0}"), other = Text("and {0} {0}");
        using ChunkDatabase heldOut = ChunkDatabaseBuilder.Build(folder["held"], [TestDatabases.Document("held", text)], tokenizer, new() { ChunkLength = 8 });
        Func<Document, bool> finds = HeldOut.Finder(heldOut, tokenizer);
        Assert.True(finds(TestDatabases.Document("copy", $"{text} and three words")));
        Assert.False(finds(TestDatabases.Document("other", other)));

        string Text(string words)
            => string.Join(' ', Enumerable.Range(0, 30).Select(i => $"{lossy} {words.Replace("{0}", $"{i}", StringComparison.Ordinal)}"));
    }

    /// <summary>Each of two changed words takes as many grams as a gram has words: 10 of 76 fives, 26 of 68 thirteens.</summary>
    [Fact]
    public void Shorter_grams_find_what_has_more_words_changed()
    {
        using TemporaryFolder folder = new();
        RetroTokenizer tokenizer = RetroTokenizer.Load(Fixtures.Pretrained("gpt2-no-prefix"));
        string[] words = [.. Enumerable.Range(0, 80).Select(i => $"w{i}")];
        Document held = TestDatabases.Document("held", string.Join(' ', words));
        (words[30], words[50]) = ("changed", "changed");
        Document near = TestDatabases.Document("near", string.Join(' ', words));
        using ChunkDatabase heldOut = ChunkDatabaseBuilder.Build(folder["held"], [held], tokenizer, new() { ChunkLength = 8 });
        using ChunkDatabase retrieval = ChunkDatabaseBuilder.Build(folder["retrieval"], [near], tokenizer, new() { ChunkLength = 8 });
        HeldOutOptions shorter = new() { GramWords = 5 };

        HeldOut.Require(heldOut, retrieval, tokenizer);
        Assert.Contains(
            "similarity 0.77; 0.87 of it is there, 0.87 of that is here",
            Assert.Throws<DatabaseException>(() => HeldOut.Require(heldOut, retrieval, tokenizer, shorter)).Message,
            StringComparison.Ordinal);
        Assert.False(HeldOut.Finder(heldOut, tokenizer)(near));
        Assert.True(HeldOut.Finder(heldOut, tokenizer, shorter)(near));
    }

    /// <summary>
    /// Whichever thread comes first, the first document that repeats one is named, and they come in their order; progress is told by one thread at a time.
    /// </summary>
    [Fact]
    public void The_database_is_compared_on_several_threads_and_the_first_are_named()
    {
        Assert.SkipWhen(Environment.ProcessorCount == 1, "There is one processor.");
        using TemporaryFolder folder = new();
        RetroTokenizer tokenizer = RetroTokenizer.Load(Fixtures.Pretrained("gpt2-no-prefix"));
        Document[] held = [.. Enumerable.Range(0, 2).Select(i => Of($"held {i}", i, 0))];
        Document[] others = [.. Enumerable.Range(0, 40).Select(i => Of($"other {i}", i < 20 ? 7 + i : 1 - (i % 2), i))];
        using ChunkDatabase heldOut = ChunkDatabaseBuilder.Build(folder["held"], held, tokenizer, new() { ChunkLength = 8 });
        using ChunkDatabase retrieval = ChunkDatabaseBuilder.Build(folder["retrieval"], others, tokenizer, new() { ChunkLength = 8 });
        HashSet<int> threads = [];
        int inside = 0;
        long last = 0;
        SynchronousProgress<StageProgress> inOrder = new(report =>
        {
            if (!report.Stage.StartsWith("look for", StringComparison.Ordinal))
            {
                return;
            }

            Assert.Equal(1, Interlocked.Increment(ref inside));
            Assert.Equal(last + 1, report.Done);
            last = report.Done;
            threads.Add(Environment.CurrentManagedThreadId);
            if (threads.Count == 1)
            {
                Thread.Sleep(500); // for another thread, for which one alone waits in vain
            }

            Interlocked.Decrement(ref inside);
        });
        string message = Assert.Throws<DatabaseException>(() => HeldOut.Require(heldOut, retrieval, tokenizer, progress: inOrder)).Message;
        Assert.True(threads.Count > 1, "One thread compares alone.");
        Assert.Matches("\"held 1\" \\(there \"other 20\".*\"held 0\" \\(there \"other 21\"", message);

        static Document Of(string id, int topic, int last)
            => TestDatabases.Document(id, string.Join(' ', Enumerable.Range(0, 60).Select(i => $"t{topic}w{i}")) + $" and {last}");
    }
}
