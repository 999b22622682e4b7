using System.CommandLine;
using System.CommandLine.Parsing;
using System.Net;
using Retro.Cli.Serving;
using Retro.Cli.Workflow;
using Retro.Generation;

namespace Retro.Cli.Commands;

/// <summary>`retro serve`: a model behind a web server.</summary>
internal sealed class ServeCommand : Verb
{
    /// <summary>Texts that are written at once where each is computed by itself.</summary>
    private const int SideBySide = 2;

    /// <summary>The variable of the environment that holds the key where none is typed.</summary>
    private const string KeyVariable = "RETRO_API_KEY";

    private readonly ReadingOptions _reading = new(tokens: 64, temperature: 0);
    private readonly Option<string> _address = new("--address")
    {
        Description = "Where to listen: 127.0.0.1, which this machine alone can reach; another address needs --api-key or --api-keys.",
        HelpName = "ADDRESS",
        DefaultValueFactory = _ => "127.0.0.1",
    };

    private readonly Option<int> _port = CommonOptions.Whole("--port", "Port to listen at; 0: any that is free.", 5110, 0, 65535);
    private readonly Option<string?> _key = new("--api-key")
    {
        Description = "What requests have to bring, as Authorization: Bearer KEY. Default: the environment's " + KeyVariable + ", else nothing.",
        HelpName = "KEY",
    };

    private readonly PathOption _keys = new("--api-keys", "FILE")
    {
        Description = "Keys of several people, each with the labels that they may see: JSON lines {\"key\": \"...\", \"labels\": [\"...\"]}. "
            + "--labels is for who brings --api-key, or none.",
    };

    private readonly Option<string[]> _origins = new("--origin")
    {
        Description = "Lets scripts of pages from there ask, such as https://app.example; may be given several times. *: from anywhere, which needs --api-key "
            + "or --api-keys. Default: the server's own page alone.",
        HelpName = "ORIGIN",
    };

    private readonly Option<string?> _name = new("--name") { Description = "What the model is called. Default: its folder's name.", HelpName = "NAME" };
    private readonly Option<int?> _running = CommonOptions.WholeOrNone(
        "--running",
        "Texts that are written at once; others wait, also those of one request. Default: 8, which are one batch; 2 where a model that copies or was fitted to "
            + "answer, or --beams, writes them side by side.",
        1,
        1024);

    private readonly Option<int> _waiting = CommonOptions.Whole("--waiting", "Requests that may wait; others are told to come again.", 256, 0, 1 << 20);
    private readonly Option<int> _mostTokens = CommonOptions.Whole("--most-tokens", "Tokens that a request may ask for.", 1024, 1, 1 << 20);
    private readonly Option<int> _mostPrompt = CommonOptions.Whole(
        "--most-prompt", "Tokens that a prompt may have, passages included; those that there is no room for are left out, the last first.", 4096, 1, 1 << 20);

    private readonly Option<int> _prefixes = CommonOptions.Whole(
        "--prefix-cache",
        "Megabytes of memory for what the model has read of texts that have ended: one that begins alike, as the next turn of a conversation does, goes on "
            + "from there. How soon an answer comes shows whether somebody has begun alike. 0: each is read whole.",
        512,
        0,
        1 << 20);

    private readonly Option<int> _mostKilobytes = CommonOptions.Whole("--most-kilobytes", "Kilobytes that a request may have.", 1024, 1, 1 << 20);
    private readonly Option<int> _inPrompt = CommonOptions.Whole(
        "--in-prompt", "Passages found with the question that stand before it in the prompt, at most.", 1, 0, 16);

