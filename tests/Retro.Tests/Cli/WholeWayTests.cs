using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Retro.Database;
using Retro.Embedders;

namespace Retro.Tests.Cli;

/// <summary>From text to answers, command after command, on what the one before has left.</summary>
public sealed class WholeWayTests : IDisposable
{
    /// <summary>As its users have it: each command a program of its own.</summary>
    private readonly CliRun _retro = new(apart: true);

    public void Dispose() => _retro.Dispose();

    [Fact]
    public void From_text_to_answers_with_what_they_were_made_of()
    {
        Build();
        Train();
        Evaluate();
        Generate();
        Ask();
        Inspect();
        Verify();
    }

    [Fact]
    public void A_pretrained_decoder_is_described_measured_and_asked_as_it_is()
    {
        using CliRun retro = new();
        retro.WriteCorpus();
        string decoder = Fixtures.Pretrained("llama-rope-linear"), embedder = Fixtures.Pretrained("bert");
        retro.Done("build", "--corpus", "docs", "--tokenizer", decoder, "--out", "work", "--chunk", "16", "--held-out-share", "0.2", "--quiet");
        Assert.Contains($"decoder {decoder}: llama of ", retro.Done("info", decoder, "--json", "info.json"), StringComparison.Ordinal);
        Assert.Equal("llama", (string)retro.Json("info.json")[$"decoder {decoder}"]!["family"]!);
        Assert.NotNull(retro.Json("info.json")[$"tokenizer {decoder}"]);
        Assert.Contains($"embedder {embedder}: keys of ", retro.Done("info", embedder), StringComparison.Ordinal);
        string asymmetric = retro["asymmetric"];
        using (TextEmbedder plain = TextEmbedder.Load(embedder))
        {
            plain.Save(asymmetric);
        }

        File.WriteAllText(Path.Combine(asymmetric, "config_sentence_transformers.json"), "{\"prompts\": {\"query\": \"query: \"}}");
        Assert.Contains("embedded alike, and without \"query: \"", retro.Done("info", asymmetric), StringComparison.Ordinal);

        retro.Done(
            "eval", "--model", decoder, "--database", "work", "--window", "32", "--report", "report.html", "--json", "eval.json", "--quiet");
        Assert.Equal("closed book", (string)retro.Json("eval.json")["readers"]![0]!["reader"]!);
        retro.Done("generate", "--model", decoder, "--tokens", "4", "The river");
        string closed = retro.Done("ask", "--model", decoder, "--source", "none", "--tokens", "4", "Which river has stones?");
        Assert.Contains("Nothing was read.", closed, StringComparison.Ordinal);
        retro.Done("ask", "--model", decoder, "--database", "work", "--source", "bm25", "--tokens", "4", "--json", "answer.json", "Which river has stones?");

        Assert.NotEmpty(retro.Json("answer.json")["passages"]!.AsArray());

        // Of those that are asked for as many come as a model of limited positions has room for.
        string few = Fixtures.Pretrained("gpt2-no-prefix");
        retro.Done("build", "--corpus", "docs", "--tokenizer", few, "--out", "short", "--chunk", "16", "--held-out-share", "0.2", "--quiet");
        string asked = retro.Done(
            "ask", "--model", few, "--database", "short", "--source", "bm25", "--in-prompt", "16", "--tokens", "4", "--json", "answer.json", "the river");
        int read = retro.Json("answer.json")["passages"]!.AsArray().Count;
        Assert.InRange(read, 1, 15);
        Assert.Contains($"the prompt has room for {read} of ", asked, StringComparison.Ordinal);

        Directory.CreateDirectory(retro["other"]);
        File.WriteAllText(Path.Combine(retro["other"], "config.json"), "{\"model_type\": \"bloom\"}");
        Assert.Contains("\"bloom\"; supported is \"llama\"", retro.Done("info", "other"), StringComparison.Ordinal);
    }

