using System.CommandLine;
using System.Text;
using System.Text.Json.Nodes;
using Retro.Generation;
using Retro.Search;

namespace Retro.Cli.Commands;

/// <summary>`retro ask`: an answer from the database, and what each passage that was read changed about it.</summary>
internal sealed class AskCommand : Verb
{
    private const string WhileWriting = "while writing";

    private readonly ReadingOptions _reading = new(tokens: 64, temperature: 0);
    private readonly Argument<string> _question = new("question")
    {
        Description = "The question; - reads it from the standard input. Of a model of fit --task qa: a document's title and what to fill in, each on a "
            + "line, which \\n parts, too.",
    };
    private readonly Option<int> _inPrompt = CommonOptions.Whole(
        "--in-prompt",
        "Passages found with the question that stand before it in the prompt, as far as it has room. Those that a RETRO or a copying reader finds while it "
            + "writes come besides.",
        1,
        0,
        16);

    private readonly Option<int> _most = CommonOptions.Most("changed most");

    public AskCommand()
        : base(
            "ask",
            "Answers a question from the database, and prints the passages that were read, each with its document, its place, and how much it changed the "
                + "answer: by how many bits, over the answer's tokens, it is more probable with it: of a passage in the prompt, than with the others "
                + "alone; of one that was read while writing, alone, than with none. A model that was fitted to answer questions (fit --task qa) is asked as it "
                + "was fitted: it fills in a field of a document, in one line, from the passages that the question's words find.",
            "retro ask --model work \"What is the capital of France?\"",
            "retro ask --model work --in-prompt 2 --source hybrid --json answer.json \"Who built the bridge?\"",
            "retro ask --model answering \"Algeria\\nCapital: name:\"")
    {
        Add(_question);
        AddOptions([.. _reading.Options, _inPrompt, _most]);
    }

