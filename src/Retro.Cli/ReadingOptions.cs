using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Retro.Cli.Reports;
using Retro.Generation;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Cli.Workflow;
using static TorchSharp.torch;

namespace Retro.Cli;

/// <summary>What generate and ask have in common: a model, its tokenizer, what it reads from, and how it writes.</summary>
internal sealed class ReadingOptions
{
    private readonly Option<double> _temperature;
    private readonly Option<int> _topK = CommonOptions.Whole("--top-k", "Draw from so many of the most probable tokens; 0: from all.", 0, 0, int.MaxValue);
    private readonly Option<double> _topP = CommonOptions.Number(
        "--top-p", "Draw from the fewest most probable tokens that reach this probability together.", 0.95, 0.001, 1);

    private readonly Option<double> _minP = CommonOptions.Number(
        "--min-p", "Draw only from tokens that are at least so many times as probable as the best one.", 0, 0, 1);

    private readonly Option<double> _penalty = CommonOptions.Number(
        "--repetition-penalty", "Above 1: makes tokens that the text holds already less probable.", 1, 0.1, 10);

    private readonly Option<double> _frequency = CommonOptions.Number(
        "--frequency-penalty", "Above 0: makes tokens less probable, the more so the oftener they were written.", 0, -2, 2);

    private readonly Option<double> _presence = CommonOptions.Number(
        "--presence-penalty", "Above 0: makes tokens that were written less probable, however often they were.", 0, -2, 2);

    private readonly Option<int> _beams = CommonOptions.Whole(
        "--beams", "Follow so many texts at once and take the best; above 1 nothing is drawn.", 1, 1, 1024);

    private readonly Option<string[]> _stop = new("--stop") { Description = "End before this text; may be given several times.", HelpName = "TEXT" };
    private readonly Option<string[]> _ban = new("--ban") { Description = "Never write this text; may be given several times.", HelpName = "TEXT" };
    private readonly Option<string[]> _exclude = new("--exclude")
    {
        Description = "Id of a document that is not read from; may be given several times.",
        HelpName = "ID",
    };

    private readonly Option<string[]> _labels = CommonOptions.Labels();
    private readonly Option<int> _tokens;
    private readonly PathOption _database = CommonOptions.Database(required: false);
    private readonly PathOption _tokenizer = CommonOptions.Tokenizer();
    private readonly PathOption _embedder = CommonOptions.Embedder();
    private readonly Option<int> _threads = CommonOptions.Threads();
    private readonly Option<string> _device = CommonOptions.Device();
    private readonly Option<string?> _dtype = CommonOptions.Dtype();

    /// <summary>Creates the options.</summary>
    /// <param name="tokens">Tokens written at most, where nothing is said.</param>
    /// <param name="temperature">The temperature, where nothing is said.</param>
    public ReadingOptions(int tokens, double temperature)
    {
        _tokens = CommonOptions.Whole("--tokens", "Tokens written at most.", tokens, 1, 1 << 20);
        _temperature = CommonOptions.Number(
            "--temperature", "Below 1: favors likely tokens; above 1: unlikely ones; 0: always the most probable token.", temperature, 0, 100);
    }

    /// <summary>The model.</summary>
    public PathOption Model { get; } = CommonOptions.Model();

    /// <summary>Where neighbors come from.</summary>
    public Option<string> Source { get; } = CommonOptions.Source(byDefault: null, none: "nothing is read");

    /// <summary>Neighbors read at once.</summary>
    public Option<int?> K { get; } = CommonOptions.WholeOrNone("--k", "Neighbors read at once. Default: as many as the model was trained with.", 1, 1024);

    /// <summary>Seed of every random choice.</summary>
    public Option<long> RandomSeed { get; } = CommonOptions.Seed();

    /// <summary>All options, in the order of the help.</summary>
    public Option[] Options =>
    [
        Model, _database, Source, K, _embedder, _tokenizer, _tokens, _temperature, _topK, _topP, _minP, _penalty, _frequency, _presence, _beams, _stop, _ban,
        _exclude, _labels, RandomSeed, _threads, _device, _dtype,
    ];

