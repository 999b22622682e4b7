using Retro.Answering;
using Retro.Corpora;
using Retro.Tests.Embedders;

namespace Retro.Tests.Answering;

public sealed class QuestionBuilderTests
{
    private static readonly QuestionOptions s_any = new() { LeastOfAKind = 1 };

    [Fact]
    public void Fields_titles_headings_and_definitions_ask_for_what_stands_in_a_passage()
    {
        Document document = new(
            "x",
            "Atland",
            """
            Atland

            Land
            The country lies far out in the northern sea.
            Area: total: 12 sq km
            Color: red

            # Law
            Its council is a body of nine elders. It meets.
            Color: blue
            """,
            "x.txt") { Labels = ["law"] };
        QuestionSet set = QuestionBuilder.Build([document], EmbeddingInputs.Tokenizer, s_any with { PassageTokens = 200 });
        Assert.All(set.Passages, passage => Assert.Equal(("Atland", "x.txt", "law"), (passage.Title, passage.Location, passage.Labels.Single())));
        Assert.Equal(
            [
                ("section", "Atland\nThe country lies far out in the northern sea.\nSection:", "Land", "x#0"),
                ("title", "The country lies far out in the northern sea.\nTitle:", "Atland", "x#0"),
                ("Area: total", "Atland\nArea: total:", "12 sq km", "x#0"),
                ("section", "Atland\nIts council is a body of nine elders. It meets.\nSection:", "Law", "x#1"),
                ("definition", "Atland\nIts council is", "a body of nine elders", "x#1"),
            ],
            set.Questions.Select(one => (one.Kind, one.Prompt, one.Answers[0], one.PassageId)));
        Assert.Equal(
            [
                "Atland\nLand\nThe country lies far out in the northern sea.\nArea: total: 12 sq km\nColor: red",
                "Atland\nLaw\nIts council is a body of nine elders. It meets.\nColor: blue",
            ],
            set.Passages.Select(passage => passage.Text));
        QuestionSet fields = QuestionBuilder.Build([document], EmbeddingInputs.Tokenizer, s_any with { Templates = QuestionTemplates.Fields });
        Assert.Equal(["Area: total"], fields.Questions.Select(one => one.Kind));
    }

    [Fact]
    public void Passages_hold_everything_in_the_budget_and_every_answer_is_in_its_own()
    {
        Random random = new(3);
        List<Document> documents =
        [
            .. Enumerable.Range(0, 12).Select(i => new Document(
                $"d{i}",
                i > 0 ? $"Title {i}" : string.Concat(Enumerable.Range(0, 60).Select(letter => (char)('A' + (letter % 26)))), // one that leaves no room
                string.Join('\n', Enumerable.Range(0, 40).Select(line => random.Next(8) switch
                {
                    0 => "",
                    1 => $"Part {random.Next(100)}",
                    2 => string.Join(' ', Enumerable.Range(0, 60).Select(_ => $"word{random.Next(100)}")),
                    3 => $"## P{line}",
                    4 => $"### A longer part, {line}",
                    5 => $"The lighthouse stands {line}.",
                    _ => $"Field {random.Next(60)}: {random.Next(10_000)} m",
                })) + "\n\n## End\n",
                "")),
        ];
        const int Most = 40;
        QuestionSet set = QuestionBuilder.Build(documents, EmbeddingInputs.Tokenizer, s_any with { PassageTokens = Most });
        Assert.All(set.Passages, passage => Assert.InRange(EmbeddingInputs.Tokenizer.Encode(passage.Text + "\n").Length, 1, Most));
        Dictionary<string, string> texts = set.Passages.ToDictionary(passage => passage.Id, passage => passage.Text);
        Assert.All(set.Questions, one => Assert.Contains(one.Answers[0], texts[one.PassageId], StringComparison.Ordinal));
        Assert.Equal(set.Questions.Count, set.Questions.Select(one => one.Id).Distinct().Count());
        Assert.True(set.Questions.Count > 50);
        Assert.Contains(set.Questions, one => one.Kind == "section");
        Assert.Contains(set.Questions, one => one.Kind == "title");

        // Not a word of the documents is lost.
        foreach (Document document in documents)
        {
            IEnumerable<Document> own = set.Passages.Where(passage => passage.Id.StartsWith(document.Id + "#", StringComparison.Ordinal));
            string all = string.Join(' ', own.Select(passage => passage.Text));
            Assert.All(
                document.Text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Where(word => word.Trim('#').Length > 0),
                word => Assert.Contains(word, all, StringComparison.Ordinal));
        }
    }

