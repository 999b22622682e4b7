using System.CommandLine;
using System.Text;
using System.Text.Json.Nodes;
using Retro.Generation;
using Retro.Search;
using Retro.Cli.Workflow;

namespace Retro.Cli.Commands;

/// <summary>`retro ask`: an answer from the database, and what each passage that was read changed about it.</summary>
internal sealed class AskCommand : Verb
{
    private const string InPrompt = "in the prompt";

    private readonly ReadingOptions _reading = new(tokens: 64, temperature: 0);
    private readonly Argument<string> _question = new("question") { Description = "The question; - reads it from the standard input." };
    private readonly Option<int> _inPrompt = CommonOptions.Whole(
        "--in-prompt",
        "Passages found with the question that stand before it in the prompt. Those that a RETRO or a copying reader finds while it writes come besides.",
        1,
        0,
        16);

    private readonly Option<int> _most = CommonOptions.Most("changed most");

    public AskCommand()
        : base(
            "ask",
            "Answers a question from the database, and prints the passages that were read, each with its document, its place, and how much it changed the "
                + "answer: by how many bits, over the answer's tokens, it is more probable with it: of a passage in the prompt, than with the others "
                + "alone; of one that was read while writing, alone, than with none.",
            "retro ask --model work \"What is the capital of France?\"",
            "retro ask --model work --in-prompt 2 --source hybrid --json answer.json \"Who built the bridge?\"")
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

        using ReadingOptions.Opened opened = _reading.Open(parsed, needsDatabase: true, cancellationToken);
        GenerationOptions options = _reading.Generation(parsed, Asking.Stops) with { SkipsLeadingSpace = true };
        List<Passage> passages =
        [
            .. Asking.Find(opened, question, parsed.GetValue(_inPrompt), options, cancellationToken)
                .Select(found => new Passage(InPrompt, found)),
        ];
        string asked = opened.AsCleaned(question), prompt = Prompt(passages, asked);
        StringBuilder answer = new();
        List<int> tokens = [];
        List<RetrievedNeighbors> read = [];
        CopiedTokens copied = new();
        await foreach (GeneratedPiece piece in opened.Generator().GenerateAsync(prompt, options, cancellationToken).ConfigureAwait(false))
        {
            answer.Append(piece.Text);
            await Console.Out.WriteAsync(Printable.Of(piece.Text)).ConfigureAwait(false);
            copied.Add(piece);
            if (piece.Token is { } token)
            {
                tokens.Add(token);
            }

            if (piece.Retrieved is not null)
            {
                read.Add(piece.Retrieved);
            }
        }

        await Console.Out.WriteLineAsync().ConfigureAwait(false);
        AnswerScores scores = new(opened, options, prompt, tokens, read);
        double off = await scores.OffAsync(null, cancellationToken).ConfigureAwait(false);
        foreach (Passage passage in passages)
        {
            // Without it, the prompt is another one.
            string without = Prompt(passages.Where(other => other != passage), asked);
            passage.Bits = off - await scores.OffAsync(without, cancellationToken).ConfigureAwait(false);
        }

        if (scores.ReadsWhileWriting)
        {
            foreach (RetrievedNeighbor neighbor in read.SelectMany(retrieved => retrieved.Neighbors).DistinctBy(neighbor => neighbor.Chunk))
            {
                passages.Add(new("while writing", neighbor) { Bits = scores.With(neighbor.Chunk) - off });
            }
        }

        double? all = scores.ReadsWhileWriting ? await scores.OnAsync(cancellationToken).ConfigureAwait(false) - off : null;
        Print(passages, tokens.Count, all, parsed.GetValue(_most));
        copied.Print(parsed.GetValue(_most));
        WriteJson(parsed, new JsonObject
        {
            ["question"] = question,
            ["answer"] = answer.ToString(),
            ["tokens"] = tokens.Count,
            ["onMinusOffBits"] = all,
            ["passages"] = new JsonArray([.. passages.Select(passage =>
            {
                JsonObject json = ReadingOptions.Json(passage.Neighbor);
                json["read"] = passage.How;
                json["onMinusOffBits"] = passage.Bits;
                return json;
            })]),
            ["copied"] = copied.Json(),
        });
    }

    protected override IEnumerable<string> Remembered(ParseResult parsed, Workspace workspace) => OfModel(parsed, workspace);

    private static string Prompt(IEnumerable<Passage> passages, string question) => Asking.Prompt(passages.Select(passage => passage.Neighbor), question);

    private static void Print(List<Passage> passages, int tokens, double? all, int most)
    {
        if (passages.Count == 0)
        {
            Screen.Note($"\nNothing was read.");
            return;
        }

        Screen.Note($"\nread, with what it changed: with it - without it, in bits of the answer's {tokens} tokens (above 0: it made the answer more probable)");
        IEnumerable<Passage> ordered = passages.OrderByDescending(passage => passage.How == InPrompt).ThenByDescending(passage => Math.Abs(passage.Bits));
        foreach (Passage passage in ordered.Take(most))
        {
            RetrievedNeighbor neighbor = passage.Neighbor;
            string name = Passages.Name(neighbor.Title, neighbor.DocumentId), text = Passages.Shorten(neighbor.Text);
            Screen.Item($"{passage.Bits:+0.00;-0.00;0.00}", $"{name}, chunk {neighbor.ChunkInDocument + 1} ({passage.How}; {neighbor.Location}): {text}");
        }

        if (passages.Count > most)
        {
            Screen.Item($"", $"and {passages.Count - most} that changed less");
        }

        if (all is { } bits)
        {
            Screen.Item($"{bits:+0.00;-0.00;0.00}", $"all that was read while writing, together");
        }
    }

    /// <summary>A passage that was read.</summary>
    /// <param name="how">How: in the prompt, or while writing.</param>
    /// <param name="neighbor">What and where it is.</param>
    private sealed class Passage(string how, RetrievedNeighbor neighbor)
    {
        public string How { get; } = how;

        public RetrievedNeighbor Neighbor { get; } = neighbor;

        /// <summary>By how many bits it made the answer more probable.</summary>
        public double Bits { get; set; }
    }
}