    protected override PathOption Home => _reading.Model;

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said) => _reading.Idle(said, isServed: false, _inPrompt);

    public override async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string question = parsed.GetValue(_question)!;
        if (question == StandardInput.Name)
        {
            question = (await StandardInput.ReadAsync(Console.OpenStandardInput, cancellationToken).ConfigureAwait(false)).Trim();
        }

        if (string.IsNullOrWhiteSpace(question))
        {
            throw new UsageException("The question is empty; ask something.");
        }

        // What was fitted to answer is asked in the form of the database's text, read or not.
        string model = parsed.GetValue(_reading.Model)!;
        bool needsDatabase = parsed.GetValue(_reading.Source) != "none" || ModelFolder.Answers(model);
        using ReadingOptions.Opened opened = _reading.Open(parsed, needsDatabase, _inPrompt, given: null, cancellationToken);
        using Answerer? answerer = Answerer.Open(model, opened, parsed.GetValue(_reading.K), running: null, cancellationToken);
        Answer answer = answerer is null
            ? await AskAsync(parsed, opened, question, cancellationToken).ConfigureAwait(false)
            : await AskFittedAsync(parsed, answerer, question, cancellationToken).ConfigureAwait(false);
        Print(answer, parsed.GetValue(_most));
        answer.Copied.Print(parsed.GetValue(_most));
        WriteJson(parsed, new JsonObject
        {
            ["question"] = question,
            ["answer"] = answer.Text.ToString(),
            ["tokens"] = answer.Tokens.Count,
            ["onMinusOffBits"] = answer.Bits,
            ["passages"] = new JsonArray([.. answer.Passages.Select(passage =>
            {
                passage.Json["read"] = passage.How;
                passage.Json["onMinusOffBits"] = passage.Bits;
                return passage.Json;
            })]),
            ["copied"] = answer.Copied.Json(),
        });
    }

    protected override IEnumerable<string> Remembered(ParseResult parsed, Workspace workspace) => OfModel(parsed, workspace);

    /// <summary>Asks a model that goes on with text.</summary>
    private async Task<Answer> AskAsync(ParseResult parsed, ReadingOptions.Opened opened, string question, CancellationToken cancellationToken)
    {
        GenerationOptions options = _reading.Generation(parsed, Asking.Stops) with { SkipsLeadingSpace = true };
        string asked = opened.AsCleaned(question);
        RetroGenerator generator = opened.Generator();
        IReadOnlyList<RetrievedNeighbor> found = Asking.Find(opened, question, parsed.GetValue(_inPrompt), options, cancellationToken);
        List<Passage> passages =
        [
            .. Asking.Fitting(found, some => generator.CountTokens(Asking.Prompt(some, asked)), generator.LongestPrompt(options))
                .Select(neighbor => new Passage(Asking.InPrompt, neighbor, ReadingOptions.Json(neighbor))),
        ];
        if (passages.Count < found.Count)
        {
            Screen.Note($"the prompt has room for {passages.Count} of {Amount.Of(found.Count, "passage")}");
        }

        string prompt = Prompt(passages, asked);
        Answer answer = await WriteAsync(parsed, generator.GenerateAsync(prompt, options, cancellationToken)).ConfigureAwait(false);
        AnswerScores scores = new(opened, options, prompt, answer.Tokens, answer.Read);
        double off = await scores.OffAsync(null, cancellationToken).ConfigureAwait(false);
        foreach (Passage passage in passages)
        {
            // Without it, the prompt is another one.
            string without = Prompt(passages.Where(other => other != passage), asked);
            passage.Bits = off - await scores.OffAsync(without, cancellationToken).ConfigureAwait(false);
        }

        if (scores.ReadsWhileWriting)
        {
            passages.AddRange(answer.Neighbors.Select(
                neighbor => new Passage(WhileWriting, neighbor, ReadingOptions.Json(neighbor)) { Bits = scores.With(neighbor.Chunk) - off }));
        }

        double? all = scores.ReadsWhileWriting ? await scores.OnAsync(cancellationToken).ConfigureAwait(false) - off : null;
        return answer with { Passages = passages, Bits = all };
    }

    /// <summary>Asks a model that was fitted to answer, in the form of its training.</summary>
    private async Task<Answer> AskFittedAsync(ParseResult parsed, Answerer answerer, string typed, CancellationToken cancellationToken)
    {
        RequireFitted(parsed);
        string question = answerer.Question(typed);
        if (!question.Contains('\n'))
        {
            Screen.Note($"the model was fitted to fill in fields of documents; ask with a title and a field, such as \"Algeria\\nCapital: name:\"");
        }

        GenerationOptions options = _reading.Generation(parsed);
        IReadOnlyList<long> found = answerer.Find(question, options, cancellationToken);
        Answer answer = await WriteAsync(parsed, Only(answerer.WriteAsync(question, found, options, cancellationToken))).ConfigureAwait(false);
        string text = answer.Text.ToString().Trim();
        double off = Bits([]), on = Bits(found);
        return answer with
        {
            Bits = answerer.ReadsNeighbors && answer.Read.Count > 0 ? on - off : null,
            Passages =
            [
                .. answer.Neighbors.Select(neighbor => answerer.ReadsNeighbors
                    ? new Passage(WhileWriting, neighbor, Answerer.Json(neighbor)) { Bits = Bits([neighbor.Chunk]) - off }
                    : new Passage(Asking.InPrompt, neighbor, Answerer.Json(neighbor)) { Bits = on - Bits([.. found.Where(other => other != neighbor.Chunk)]) }),
            ],
        };

        double Bits(IReadOnlyList<long> passages) => answer.Tokens.Count == 0 ? 0 : answerer.Bits(question, passages, text);
    }

    /// <summary>Refuses what says how a model is asked that was not fitted to answer.</summary>
    private void RequireFitted(ParseResult parsed)
    {
        if (IsTyped(_inPrompt))
        {
            throw new UsageException($"{_inPrompt.Name} does nothing here: {Answerer.Fitted}, and reads as many passages as it was fitted with; leave it out.");
        }

        if (IsTyped(_reading.Source) && parsed.GetValue(_reading.Source) is not ("bm25" or "none"))
        {
            throw new UsageException($"{_reading.Source.Name} takes bm25 or none here: {Answerer.Fitted}, whose passages are found by their words.");
        }
    }

    private static async IAsyncEnumerable<GeneratedPiece> Only(IAsyncEnumerable<(int Text, GeneratedPiece Piece)> pieces)
    {
        await foreach ((_, GeneratedPiece piece) in pieces.ConfigureAwait(false))
        {
            yield return piece;
        }
    }

    /// <summary>Prints an answer while it is written.</summary>
    private async Task<Answer> WriteAsync(ParseResult parsed, IAsyncEnumerable<GeneratedPiece> pieces)
    {
        Answer answer = new([], null);
        await foreach (GeneratedPiece piece in pieces.ConfigureAwait(false))
        {
            answer.Text.Append(piece.Text);
            await Screen.ShowAsync(piece.Text, parsed.GetValue(Json)).ConfigureAwait(false);
            answer.Copied.Add(piece);
            if (piece.Token is { } token)
            {
                answer.Tokens.Add(token);
            }

            if (piece.Retrieved is not null)
            {
                answer.Read.Add(piece.Retrieved);
            }
        }

        await Screen.ShowAsync(Environment.NewLine, parsed.GetValue(Json)).ConfigureAwait(false);
        return answer;
    }

    private static string Prompt(IEnumerable<Passage> passages, string question) => Asking.Prompt(passages.Select(passage => passage.Neighbor), question);

    private static void Print(Answer answer, int most)
    {
        IReadOnlyList<Passage> passages = answer.Passages;
        int tokens = answer.Tokens.Count;
        if (passages.Count == 0)
        {
            Screen.Note($"\nNothing was read.");
            return;
        }

        Screen.Note($"\nread, with what it changed: with it - without it, in bits of the answer's {tokens} tokens (above 0: it made the answer more probable)");
        IEnumerable<Passage> ordered = passages
            .OrderByDescending(passage => passage.How == Asking.InPrompt)
            .ThenByDescending(passage => Math.Abs(passage.Bits));
        foreach (Passage passage in ordered.Take(most))
        {
            RetrievedNeighbor neighbor = passage.Neighbor;
            string name = Passages.Name(neighbor.Title, passage.Document), text = Passages.Shorten(neighbor.Text);
            Screen.Item($"{passage.Bits:+0.00;-0.00;0.00}", $"{name}, {passage.Place} ({passage.How}; {neighbor.Location}): {text}");
        }

        if (passages.Count > most)
        {
            Screen.Item($"", $"and {passages.Count - most} that changed less");
        }

        if (answer.Bits is { } bits)
        {
            Screen.Item($"{bits:+0.00;-0.00;0.00}", $"all that was read while writing, together");
        }
    }

    /// <summary>An answer, with what was read for it.</summary>
    /// <param name="Passages">The passages, with what each changed.</param>
    /// <param name="Bits">By how many bits all that was read while writing made it more probable; null: nothing was.</param>
    private sealed record Answer(IReadOnlyList<Passage> Passages, double? Bits)
    {
        public StringBuilder Text { get; } = new();

        public List<int> Tokens { get; } = [];

        public List<RetrievedNeighbors> Read { get; } = [];

        public CopiedTokens Copied { get; } = new();

        /// <summary>What was read while it was written, each chunk once.</summary>
        public IEnumerable<RetrievedNeighbor> Neighbors => Read.SelectMany(retrieved => retrieved.Neighbors).DistinctBy(neighbor => neighbor.Chunk);
    }

    /// <summary>A passage that was read.</summary>
    /// <param name="how">How: in the prompt, or while writing.</param>
    /// <param name="neighbor">What and where it is.</param>
    /// <param name="json">The same for programs, which names it by what the database has.</param>
    private sealed class Passage(string how, RetrievedNeighbor neighbor, JsonObject json)
    {
        public JsonObject Json => json;

        public string Document => (string)json["document"]!;

        /// <summary>Which part of the document it is.</summary>
        public string Place => json["passage"] is { } number ? $"passage {(int)number + 1}" : $"chunk {(long)json["chunkInDocument"]! + 1}";

        public string How { get; } = how;

        public RetrievedNeighbor Neighbor { get; } = neighbor;

        /// <summary>By how many bits it made the answer more probable.</summary>
        public double Bits { get; set; }
    }
}
