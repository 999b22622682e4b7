using System.CommandLine;
using static TorchSharp.torch;

namespace Retro.Cli.Experiments;

/// <summary>A run behind published tables, from a corpus to a report, as a verb: `retro experiment NAME`.</summary>
internal abstract class Experiment : Verb
{
    private readonly PathOption _corpus = CommonOptions.CorpusOrReferencePacks();
    private readonly PathOption _out;
    private readonly Option<double> _megabytes;
    private readonly Option<int> _threads = CommonOptions.Threads();
    private readonly Option<string> _device = CommonOptions.Device();
    private readonly Option<string?> _dtype = CommonOptions.ComparedDtype();
    private readonly CorpusReading _reading = new();

    /// <summary>Creates the verb.</summary>
    /// <param name="name">What is typed; its folder by default is named after it.</param>
    /// <param name="chosenBy">What chooses the documents of a large corpus.</param>
    /// <param name="description">What it does, in sentences.</param>
    /// <param name="examples">Command lines, for its help.</param>
    protected Experiment(string name, string chosenBy, string description, params string[] examples)
        : base(name, description, examples)
        => (_out, _megabytes) = (CommonOptions.RunsOut(name), CommonOptions.Megabytes(chosenBy));

    /// <summary>Seed of every random choice.</summary>
    protected Option<long> Seed { get; } = CommonOptions.Seed();

    /// <summary>Replacing what an earlier run has left.</summary>
    protected Option<bool> StartOver { get; } = CommonOptions.ReplaceModels();

    /// <summary>The experiment's own options, and those that all have.</summary>
    protected void AddAll(params Option[] own)
        => AddOptions([_corpus, _out, _megabytes, .. own, Seed, _threads, _device, _dtype, .. _reading.Options, StartOver]);

    /// <summary>Its report is the result.</summary>
    protected sealed override bool HasResults => false;

    public override string HowToGoOn(ParseResult parsed) => "Nothing half-written is taken for whole; the same command with --start-over begins again.";

    /// <summary>What every experiment is told.</summary>
    protected ExperimentOptions Common(ParseResult parsed)
    {
        Device? device = CommonOptions.Compute(parsed.GetValue(_device)!, parsed.GetValue(_threads));
        return new(
            parsed.GetValue(_corpus),
            parsed.GetValue(_out)!,
            (long)(parsed.GetValue(_megabytes) * 1e6),
            parsed.GetValue(Seed),
            device,
            CommonOptions.ComparedType(parsed.GetValue(_dtype), device),
            _reading.Of(parsed),
            parsed.GetValue(StartOver));
    }
}
