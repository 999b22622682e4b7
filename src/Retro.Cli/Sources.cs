using System.Globalization;
using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Cli.Workflow;
using static TorchSharp.torch;

namespace Retro.Cli;

/// <summary>The database that a command line names, with its tokenizer, and the sources of neighbors over it.</summary>
internal sealed class Sources : IDisposable
{
    /// <summary>The database's files of dense keys and of the words' index.</summary>
    private const string KeyFile = "keys.bin", WordFile = "bm25.bin";

    /// <summary>Tokens of a database whose runs are sorted unasked, at most: three gigabytes while that is done.</summary>
    public const long MostSorted = 100_000_000;

    /// <summary>Why an embedder does nothing beside another source than <see cref="NeedsKeys"/> says.</summary>
    public const string NoKeys = "the source needs no keys";

    private readonly string? _embedderFolder;
    private readonly int _threads;
    private readonly Device? _device;
    private readonly CancellationToken _cancellationToken;
    private readonly Lock _lock = new();
    private TextEmbedder? _embedder;
    private KeywordNeighborSource? _keyword;
    private DenseNeighborSource? _dense;
    private TokenIndex? _runs;

    /// <summary>Opens the database.</summary>
    /// <param name="database">The folder that was named.</param>
    /// <param name="tokenizer">The tokenizer that was named; null: the one beside the database.</param>
    /// <param name="embedder">The embedder that was named; null: the one beside the database.</param>
    /// <param name="threads">Threads that search; 0: one for each processor.</param>
    /// <param name="device">Where the embedder computes; null: on the processor.</param>
    /// <param name="cancellationToken">Ends what is built.</param>
    /// <exception cref="RetroException">A part is missing, damaged, or does not belong to the others.</exception>
    public Sources(string database, string? tokenizer, string? embedder, int threads, Device? device, CancellationToken cancellationToken)
    {
        Workspace = Workspace.OfDatabase(database);
        _embedderFolder = embedder;
        _threads = threads;
        _device = device;
        _cancellationToken = cancellationToken;
        string folder = tokenizer is null ? Workspace.Tokenizer : Workspace.TokenizerOf(tokenizer);
        Tokenizer = Directory.Exists(folder) || File.Exists(folder)
            ? RetroTokenizer.Load(folder, cancellationToken: cancellationToken)
            : throw new RetroException($"There is no tokenizer in {folder}; name the one that the database was made with (--tokenizer).");
        Database = ChunkDatabase.Open(Workspace.Database, cancellationToken: cancellationToken);
        try
        {
            Database.RequireTokenizer(Tokenizer);
        }
        catch
        {
            Database.Dispose();
            throw;
        }
    }

    /// <summary>The folder that the database lies in.</summary>
    public Workspace Workspace { get; }

    /// <summary>The database.</summary>
    public ChunkDatabase Database { get; }

    /// <summary>Its tokenizer.</summary>
    public RetroTokenizer Tokenizer { get; }

    /// <summary>What nearly repeats a held-out document, as the database was built.</summary>
    public HeldOutOptions Alike => CommonOptions.Alike(Kept("build", "held-out-similarity"));

    /// <summary>Share of the nearest that a vector index has to find; null: as it was last said to `retro neighbors`, or the default.</summary>
    public double? Recall { get; init; }

    /// <summary>Gigabytes that a vector index should not take more than; null: as it was last said to `retro neighbors`, or the default.</summary>
    public double? IndexGigabytes { get; init; }

    /// <summary>The held-out documents beside the database.</summary>
    /// <returns>The database, which is the caller's; null: there are none.</returns>
    /// <exception cref="RetroException">They cannot be read, or were made with another tokenizer.</exception>
    public ChunkDatabase? HeldOut()
    {
        if (!Workspace.HasHeldOut)
        {
            return null;
        }

        ChunkDatabase heldOut = ChunkDatabase.Open(Workspace.HeldOut, cancellationToken: _cancellationToken);
        try
        {
            heldOut.RequireTokenizer(Tokenizer);
            return heldOut;
        }
        catch
        {
            heldOut.Dispose();
            throw;
        }
    }

    /// <summary>Opens a source, and builds the indexes that it needs and that are not there yet.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="seed">Of random neighbors.</param>
    /// <param name="mends">
    /// Whether all keys that are there are compared with their checksums now, and made again where they are damaged; otherwise each block is compared when it
    /// is first read, and a damaged one ends the search.
    /// </param>
    /// <returns>The source, which is closed with the database.</returns>
    /// <exception cref="RetroException">It needs an embedder, and none is there.</exception>
    public INeighborSource Open(string name, long seed, bool mends = false) => name switch
    {
        "bm25" => Keyword(),
        "dense" => Dense(mends),
        "hybrid" => new HybridNeighborSource(Keyword(), Dense(mends)),
        "rerank" => new RerankedNeighborSource(Dense(mends), Keyword()),
        "random" => new RandomNeighborSource(Database, seed),
        "none" => new NoNeighborSource(),
        _ => throw new UsageException($"There is no source '{name}'."),
    };