    [Fact]
    public void A_heading_right_below_another_one_leaves_both_in_passages_and_the_lower_one_is_asked()
    {
        const string Upper = "Installation", Lower = "Installing with the package manager", Line = "Run the command below and wait until it is done.";
        const string Title = "A guide for everyone";
        Document document = new("d", Title, $"# {Title}\n\n## {Upper}\n\n### {Lower}\n\n{Line}\n\n## Last\n\n{Title}\n", "");
        Check(4 * (Count(Upper) + Count(Lower)), "d#0", [$"{Upper}\n{Lower}\n{Line}", "Last"]);
        Check(4 * Count(Lower), "d#1", [Upper, $"{Lower}\n{Line}", "Last"]);

        int Count(string line) => EmbeddingInputs.Tokenizer.Encode(line + "\n").Length;

        void Check(int most, string holding, string[] passages)
        {
            QuestionSet set = QuestionBuilder.Build(
                [document], EmbeddingInputs.Tokenizer, s_any with { PassageTokens = most, Templates = QuestionTemplates.Sections });
            Assert.Equal(passages.Select(passage => $"{Title}\n{passage}"), set.Passages.Select(passage => passage.Text));
            Question question = Assert.Single(set.Questions);
            Assert.Equal(($"{Title}\n{Line}\nSection:", Lower, holding), (question.Prompt, question.Answers[0], question.PassageId));
        }
    }

    [Fact]
    public void Only_what_has_one_answer_is_asked()
    {
        Document Of(string id, string title, string text) => new(id, title, text, "");
        QuestionSet set = QuestionBuilder.Build(
            [
                Of("a", "One", "Size: 4 m\nColor: red\nColor: blue"), // two colors
                Of("b", "Two", "Size: 5 m\nNote: only here"),
                Of("c", "none", "Size: 6 m"), Of("d", "none", "Size: 7 m"), // two of one title
                Of("e", "", "Size: 8 m"),
                Of("f", "Three", "Size: the"), // nothing is left of it
            ],
            EmbeddingInputs.Tokenizer,
            new() { LeastOfAKind = 2, Templates = QuestionTemplates.Fields });
        Assert.Equal([("a", "4 m"), ("b", "5 m")], set.Questions.Select(one => (one.DocumentId, one.Answers[0])));
        Assert.Equal(6, set.Passages.Count);
        Assert.Equal("Size: 8 m", set.Passages[4].Text);
    }

    [Theory]
    [InlineData(2, "")]
    [InlineData(3, "4 m")]
    [InlineData(4, "4 m, 45 m")]
    public void What_is_longer_than_an_answer_may_be_is_not_asked_and_stays_in_its_passage(int longest, string answers)
    {
        QuestionSet set = QuestionBuilder.Build(
            [new("a", "One", "Size: 4 m", ""), new("b", "Two", "Size: 45 m", "")],
            EmbeddingInputs.Tokenizer,
            s_any with { LongestAnswer = longest, Templates = QuestionTemplates.Fields });
        Assert.Equal(answers, string.Join(", ", set.Questions.Select(one => one.Answers[0])));
        Assert.Equal(["One\nSize: 4 m", "Two\nSize: 45 m"], set.Passages.Select(passage => passage.Text));
    }

    [Fact]
    public void A_title_that_leaves_no_room_is_left_out()
    {
        string title = string.Concat(Enumerable.Range(0, 40).Select(i => (char)('A' + (i % 26))));
        QuestionSet set = QuestionBuilder.Build([new("a", title, "b c\nSize: 4 m", "")], EmbeddingInputs.Tokenizer, s_any with { PassageTokens = 20 });
        Assert.Equal("b c\nSize: 4 m", Assert.Single(set.Passages).Text);
        Assert.Equal("4 m", Assert.Single(set.Questions).Answers[0]);
    }