    private void Build()
    {
        _retro.WriteCorpus();
        string[] build = ["build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2"];
        string planned = _retro.Done([.. build, "--plan", "--json", "plan.json"]);
        Assert.Contains("19 documents", planned, StringComparison.Ordinal);
        Assert.Equal(19, (int)_retro.Json("plan.json")["documents"]!);
        Assert.False(Directory.Exists(Path.Combine(_retro["work"], "database")));
        string built = _retro.Done([.. build, "--json", "build.json"]);
        Assert.Contains("5 documents held out", built, StringComparison.Ordinal);
        Assert.Contains("Next: retro train --database work --out decoder --source none", built, StringComparison.Ordinal);
        Assert.Contains("work is a database without a model; train a decoder on it", _retro.Run("eval", "--model", "work").Errors, StringComparison.Ordinal);
        JsonObject counts = _retro.Json("build.json");
        using (ChunkDatabase database = _retro.Database())
        {
            Assert.Equal((19, 5, 16), ((int)counts["documents"]!, (int)counts["heldOutDocuments"]!, database.ChunkLength));
        }

        // What is left out is taken from retro.json, and what is done is not done again.
        byte[] manifest = File.ReadAllBytes(Path.Combine(_retro["work"], "database", "manifest.json"));
        Assert.DoesNotContain("train the tokenizer", _retro.Done("build", "--out", "work"), StringComparison.Ordinal);
        Assert.Equal(manifest, File.ReadAllBytes(Path.Combine(_retro["work"], "database", "manifest.json")));
    }

    private void Train()
    {
        _retro.Done("neighbors", "--database", "work", "--k", "3", "--source", "random", "--json", "neighbors.json");
        Assert.Equal(["random", "3"], new[] { "source", "k" }.Select(name => _retro.Json("neighbors.json")[name]!.ToString()));
        Assert.Equal(2, _retro.Json("neighbors.json")["tables"]!.AsArray().Count);

        string[] train = ["train", "--out", "work", "--steps", "3", "--json", "train.json", "--csv", "steps.csv", "--tensorboard", "events", .. CliRun.Tiny];
        Assert.Contains("RETRO of", _retro.Done(train), StringComparison.Ordinal);
        Assert.Equal(3, (int)_retro.Json("train.json")["steps"]!);
        Assert.Equal(4, File.ReadAllLines(_retro["steps.csv"]).Length);
        Assert.Single(Directory.GetFiles(_retro["events"]));
        _retro.RequireReport("work/report.html", "Training loss", "Loss on a sample of held-out text", "retrieval off", "held out", "config.json");
        _retro.Done(["train", "--database", "work", "--out", "decoder", "--source", "none", "--steps", "3", "--quiet", .. CliRun.Tiny]);
        _retro.Done("fit", "--base", "decoder", "--reader", "copying", "--database", "work", "--out", "copied", "--steps", "2", "--window", "64");
        _retro.RequireReport(
            "copied/report.html", "Training: copying", "2 steps in", "Training loss", "per token with retrieval off, ", " with retrieval on", "config.json");
        string everywhere = _retro.Done(
            "fit", "--base", "decoder", "--reader", "copying", "--anywhere", "--database", "work", "--out", "everywhere", "--steps", "2", "--window", "64");
        Assert.Contains("every 16 tokens, and from anywhere in the database", everywhere, StringComparison.Ordinal);
        Assert.Contains("and from anywhere in the database", _retro.Done("info", "everywhere"), StringComparison.Ordinal);
        Assert.Contains("so is what copies on top", _retro.Done("verify", "everywhere"), StringComparison.Ordinal);

        // Alone, the decoder would pass for what it is not.
        string copying = _retro[Path.Combine("everywhere", "model", "copying.safetensors")];
        File.Move(copying, _retro["elsewhere"]);
        foreach (string[] asks in (string[][])[["verify", "everywhere"], ["generate", "--model", "everywhere", "The river"]])
        {
            ChildProcess.Outcome gone = _retro.Run(asks);
            Assert.Equal(1, gone.ExitCode);
            Assert.Contains("was fitted as a reader that copies, and copying.safetensors in it is gone", gone.Errors, StringComparison.Ordinal);
        }

        File.Move(_retro["elsewhere"], copying);
        string fitted = _retro.Done("fit", "--base", "decoder", "--database", "work", "--out", "fitted", "--steps", "2", "--window", "64");
        Assert.Matches("neighbors by bm25: [0-9,]+ chunks, with none [0-9]", fitted);
    }

