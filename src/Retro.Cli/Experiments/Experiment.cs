using System.CommandLine;
using static TorchSharp.torch;

namespace Retro.Cli.Experiments;

/// <summary>A run that makes everything of a corpus, and ends in a report: `retro compare`, and those of published tables, `retro experiment NAME`.</summary>
internal abstract class Experiment : Verb
{
    private readonly PathOption _corpus = CommonOptions.CorpusOrReferencePacks();
    private readonly PathOption _out;
    private readonly Option<double> _megabytes;
    private readonly Option<int> _threads = CommonOptions.Threads();
    private readonly Option<string> _device = CommonOptions.Device();
    private readonly Option<string?> _dtype = CommonOptions.ComparedDtype();
    private readonly CorpusReading _reading = new();
    private readonly Option<bool> _startOver = CommonOptions.ReplaceModels();

    /// <summary>Creates the verb.</summary>
    /// <param name="name">What is typed; its folder by default is named after it.</param>
    /// <param name="chosenBy">What chooses the documents of a large corpus.</param>
    /// <param name="description">What it does, in sentences.</param>
    /// <param name="examples">Command lines, for its help.</param>
    protected Experiment(string name, string chosenBy, string description, params string[] examples)
        : base(name, description, examples)
        => (_out, _megabytes) = (CommonOptions.RunsOut(name), CommonOptions.Megabytes(chosenBy));

    /// <summary>Seed of every random choice, for those that add it.</summary>
    protected Option<long> Seed { get; } = CommonOptions.Seed();

    /// <summary>Going on with what an earlier run has left, for those that add it.</summary>
    protected Option<bool> Resume { get; } = new("--resume")
    {
        Description = "Take what a former run with the same corpus, folder and settings has made, and go on with what is not done.",
    };

    /// <summary>The experiment's own options, and those that all have.</summary>
    protected void AddAll(params Option[] own)
        => AddOptions([_corpus, _out, _megabytes, .. own, _threads, _device, _dtype, .. _reading.Options, _startOver]);

    /// <summary>Of most, the report is the result.</summary>
    protected override bool HasResults => false;

    public sealed override string HowToGoOn(ParseResult parsed)
        => $"Nothing half-written is taken for whole; the same command with {(Options.Contains(Resume) ? "--resume goes on" : "--start-over begins again")}.";

    /// <summary>What every experiment is told.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="seed">The seed of one that has no option for it.</param>
    protected ExperimentOptions Common(ParseResult parsed, long? seed = null)
    {
        Device? device = CommonOptions.Compute(parsed.GetValue(_device)!, parsed.GetValue(_threads));
        return new(
            parsed.GetValue(_corpus),
            parsed.GetValue(_out)!,
            (long)(parsed.GetValue(_megabytes) * 1e6),
            seed ?? parsed.GetValue(Seed),
            device,
            CommonOptions.ComparedType(parsed.GetValue(_dtype), device),
            _reading.Of(parsed),
            parsed.GetValue(_startOver),
            parsed.GetValue(Resume));
    }
}