    /// <summary>Makes a share of what a source needs: of its words' index, of its keys, or of both.</summary>
    /// <exception cref="UsageException">It needs nothing.</exception>
    /// <exception cref="RetroException">There is no embedder, or another process makes the same share.</exception>
    public void Prepare(string name, WorkShare share)
    {
        if (name == "random")
        {
            throw new UsageException($"{name} needs nothing to be prepared.");
        }

        if (name is "bm25" or "hybrid" or "rerank")
        {
            Stages.Run("index words", progress => KeywordNeighborSource.BuildShare(Database, share, Words, progress, _cancellationToken));
        }

        if (NeedsKeys(name))
        {
            ChunkKeyer keyer = Keyer();
            Stages.Run("embed chunks", progress => DenseNeighborSource.BuildShare(Database, keyer, share, progress, _cancellationToken));
        }
    }

    /// <summary>
    /// What makes of a part that comes to the database, before anybody sees it, what the database has: the index of its words, and keys with theirs, where the
    /// embedder is there that made those of the database; null: it has neither.
    /// </summary>
    public Action<ChunkDatabase, IProgress<StageProgress>>? Preparation()
    {
        bool words = FilesOf(WordFile).Any();
        ChunkKeyer? keyer = null;
        if (FilesOf(KeyFile).Any() && HasEmbedder)
        {
            CommonOptions.Compute("cpu", 0);
            keyer = Keyer();
        }

        if (FilesOf(KeyFile).Any(file => KeyerOf(file) != keyer?.Identity))
        {
            keyer = null;
            Screen.Note(
                $"Keys are made when neighbors are next asked for: in {EmbedderFolder} is no embedder that made those of the database (--embedder).");
        }

        DenseNeighborOptions keys = Keys;
        return !words && keyer is null ? null : (part, progress) =>
        {
            if (words)
            {
                KeywordNeighborSource.Build(part, Words, progress, _cancellationToken).Dispose();
            }

            if (keyer is not null)
            {
                DenseNeighborSource.Build(part, keyer, keys, progress, _cancellationToken).Dispose();
            }
        };
    }

    /// <summary>
    /// Neighbors of a table, in which every verb looks for those that a model reads: more of them, so that enough remain where those of a window's documents
    /// are dropped.
    /// </summary>
    /// <param name="read">Neighbors of a chunk that a model reads.</param>
    public static int TableNeighbors(int read) => Math.Max(NeighborTable.UsualCount, 2 * read);

    /// <summary>How many chunks of a table have as many neighbors as it keeps, and how many have none.</summary>
    /// <param name="table">The table.</param>
    public static (long WithAll, long WithNone) Count(NeighborTable table)
    {
        long all = 0, none = 0;
        for (long chunk = 0; chunk < table.Rows; chunk++)
        {
            ReadOnlySpan<long> row = table.Row(chunk);
            all += row[^1] >= 0 ? 1 : 0;
            none += row[0] < 0 ? 1 : 0;
        }

        return (all, none);
    }

    /// <summary>Whether a database is small enough for its runs to be sorted unasked.</summary>
    public static bool CanSort(ChunkDatabase database) => database.Manifest.TokenCount <= MostSorted;

    /// <summary>Where runs of tokens stand in the database, which is sorted once.</summary>
    public TokenIndex Runs()
    {
        lock (_lock)
        {
            return _runs ??= Stages.Run("sort runs of tokens", progress => TokenIndex.Build(Database, progress, _cancellationToken));
        }
    }

    /// <summary>Whether a source, by its name, finds by keys.</summary>
    public static bool NeedsKeys(string? name) => name is "dense" or "hybrid" or "rerank";

    /// <summary>Whether there is an embedder.</summary>
    public bool HasEmbedder => IsEmbedder(EmbedderFolder);

    /// <summary>
    /// Whether a folder holds an embedder, by the files that one begins to be read with: the encoder of sentence-transformers may lie in a folder below it. One
    /// whose writing was stopped is a folder too, and holds none.
    /// </summary>
    public static bool IsEmbedder(string folder)
        => new[] { Checkpoint.ConfigName, "modules.json" }.Any(name => File.Exists(Path.Combine(folder, name)));

    /// <summary>The folder of the embedder; it need not be there.</summary>
    public string EmbedderFolder => _embedderFolder ?? Workspace.Embedder;