    public ServeCommand()
        : base(
            "serve",
            "Serves a model on this machine: a page to ask and write with, which shows what was read, and /v1/chat/completions, /v1/completions and "
                + "/v1/embeddings for the clients of OpenAI's interface. A model that was fitted to answer questions (fit --task qa) is asked as by the "
                + "command ask, by the last message of the user's alone, whatever chat template it has. Ctrl-C ends it.",
            "retro serve --model work",
            "retro serve --model work --address 0.0.0.0 --port 8080 --api-key SECRET",
            "retro serve --model work --api-keys people.jsonl")
    {
        _reading.RandomSeed.Description =
            "Seed of every random choice, that of texts among them whose request names none. Where it is not said, each of these has its own.";
        AddOptions(
        [
            .. _reading.Options, _address, _port, _key, _keys, _origins, _name, _running, _waiting, _mostTokens, _mostPrompt, _prefixes, _mostKilobytes,
            _inPrompt,
        ]);
        _origins.Validators.Add(result =>
        {
            foreach (string said in result.Tokens.Select(token => token.Value).Where(one => Origins.Parse(one) is null))
            {
                result.AddError(
                    $"{_origins.Name} takes where a page comes from as browsers say it, such as https://app.example or http://localhost:3000, or *, "
                        + $"not '{said}'.");
            }
        });
        _name.Validators.Add(result =>
        {
            if (result.Tokens.Any(token => string.IsNullOrWhiteSpace(token.Value)))
            {
                result.AddError($"{_name.Name} takes what the model is called, and not an empty text.");
            }
        });
        Validators.Add(result =>
        {
            // An empty one would leave the server open, and no request can bring one with white space.
            if (Key(result.GetValue(_key)) is { } key && !Serving.Access.IsKey(key))
            {
                result.AddError(
                    $"{(result.GetValue(_key) is null ? KeyVariable : _key.Name)} takes a key of {Serving.Access.WhatAKeyIs}; leave it out to ask for none.");
            }
        });
        Validators.Add(result =>
        {
            if (result.GetValue(_origins)?.Contains(Origins.Any) == true && !HasKeys(result))
            {
                result.AddError(
                    $"{_origins.Name} {Origins.Any} lets every page that is open on this machine ask; say what requests have to bring ({_key.Name} or "
                        + $"{_keys.Name}), or where the pages come from.");
            }
        });
        Validators.Add(result =>
        {
            if (result.GetResult(_address) is not { Implicit: false } || result.GetValue(_address) is not { } said)
            {
                return; // the default, which needs nothing
            }

            if (!IPAddress.TryParse(said, out IPAddress? address))
            {
                result.AddError($"{_address.Name} takes an address in numbers, such as 127.0.0.1, not '{said}'.");
            }
            else if (!IPAddress.IsLoopback(address) && !HasKeys(result))
            {
                result.AddError($"{_address.Name} {said} can be reached from elsewhere; say what requests have to bring ({_key.Name} or {_keys.Name}).");
            }
        });
    }

    protected override PathOption Home => _reading.Model;

    protected override bool HasResults => false;

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said) => _reading.Idle(said, isServed: true, _inPrompt);

    public override string Stopping => "Stopping; what is being written is cut off after 5 seconds. Ctrl-C once more stops at once.";

    /// <summary>A service has no other end, and whoever looks after it takes any other number for a failure.</summary>
    public override int Stopped => ExitCodes.Done;

    public override string HowToGoOn(ParseResult parsed) => "Nobody is served any more.";

    public override async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        using ReadingOptions.Opened opened = _reading.Open(parsed, needsDatabase: false, _inPrompt, given: null, cancellationToken);
        using Answerer? answerer = Answerer.Open(
            parsed.GetValue(_reading.Model)!, opened, parsed.GetValue(_reading.K), parsed.GetValue(_running) ?? SideBySide, cancellationToken);
        if (answerer is not null && IsTyped(_inPrompt))
        {
            throw new UsageException($"{_inPrompt.Name} does nothing here: {Answerer.Fitted}, and reads as many passages as it was fitted with; leave it out.");
        }

        string folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(parsed.GetValue(_reading.Model)!));
        GenerationOptions defaults = _reading.Generation(parsed);
        ServingOptions options = new(
            IPAddress.Parse(parsed.GetValue(_address)!),
            parsed.GetValue(_port),
            Access(Key(parsed.GetValue(_key)), defaults.Labels, parsed.GetValue(_keys)),
            parsed.GetValue(_name) ?? Path.GetFileName(folder),
            parsed.GetValue(_running) ?? (opened.Copying is null && answerer is null && defaults.Beams == 1 ? 8 : SideBySide),
            parsed.GetValue(_waiting),
            parsed.GetValue(_mostTokens),
            parsed.GetValue(_mostPrompt),
            1024L * parsed.GetValue(_mostKilobytes),
            parsed.GetValue(_inPrompt))
        {
            PrefixBytes = (long)parsed.GetValue(_prefixes) << 20,
            Origins = new((parsed.GetValue(_origins) ?? []).Select(said => Origins.Parse(said)!)),
            Template = ChatTemplate.Load(Workspace.OfModel(folder).Model),
            Seed = IsTyped(_reading.RandomSeed) ? _reading.Seed(parsed) : null,
        };
        await using Server server = new(opened, answerer, defaults, options);
        opened.Sources?.Ready(); // what requests ask for is open before they come, and nothing is drawn while they are answered
        Stages.Quiet = true;
        await server.StartAsync(cancellationToken).ConfigureAwait(false);
        Screen.Line($"{options.Name} is served at {server.Url} (Ctrl-C ends it)");
        await Task.Delay(Timeout.Infinite, cancellationToken).ConfigureAwait(false);
    }

    private static Access? Access(string? key, IReadOnlyList<string>? labels, string? path)
    {
        if (key is null && path is null)
        {
            return null;
        }

        Access access = path is null ? new() : Serving.Access.Read(path);
        return key is null || access.Add(key, labels)
            ? access
            : throw new UsageException("--api-key is in --api-keys too, and it has to be clear what it may see; leave it out of one of the two.");
    }

    private bool HasKeys(CommandResult result) => Key(result.GetValue(_key)) is not null || result.GetValue(_keys) is not null;

    private static string? Key(string? said) => said ?? Environment.GetEnvironmentVariable(KeyVariable);

    protected override IEnumerable<string> Remembered(ParseResult parsed, Workspace workspace) => OfModel(parsed, workspace);
}
