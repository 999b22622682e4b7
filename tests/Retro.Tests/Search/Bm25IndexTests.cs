using Retro.Corpora;
using Retro.Database;
using Retro.Search;

namespace Retro.Tests.Search;

public class Bm25IndexTests
{
    [Theory]
    [InlineData(1, 1, 5, 1)]
    [InlineData(10, 20, 8, 3)]
    [InlineData(300, 40, 30, 8)] // nearly every term is in most documents
    [InlineData(400, 2000, 64, 5)] // most terms are rare: lists are left unread
    [InlineData(900, 300, 64, 1)]
    [InlineData(50, 30, 20, 60)] // more asked for than there are
    public void The_best_are_those_of_the_formula(int count, int vocabulary, int length, int k)
    {
        for (int seed = 0; seed < 6; seed++)
        {
            int[][] documents = Documents(count, vocabulary, length, seed);
            LiteralBm25 literal = new(documents);
            using Bm25Index index = Bm25Index.Build(count, document => documents[document]);
            for (int q = 0; q < 6; q++)
            {
                int[] query = q % 2 == 0 ? documents[q * 7 % count] : Documents(1, vocabulary, length, 100 + q)[0];
                ChunkRange[] excluded = q % 3 == 0 ? [] : [new(q, count / 4), new(count / 8, count / 5), new(count - 1, 1), new(3, 0)];
                bool IsExcluded(int document) => excluded.Any(range => document >= range.First && document < range.End);
                (long Document, double Score)[] expected = literal.Top(query, k, IsExcluded);

                long[] found = new long[k];
                double[] scores = new double[k];
                Assert.Equal(expected.Length, index.Search(query, found, scores, new(excluded)));

                Assert.Equal(expected.Select(row => row.Document), found[..expected.Length]);
                for (int i = 0; i < k; i++)
                {
                    Assert.Equal(i < expected.Length ? expected[i].Score : double.NaN, scores[i], 1e-9);
                }
            }
        }
    }

    [Fact]
    public void In_a_larger_collection_where_most_lists_stay_unread_the_best_are_still_the_best_of_all()
    {
        const int Count = 3000, K = 8;
        int[][] documents = Documents(Count, 4000, 64, seed: 17);
        for (int i = 10; i < Count; i += 10)
        {
            documents[i] = [.. documents[i - 3].Take(30), .. documents[i].Take(30)]; // something near to be found
        }

        using Bm25Index index = Bm25Index.Build(Count, document => documents[document]);
        LiteralBm25 literal = new(documents);
        for (int q = 7; q < Count; q += 397)
        {
            (long Document, double Score)[] expected = literal.Top(documents[q], K, document => document == q);
            long[] found = new long[K];
            double[] scores = new double[K];
            index.Search(documents[q], found, scores, new(new ChunkRange(q, 1)));
            Assert.Equal(expected.Select(pair => pair.Document), found);
            Assert.All(expected.Zip(scores), pair => Assert.Equal(pair.First.Score, pair.Second, 1e-9));
        }
    }

