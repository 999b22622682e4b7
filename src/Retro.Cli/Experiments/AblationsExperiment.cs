using System.CommandLine;

namespace Retro.Cli.Experiments;

/// <summary>`retro experiment ablations`: one way to train retrieval after the other, of which each differs from another in one thing.</summary>
internal sealed class AblationsExperiment : Experiment
{
    private readonly Option<int> _steps = CommonOptions.Whole(
        "--steps", "Steps of each training, of two windows of 512 tokens; what is fitted takes half as many.", 600, 2, int.MaxValue);

    private readonly Option<string[]> _only = new("--only")
    {
        Description = "Train these variants alone, such as \"paper, gate from zero\"; the report has every one that was measured in the folder.",
        HelpName = "NAME",
        AllowMultipleArgumentsPerToken = true,
    };

    public AblationsExperiment()
        : base(
            "ablations",
            "a hash",
            "Trains retrieval in one way after the other on the same text, of which each differs from another in one thing, and measures all beside the "
                + "decoder alone.",
            "retro experiment ablations --corpus docs",
            "retro experiment ablations --corpus docs --resume --only \"paper, gate from zero\"")
        => AddAll(_steps, _only, Resume, Seed);

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        new AblationsRun(Common(parsed)) { Steps = parsed.GetValue(_steps), Only = parsed.GetValue(_only) ?? [] }.Run(cancellationToken);
        return Task.CompletedTask;
    }
}
