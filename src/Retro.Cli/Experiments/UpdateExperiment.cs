using System.CommandLine;

namespace Retro.Cli.Experiments;

/// <summary>`retro experiment update`: what documents that are added to the database give, beside training on them.</summary>
internal sealed class UpdateExperiment : Experiment
{
    private readonly Option<string?> _subject = new("--subject")
    {
        Description = "Documents whose id begins so are the subject that is new. Default: the largest group of ids with one beginning that is at most a fifth "
            + "of the corpus.",
        HelpName = "TEXT",
    };

    private readonly Option<int> _steps = CommonOptions.Whole(
        "--steps", "Steps of the decoder's training, of two windows of 512 tokens.", 600, 1, int.MaxValue);

    public UpdateExperiment()
        : base(
            "update",
            "the seed",
            "Trains readers without anything about one subject, and measures them on held-out text about it: before documents about it are added to the "
                + "database, after, and after they are removed again; beside a decoder that is trained on those documents instead.",
            "retro experiment update --corpus docs --subject river")
        => AddAll(_subject, _steps, Seed);

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken) => new UpdateRun(Common(parsed))
    {
        Subject = parsed.GetValue(_subject),
        Steps = parsed.GetValue(_steps),
    }.RunAsync(cancellationToken);
}