    private void Evaluate()
    {
        _retro.Done("eval", "--model", "fitted", "copied", "everywhere", "--window", "64", "--json", "eval.json", "--token-records", "tokens.jsonl");
        Assert.Contains("\"copying\":", File.ReadLines(_retro["tokens.jsonl"]).First(), StringComparison.Ordinal);
        _retro.RequireReport(
            "fitted/evaluation.html",
            "Held-out bits per byte", "Against closed book", "By overlap with the neighbors", "What copying read", "bm25: rank 1", "Training: RETRO");
        string[] readers =
        [
            "closed book", "closed book + pointer rule, k = 2", "closed book + pointer rule, k = 8",
            "closed book + longest run in the database", "closed book + pointer rule, k = 16, every 16 tokens",
            "copying, random", "copying", "copying from anywhere, random", "copying from anywhere", "RETRO off", "RETRO random", "RETRO",
        ];
        JsonArray rows = _retro.Json("eval.json")["readers"]!.AsArray();
        Assert.Equal(readers, rows.Select(row => (string)row!["reader"]!));
        Assert.All(rows, row => Assert.InRange((double)row!["bitsPerByte"]!, 0.1, 20));
        string[] compared = [readers[0], readers[2], readers[4], readers[3]];
        Assert.Equal(compared, rows[^1]!["against"]!.AsArray().Select(against => (string)against!["to"]!));

        // What was fitted is the decoder to the bit where it reads nothing.
        Assert.Equal((double)rows[0]!["bitsPerByte"]!, (double)rows[9]!["bitsPerByte"]!);
    }

