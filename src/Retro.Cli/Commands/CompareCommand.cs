using System.CommandLine;
using Retro.Cli.Experiments;

namespace Retro.Cli.Commands;

/// <summary>`retro compare`: every reader and every retriever in one table.</summary>
internal sealed class CompareCommand : Experiment
{
    private readonly Option<string> _task = CommonOptions.Task(
        "text: bits per byte of held-out text; qa: answers to questions about held-out documents, and RGB's four abilities.");

    private readonly Option<double> _kilobytes = CommonOptions.Number(
        "--measured-kilobytes",
        "Thousands of characters of held-out text, the longest documents cut; a quarter of the documents is for what has to be fitted, the others are "
            + "measured.",
        200,
        1,
        1e6);

    private readonly Option<int> _questions = CommonOptions.Questions();
    private readonly Option<int> _seeds = CommonOptions.Whole("--seeds", "How many times everything is trained, each time with another seed.", 1, 1, 100);
    private readonly Option<int> _steps = CommonOptions.Whole(
        "--steps", "Steps of the decoder; what is learned on top of it takes half as many, a retriever a sixth.", 600, 2, int.MaxValue);

    public CompareCommand()
        : base(
            "compare",
            "a hash",
            "Trains every reader of what is retrieved, and every retriever, on one corpus under one budget, and measures them on the same held-out documents: "
                + "bits per byte, or answers, with what each costs.",
            "retro compare --corpus docs",
            "retro compare --task qa --corpus docs --steps 1000")
        => AddAll(_task, _kilobytes, _questions, _seeds, _steps);

    protected override bool HasResults => true;

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said) => said(_task) == CommonOptions.Answering
        ? [(_seeds, "answers are compared once"), (_kilobytes, "questions are measured, and not text")]
        : [(_questions, $"it is for {_task.Name} {CommonOptions.Answering}")];

    public override async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        ExperimentOptions options = Common(parsed, seed: 1);
        int steps = parsed.GetValue(_steps);
        WriteJson(parsed, parsed.GetValue(_task) == CommonOptions.Answering
            ? await new AnswerRun(options) { Steps = steps, Questions = parsed.GetValue(_questions) }.RunAsync(cancellationToken).ConfigureAwait(false)
            : new CompareRun(options)
            {
                Steps = steps, Seeds = parsed.GetValue(_seeds), MeasuredCharacters = (long)(parsed.GetValue(_kilobytes) * 1e3),
            }.Run(cancellationToken));
    }
}