    /// <summary>What does nothing beside what else is said, with why.</summary>
    /// <param name="said">What an option is given.</param>
    /// <param name="isServed">Whether requests may say how text is drawn, and ask for keys.</param>
    /// <param name="reading">Options of the verb's own that say what is read.</param>
    public IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said, bool isServed, params Option[] reading)
    {
        string source = said(Source) ?? "bm25";
        if (source == "none")
        {
            foreach (Option option in (Option[])[K, _exclude, _labels, _embedder, .. reading])
            {
                yield return (option, "nothing is read");
            }
        }
        else if (!isServed && !Sources.NeedsKeys(source))
        {
            yield return (_embedder, Sources.NoKeys);
        }

        if (!isServed && (Number(_temperature) == 0 || Number(_beams) > 1))
        {
            foreach (Option option in source == "random" ? (Option[])[_topK, _topP, _minP] : [_topK, _topP, _minP, RandomSeed])
            {
                yield return (option, $"nothing is drawn with {_temperature.Name} 0 or several {_beams.Name}");
            }
        }

        // What is no number is told by the parser.
        double Number(Option option) => double.TryParse(said(option), CultureInfo.InvariantCulture, out double number) ? number : double.NaN;
    }

    /// <summary>Seed of every random choice.</summary>
    public long Seed(ParseResult parsed) => parsed.GetValue(RandomSeed);

    /// <summary>How the text is written.</summary>
    public GenerationOptions Generation(ParseResult parsed, params string[] stop) => new()
    {
        MaximumNewTokens = parsed.GetValue(_tokens),
        Temperature = parsed.GetValue(_beams) > 1 && parsed.GetResult(_temperature) is not { Implicit: false } ? 0 : parsed.GetValue(_temperature),
        TopK = parsed.GetValue(_topK),
        TopP = parsed.GetValue(_topP),
        MinP = parsed.GetValue(_minP),
        RepetitionPenalty = parsed.GetValue(_penalty),
        FrequencyPenalty = parsed.GetValue(_frequency),
        PresencePenalty = parsed.GetValue(_presence),
        Beams = parsed.GetValue(_beams),
        Stop = [.. stop, .. parsed.GetValue(_stop) ?? []],
        BannedStrings = parsed.GetValue(_ban) ?? [],
        ExcludedDocuments = parsed.GetValue(_exclude) ?? [],
        Labels = CommonOptions.Seen(parsed, _labels),
        Neighbors = parsed.GetValue(K),
        Retrieval = parsed.GetValue(Source) != "none",
        Seed = Seed(parsed),
    };

    /// <summary>Loads the model and opens what it reads from.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="needsDatabase">Whether it makes no sense without a database.</param>
    /// <param name="inPrompt">
    /// The verb's option that says how many passages are found for the prompt, which any model can read; null: it finds none, and what a model does not find
    /// while it writes is not read.
    /// </param>
    /// <param name="given">The verb's option that gives what is read while it is written, so that a RETRO needs no database; null: it has none.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="whileWriting">Other options of the verb's own that say what is read while it is written.</param>
    /// <returns>All of it; dispose it.</returns>
    public Opened Open(
        ParseResult parsed, bool needsDatabase, Option? inPrompt, Option? given, CancellationToken cancellationToken, params Option[] whileWriting)
    {
        string path = parsed.GetValue(Model)!;
        Workspace workspace = Workspace.OfModel(path);
        Device? device = CommonOptions.Compute(parsed.GetValue(_device)!, parsed.GetValue(_threads));
        string? database = parsed.GetValue(_database);
        bool reads = parsed.GetValue(Source) != "none" || needsDatabase;
        if (reads && database is null && needsDatabase)
        {
            throw new UsageException($"Which database the model reads from is in no retro.json; name it with {_database.Name}.");
        }

        Sources? sources = reads && database is not null
            ? new(database, parsed.GetValue(_tokenizer), parsed.GetValue(_embedder), parsed.GetValue(_threads), device, cancellationToken)
            : null;
        TrainedModel? trained = null;
        try
        {
            if (sources is not null && parsed.GetValue(_exclude) is { Length: > 0 } excluded)
            {
                if (Array.Find(excluded, id => sources.Database.FindDocument(id) is null) is { } unknown)
                {
                    throw new RetroException(
                        $"{_exclude.Name}: {sources.Database.Folder} has no document with the id '{unknown}', and nothing would be kept out; "
                            + $"{Tool.Name} inspect lists the ids.");
                }
            }

            RetroTokenizer tokenizer = sources?.Tokenizer
                ?? RetroTokenizer.Load(
                    parsed.GetValue(_tokenizer) is { } named ? Workspace.TokenizerOf(named) : workspace.Model, cancellationToken: cancellationToken);
            (trained, tokenizer) = ModelFolder.Load(path, CommonOptions.Type(parsed.GetValue(_dtype), device), device, tokenizer, cancellationToken);
            const string NotWhileWriting = "the model reads nothing while it writes";
            bool copies = ModelFolder.Copies(path), readsWhileWriting = trained.Model.Config.HasRetrieval || copies, isGiven = IsTyped(parsed, given);
            bool finds = readsWhileWriting || inPrompt is not null;
            Option[] finding = inPrompt is null ? [_exclude, _labels] : [_exclude, _labels, inPrompt];
            RequireRead(parsed, readsWhileWriting, NotWhileWriting, [K, given, .. whileWriting]);
            RequireRead(parsed, finds, NotWhileWriting, finding);
            RequireRead(parsed, sources is not null || !reads, $"which database is read from is in no retro.json, and {_database.Name} names none", finding);
            if (!finds && (parsed.GetValue(Source) ?? "none") != "none")
            {
                Screen.Note($"It reads nothing, whatever {Source.Name} says: the model is a decoder alone.");
            }

            if (copies && isGiven && sources is null)
            {
                throw new UsageException(
                    $"{given!.Name}: what copies needs the database that it was fitted with, which is in no retro.json; name it with {_database.Name}.");
            }

            if (reads && sources is null && finds && !isGiven)
            {
                Screen.Note($"It reads nothing: which database it reads from is in no retro.json; {_database.Name} names one.");
            }

            INeighborSource? source = finds ? sources?.Open(parsed.GetValue(Source) ?? "bm25", Seed(parsed)) : null;
            return new(trained, sources is null ? null : ModelFolder.Copying(path, trained, sources), tokenizer, sources, source);
        }
        catch
        {
            trained?.Model.Dispose();
            sources?.Dispose();
            throw;
        }
    }

    /// <summary>Refuses what says how is read where, as it turns out, nothing is.</summary>
    private static void RequireRead(ParseResult parsed, bool isRead, string why, params Option?[] reading)
    {
        if (!isRead && Array.Find(reading, option => IsTyped(parsed, option)) is { } idle)
        {
            throw new UsageException($"{idle.Name} does nothing here: {why}; leave it out.");
        }
    }

    private static bool IsTyped(ParseResult parsed, Option? option) => option is not null && parsed.GetResult(option) is { Implicit: false };

    /// <summary>A model with what it reads from.</summary>
    /// <param name="Trained">The model.</param>
    /// <param name="Copying">What copies on top of it; null: nothing does.</param>
    /// <param name="Tokenizer">The tokenizer that the model writes with.</param>
    /// <param name="Sources">The database; null: none is read.</param>
    /// <param name="Source">Finds neighbors in it; null: none are read.</param>
    public sealed record Opened(TrainedModel Trained, CopyReader? Copying, RetroTokenizer Tokenizer, Sources? Sources, INeighborSource? Source) : IDisposable
    {
        private readonly Lazy<ExcludedDocuments> _excluded = new(() => new(Sources!.Database));

        /// <summary>Writes with the model.</summary>
        /// <param name="bestInPrompt">Whether the best neighbor stands in front of the text, which a RETRO alone can have.</param>
        /// <param name="running">
        /// Texts of one call that are computed at once, and with those of others as one batch, where the model can; null: each call computes by itself.
        /// </param>
        /// <param name="prefixes">Remembers texts that have ended, where the model alone writes; null: nothing does.</param>
        public RetroGenerator Generator(bool bestInPrompt = false, int? running = null, PrefixCache? prefixes = null)
        {
            IReader? reader = bestInPrompt ? InContext() : Source?.Database is null ? null : Copying;
            return reader is not null
                ? new(reader, Tokenizer, Source)
                : new(Trained.Model, Tokenizer, Trained.Model.Config.HasRetrieval && Source is not NoNeighborSource ? Source : null)
                {
                    BatchesCalls = running is not null,
                    TextsAtOnce = running,
                    Prefixes = prefixes,
                };
        }

        private RetroInContextReader InContext()
        {
            if (Trained.Model.Config.Retrieval is not { } retrieval || Source?.Database is null)
            {
                throw new UsageException("--best-in-prompt needs a RETRO that reads from a database.");
            }

            int room = retrieval.RetrievedLength + 8;
            InContextOptions options = new() { Neighbors = Math.Max(2, retrieval.Neighbors), PrefixLength = room, WindowLength = Math.Max(512, 4 * room) };
            return new(Trained.Model, Tokenizer, options);
        }

        /// <summary>A text that is asked with, in the form of the database's own.</summary>
        public string AsCleaned(string text) => Sources?.Database.AsCleaned(text) ?? text;

        /// <summary>The numbers of documents that nothing is read of, and of their copies.</summary>
        /// <param name="ids">Their ids.</param>
        public int[] Excluded(IReadOnlyList<string> ids) => ids.Count == 0 || Sources is null ? [] : _excluded.Value.Of(ids);

        /// <summary>Shows texts as the model reads them; null: it reads nothing.</summary>
        /// <param name="settings">How it reads while it writes: how many neighbors, of which labels.</param>
        public Inspection? Inspection(GenerationOptions settings)
        {
            IReader? reader = Copying is not null ? Copying : Trained.Model.Config.HasRetrieval ? new RetroReader(Trained.Model) : null;
            return reader is null || Source?.Database is not { } database
                ? null
                : new(database, Tokenizer, reader, Source, Sources!.Ready(), settings.Labels, settings.Neighbors);
        }

        /// <inheritdoc/>
        public void Dispose()
        {
            Copying?.Dispose();
            Trained.Model.Dispose();
            Sources?.Dispose();
        }
    }

    /// <summary>A neighbor for programs.</summary>
    public static JsonObject Json(RetrievedNeighbor neighbor) => new()
    {
        ["document"] = neighbor.DocumentId,
        ["title"] = neighbor.Title,
        ["location"] = neighbor.Location,
        ["chunk"] = neighbor.Chunk,
        ["chunkInDocument"] = neighbor.ChunkInDocument,
        ["score"] = neighbor.Score,
        ["text"] = neighbor.Text,
    };
}