    private void Generate()
    {
        string text = _retro.Done("generate", "--model", "work", "--tokens", "20", "--json", "text.json", "The river number 2 has 7 stones and 0 steps.");
        JsonObject written = _retro.Json("text.json");
        Assert.NotEmpty(written["read"]!.AsArray());
        Assert.StartsWith(((string)written["text"]!).Split('\n')[0], text, StringComparison.Ordinal);
        Assert.Contains("read, each with its score, and after how many tokens of the text:", text, StringComparison.Ordinal);
        string least = _retro.Done("generate", "--model", "work", "--tokens", "20", "--most", "1", "The river number 2 has 7 stones and 0 steps.");
        Assert.Equal(1, Regex.Count(least, "chunk [0-9]+ \\(after [0-9]+\\):"));
        Assert.Matches("and [0-9]+ of lower score", least);
        Assert.DoesNotContain("read, each", _retro.Done("generate", "--model", "work", "--source", "none", "--tokens", "20", "The"), StringComparison.Ordinal);

        const string Begun = "The river number 2 has 7 stones";
        string copied = _retro.Done("generate", "--model", "everywhere", "--temperature", "0", "--tokens", "20", "--json", "text.json", Begun);
        JsonArray from = _retro.Json("text.json")["copied"]!.AsArray();
        int tokens = from.Sum(passage => (int)passage!["tokens"]!);
        Assert.InRange(tokens, 1, 20);
        Assert.Contains($"copied, {tokens} of 20 tokens; from each passage so many:\n", copied, StringComparison.Ordinal);
        string[] given = ["--passage", "The river has 9 stones.", "--json", "text.json"];
        _retro.Done(["generate", "--model", "everywhere", "--temperature", "0", "--tokens", "20", .. given, Begun]);
        Assert.All(_retro.Json("text.json")["copied"]!.AsArray(), passage => Assert.Equal(-1L, (long)passage!["chunk"]!));
        _retro.Done(["generate", "--model", "work", "--tokens", "20", .. given, Begun]);
        Assert.Equal("The river has 9 stones.", (string)_retro.Json("text.json")["read"]![0]!["neighbors"]![0]!["text"]!);

        // A RETRO needs no database for what it is given, and what copies, which does, says so.
        foreach ((string model, bool copies) in new[] { ("fitted", false), ("everywhere", true) })
        {
            string settings = _retro[Path.Combine(model, "retro.json")], kept = File.ReadAllText(settings);
            JsonObject without = JsonNode.Parse(kept)!.AsObject();
            without["fit"]!.AsObject().Remove("database");
            File.WriteAllText(settings, without.ToJsonString());
            string[] generate = ["generate", "--model", model, "--tokens", "2"];
            ChildProcess.Outcome read = _retro.Run([.. generate, .. given, $"{Begun}. {Begun}. {Begun}"]);
            string said = read.Output + read.Errors;
            Assert.Equal(copies ? 2 : 0, read.ExitCode);
            Assert.DoesNotContain("reads nothing", said, StringComparison.Ordinal);
            Assert.Contains(
                copies ? "--passage: what copies needs the database" : "given passage: The river has 9 stones.", said, StringComparison.Ordinal);
            Assert.Contains("It reads nothing: which database it reads from", _retro.Done([.. generate, Begun]), StringComparison.Ordinal);
            File.WriteAllText(settings, kept);
        }

        _retro.Done("generate", "--model", "work", "--tokens", "9", "--best-in-prompt", "--ban", "e", "--json", "text.json", Begun);
        Assert.DoesNotContain("e", (string)_retro.Json("text.json")["text"]!, StringComparison.Ordinal);
        _retro.Done("generate", "--model", "work", "--tokens", "9", "--retrieve-every", "4", "--json", "text.json", Begun);
        Assert.True(_retro.Json("text.json")["read"]!.AsArray().Count > 3);

        // A prompt that is piped is read as a document is, and goes on in its last line.
        Assert.Equal("The\nriver", Piped(0, [0xEF, 0xBB, 0xBF, .. "The\r\nriver"u8]));
        Assert.Equal("The", Piped(0, [0xFF, 0xFE, .. Encoding.Unicode.GetBytes("The")]));
        Assert.Equal("The\n", Piped(0, [.. "The\n\r\n"u8]));
        Assert.Contains("is no text in UTF-8", Piped(1, [.. "caf"u8, 0xE9]), StringComparison.Ordinal);
        Assert.Contains("is no text in UTF-8", Piped(1, Encoding.Unicode.GetBytes("The")), StringComparison.Ordinal);

        string Piped(int code, byte[] input)
        {
            File.WriteAllBytes(_retro["input"], input);
            string line = $"dotnet '{Fixtures.Cli}' generate --model work --source none --tokens 1 --json text.json - < input";
            ChildProcess.Outcome run = ChildProcess.Run(new("sh", ["-c", line]) { WorkingDirectory = _retro.Folder });
            Assert.True(run.ExitCode == code, $"{run.ExitCode}: {run.Errors}");
            return code == 0 ? (string)_retro.Json("text.json")["prompt"]! : run.Errors;
        }
    }

    private void Ask()
    {
        string answered = _retro.Done("ask", "--model", "work", "--tokens", "24", "--json", "ask.json", "How many stones has bridge 5?");
        Assert.Contains("with it - without it", answered, StringComparison.Ordinal);
        JsonObject answer = _retro.Json("ask.json");
        JsonArray passages = answer["passages"]!.AsArray();
        Assert.Equal(["in the prompt", "while writing"], passages.Select(passage => (string)passage!["read"]!).Distinct());
        Assert.All(passages, passage => Assert.True(double.IsFinite((double)passage!["onMinusOffBits"]!)));
        Assert.Contains(passages, passage => Math.Abs((double)passage!["onMinusOffBits"]!) > 0);
        Assert.Contains(passages, passage => ((string)passage!["location"]!).EndsWith(".md", StringComparison.Ordinal));

        // Of what copies.
        string[] asked = ["ask", "--model", "everywhere", "--temperature", "1", "--seed", "1", "--json", "ask.json", "How many stones has bridge 5?"];
        _retro.Done(asked);
        double together = (double)_retro.Json("ask.json")["onMinusOffBits"]!;
        double[] alone =
        [
            .. _retro.Json("ask.json")["passages"]!.AsArray().Where(passage => (string)passage!["read"]! == "while writing")
                .Select(passage => Math.Abs((double)passage!["onMinusOffBits"]!)),
        ];
        Assert.True(together > 1);
        Assert.InRange(alone.Min(), 0, 0.1 * together); // one that has nothing to do with the answer

        // Where nothing may be read, nothing has made the answer more probable.
        using (ChunkDatabase database = _retro.Database())
        {
            _retro.Done([.. asked, .. database.Documents.SelectMany(document => new[] { "--exclude", document.Id })]);
        }

        Assert.Empty(_retro.Json("ask.json")["passages"]!.AsArray());
        Assert.Equal(0, (double)_retro.Json("ask.json")["onMinusOffBits"]!, 1e-3);
    }