    /// <summary>
    /// Against the scores of all documents, to the bit: in more than one range of documents, of terms with columns and with postings, with ties (every document
    /// has copies), repeated words, words that nothing has, excluded documents and few that may come, and more asked for than there are.
    /// </summary>
    [Theory]
    [InlineData(5)]
    [InlineData(3000)]
    public void The_search_finds_what_scoring_every_document_finds_to_the_bit(int vocabulary)
    {
        const int Count = 70_000, Different = 9_000;
        int[][] different = Documents(Different, vocabulary, 12, seed: vocabulary);
        using Bm25Index index = Bm25Index.Build(Count, document => different[document % Different]);
        Random random = new(vocabulary);
        for (int q = 0; q < 24; q++)
        {
            int[] query = (q % 4) switch
            {
                0 => different[random.Next(Different)],
                1 => [.. different[random.Next(Different)], .. different[random.Next(Different)], vocabulary + 7, -3],
                2 => [random.Next(vocabulary)],
                _ => Documents(1, vocabulary, 60, seed: q)[0],
            };
            ChunkRange[] excluded = q % 3 == 0 ? [] : [new(random.Next(Count - 9000), 9000), new(0, 5), new(random.Next(Count), 1)];
            ChunkSet? among = (q % 5) switch
            {
                1 => new(Count, [.. Enumerable.Range(0, 30).Select(i => (2000L * i, 1L))]),
                2 => new(Count, [(35_000, 20_000)]),
                3 => new(Count, []),
                _ => null,
            };
            (long Document, double Score)[] all =
            [
                .. Enumerable.Range(0, Count)
                    .Where(document => among?.Contains(document) != false && !excluded.Any(range => document >= range.First && document < range.End))
                    .Select(document => (Document: (long)document, Score: index.Score(query, document)))
                    .Where(pair => pair.Score > 0)
                    .OrderByDescending(pair => pair.Score)
                    .ThenBy(pair => pair.Document)
            ];
            foreach (int k in new[] { 1, 8, 300, Count })
            {
                (long[] found, double[] scores) = (new long[k], new double[k]);
                int there = index.Search(query, found, scores, new(excluded), among);
                Assert.Equal(Math.Min(k, all.Length), there);
                Assert.Equal(all.Take(k), found.Zip(scores).Take(there));
                Assert.All(found[there..], document => Assert.Equal(-1, document));
            }
        }
    }

    /// <summary>
    /// A word whose list a stretch of documents was done without, since none of them could be among the best, counts again in a later one that has many of the
    /// rarer word.
    /// </summary>
    [Fact]
    public void A_word_that_a_stretch_of_documents_did_without_counts_again_in_a_later_one()
    {
        const int Stretch = 1 << 15, Count = 3 * Stretch, Rare = 1, Common = 2, Wanted = 10;
        int[] Document(long document) => document switch
        {
            < 20 => [Rare, Common, 3],
            >= 2 * Stretch and < (2 * Stretch) + 3000 => document % 300 == 7 ? [Rare, Common] : [Rare, 4],
            _ => document % 10 == 0 ? [Common, 5] : [6],
        };
        using Bm25Index index = Bm25Index.Build(Count, document => Document(document));
        (long[] found, double[] scores) = (new long[Wanted], new double[Wanted]);

        Assert.Equal(Wanted, index.Search([Rare, Common], found, scores));

        Assert.Equal(Enumerable.Range(2 * Stretch, 3000).Where(document => document % 300 == 7).Select(document => (long)document), found);
        Assert.Equal(found.Select(document => index.Score([Rare, Common], document)), scores);
    }

    [Fact]
    public void A_query_of_more_words_than_bounds_have_room_for_finds_the_same()
    {
        int[][] documents = Documents(300, 30_000, 20, seed: 5);
        using Bm25Index index = Bm25Index.Build(300, document => documents[document]);
        LiteralBm25 literal = new(documents);
        foreach (int words in new[] { 2_000, 29_000 })
        {
            int[] query = [.. Enumerable.Range(0, words)];
            (long[] found, double[] scores) = (new long[5], new double[5]);
            index.Search(query, found, scores);
            Assert.Equal(literal.Top(query, 5).Select(row => row.Document), found);
        }

        int[][] own = [.. Enumerable.Range(0, 1000).Select(document => Enumerable.Range(10 * document, 10 + document % 3).ToArray())];
        using Bm25Index wide = Bm25Index.Build(1000, document => own[document]);
        foreach (int words in new[] { 8_000, 8_192, 8_193, 10_002 })
        {
            int[] query = [.. Enumerable.Range(0, words)];
            (long[] found, double[] scores) = (new long[1000], new double[1000]);
            int there = wide.Search(query, found, scores);
            (long, double)[] expected =
            [
                .. Enumerable.Range(0, 1000).Select(document => ((long)document, wide.Score(query, document)))
                    .Where(pair => pair.Item2 > 0).OrderByDescending(pair => pair.Item2).ThenBy(pair => pair.Item1)
            ];
            Assert.Equal(expected, found.Zip(scores).Take(there));
        }
    }