    /// <summary>Scripts without spaces, addresses, and characters of two parts and four bytes.</summary>
    [Theory]
    [InlineData("深圳位于中国南部,是一座现代化的城市。它的人口超过一千万,经济发展很快,也有许多公园和博物馆可以参观。")]
    [InlineData("see https://example.com/a/long/path/that/no/passage/holds?query=0123456789&other=abcdefghijklmnopqrstuvwxyz for more")]
    [InlineData("🌊🌋🌌🌍🌎🌏🌐🌑🌒🌓🌔🌕🌖🌗🌘a🌙🌚🌛🌜")]
    public void A_word_that_no_passage_holds_is_cut_and_nothing_is_lost(string line)
    {
        const int Most = 24;
        QuestionSet set = QuestionBuilder.Build([new("a", "T", $"{line}\nSize: 4 m", "")], EmbeddingInputs.Tokenizer, s_any with { PassageTokens = Most });
        Assert.All(set.Passages, passage => Assert.InRange(EmbeddingInputs.Tokenizer.Encode(passage.Text + "\n").Length, 1, Most));
        Assert.All(set.Passages, passage => Assert.StartsWith("T\n", passage.Text, StringComparison.Ordinal));
        string text = string.Concat(set.Passages.Select(passage => passage.Text["T".Length..])).Replace("\n", "", StringComparison.Ordinal);
        Assert.Equal($"{line}Size: 4 m".Replace(" ", "", StringComparison.Ordinal), text.Replace(" ", "", StringComparison.Ordinal));
        Assert.All(line.Split(' ').Where(word => word.Length < 5), word => Assert.Contains(word, text, StringComparison.Ordinal));
        Assert.Equal("4 m", Assert.Single(set.Questions, one => one.Kind == "Size").Answers[0]);
    }

    [Fact]
    public void A_quote_of_a_line_without_spaces_ends_with_a_whole_character()
    {
        string line = $"{new string('字', 119)}🌊{new string('字', 40)}";
        QuestionOptions titles = s_any with { PassageTokens = 2000, Templates = QuestionTemplates.Titles };
        QuestionSet set = QuestionBuilder.Build([new("a", "Title", $"{line}\nSize: 4 m", "")], EmbeddingInputs.Tokenizer, titles);
        Assert.Equal($"{line[..119]}\nTitle:", Assert.Single(set.Questions).Prompt);
    }

    /// <summary>A question that stands in several documents has as many answers.</summary>
    [Fact]
    public void What_several_documents_begin_with_does_not_ask_for_a_title()
    {
        QuestionSet set = QuestionBuilder.Build(
            [.. Enumerable.Range(0, 4).Select(i => new Document(
                $"{i}", $"Title {i}", i < 3 ? "Copyright by Example Corporation and others." : "A line that no other document has at its beginning.", ""))],
            EmbeddingInputs.Tokenizer,
            s_any with { Templates = QuestionTemplates.Titles });
        Assert.Equal("Title 3", Assert.Single(set.Questions).Answers[0]);
    }

    [Fact]
    public void Settings_and_measured_documents_that_were_trained_on_are_refused()
    {
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(
            () => new QuestionOptions { Templates = QuestionTemplates.None, PassageTokens = 7, LongestAnswer = 0, LeastOfAKind = 0 }.Validate());
        Assert.All(
            ["Templates is None", "PassageTokens is 7", "LongestAnswer is 0", "LeastOfAKind is 0"],
            part => Assert.Contains(part, fault.Message, StringComparison.Ordinal));
        Question question = new("q", "p", ["a"], "k", "doc", "doc#0");
        QuestionSet.RequireHeldOut([question], new HashSet<string> { "other" });
        Assert.Contains(
            "such as \"doc\"",
            Assert.Throws<ArgumentException>(() => QuestionSet.RequireHeldOut([question], new HashSet<string> { "doc" })).Message,
            StringComparison.Ordinal);
    }
}