    private void Inspect()
    {
        _retro.Done("inspect", "--database", "work", "--chunk", "3", "--k", "2", "--json", "chunk.json");
        JsonArray neighbors = _retro.Json("chunk.json")["neighbors"]!.AsArray();
        Assert.Equal([1, 2], neighbors.Select(neighbor => (int)neighbor!["rank"]!));
        Assert.DoesNotContain(neighbors, neighbor => (string)neighbor!["document"]! == (string)_retro.Json("chunk.json")["document"]!["id"]!);
        Assert.All(neighbors, neighbor => Assert.InRange((double)neighbor!["overlap"]!, 0.1, 1));
        Assert.Contains("more", _retro.Done("inspect", "--database", "work", "--most", "2", "--quiet", "--json", "few.json"), StringComparison.Ordinal);
        Assert.Equal(19, (int)_retro.Json("few.json")["total"]!);

        _retro.Done("embed-train", "--out", "work", "--steps", "2");
        foreach ((string source, string name) in new[] { ("dense", "dense"), ("hybrid", "hybrid"), ("rerank", "reranked") })
        {
            _retro.Done("inspect", "--database", "work", "--text", "the river", "--source", source, "--json", "text.json");
            Assert.Equal(name, (string)_retro.Json("text.json")["source"]!);
        }

        _retro.Done("inspect", "--database", "work", "--text", "the river", "--beside", "dense", "--beside", "bm25", "--json", "text.json");
        JsonNode best = _retro.Json("text.json")["neighbors"]![0]!;
        Assert.Equal(1, (int)best["ranks"]!["bm25"]!);
        Assert.True(best["ranks"]!.AsObject().ContainsKey("dense"));
    }

    private void Verify()
    {
        string verified = _retro.Done("verify", "work", "--recompute", "0.5", "--source", "hybrid");
        Assert.All(new[] { "bm25.bin", "keys.bin", "recall@8" }, stage => Assert.Contains(stage, verified, StringComparison.Ordinal));

        // Through a pipe go the results alone.
        ChildProcess.Outcome streams = _retro.Streams(null, "verify", "work", "--recompute", "0.5", "--source", "hybrid");
        Assert.Equal(streams.Output + string.Concat(streams.Errors.Split('\n').SkipLast(1).Select(line => line + "\n")), streams.OfTool().Output);
        Assert.DoesNotContain(": done in ", streams.Output, StringComparison.Ordinal);
        Assert.Contains(": done in ", streams.Errors, StringComparison.Ordinal);
        _retro.Done("export", "--database", "work", "--out", "all.jsonl");
        Assert.Equal(19, File.ReadLines(_retro["all.jsonl"]).Count());
        string info = _retro.Done("info", "work");
        Assert.Contains("remembered for retro train: --database . --steps 3", info, StringComparison.Ordinal);
        Assert.Contains("embedder work/embedder: keys of ", info, StringComparison.Ordinal);
        verified = _retro.Done("verify", "work");
        Assert.Contains("are there and finite", verified, StringComparison.Ordinal);
        Assert.Contains("work/tokenizer: 300 tokens", verified, StringComparison.Ordinal);
        Assert.Contains("work/embedder: keys of ", verified, StringComparison.Ordinal);

        string manifest = _retro[Path.Combine("work", "database", "manifest.json")];
        File.Move(manifest, _retro["elsewhere"]);
        ChildProcess.Outcome gone = _retro.Run("verify", "work");
        Assert.Equal(1, gone.ExitCode);
        Assert.Contains("work/database holds no whole database", gone.Errors, StringComparison.Ordinal);
        File.Move(_retro["elsewhere"], manifest);
    }
}
