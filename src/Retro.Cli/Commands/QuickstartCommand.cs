using System.CommandLine;
using Retro.Cli.Quickstart;

namespace Retro.Cli.Commands;

/// <summary>`retro quickstart`: the whole way, from a folder of text to text with sources and a report.</summary>
internal sealed class QuickstartCommand : Verb
{
    private readonly PathOption _corpus = CommonOptions.CorpusOrReferencePacks();
    private readonly Option<double> _minutes = CommonOptions.Number("--minutes", "Minutes for the whole run, on two cores.", 12, 0.1, 10_000);
    private readonly PathOption _out = CommonOptions.RunsOut("quickstart");
    private readonly Option<long> _seed = CommonOptions.Seed();
    private readonly Option<double> _megabytes = CommonOptions.Megabytes("the seed");
    private readonly CorpusReading _reading = new();

    private readonly PathOption _embedder = new("--embedder", "FOLDER")
    {
        Description = "The folder of a model of BERT's kind, or of sentence-transformers, that makes the chunks' keys. Default: a small embedder, trained on "
            + "the corpus.",
    };

    private readonly Option<string?> _dtype = CommonOptions.TrainedDtype();
    private readonly Option<bool> _resume = new("--resume") { Description = "Go on with the run that the folder holds, from where it was stopped." };

    public QuickstartCommand()
        : base(
            "quickstart",
            "From a folder of text to text with sources: builds a database, trains a small decoder, and on top of it a reader that copies and retrieval, "
                + "measures them on held-out text beside two rules that copy without training, from the neighbors (pointer rule) and from anywhere (longest run), "
                + "generates, and writes a report.",
            "retro quickstart",
            "retro quickstart --corpus docs --minutes 5 --out work",
            "retro quickstart --corpus docs --minutes 5 --out work --resume")
        => AddOptions([_corpus, _minutes, _out, _seed, _megabytes, .. _reading.Options, _embedder, _dtype, _resume]);

    protected override PathOption Home => _out;

    public override string HowToGoOn(ParseResult parsed)
        => $"Nothing half-written is taken for whole; go on with: {Tool.Name} quickstart {Shell.Option(_out.Name, parsed.GetValue(_out)!)} --resume";

    public override async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        CommonOptions.Compute("cpu", 0);
        Workspace workspace = new(parsed.GetValue(_out)!);
        bool resume = parsed.GetValue(_resume);
        if (resume && workspace.Section(Name) is null)
        {
            throw new RetroException($"--resume: {workspace.Folder} holds no run of the quickstart; leave out --resume to begin one.");
        }

        if (resume)
        {
            RequireAsBegun(parsed, workspace, [_corpus, _minutes, _seed, _megabytes, .. _reading.Options, _embedder, _dtype]);
        }
        else if (parsed.GetValue(_corpus) is { } corpus && !Path.Exists(corpus))
        {
            throw new RetroException($"There is no folder or file {corpus}; name one of text ({_corpus.Name}).");
        }

        using WriterLock writing = workspace.Take("run the quickstart");
        if (!resume)
        {
            Remember(parsed, workspace, _resume);
        }

        WriteJson(parsed, await new QuickstartRun(new QuickstartOptions(
            parsed.GetValue(_corpus),
            TimeSpan.FromMinutes(parsed.GetValue(_minutes)),
            workspace.Folder,
            parsed.GetValue(_seed),
            (long)(parsed.GetValue(_megabytes) * 1e6),
            _reading.Of(parsed),
            parsed.GetValue(_embedder),
            CommonOptions.Type(parsed.GetValue(_dtype), null),
            resume)).RunAsync(cancellationToken).ConfigureAwait(false));
    }
}
