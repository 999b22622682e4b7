using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Retro.Answering;
using Retro.Checkpoints;
using Retro.Cli;
using Retro.Cli.Workflow;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Tests.Cli;

/// <summary>Question answering from the command line: questions made of documents, a model fitted to them, answers measured.</summary>
public sealed class AnsweringTests : IDisposable
{
    private readonly CliRun _retro = new();

    public AnsweringTests()
    {
        Random random = new(3);
        Directory.CreateDirectory(_retro["docs"]);
        for (int i = 0; i < 40; i++)
        {
            string[] lines =
            [
                $"# Town {(char)('A' + (i % 26))}{i}", "", $"Houses: {random.Next(100, 999)}", $"Roofs: {new[] { "red", "blue", "gray" }[random.Next(3)]}",
                $"River: {new[] { "long", "short", "none" }[random.Next(3)]}", "", "A town is a place of many houses and few rivers.",
            ];
            File.WriteAllText(Path.Combine(_retro["docs"], $"{i}.md"), string.Join('\n', lines));
        }
    }

    public void Dispose() => _retro.Dispose();

    [Fact]
    public void A_model_is_fitted_to_answer_and_measured_on_documents_that_are_held_out()
    {
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2");
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "2", .. CliRun.Tiny]);
        string fitted = _retro.Done("fit", "--task", "qa", "--base", "decoder", "--database", "work", "--out", "answers", "--steps", "2", "--window", "256");
        Assert.Contains("questions made of", fitted, StringComparison.Ordinal);
        _retro.Done(
            "fit", "--task", "qa", "--reader", "in-context", "--base", "decoder", "--database", "work", "--out", "raft", "--steps", "2", "--window", "256",
            "--k", "2");
        _retro.Done("eval", "--task", "qa", "--model", "answers", "decoder", "--questions", "4", "--json", "answers.json");
        JsonObject results = _retro.Json("answers.json");
        Assert.Equal(4, (int)results["questions"]!);
        JsonArray rows = results["readers"]!.AsArray();
        Assert.Equal(
            ["RETRO off of answers", "RETRO of answers", "closed book of decoder", "in context of decoder"], rows.Select(row => (string)row!["reader"]!));
        Assert.All(rows, row => Assert.InRange((double)row!["oracle"]!["exactMatch"]!, 0, 1));
        Assert.All(rows, row => Assert.True((double)row!["found"]!["bits"]! > 0));
        Assert.Equal([0.0, 1, 0, 1], rows.Select(row => (double)row!["oracle"]!["found"]!));

        // What reads nothing is the same with every passage.
        Assert.Equal((double)rows[2]!["found"]!["bits"]!, (double)rows[2]!["oracle"]!["bits"]!, 1e-9);
        Assert.NotEqual((double)rows[1]!["found"]!["bits"]!, (double)rows[0]!["found"]!["bits"]!);

        // Question by question against the first.
        Assert.Null(rows[0]!["found"]!["against"]);
        JsonNode against = rows[1]!["found"]!["against"]!;
        Assert.Equal("RETRO off of answers", (string)against["to"]!);
        Assert.Equal((double)rows[1]!["found"]!["bits"]! - (double)rows[0]!["found"]!["bits"]!, (double)against["bits"]!["value"]!, 1e-9);

        // As it was fitted: from two passages, in windows of 256 tokens.
        _retro.Done("eval", "--task", "qa", "--model", "raft", "--questions", "2", "--json", "raft.json");
        Assert.Equal(["closed book", "in context, k = 2"], _retro.Json("raft.json")["readers"]!.AsArray().Select(row => (string)row!["reader"]!));

        // What copying was trained on top of is the decoder, and is measured once.
        _retro.Done("fit", "--reader", "copying", "--base", "decoder", "--database", "work", "--out", "copied", "--steps", "2", "--window", "64");
        _retro.Done("eval", "--task", "qa", "--model", "decoder", "copied", "--questions", "2", "--json", "copied.json");
        Assert.Equal(
            ["closed book of decoder", "in context of decoder", "copying of copied"],
            _retro.Json("copied.json")["readers"]!.AsArray().Select(row => (string)row!["reader"]!));

        ChildProcess.Outcome copying = _retro.Run("fit", "--task", "qa", "--reader", "copying", "--base", "decoder", "--database", "work", "--out", "c");
        Assert.Equal(2, copying.ExitCode);
        Assert.Contains("copying is learned of text alone", copying.Errors, StringComparison.Ordinal);
        ChildProcess.Outcome text = _retro.Run("fit", "--reader", "in-context", "--base", "decoder", "--database", "work", "--out", "c");
        Assert.Equal(2, text.ExitCode);
        Assert.Contains("takes --task qa", text.Errors, StringComparison.Ordinal);
    }

    /// <summary>A decoder of rotary positions takes any length, and was made for one: what is fitted to it is read as it was fitted.</summary>
    [Fact]
    public void What_is_fitted_to_a_pretrained_decoder_is_measured_in_the_windows_that_it_was_fitted_in()
    {
        string decoder = Fixtures.Pretrained("llama-rope-linear");
        _retro.Done("build", "--corpus", "docs", "--tokenizer", decoder, "--out", "work", "--chunk", "16", "--held-out-share", "0.2");
        string fitted = _retro.Done("fit", "--task", "qa", "--reader", "in-context", "--base", decoder, "--database", "work", "--out", "raft", "--steps", "1");
        Match room = Regex.Match(fitted, "a window of 128 tokens has room for ([0-9]) of 5 passages");
        Assert.True(room.Success, fitted);
        _retro.Done("fit", "--base", "raft", "--database", "work", "--out", "retro", "--steps", "1");
        RetroTokenizer tokenizer = RetroTokenizer.Load(decoder);
        Assert.All(["raft", "retro", decoder], path =>
        {
            (TrainedModel model, _) = ModelFolder.Load(path == decoder ? path : _retro[path], null, null, tokenizer, default);
            using (model.Model)
            {
                Assert.Equal((128, null), (model.Longest, model.Model.Config.MaximumLength));
            }
        });

        _retro.Done("eval", "--task", "qa", "--model", "raft", decoder, "--database", "work", "--questions", "2", "--json", "raft.json");
        string read = $"in context, k = {room.Groups[1].Value}";
        Assert.Equal(
            ["closed book of raft", $"{read} of raft", $"closed book of {decoder}", $"{read} of {decoder}"],
            _retro.Json("raft.json")["readers"]!.AsArray().Select(row => (string)row!["reader"]!));
        ChildProcess.Outcome longer = _retro.Run("eval", "--model", "retro", "--window", "256");
        Assert.True(longer.ExitCode == 2 && longer.Errors.Contains("at most 128", StringComparison.Ordinal), longer.Errors);
    }

    /// <summary>Of which no question can be made, and none has to be.</summary>
    [Fact]
    public void A_model_that_was_fitted_to_answer_is_asked_over_documents_of_any_kind()
    {
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2");
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "2", .. CliRun.Tiny]);
        string[] fit = ["fit", "--task", "qa", "--base", "decoder", "--steps", "2", "--window", "256"];
        _retro.Done([.. fit, "--database", "work", "--out", "fitted"]);
        string[] seen = ["river", "bridge", "harbor", "mountain"];
        Assert.All(seen, (what, i) => _retro.WriteFile(
            Path.Combine("prose", $"{what}.txt"),
            string.Concat(Enumerable.Range(0, 20).Select(j => $"Then they came to the {what} with {(i + 3) * j} stones, and saw {what} {j} behind it.\n"))));

        _retro.Done(
            "build", "--corpus", "prose", "--tokenizer", Path.Combine("work", "tokenizer"), "--out", "other", "--chunk", "16", "--held-out-share", "0");
        ChildProcess.Outcome asked = _retro.Run(
            "ask", "--model", "fitted", "--database", "other", "--tokens", "3", "--json", "answer.json", "What did they see behind the bridge?");
        Assert.True(asked.ExitCode == 0, asked.Output + asked.Errors);
        Assert.NotEmpty(_retro.Json("answer.json")["passages"]!.AsArray());
        ChildProcess.Outcome refused = _retro.Run([.. fit, "--database", "other", "--out", "refused"]);
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("No question could be made of ", refused.Errors, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(_retro["refused"], "passages")));
    }

    /// <summary>What was fitted to answer is asked by ask and serve as it was fitted, in front of the question or as neighbors.</summary>
    [Theory]
    [InlineData("retro", 5)]
    [InlineData("in-context", 2)]
    public async Task A_model_that_was_fitted_to_answer_is_asked_as_it_was_fitted(string reader, int passages)
    {
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2");
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "2", .. CliRun.Tiny]);
        _retro.Done(
            "fit", "--task", "qa", "--reader", reader, "--base", "decoder", "--database", "work", "--out", "fitted", "--steps", "30", "--window", "256", "--k",
            $"{passages}");
        // The base's own way of conversations is none that was fitted.
        _retro.WriteFile(
            Path.Combine("fitted", "model", "chat_template.jinja"), "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}");
        RetroTokenizer tokenizer = RetroTokenizer.Load(_retro[Path.Combine("work", "tokenizer")]);
        using RetroModel model = Checkpoint.Load(_retro[Path.Combine("fitted", "model")]);
        using ChunkDatabase database = ChunkDatabase.Open(_retro[Path.Combine("fitted", "passages")]);
        using KeywordNeighborSource words = KeywordNeighborSource.Build(database);
        QuestionPassages all = new(database, tokenizer, words);
        IReader own = reader == "retro" ? new RetroReader(model)
            : new InContextReader(model, tokenizer, AnsweringData.InContext(passages, database.ChunkLength, 256));
        DocumentEntry first = database.Documents[0];
        Question question = new("q", $"{first.Title}\nHouses:", ["?"], "Houses", first.Id.Split('#')[0], first.Id);
        IReadOnlyList<long> found = all.Found(question, passages);
        string expected = (await new QuestionReader(own, all).AnswerAsync(question, found, 40, TestContext.Current.CancellationToken))!;
        Assert.NotEmpty(expected);

        string[] ask = ["ask", "--model", "fitted", "--tokens", "40", "--json", "answer.json"];
        string printed = _retro.Done([.. ask, $"{first.Title}\\nHouses:"]);
        Assert.DoesNotContain("cut passages", printed, StringComparison.Ordinal); // the passages are there
        JsonObject told = _retro.Json("answer.json");
        Assert.Equal(expected, ((string)told["answer"]!).TrimEnd());
        JsonArray read = told["passages"]!.AsArray();
        RequireFound(read, reader == "retro" ? "while writing" : "in the prompt");
        Assert.Contains(", passage ", printed, StringComparison.Ordinal);
        Assert.Contains(read, passage => (double)passage!["onMinusOffBits"]! != 0);

        // Nothing is read of a document that is excluded, nor of any with --source none.
        _retro.Done([.. ask, "--exclude", question.DocumentId, $"{first.Title}\nHouses:"]);
        Assert.DoesNotContain(
            _retro.Json("answer.json")["passages"]!.AsArray(), passage => (string)passage!["document"]! == question.DocumentId);
        _retro.Done([.. ask, "--source", "none", $"{first.Title}\nHouses:"]);
        Assert.Empty(_retro.Json("answer.json")["passages"]!.AsArray());

        // What was added since is read.
        _retro.WriteFile(
            Path.Combine("more", "new.md"), "# Newtown\n\nHouses: 777\nRoofs: red\nRiver: long\n\nA town is a place of many houses and few rivers.");
        _retro.Done("update", "--database", "work", "--add", "more");
        Assert.Contains("cut passages", _retro.Done([.. ask, "Newtown\nHouses:"]), StringComparison.Ordinal);
        Assert.EndsWith("more/new.md", (string)_retro.Json("answer.json")["passages"]![0]!["document"]!, StringComparison.Ordinal);

        // Neither is the same text with another label what it was.
        _retro.Done("update", "--database", "work", "--add", "more", "--labels", "board");
        Assert.Contains("cut passages", _retro.Done([.. ask, "--labels", "", "Newtown\nHouses:"]), StringComparison.Ordinal);
        Assert.DoesNotContain("new.md", _retro.Json("answer.json")["passages"]!.ToJsonString(), StringComparison.Ordinal);

        // It says how it is asked where it is asked otherwise, by no document, which not everyone may see.
        ChildProcess.Outcome other = _retro.Run("ask", "--model", "fitted", "--labels", "none", "How many houses?");
        Assert.Contains(
            "the model was fitted to fill in fields of documents; ask with a title and a field, such as \"Algeria\\nCapital: name:\"",
            other.Output + other.Errors,
            StringComparison.Ordinal);
        ChildProcess.Outcome empty = _retro.Run("ask", "--model", "fitted", "\\n");
        Assert.Equal((2, true), (empty.ExitCode, empty.Errors.StartsWith("The question is empty;", StringComparison.Ordinal)));
        ChildProcess.Outcome refused = _retro.Run("ask", "--model", "fitted", "--in-prompt", "2", "How many houses?");
        Assert.Equal(2, refused.ExitCode);
        Assert.Contains("--in-prompt does nothing here: the model was fitted to answer questions", refused.Errors, StringComparison.Ordinal);

        string request = new JsonObject
        {
            ["model"] = "fitted",
            ["max_tokens"] = 40,
            ["messages"] = new JsonArray(new JsonObject { ["role"] = "user", ["content"] = question.Prompt }),
        }.ToJsonString();
        string served = "", written = "";
        _retro.Run(
            (process, line) =>
            {
                if (line.StartsWith("fitted is served at ", StringComparison.Ordinal))
                {
                    using HttpClient http = new() { BaseAddress = new(line.Split(' ')[4]) };
                    served = Post(http, "/v1/chat/completions", request);
                    written = Post(http, "/api/write", new JsonObject { ["text"] = question.Prompt, ["ask"] = true }.ToJsonString());
                    CtrlC.Press(process);
                }
            },
            "serve", "--model", "fitted", "--port", "0", "--tokens", "40");
        JsonNode answered = JsonNode.Parse(served)!;
        Assert.Equal(expected, ((string)answered["choices"]![0]!["message"]!["content"]!).TrimEnd());
        string how = reader == "retro" ? "after part " : "in the prompt";
        RequireFound(answered["sources"]!.AsArray(), how);
        RequireFound(
            written.Split('\n').Where(part => part.StartsWith("data: {\"source\"", StringComparison.Ordinal))
                .Select(part => JsonNode.Parse(part["data: ".Length..])!["source"]),
            how);
        string[] texts = [.. written.Split('\n').Where(part => part.StartsWith("data: {\"text\"", StringComparison.Ordinal))];
        Assert.Equal(expected, string.Concat(texts.Select(part => (string)JsonNode.Parse(part["data: ".Length..])!["text"]!)).TrimEnd());

        // The page has no view by tokens of what the text alone does not say.
        JsonNode end = JsonNode.Parse(written.Split('\n').Last(part => part.StartsWith("data: {\"end\"", StringComparison.Ordinal))["data: ".Length..])!;
        Assert.True(end.AsObject().ContainsKey("prompt"));
        Assert.Null(end["prompt"]);

        // By the documents of the database, which has no such chunks, nor scores.
        void RequireFound(IEnumerable<JsonNode?> told, string how)
        {
            Assert.Equal(
                found.Select(chunk => database.Documents[database.DocumentOf(chunk)].Id),
                told.Select(source => $"{source!["document"]}#{source["passage"]}").Distinct());
            Assert.All(told, source => Assert.StartsWith(how, (string)source!["read"]!, StringComparison.Ordinal));
            Assert.All(told, source => Assert.True(source!["chunk"] is null && source["chunkInDocument"] is null && source["score"] is null));
        }

        static string Post(HttpClient http, string path, string body)
        {
            using StringContent content = new(body, null, "application/json");
            return http.PostAsync(path, content).GetAwaiter().GetResult().Content.ReadAsStringAsync().GetAwaiter().GetResult();
        }
    }

    /// <summary>All 64 bits of a seed decide.</summary>
    [Fact]
    public void Questions_are_chosen_by_all_of_the_seed()
    {
        Question[] all = [.. Enumerable.Range(0, 64).Select(i => new Question($"{i}", "?", ["a"], "title", "one", "one#0"))];
        Assert.Equal(Chosen(1), Chosen(1));
        Assert.NotEqual(Chosen(1), Chosen(1 + (1L << 40)));

        string Chosen(long seed) => string.Join(' ', AnsweringData.Choose(all, 8, seed).Select(question => question.Id));
    }

    /// <summary>What a run computes in; bfloat16 takes minutes where the processor has no products of it.</summary>
    public static IEnumerable<TheoryDataRow<string, string[]>> Types =>
    [
        new("float32", []),
        new("float64", ["--dtype", "float64"]),
        new TheoryDataRow<string, string[]>("bfloat16", ["--dtype", "bfloat16"]).WithTrait("Category", "Long"),
    ];

    [Theory]
    [MemberData(nameof(Types))]
    public void Every_reader_answers_in_one_run(string type, string[] said)
    {
        string[] few = ["--steps", "2", "--questions", "3", "--threads", "1", .. said];
        _retro.Done(["compare", "--task", "qa", "--corpus", "docs", "--out", "compared", "--json", "told.json", .. few]);
        string report = File.ReadAllText(Path.Combine(_retro["compared"], "docs", "answers.md"));
        string[] readers =
        [
            "closed book", "in context", "ensemble (REPLUG), equal weights", "pointer rule", "longest run in all passages",
            "nearest states (kNN-LM) of all passages", "copying", "own attention (DecoupledRAG)",
            "closed book, trained to answer", "in context, trained among distractors (RAFT)", "ensemble (REPLUG), equal weights, of the same",
            "RETRO, trained among distractors", "RETRO, best in context (RETRO++), of the same",
        ];

        // Each has its row in both tables.
        Assert.All(readers, reader => Assert.Equal(2, report.Split('\n').Count(line => line.StartsWith($"| {reader} | ", StringComparison.Ordinal))));
        Assert.Contains("| exact match, against closed book | bits, against closed book |", report, StringComparison.Ordinal);
        Assert.Contains("3 questions about 3 documents that nothing was trained on", report, StringComparison.Ordinal);
        JsonNode told = JsonNode.Parse(File.ReadAllText(_retro["told.json"]))!;
        Assert.Equal(3, (int)told["questions"]!);
        Assert.Equal(type, (string)told["dtype"]!);
        Assert.Contains($"models in {type}.", report, StringComparison.Ordinal);
        Assert.Equal(readers, told["readers"]!.AsArray().Select(reader => (string)reader!["reader"]!));
    }

    /// <summary>Passages that are cut to a few tokens hold no answer: fewer whole ones do.</summary>
    [Theory]
    [InlineData(512, 5, 320)]
    [InlineData(384, 3, 192)]
    [InlineData(256, 1, 64)]
    public void A_window_that_is_short_holds_fewer_passages_and_not_shorter_ones(int window, int neighbors, int prefix)
    {
        InContextOptions context = AnsweringData.InContext(5, 64, window);
        Assert.Equal((neighbors, prefix, window), (context.Neighbors, context.PrefixLength, context.WindowLength));
    }
}