    [Fact]
    public void Parts_of_a_collection_whose_documents_differ_in_length_find_what_one_index_of_all_finds()
    {
        int[][] few = Documents(400, 60, 6, seed: 1), many = Documents(300, 60, 90, seed: 2), all = [.. few, .. many];
        using Bm25Index first = Bm25Index.Build(400, document => few[document]), second = Bm25Index.Build(300, document => many[document]);
        using Bm25Index one = Bm25Index.Build(700, document => all[document]);
        Bm25Index.Join([first, second], [[], []]);
        foreach (int[] query in all.Where((_, i) => i % 23 == 0))
        {
            (long Document, double Score)[] parts = [.. Find(first, query), .. Find(second, query).Select(pair => (pair.Document + 400, pair.Score))];
            Assert.Equal(Find(one, query), parts.OrderByDescending(pair => pair.Score).ThenBy(pair => pair.Document).Take(10));
        }

        static (long Document, double Score)[] Find(Bm25Index index, int[] query)
        {
            (long[] found, double[] scores) = (new long[10], new double[10]);
            return [.. found.Zip(scores).Take(index.Search(query, found, scores))];
        }
    }

    [Theory]
    [InlineData(0, 0.75)]
    [InlineData(2, 0)]
    [InlineData(0.9, 1)]
    public void Both_constants_do_what_the_formula_says(double k1, double b)
    {
        int[][] documents = Documents(80, 50, 25, seed: 3);
        LiteralBm25 literal = new(documents, k1, b);
        using TemporaryFolder folder = new();
        using (Bm25Index built = Bm25Index.Build(80, document => documents[document], new() { K1 = k1, B = b }))
        {
            built.Save(folder["bm25.bin"]);
        }

        using Bm25Index index = Bm25Index.Open(folder["bm25.bin"]);
        Assert.Equal((k1, b), (index.K1, index.B));
        long[] found = new long[10];
        double[] scores = new double[10];
        index.Search(documents[5], found, scores);
        Assert.Equal(literal.Top(documents[5], 10).Select(row => row.Document), found);
    }

