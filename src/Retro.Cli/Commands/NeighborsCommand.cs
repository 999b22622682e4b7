using System.CommandLine;
using System.Text.Json.Nodes;
using Retro.Database;
using Retro.Search;
using Retro.Cli.Workflow;

namespace Retro.Cli.Commands;

/// <summary>`retro neighbors`: the neighbors of every chunk, on disk.</summary>
internal sealed class NeighborsCommand : Verb
{
    private readonly PathOption _database = CommonOptions.Database(required: true);
    private readonly PathOption _tokenizer = CommonOptions.Tokenizer();
    private readonly PathOption _embedder = CommonOptions.Embedder();
    private readonly Option<string> _source = CommonOptions.Source("bm25");
    private readonly Option<int> _k = CommonOptions.Whole(
        "--k",
        "Neighbors kept for each chunk: more than a model reads, so that enough remain where those of a window's documents are dropped. train, fit and eval "
            + "look for twice as many as the model reads, at least the default.",
        NeighborTable.UsualCount,
        1,
        1024);

    private readonly Option<double?> _recall = CommonOptions.NumberOrNone(
        "--recall",
        "Share of the nearest keys that the vector index of more than 100,000 chunks has to find, measured on some of them: the more, the longer a search "
            + "takes. Verbs that make the index themselves keep to it. Default: 0.95.",
        0.01,
        1);

    private readonly Option<double?> _indexMemory = CommonOptions.NumberOrNone(
        "--index-memory",
        "Gigabytes that this index should not take more than: where whole keys do not fit, they are kept by codes, and what these find is compared anew by the "
            + "stored keys. Default: 4.3.",
        0.001,
        1e6);

    private readonly Option<bool> _prepare = new("--prepare")
    {
        Description = "Make what the source needs alone (keys, indexes) and stop; with --share, the keys and words of that share.",
    };

    private readonly Option<WorkShare?> _share = CommonOptions.Share(
        "Do the I-th of N shares of the work, for as many machines or processes on one storage; the same command without it joins the shares, and does what "
            + "is missing. In a job array: neighbors --source dense --prepare --share $TASK/8, once the same without --share, then neighbors --source dense "
            + "--share $TASK/8, and once more without.");

    private readonly Option<long> _seed = CommonOptions.Seed();
    private readonly Option<int> _threads = CommonOptions.Threads();
    private readonly Option<string> _device = CommonOptions.Device();

    public NeighborsCommand()
        : base(
            "neighbors",
            "Finds the neighbors of every chunk of a database, and of the held-out chunks beside it, and keeps them in tables; train and eval do it by "
                + "themselves.",
            "retro neighbors --database work",
            "retro neighbors --database work --source dense --embedder all-MiniLM-L6-v2 --k 16",
            "retro neighbors --database work --source dense --recall 0.99",
            "retro neighbors --database work --share 3/8")
        => AddOptions(_database, _tokenizer, _embedder, _source, _k, _recall, _indexMemory, _prepare, _share, _seed, _threads, _device);

    protected override PathOption Home => _database;

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said)
        => Sources.NeedsKeys(said(_source)) ? [] : Because(Sources.NoKeys, _embedder, _recall, _indexMemory);

    public override string HowToGoOn(ParseResult parsed) => "What was found stays; the same command goes on.";

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        TorchSharp.torch.Device? device = CommonOptions.Compute(parsed.GetValue(_device)!, parsed.GetValue(_threads));
        int k = parsed.GetValue(_k);
        using Sources sources = new(
            parsed.GetValue(_database)!, parsed.GetValue(_tokenizer), parsed.GetValue(_embedder), parsed.GetValue(_threads), device, cancellationToken)
        {
            Recall = parsed.GetValue(_recall),
            IndexGigabytes = parsed.GetValue(_indexMemory),
        };
        string name = parsed.GetValue(_source)!;
        if (parsed.GetValue(_share) is { } share)
        {
            // Several at once write nothing that is not of their own share.
            Share(parsed, sources, name, share, cancellationToken);
            return Task.CompletedTask;
        }

        INeighborSource source = sources.Open(name, parsed.GetValue(_seed), mends: true);
        Remember(parsed, sources.Workspace, _prepare, _share);
        if (parsed.GetValue(_prepare))
        {
            Screen.Line($"{sources.Database.Folder} has what {source.Name} needs");
            WriteJson(parsed, new JsonObject { ["source"] = source.Name });
            return Task.CompletedTask;
        }

        JsonArray tables = [];
        List<string[]> rows = [];
        using (NeighborTable table = Stages.Make(
            "find neighbors",
            progress => NeighborTable.Build(sources.Database, source, k, progress: progress, cancellationToken: cancellationToken),
            cancellationToken))
        {
            Add("database, its own documents left out", sources.Database, table);
        }

        using ChunkDatabase? heldOut = sources.HeldOut();
        if (heldOut is not null)
        {
            using NeighborTable table = Stages.Make(
                "find held-out neighbors",
                progress => NeighborTable.Build(heldOut, source, k, excludeOwnDocument: false, progress, cancellationToken),
                cancellationToken);
            Add("held-out", heldOut, table);
        }

        Screen.Table($"neighbors by {source.Name}, k = {k}", ["chunks of", "chunks", "with all k", "with none"], rows);
        WriteJson(parsed, new JsonObject { ["source"] = source.Name, ["k"] = k, ["tables"] = tables });
        return Task.CompletedTask;

        void Add(string name, ChunkDatabase of, NeighborTable table)
        {
            (long all, long none) = Sources.Count(table);
            rows.Add([name, $"{of.ChunkCount:#,0}", $"{all:#,0}", $"{none:#,0}"]);
            tables.Add(new JsonObject { ["of"] = of.Folder, ["chunks"] = of.ChunkCount, ["withAll"] = all, ["withNone"] = none });
        }
    }

    private void Share(ParseResult parsed, Sources sources, string name, WorkShare share, CancellationToken cancellationToken)
    {
        if (parsed.GetValue(_prepare))
        {
            sources.Prepare(name, share);
        }
        else
        {
            INeighborSource source = sources.Open(name, parsed.GetValue(_seed));
            int k = parsed.GetValue(_k);
            Stages.Run(
                "find neighbors",
                progress => NeighborTable.BuildShare(sources.Database, source, share, k, progress: progress, cancellationToken: cancellationToken));
            using ChunkDatabase? heldOut = sources.HeldOut();
            if (heldOut is not null)
            {
                Stages.Run(
                    "find held-out neighbors",
                    progress => NeighborTable.BuildShare(heldOut, source, share, k, excludeOwnDocument: false, progress, cancellationToken));
            }
        }

        Screen.Line($"share {share} is done; when all are, the same command without {_share.Name} joins them");
        WriteJson(parsed, new JsonObject { ["source"] = name, ["share"] = share.ToString() });
    }
}
