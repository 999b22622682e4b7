using System.CommandLine;
using System.Text;
using System.Text.Json.Nodes;
using Retro.Generation;
using Retro.Search;

namespace Retro.Cli.Commands;

/// <summary>`retro generate`: text with the sources that it was written from.</summary>
internal sealed class GenerateCommand : Verb
{
    private readonly ReadingOptions _reading = new(tokens: 256, temperature: 0.8);
    private readonly Argument<string?> _prompt = new("prompt")
    {
        Description = "The beginning of the text; - reads it from the standard input, without the line end behind it.",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private readonly Option<string[]> _passages = new("--passage")
    {
        Description = "Read this text in place of what would be found; may be given several times.",
        HelpName = "TEXT",
    };

    private readonly Option<int?> _every = CommonOptions.WholeOrNone(
        "--retrieve-every", "Tokens after which neighbors are found anew, a divisor of the chunk length. Default: a chunk.", 1, 4096);

    private readonly Option<bool> _best = new("--best-in-prompt")
    {
        Description = "The best neighbor stands in front of the text, and the model's cross-attention reads the others (RETRO++).",
    };

    private readonly Option<int> _most = CommonOptions.Most("have the highest scores");
    private readonly Func<Stream> _input;

    /// <param name="input">Opens what a prompt is piped from; null: the standard input.</param>
    public GenerateCommand(Func<Stream>? input = null)
        : base(
            "generate",
            "Goes on with a text, and names what the model read while it wrote.",
            "retro generate --model work \"The capital of\"",
            "retro generate --model work --source none --seed 2 \"The capital of\"",
            "retro generate --model work --passage \"Paris is the capital of France.\" \"The capital of\"",
            "cat beginning.txt | retro generate --model work --tokens 100 -")
    {
        _input = input ?? Console.OpenStandardInput;
        Add(_prompt);
        AddOptions([.. _reading.Options, _passages, _every, _best, _most]);
    }

    protected override PathOption Home => _reading.Model;

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said)
        => _reading.Idle(said, isServed: false, _passages, _every);

    public override string HowToGoOn(ParseResult parsed) => "What was written is above.";

    public override async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string prompt = parsed.GetValue(_prompt) ?? "";
        if (prompt == StandardInput.Name)
        {
            prompt = await StandardInput.ReadAsync(_input, cancellationToken).ConfigureAwait(false);
            prompt = prompt.EndsWith('\n') ? prompt[..^1] : prompt; // which echo and editors put there: the text is to go on in its line
        }

        using ReadingOptions.Opened opened = _reading.Open(parsed, needsDatabase: false, inPrompt: null, _passages, cancellationToken, _every);
        GenerationOptions options = _reading.Generation(parsed) with
        {
            Passages = parsed.GetValue(_passages) ?? [], RetrievalStride = parsed.GetValue(_every),
        };
        RetroGenerator generator = opened.Generator(parsed.GetValue(_best));
        StringBuilder text = new();
        List<(int Tokens, RetrievedNeighbors Retrieved)> read = [];
        CopiedTokens copied = new();
        int tokens = 0;
        GenerationEnd? end = null;
        await foreach (GeneratedPiece piece in generator.GenerateAsync(opened.AsCleaned(prompt), options, cancellationToken).ConfigureAwait(false))
        {
            text.Append(piece.Text);
            await Screen.ShowAsync(piece.Text, parsed.GetValue(Json)).ConfigureAwait(false);
            end = piece.End ?? end;
            tokens += piece.Token is null ? 0 : 1;
            copied.Add(piece);
            if (piece.Retrieved is not null)
            {
                read.Add((tokens, piece.Retrieved));
            }
        }

        await Screen.ShowAsync(Environment.NewLine, parsed.GetValue(Json)).ConfigureAwait(false);
        Print(read, parsed.GetValue(_most));
        copied.Print(parsed.GetValue(_most));
        WriteJson(parsed, new JsonObject
        {
            ["prompt"] = prompt,
            ["text"] = text.ToString(),
            ["end"] = end?.ToString(),
            ["read"] = new JsonArray([.. read.Select(one => new JsonObject
            {
                ["part"] = one.Retrieved.Chunk + 1,
                ["afterTokens"] = one.Tokens,
                ["neighbors"] = new JsonArray([.. one.Retrieved.Neighbors.Select(ReadingOptions.Json)]),
            })]),
            ["copied"] = copied.Json(),
        });
    }

    protected override IEnumerable<string> Remembered(ParseResult parsed, Workspace workspace) => OfModel(parsed, workspace);

    private static void Print(List<(int Tokens, RetrievedNeighbors Retrieved)> read, int most)
    {
        // One that is found again and again is listed once, where it was best.
        (int Tokens, RetrievedNeighbor Neighbor)[] passages =
        [
            .. read.SelectMany(one => one.Retrieved.Neighbors.Select(neighbor => (one.Tokens, Neighbor: neighbor)))
                .OrderBy(one => one.Neighbor.Chunk >= 0)
                .ThenByDescending(one => one.Neighbor.Score)
                .DistinctBy(one => (one.Neighbor.Chunk, one.Neighbor.Chunk < 0 ? one.Neighbor.ChunkInDocument : 0)),
        ];
        if (passages.Length == 0)
        {
            return;
        }

        Screen.Note($"\nread, each with its score, and after how many tokens of the text:");
        foreach ((int tokens, RetrievedNeighbor neighbor) in passages.Take(most))
        {
            string passage = Passages.Shorten(neighbor.Text);
            if (neighbor.Chunk < 0)
            {
                Screen.Item($"", $"given passage: {passage}");
                continue;
            }

            string name = Passages.Name(neighbor.Title, neighbor.DocumentId);
            Screen.Item($"{neighbor.Score:0.00}", $"{name}, chunk {neighbor.ChunkInDocument + 1} (after {tokens:#,0}): {passage}");
        }

        if (passages.Length > most)
        {
            Screen.Item($"", $"and {passages.Length - most} of lower score");
        }
    }
}