    [Fact]
    public void A_repeated_term_counts_each_time_and_the_order_of_terms_does_not_matter()
    {
        int[][] documents = [[1, 2], [2, 3], [1, 1, 3]];
        using Bm25Index index = Bm25Index.Build(3, document => documents[document]);

        Assert.Equal(3 * index.Score([1], 2), index.Score([1, 1, 1], 2), 1e-12);
        Assert.Equal(index.Score([3, 1, 2], 1), index.Score([2, 3, 1], 1));
        Assert.Equal(0, index.Score([77], 1));
        Assert.Equal(0, index.InverseDocumentFrequency(77));
        Assert.True(index.InverseDocumentFrequency(1) > 0);
        Assert.Throws<ArgumentOutOfRangeException>(() => index.Score([1], 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => index.Score([1], -1));
    }

    [Fact]
    public void Terms_may_be_any_integers()
    {
        int[][] documents = [[int.MinValue, -7], [int.MaxValue, 0], [-7, 5, 5]];
        using Bm25Index index = Bm25Index.Build(3, document => documents[document]);
        long[] found = new long[3];
        double[] scores = new double[3];

        Assert.Equal(5, index.TermCount);
        Assert.Equal(2, index.Search([-7], found, scores));
        Assert.Equal([0, 2, -1], found);
        Assert.Equal(1, index.Search([int.MaxValue, 123], found, scores));
        Assert.Equal([1, -1, -1], found);
    }

    [Fact]
    public void Equal_documents_come_in_the_order_of_their_numbers()
    {
        int[][] documents = Enumerable.Range(0, 60).Select(i => new[] { 1, 2, i % 3 }).ToArray();
        using Bm25Index index = Bm25Index.Build(60, document => documents[document]);
        long[] found = new long[25];
        double[] scores = new double[25];
        index.Search([0], found, scores);

        Assert.Equal(Enumerable.Range(0, 20).Select(i => 3L * i), found[..20]);
        Assert.Equal(-1, found[20]);
    }

    [Fact]
    public void Documents_added_without_the_terms_leave_the_order_of_the_others()
    {
        int[][] documents = Documents(50, 30, 20, seed: 8).Select(document => document.Order().ToArray()).ToArray();
        int[][] twice = [.. documents, .. documents];
        using Bm25Index once = Bm25Index.Build(50, document => documents[document]);
        using Bm25Index doubled = Bm25Index.Build(100, document => twice[document]);
        long[] found = new long[100];
        double[] scores = new double[100];
        int count = doubled.Search(documents[4], found, scores);

        // Every document comes with its copy right behind it, of the same score.
        Assert.Equal(0, count % 2);
        for (int i = 0; i < count; i += 2)
        {
            Assert.Equal(found[i] + 50, found[i + 1]);
            Assert.Equal(scores[i], scores[i + 1]);
        }

        Assert.Equal(50, once.Count);
    }

    [Fact]
    public void Empty_indexes_queries_and_documents_give_nothing()
    {
        long[] found = new long[2];
        double[] scores = new double[2];
        using Bm25Index empty = Bm25Index.Build(0, _ => []);
        Assert.Equal(0, empty.Search([1, 2], found, scores));
        Assert.Equal([-1, -1], found);

        int[][] documents = [[], [4], []];
        using Bm25Index index = Bm25Index.Build(3, document => documents[document]);
        Assert.Equal(0, index.Search([], found, scores));
        Assert.Equal(1, index.Search([4, 4], found, scores));
        Assert.Equal([1, -1], found);
        Assert.Equal(0, index.Search([4], [], []));
        Assert.Equal(0, index.Search([4], found, scores, new(new ChunkRange(0, 3))));
        Assert.Throws<ArgumentException>(() => index.Search([4], found, new double[1]));

        using Bm25Index blank = Bm25Index.Build(2, _ => []);
        Assert.Equal(0, blank.Search([1], found, scores));
    }

    [Fact]
    public void Threads_at_once_find_what_one_finds()
    {
        int[][] documents = Documents(600, 400, 40, seed: 9);
        using Bm25Index index = Bm25Index.Build(600, document => documents[document]);
        long[][] expected = documents.Select(Find).ToArray();
        long[][] found = new long[600][];
        Parallel.For(0, 600, i => found[i] = Find(documents[i]));

        Assert.Equal(expected, found);

        long[] Find(int[] query)
        {
            long[] best = new long[6];
            index.Search(query, best, new double[6]);
            return best;
        }
    }

    [Fact]
    public void The_file_has_the_same_bytes_each_time_and_after_opening()
    {
        using TemporaryFolder folder = new();
        int[][] documents = Documents(100, 70, 15, seed: 10);
        foreach (string name in new[] { "a", "b" })
        {
            using Bm25Index index = Bm25Index.Build(100, document => documents[document]);
            index.Save(folder[name]);
        }

        using Bm25Index opened = Bm25Index.Open(folder["a"]);
        opened.Save(folder["c"]);
        Assert.Equal(File.ReadAllBytes(folder["a"]), File.ReadAllBytes(folder["b"]));
        Assert.Equal(File.ReadAllBytes(folder["a"]), File.ReadAllBytes(folder["c"]));
    }

    [Fact]
    public void A_damaged_file_is_refused_wherever_the_damage_lies()
    {
        using TemporaryFolder folder = new();
        string path = folder["bm25.bin"];
        Assert.Contains(path, Assert.Throws<DatabaseException>(() => Bm25Index.Open(path)).Message, StringComparison.Ordinal);

        int[][] documents = Documents(12, 10, 6, seed: 11);
        using (Bm25Index index = Bm25Index.Build(12, document => documents[document]))
        {
            index.Save(path);
        }

        byte[] whole = File.ReadAllBytes(path);
        int opened = 0;
        for (int i = 0; i < whole.Length; i += i < 64 ? 1 : 5)
        {
            byte[] changed = (byte[])whole.Clone();
            changed[i] ^= 0x10;
            File.WriteAllBytes(path, changed);
            Assert.Contains(path, Assert.Throws<DatabaseException>(() => Bm25Index.Open(path)).Message, StringComparison.Ordinal);

            // Without the checksum a changed content may open, but what it finds are documents that there are.
            try
            {
                using Bm25Index index = Bm25Index.Open(path, verify: false);
                long[] found = new long[3];
                int count = index.Search(documents[0], found, new double[3]);
                Assert.All(found[..count], document => Assert.InRange(document, 0, 11));
                Assert.All(found[count..], document => Assert.Equal(-1, document));
                for (int document = 0; document < documents.Length; document++)
                {
                    index.FaultOf(document, documents[document]);
                }

                Bm25Index.Join([index], [Enumerable.Range(0, 12).Select(document => (long)document)]);
                opened++;
            }
            catch (Exception fault) when (fault is DatabaseException)
            {
            }

            File.WriteAllBytes(path, whole[..i]);
            Assert.Throws<DatabaseException>(() => Bm25Index.Open(path, verify: false));
        }

        Assert.True(opened > 10, $"{opened} changed files opened without their checksum: the test shows little.");
        File.WriteAllBytes(path, [.. whole, 0]);
        Assert.Throws<DatabaseException>(() => Bm25Index.Open(path, verify: false));
    }

    /// <summary>A file whose checksum is right and whose content names what there is not: whoever made it did so on purpose.</summary>
    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public void A_file_that_names_terms_or_documents_that_are_not_there_is_refused(int section)
    {
        using TemporaryFolder folder = new();
        int[][] documents = [.. Enumerable.Range(0, 20).Select(document => new[] { 5, 6, 6, 7 + document })];
        using (Bm25Index index = Bm25Index.Build(documents.Length, document => documents[document]))
        {
            index.Save(folder["index"]);
        }

        byte[] file = File.ReadAllBytes(folder["index"]);
        long N(int at) => BitConverter.ToInt64(file, at);
        long[] sizes = [N(24) * 4, (N(24) + 1) * 8, (N(16) + 1) * 8, N(40) * 4];
        int place = 128 + (int)sizes.Take(section).Sum(size => (size + 7) / 8 * 8);
        foreach (int wrong in new[] { -1, 1_000 })
        {
            byte[] changed = [.. file];
            BitConverter.TryWriteBytes(changed.AsSpan(place), wrong);
            System.Security.Cryptography.SHA256.HashData([.. changed[..64], .. changed[96..]]).CopyTo(changed, 64);
            File.WriteAllBytes(folder["index"], changed);
            Assert.Contains(
                $"it names {wrong}", Assert.Throws<DatabaseException>(() => Bm25Index.Open(folder["index"])).Message, StringComparison.Ordinal);
        }
    }

    /// <summary>The terms that are in nearly all documents have columns: that of term 6 is the last.</summary>
    [Fact]
    public void A_file_whose_columns_contradict_it_or_of_an_earlier_version_is_refused()
    {
        using TemporaryFolder folder = new();
        using (Bm25Index index = Bm25Index.Build(20, document => document == 3 ? [5] : new[] { 5, 6, 6, 7 + (int)document }))
        {
            index.Save(folder["index"]);
        }

        byte[] file = File.ReadAllBytes(folder["index"]);
        Assert.Equal(0, file[^17]); // of document 3
        Refused(file.Length - 17, 9, "more or fewer documents");
        Refused(8, 1, "has version 1");

        void Refused(int at, byte value, string why)
        {
            byte[] changed = [.. file];
            changed[at] = value;
            System.Security.Cryptography.SHA256.HashData([.. changed[..64], .. changed[96..]]).CopyTo(changed, 64);
            File.WriteAllBytes(folder["index"], changed);
            Assert.Contains(why, Assert.Throws<DatabaseException>(() => Bm25Index.Open(folder["index"])).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_bytes_do_not_depend_on_the_number_of_threads()
    {
        Random random = new(8);
        int[][] documents = [.. Enumerable.Range(0, 30_000).Select(_ =>
            Enumerable.Range(0, random.Next(12)).Select(_ => (int)(400 * Math.Pow(random.NextDouble(), 3))).ToArray())];
        using TemporaryFolder folder = new();
        byte[][] made = [.. new[] { 1, 2, 5 }.Select(threads =>
        {
            using Bm25Index index = Bm25Index.Build(documents.Length, document => documents[document], new() { Threads = threads });
            index.Save(folder[$"{threads}"]);
            return File.ReadAllBytes(folder[$"{threads}"]);
        })];
        Assert.Equal(made[0], made[1]);
        Assert.Equal(made[0], made[2]);
    }

    [Fact]
    public void A_build_can_be_stopped_tells_its_progress_and_checks_what_it_is_given()
    {
        using CancellationTokenSource stopped = new();
        stopped.Cancel();
        Assert.Throws<OperationCanceledException>(() => Bm25Index.Build(5, _ => [1], cancellationToken: stopped.Token));

        List<StageProgress> told = [];
        using Bm25Index index = Bm25Index.Build(5, _ => [1], progress: new Reports<StageProgress>(told.Add));
        Assert.Equal(new("index terms", 10, 10), told[^1]);

        Assert.Throws<ArgumentOutOfRangeException>(() => Bm25Index.Build(-1, _ => []));
        Assert.Throws<RetroOptionsException>(() => Bm25Index.Build(1, _ => [], new() { K1 = -1 }));
        Assert.Throws<RetroOptionsException>(() => Bm25Index.Build(1, _ => [], new() { B = double.NaN }));
        int asked = 0;
        Assert.Throws<InvalidOperationException>(() => Bm25Index.Build(1, _ => new int[] { asked++ }));
    }

    [Fact]
    public void Several_threads_tell_their_progress_one_at_a_time_and_in_order()
    {
        int inside = 0;
        long last = -1;
        Reports<StageProgress> inOrder = new(report =>
        {
            Assert.Equal(1, Interlocked.Increment(ref inside));
            Assert.True(report.Done > last, $"{report.Done} came after {last}.");
            last = report.Done;
            Thread.Sleep(20); // in which another comes
            Interlocked.Decrement(ref inside);
        });
        using Bm25Index index = Bm25Index.Build(40_000, _ => [1], new() { Threads = 4 }, inOrder);
        Assert.Equal(80_000, last);
    }

    [Fact]
    public void A_folder_that_cannot_be_written_is_named()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["file"], "");
        using Bm25Index index = Bm25Index.Build(1, _ => [1]);
        Assert.Contains(
            "bm25.bin", Assert.Throws<DatabaseException>(() => index.Save(Path.Combine(folder["file"], "bm25.bin"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_disposed_index_says_so()
    {
        Bm25Index index = Bm25Index.Build(1, _ => [1]);
        index.Dispose();
        index.Dispose();
        Assert.Throws<ObjectDisposedException>(() => index.Search([1], new long[1], new double[1]));
    }

    /// <summary>Documents whose terms are spread as those of text are: a few everywhere, most rare.</summary>
    internal static int[][] Documents(int count, int vocabulary, int length, int seed)
    {
        Random random = new(seed);
        return Enumerable.Range(0, count)
            .Select(_ => Enumerable.Range(0, random.Next(1, length + 1)).Select(_ => (int)(vocabulary * Math.Pow(random.NextDouble(), 3))).ToArray())
            .ToArray();
    }
}
