using System.CommandLine;
using System.Globalization;

namespace Retro.Cli.Experiments;

/// <summary>`retro experiment evaluate`: at length what the quickstart measures in minutes.</summary>
internal sealed class EvaluateExperiment : Experiment
{
    private readonly Option<int> _seeds = CommonOptions.Whole("--seeds", "How many times everything is trained, each time with another seed.", 3, 1, 100);
    private readonly Option<int> _steps = CommonOptions.Whole(
        "--steps", "Steps of the closed book, of two windows of 512 tokens; what is fitted onto it takes half as many.", 600, 1, int.MaxValue);

    private readonly Option<double?> _minutes = CommonOptions.NumberOrNone(
        "--minutes",
        "Train the closed book for so long instead of by steps; what is fitted onto it takes half of the steps that this was enough for.",
        0.01,
        1e6);

    private readonly Option<int> _k = CommonOptions.Whole("--k", "Neighbors that are copied from.", 16, 1, 1024);
    private readonly Option<double> _times = CommonOptions.Number(
        "--times", "The decoder of every row has about so many times the parameters of the usual one, as many times deeper as wider.", 1, 1, 10_000);

    private readonly Option<bool> _withoutRetro = new("--without-retro")
    {
        Description = "Leave out the RETRO, which takes about a quarter of the time (less with --ladder).",
    };

    private readonly Option<double[]> _ladder = new("--ladder")
    {
        Description = "Train larger decoders alone, too, each about so many times the parameters, for as many steps as the closed book: such as 2 4 10 25.",
        HelpName = "NUMBER",
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly Option<bool> _trainOnly = new("--train-only")
    {
        Description = "Train and measure nothing; a run with --resume measures, on another device if you like.",
    };

    private readonly Option<bool> _records = new("--records")
    {
        Description = "Write tokens.jsonl: what each held-out token costs each reader, with the first seed.",
    };

    public EvaluateExperiment()
        : base(
            "evaluate",
            "a hash",
            "Trains a decoder (closed book), fits a RETRO and two readers that copy onto it, and trains the decoder alone for as long as the longest of these "
                + "took with it; measures all on held-out documents, beside two rules that copy and need no training.",
            "retro experiment evaluate --corpus docs",
            "retro experiment evaluate --corpus docs --seeds 3 --resume --ladder 2 4 10 25")
    {
        Seed.Description = "The first of the seeds; the others follow it.";
        _ladder.Validators.Add(result =>
        {
            if (result.Tokens.Any(token => !double.TryParse(token.Value, CultureInfo.InvariantCulture, out double factor) || factor is not (> 1 and <= 10_000)))
            {
                result.AddError("--ladder is how many times the decoder's parameters larger decoders have: numbers above 1, up to 10,000.");
            }
        });
        AddAll(_seeds, _steps, _minutes, _k, _times, _withoutRetro, _ladder, _trainOnly, _records, Resume, Seed);
    }

    protected override IReadOnlyList<Option> OneOf => [_steps, _minutes];

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said)
        => bool.TryParse(said(_trainOnly), out bool trains) && trains ? Because("nothing is measured", _records) : [];

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        new EvaluateRun(Common(parsed))
        {
            Seeds = parsed.GetValue(_seeds),
            Steps = parsed.GetValue(_steps),
            Time = parsed.GetValue(_minutes) is { } minutes ? TimeSpan.FromMinutes(minutes) : null,
            Neighbors = parsed.GetValue(_k),
            Times = parsed.GetValue(_times),
            Retro = !parsed.GetValue(_withoutRetro),
            Sizes = parsed.GetValue(_ladder) ?? [],
            TrainOnly = parsed.GetValue(_trainOnly),
            Records = parsed.GetValue(_records),
        }.Run(cancellationToken);
        return Task.CompletedTask;
    }
}
