using System.Globalization;
using Retro.Corpora;
using Retro.Tests.Database;

namespace Retro.Tests.Corpora;

public sealed class HeldOutSplitTests
{
    /// <summary>By its id a document is told which part it is in.</summary>
    [Fact]
    public void Two_documents_of_one_id_are_refused()
    {
        Document[] documents = [new("a", "", "The river runs to the harbor.", "1.jsonl"), new("a", "", "The mountain stands over the valley.", "2.jsonl")];
        CorpusException fault = Assert.Throws<CorpusException>(() => HeldOutSplit.Create(documents, new() { Count = 1 }));
        Assert.Contains("Two documents have the id 'a', one from 1.jsonl and one from 2.jsonl", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_was_asked_for_is_told_alike_in_every_culture()
    {
        CultureInfo.CurrentCulture = new CultureInfo("") { NumberFormat = new() { NumberDecimalSeparator = "," } }; // of this test's own flow
        CorpusException none = Assert.Throws<CorpusException>(() => HeldOutSplit.Create([new("a", "", "text", "")], new() { Fraction = 0.0001 }));
        Assert.Contains("with a fraction of 0.0001;", none.Message, StringComparison.Ordinal);
    }

    private static List<Document> Documents(int count, int seed = 1, int words = 80)
    {
        Random random = new(seed);
        return Enumerable.Range(0, count)
            .Select(number => TestDatabases.Document($"d{number}", string.Join(' ', Enumerable.Range(0, words).Select(_ => $"w{random.Next(5000)}"))))
            .ToList();
    }

    /// <summary>A corpus of books is compared a few at a time.</summary>
    [Fact]
    public void Few_long_documents_are_in_memory_at_once()
    {
        int read = 0;
        List<int> ahead = [];
        SynchronousProgress<StageProgress> progress = new(now =>
        {
            if (now.Stage == "look for near-duplicates")
            {
                ahead.Add(read - (int)now.Done);
            }
        });
        HeldOutSplit.Create(Long(), new HeldOutOptions { Count = 1 }, progress);
        Assert.Equal([0, 0, 0, 0, 0], ahead);

        IEnumerable<Document> Long()
        {
            read = 0;
            for (int i = 0; i < 9; i++)
            {
                read++;
                yield return new($"d{i}", "", new string((char)('a' + i), (int)(Blocks.Characters / 2)), "");
            }
        }
    }

    [Fact]
    public void The_parts_are_disjoint_and_whole_and_about_the_fraction()
    {
        List<Document> documents = Documents(3000);
        HeldOutSplit split = HeldOutSplit.Create(documents, new HeldOutOptions { Fraction = 0.1 });
        List<string> training = split.Training(documents).Select(document => document.Id).ToList();
        List<string> heldOut = split.HeldOut(documents).Select(document => document.Id).ToList();
        Assert.Empty(split.Removed);
        Assert.Empty(training.Intersect(heldOut));
        Assert.Equal(3000, training.Count + heldOut.Count);
        Assert.Equal((heldOut.Count, training.Count), (split.HeldOutCount, split.TrainingCount));
        Assert.InRange(heldOut.Count, 250, 350);
    }

    [Fact]
    public void A_document_stays_on_its_side_whatever_the_order_or_the_others()
    {
        List<Document> documents = Documents(500);
        HeldOutOptions options = new() { Fraction = 0.1 };
        HeldOutSplit split = HeldOutSplit.Create(documents, options);
        List<Document> other = [.. Enumerable.Reverse(documents.Take(300))];
        HeldOutSplit half = HeldOutSplit.Create(other, options);
        Assert.All(other, document => Assert.Equal(split.IsHeldOut(document.Id), half.IsHeldOut(document.Id)));
        HeldOutSplit seeded = HeldOutSplit.Create(documents, options with { Seed = 1 });
        Assert.Contains(documents, document => split.IsHeldOut(document.Id) != seeded.IsHeldOut(document.Id));
    }

    /// <summary>What has come since was compared with nothing that is held out.</summary>
    [Fact]
    public void A_corpus_that_changes_after_it_was_split_is_told()
    {
        List<Document> documents = Documents(300);
        HeldOutSplit split = HeldOutSplit.Create(documents, new HeldOutOptions { Count = 10 });
        Assert.Equal(300, split.Training(documents).Concat(split.HeldOut(documents)).Count());
        List<Document>[] changed =
        [
            [.. documents, new("late", "", split.HeldOut(documents).First().Text + " late", "")],
            documents[1..],
            [documents[0] with { Text = "other" }, .. documents[1..]],
        ];
        foreach (List<Document> other in changed)
        {
            string told = Assert.Throws<CorpusException>(() => split.Training(other).Count()).Message;
            Assert.Contains("changed while it was read", told, StringComparison.Ordinal);
            Assert.Throws<CorpusException>(() => split.HeldOut(other).Count());
        }
    }

    [Fact]
    public void A_count_is_kept_and_a_greater_count_contains_the_smaller()
    {
        List<Document> documents = Documents(200);
        HeldOutSplit ten = HeldOutSplit.Create(documents, new HeldOutOptions { Count = 10 });
        HeldOutSplit twenty = HeldOutSplit.Create(Enumerable.Reverse(documents), new HeldOutOptions { Count = 20 });
        Assert.Equal((10, 20), (ten.HeldOutCount, twenty.HeldOutCount));
        Assert.All(ten.HeldOut(documents), document => Assert.True(twenty.IsHeldOut(document.Id)));
    }

    [Fact]
    public void Planted_copies_and_near_copies_are_removed_and_what_differs_more_stays()
    {
        List<Document> documents = Documents(300);
        HeldOutOptions options = new() { Count = 5 };
        Document target = HeldOutSplit.Create(documents, options).HeldOut(documents).First();
        string[] words = target.Text.Split(' ');
        List<Document> with =
        [
            .. documents,
            new("same", "", target.Text, ""),
            new("case", "", string.Join(", ", words).ToUpperInvariant() + "!", ""),
            new("tail", "", target.Text + " some three more", ""),
            new("middle", "", string.Join(' ', words[..30].Append("changed").Concat(words[31..50]).Append("changed").Concat(words[51..])), ""),
            new("excerpt", "", string.Join(' ', words[..40]), ""),
            new("part", "", string.Join(' ', words[..40].Concat(documents[0].Text.Split(' ')[..30])), ""),
        ];

        // The additions' own hashes must not take them into the held-out part.
        HeldOutSplit split = HeldOutSplit.Create(with, options);
        for (long seed = 1; new[] { "same", "case", "tail", "middle", "excerpt", "part" }.Any(split.IsHeldOut) || !split.IsHeldOut(target.Id); seed++)
        {
            Assert.True(seed < 5000, "Of 5000 seeds, each of which holds the text out once in 61, none does.");
            split = HeldOutSplit.Create(with, options with { Seed = seed });
        }

        Assert.Equal(["same", "case", "tail", "excerpt"], split.Removed.Select(document => document.Id));
        Assert.All(split.Removed, document => Assert.Equal(target.Id, document.HeldOutId));
        Assert.Equal([true, false, false, false], split.Removed.Select(document => document.Exact));
        Assert.Equal([1.0, 1.0, 68.0 / 71, 28.0 / 68], split.Removed.Select(document => document.Similarity));
        Assert.Equal([1.0, 1.0, 68.0 / 71, 1.0], split.Removed.Select(document => document.Excerpt));
        Assert.DoesNotContain("tail", split.Training(with).Select(document => document.Id));
        Assert.Contains("part", split.Training(with).Select(document => document.Id));
    }

    /// <summary>Each of two changed words takes as many grams as a gram has words: 10 of 76 fives, 26 of 68 thirteens.</summary>
    [Fact]
    public void Shorter_grams_find_what_has_more_words_changed()
    {
        List<Document> documents = Documents(50);
        string[] words = documents[7].Text.Split(' ');
        (words[30], words[50]) = ("changed", "changed");
        documents.Add(new("near", "", string.Join(' ', words), ""));
        HeldOutOptions options = Enumerable.Range(0, 5000).Select(seed => new HeldOutOptions { Count = 1, Seed = seed })
            .First(options => HeldOutSplit.Create(documents, options).IsHeldOut("d7"));

        Assert.Empty(HeldOutSplit.Create(documents, options).Removed);
        Assert.Equal(
            [new SimilarDocument("near", "d7", 66.0 / 86, 66.0 / 76, 66.0 / 76, Exact: false)],
            HeldOutSplit.Create(documents, options with { GramWords = 5 }).Removed);
    }

    /// <summary>Forty pages in ten versions each: what is measured are pages, and each is counted once.</summary>
    [Theory]
    [InlineData(20, 0)]
    [InlineData(null, 0.05)]
    public void Of_near_copies_one_is_held_out_and_none_is_trained_on(int? count, double fraction)
    {
        List<Document> documents =
        [
            .. Documents(40).SelectMany((page, number) => Enumerable.Range(0, 10).Select(
                version => new Document($"{number}/{version}", "", version == 1 ? page.Text : $"{page.Text} version {version}", ""))),
        ];
        HeldOutOptions options = new() { Count = count, Fraction = fraction };
        HeldOutSplit split = HeldOutSplit.Create(documents, options);
        int[] pages = [.. split.HeldOut(documents).Select(Page)];
        Assert.InRange(pages.Length, 8, 30);
        Assert.Equal(pages.Length, pages.Distinct().Count());
        Assert.Empty(split.Training(documents).Select(Page).Intersect(pages));
        Assert.Equal(9 * pages.Length, split.Removed.Count);
        Assert.Equal(400, split.HeldOutCount + split.TrainingCount + split.Removed.Count);

        // Which one it is does not depend on the order that they come in.
        HeldOutSplit turned = HeldOutSplit.Create(Enumerable.Reverse(documents), options);
        Assert.All(documents, document => Assert.Equal(split.IsHeldOut(document.Id), turned.IsHeldOut(document.Id)));

        static int Page(Document document) => int.Parse(document.Id.Split('/')[0], CultureInfo.InvariantCulture);
    }

    [Theory]
    [InlineData("whole", true)]
    [InlineData("most", true)]
    [InlineData("half", false)]
    public void A_training_document_that_holds_a_held_out_text_among_much_else_is_removed(string part, bool removed)
    {
        List<Document> documents = Documents(200);
        HeldOutOptions options = Enumerable.Range(0, 5000).Select(seed => new HeldOutOptions { Count = 1, Seed = seed })
            .First(options => HeldOutSplit.Create(documents, options).IsHeldOut("d7"));
        string[] words = documents[7].Text.Split(' ');
        int taken = part == "whole" ? 80 : part == "most" ? 72 : 46;
        Document longer = new("longer", "", $"{Documents(1, seed: 9, words: 4000)[0].Text} {string.Join(' ', words[..taken])} and so on", "");

        HeldOutSplit split = HeldOutSplit.Create([.. documents, longer], options);

        Assert.Equal(removed, split.Removed.Any(one => one.Id == "longer"));
        Assert.False(split.IsHeldOut("longer"));
        if (removed)
        {
            SimilarDocument found = Assert.Single(split.Removed);
            Assert.InRange(found.Similarity, 0, 0.05);
            Assert.Equal((taken - 12) / 68.0, found.Containment, 1e-12);
        }
    }

    [Fact]
    public void A_held_out_phrase_of_a_few_words_removes_nothing_that_holds_it()
    {
        List<Document> documents = Documents(50);
        documents.Add(new("phrase", "", "see the list below", ""));
        documents.Add(new("longer", "", $"For more, see the list below. {documents[0].Text}", ""));
        HeldOutOptions options = Enumerable.Range(0, 5000).Select(seed => new HeldOutOptions { Count = 1, Seed = seed })
            .First(options => HeldOutSplit.Create(documents, options).IsHeldOut("phrase"));
        Assert.Empty(HeldOutSplit.Create(documents, options).Removed);

        // Nor does a page that is held out one of its phrases that is a document, which would be one of its excerpts.
        options = Enumerable.Range(0, 5000).Select(seed => new HeldOutOptions { Count = 1, Seed = seed })
            .First(options => HeldOutSplit.Create(documents, options).IsHeldOut("longer"));
        Assert.DoesNotContain("phrase", HeldOutSplit.Create(documents, options).Removed.Select(document => document.Id));
    }

    [Theory]
    [InlineData("\u4e00", "\u9fa0")] // ideographs
    [InlineData("\u0e01", "\u0e2e")] // Thai
    [InlineData("\u3041", "\u3096")] // Hiragana
    [InlineData("\U00010400", "\U00010427")] // runs of letters that no rule knows
    public void Near_copies_are_found_in_scripts_without_spaces(string first, string last)
    {
        Random random = new(2);
        int low = char.ConvertToUtf32(first, 0), high = char.ConvertToUtf32(last, 0);
        string[] Letters(int count) => [.. Enumerable.Range(0, count).Select(_ => char.ConvertFromUtf32(random.Next(low, high + 1)))];
        string[] held = Letters(300), changed = [.. held];
        changed[100] = changed[250] = first;
        ulong[] grams = WordGrams.Of(string.Concat(held), 13), near = WordGrams.Of(string.Concat(changed), 13);
        NearDuplicateIndex index = new([grams], new());

        Assert.NotNull(index.Find(near));
        Assert.NotNull(index.Find(WordGrams.Of(string.Concat([.. Letters(2000), .. held]), 13)));
        Assert.Null(index.Find(WordGrams.Of(string.Concat(Letters(300)), 13)));
    }

    [Theory]
    [InlineData("caf\u00e9 noir", "cafe\u0301 NOIR")]
    [InlineData("\u1e69", "s\u0307\u0323")]
    [InlineData("\uff21\uff11 b", "A1 B")]
    [InlineData("\ud55c\uad6d", "\u1112\u1161\u11ab\u1100\u116e\u11a8")]
    [InlineData("hyphen\u00ADated wo\u2060rds", "hyphenated words")]
    [InlineData("\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0646\u0645\u06cc\u062e\u0648\u0627\u0647\u0645")]
    [InlineData("two\u200Bwords", "two words")]
    [InlineData("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2")]
    public void Spellings_of_one_text_have_the_same_grams(string one, string other) => Assert.Equal(WordGrams.Of(one, 2), WordGrams.Of(other, 2));

    [Fact]
    public void The_index_finds_what_comparing_with_every_text_finds()
    {
        Random random = new(7);
        for (int trial = 0; trial < 40; trial++)
        {
            double similarity = trial % 4 == 0 ? 1 : 0.3 + 0.6 * random.NextDouble();
            List<ulong[]> texts = Enumerable.Range(0, 30).Select(_ => Set()).ToList();
            double containment = trial % 3 == 0 ? 1 : 0.3 + 0.6 * random.NextDouble();
            NearDuplicateIndex index = new(texts, new() { Similarity = similarity, Containment = containment });
            int hits = 0;
            for (int query = 0; query < 60; query++)
            {
                ulong[] grams = query % 2 == 0
                    ? Set()
                    : texts[random.Next(30)].Where(_ => random.Next(8) > 0).Append((ulong)random.Next(60)).Distinct().Order().ToArray();
                (int Text, double Similarity, double Containment, double Excerpt)? expected = null;
                for (int text = 0; text < texts.Count; text++)
                {
                    double common = grams.Intersect(texts[text]).Count(), jaccard = common / grams.Union(texts[text]).Count();
                    double held = common / texts[text].Length, excerpt = common / grams.Length;
                    if ((jaccard >= similarity || held >= containment || excerpt >= containment)
                        && (expected is not { } best || jaccard > best.Similarity || (jaccard == best.Similarity && held > best.Containment)))
                    {
                        expected = (text, jaccard, held, excerpt);
                    }
                }

                Assert.Equal(expected, index.Find(grams));
                hits += expected is null ? 0 : 1;
            }

            Assert.True(hits > 0 || similarity > 0.85);
        }

        ulong[] Set() => Enumerable.Range(0, random.Next(1, 25)).Select(_ => (ulong)random.Next(60)).Distinct().Order().ToArray();
    }

    [Fact]
    public void Grams_are_a_set_over_words_without_case_or_punctuation()
    {
        Assert.Equal(WordGrams.Of("One, two; THREE four", 3), WordGrams.Of("one two three Four!", 3));
        Assert.Equal(2, WordGrams.Of("one two three four", 3).Length);
        Assert.Equal(2, WordGrams.Of("a b a b a b", 3).Length);
        Assert.Single(WordGrams.Of("one two", 3));
        Assert.Empty(WordGrams.Of(" ... \n", 3));
        Assert.NotEqual(WordGrams.Of("one two three", 3), WordGrams.Of("three two one", 3));
        Assert.NotEqual(WordGrams.Of("ab c", 3), WordGrams.Of("a bc", 3));
    }

    [Fact]
    public void A_split_without_one_of_its_parts_is_refused()
    {
        List<Document> documents = Documents(3);
        Assert.Throws<CorpusException>(() => HeldOutSplit.Create(documents, new HeldOutOptions { Fraction = 1e-9 }));
        Assert.Throws<CorpusException>(() => HeldOutSplit.Create(documents, new HeldOutOptions { Count = 3 }));
        Assert.Throws<CorpusException>(() => HeldOutSplit.Create([], new HeldOutOptions { Count = 1 }));
        HeldOutOptions wrong = new() { Count = 0, Fraction = 2, Similarity = 0, Containment = 1.5, GramWords = 0 };
        Assert.Equal(4, Assert.Throws<RetroOptionsException>(() => HeldOutSplit.Create(documents, wrong)).Faults.Count);
    }

    [Fact]
    public void What_a_document_throws_comes_out_as_it_is()
    {
        Document[] documents = [new("a", "a", "one text", "a"), new("b", "b", "two texts", "b"), new("c", "c", null!, "c")];
        HeldOutOptions options = Enumerable.Range(0, 50)
            .Select(seed => new HeldOutOptions { Count = 1, Seed = seed })
            .First(options => HeldOutSplit.Create(documents[..2].Append(documents[2] with { Text = "three" }), options).IsHeldOut("a"));
        Assert.Throws<ArgumentNullException>(() => HeldOutSplit.Create(documents, options));
    }

    [Fact]
    public void Splitting_can_be_canceled()
        => Assert.Throws<OperationCanceledException>(() => HeldOutSplit.Create(Documents(10), cancellationToken: new CancellationToken(canceled: true)));
}