    /// <summary>The embedder, which is loaded once and closed with the database.</summary>
    /// <exception cref="RetroException">It is not there, or damaged.</exception>
    public TextEmbedder Embedder()
    {
        lock (_lock)
        {
            if (_embedder is null)
            {
                _embedder = HasEmbedder
                    ? Stages.Run("load the embedder", progress => TextEmbedder.Load(EmbedderFolder, _device, progress, _cancellationToken))
                    : throw new RetroException(
                        $"There is no embedder in {EmbedderFolder}; name the folder of a model of BERT's kind or of sentence-transformers (--embedder), or "
                            + "train one: "
                            + $"{Tool.Name} embed-train {Shell.Option("--database", Workspace.Folder)} {Shell.Option("--out", Workspace.Folder)}");
                if (PromptsOf(_embedder) is { } prompts)
                {
                    Screen.Note($"{prompts}");
                }
            }

            return _embedder;
        }
    }

    /// <summary>Says which prompt an embedder is used with, and which without; null: it was made for none.</summary>
    public static string? PromptsOf(TextEmbedder embedder)
    {
        string[] others = [.. embedder.Prompts.Values.Where(prompt => prompt != embedder.Prompt).Select(prompt => $"\"{prompt}\"")];
        string without = others.Length == 0 ? "" : $", and without {string.Join(" and ", others)}";
        return embedder.Prompt.Length > 0 ? $"Chunks and what is looked up are embedded alike, behind \"{embedder.Prompt}\"{without}."
            : others.Length > 0 ? $"Chunks and what is looked up are embedded alike{without}, for which the embedder was made too."
            : null;
    }

    /// <summary>The sources that can rank without anything being built: those that were opened, and what else has its index.</summary>
    public IReadOnlyList<INeighborSource> Ready()
    {
        lock (_lock)
        {
            _dense ??= HasEmbedder ? MadeDense(null) : null;
            return [.. new INeighborSource?[] { _keyword, _dense }.OfType<INeighborSource>()];
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Database.Dispose();
        _embedder?.Dispose();
    }

    private KeywordNeighborSource Keyword()
    {
        lock (_lock)
        {
            return _keyword ??= Stages.Make(
                "index words", progress => KeywordNeighborSource.Build(Database, Words, progress, _cancellationToken), _cancellationToken);
        }
    }

    private KeywordNeighborOptions Words => new() { Threads = _threads };

    /// <summary>How the keys are indexed and searched.</summary>
    public DenseNeighborOptions Keys
    {
        get
        {
            DenseNeighborOptions byDefault = new() { Threads = _threads };
            double? gigabytes = IndexGigabytes ?? Kept("neighbors", "index-memory");
            return byDefault with
            {
                Recall = Recall ?? Kept("neighbors", "recall") ?? byDefault.Recall,
                IndexMemory = gigabytes is null ? byDefault.IndexMemory : (long)(gigabytes * 1e9),
            };
        }
    }

    /// <summary>A number that was typed for a verb of this folder; null: none was.</summary>
    private double? Kept(string verb, string option)
        => double.TryParse(Workspace.Section(verb)?[option]?.ToString(), CultureInfo.InvariantCulture, out double number) ? number : null;

    private DenseNeighborSource Dense(bool mends)
    {
        lock (_lock)
        {
            if (_dense is null)
            {
                ChunkKeyer keyer = Keyer();

                // Of several indexes building measures whether they find enough together.
                bool opens = !mends && Database.SegmentCount == 1;
                _dense = Stages.Make(
                    "embed chunks",
                    progress => (opens ? MadeDense(progress) : null) ?? DenseNeighborSource.Build(Database, keyer, Keys, progress, _cancellationToken),
                    _cancellationToken);
            }

            return _dense;
        }
    }

    /// <summary>What makes keys with the embedder: divided by their lengths where those that are there are, which the library made so.</summary>
    private ChunkKeyer Keyer()
    {
        ChunkKeyer normalizing = new(Tokenizer, Embedder(), normalize: true);
        bool isMade = FilesOf(KeyFile).Any(file => KeyerOf(file) == normalizing.Identity);
        return isMade ? normalizing : new(Tokenizer, Embedder());
    }

    private static string? KeyerOf(DatabaseFile keys) => keys.Details.GetValueOrDefault("keyer");

    /// <summary>The files of a stage, of all segments of the database.</summary>
    private IEnumerable<DatabaseFile> FilesOf(string stage) => Database.Files.Where(file => Path.GetFileName(file.Name) == stage);

    /// <summary>The dense source as it is there; null where it was not made, or with another embedder, or is not whole.</summary>
    private DenseNeighborSource? MadeDense(IProgress<StageProgress>? progress)
    {
        if (!FilesOf(KeyFile).Any())
        {
            return null;
        }

        try
        {
            return DenseNeighborSource.Open(Database, Keyer(), Keys, progress, _cancellationToken);
        }
        catch (RetroException)
        {
            return null;
        }
    }
}
