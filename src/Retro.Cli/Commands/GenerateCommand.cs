using System.CommandLine;
using System.Text;
using System.Text.Json.Nodes;
using Retro.Generation;
using Retro.Search;
using Retro.Cli.Workflow;

namespace Retro.Cli.Commands;

/// <summary>`retro generate`: text with the sources that it was written from.</summary>
internal sealed class GenerateCommand : Verb
{
    private readonly ReadingOptions _reading = new(tokens: 256, temperature: 0.8);
    private readonly Argument<string?> _prompt = new("prompt")
    {
        Description = "The beginning of the text; - reads it from the standard input.",
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
        AddOptions([.. _reading.Options, _passages, _every, _best]);
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
        }

        using ReadingOptions.Opened opened = _reading.Open(parsed, needsDatabase: false, cancellationToken, _passages, _every);
        GenerationOptions options = _reading.Generation(parsed) with
        {
            Passages = parsed.GetValue(_passages) ?? [], RetrievalStride = parsed.GetValue(_every),
        };
        RetroGenerator generator = opened.Generator(parsed.GetValue(_best));
        StringBuilder text = new();
        List<RetrievedNeighbors> read = [];
        GenerationEnd? end = null;
        await foreach (GeneratedPiece piece in generator.GenerateAsync(opened.AsCleaned(prompt), options, cancellationToken).ConfigureAwait(false))
        {
            text.Append(piece.Text);
            await Console.Out.WriteAsync(Printable.Of(piece.Text)).ConfigureAwait(false);
            end = piece.End ?? end;
            if (piece.Retrieved is not null)
            {
                read.Add(piece.Retrieved);
            }
        }

        await Console.Out.WriteLineAsync().ConfigureAwait(false);
        foreach (RetrievedNeighbors retrieved in read)
        {
            Screen.Note($"\nread after part {retrieved.Chunk + 1}, each with its score:");
            foreach (RetrievedNeighbor neighbor in retrieved.Neighbors)
            {
                string name = Passages.Name(neighbor.Title, neighbor.DocumentId), passage = Passages.Shorten(neighbor.Text);
                if (neighbor.Chunk < 0)
                {
                    Screen.Item($"", $"given passage: {passage}");
                    continue;
                }

                Screen.Item($"{neighbor.Score:0.00}", $"{name}, chunk {neighbor.ChunkInDocument + 1}: {passage}");
            }
        }

        WriteJson(parsed, new JsonObject
        {
            ["prompt"] = prompt,
            ["text"] = text.ToString(),
            ["end"] = end?.ToString(),
            ["read"] = new JsonArray([.. read.Select(retrieved => new JsonObject
            {
                ["part"] = retrieved.Chunk + 1,
                ["neighbors"] = new JsonArray([.. retrieved.Neighbors.Select(ReadingOptions.Json)]),
            })]),
        });
    }

    protected override IEnumerable<string> Remembered(ParseResult parsed, Workspace workspace) => OfModel(parsed, workspace);
}
