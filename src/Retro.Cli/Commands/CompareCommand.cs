using System.CommandLine;
using Retro.Cli.Workflow;
using static TorchSharp.torch;

namespace Retro.Cli.Commands;

/// <summary>`retro compare`: every reader and every retriever in one table.</summary>
internal sealed class CompareCommand : Verb
{
    private readonly Option<string> _task = CommonOptions.Task(
        "text: bits per byte of held-out text; qa: answers to questions about held-out documents, and RGB's four abilities.");

    private readonly PathOption _corpus = CommonOptions.CorpusOrReferencePacks();
    private readonly PathOption _out = CommonOptions.RunsOut("compare");
    private readonly Option<double> _megabytes = CommonOptions.Megabytes("a hash");
    private readonly Option<double> _kilobytes = CommonOptions.Number(
        "--measured-kilobytes", "Thousands of characters of held-out text to measure on; the longest documents are cut.", 200, 1, 1e6);

    private readonly Option<int> _questions = CommonOptions.Questions();
    private readonly Option<int> _seeds = CommonOptions.Whole("--seeds", "How many times everything is trained, each time with another seed.", 1, 1, 100);
    private readonly Option<int> _steps = CommonOptions.Whole(
        "--steps", "Steps of the decoder; what is learned on top of it takes half as many, a retriever a sixth.", 600, 2, int.MaxValue);

    private readonly Option<int> _threads = CommonOptions.Threads();
    private readonly Option<string> _device = CommonOptions.Device();
    private readonly Option<string?> _dtype = CommonOptions.ComparedDtype();
    private readonly CorpusReading _reading = new();
    private readonly Option<bool> _startOver = CommonOptions.ReplaceModels();

    public CompareCommand()
        : base(
            "compare",
            "Trains every reader of what is retrieved, and every retriever, on one corpus under one budget, and measures them on the same held-out documents: "
                + "bits per byte, or answers, with what each costs.",
            "retro compare --corpus docs",
            "retro compare --task qa --corpus docs --steps 1000")
        => AddOptions(
            [_task, _corpus, _out, _megabytes, _kilobytes, _questions, _seeds, _steps, _threads, _device, _dtype, .. _reading.Options, _startOver]);

    public override string HowToGoOn(ParseResult parsed) => "Nothing half-written is taken for whole; the same command with --start-over begins again.";

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said) => said(_task) == CommonOptions.Answering
        ? [(_seeds, "answers are compared once"), (_kilobytes, "questions are measured, and not text")]
        : [(_questions, $"it is for {_task.Name} {CommonOptions.Answering}")];

    public override async Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        Device? device = CommonOptions.Compute(parsed.GetValue(_device)!, parsed.GetValue(_threads));
        CompareOptions options = new(
            parsed.GetValue(_corpus),
            parsed.GetValue(_out)!,
            (long)(parsed.GetValue(_megabytes) * 1e6),
            (long)(parsed.GetValue(_kilobytes) * 1e3),
            parsed.GetValue(_questions),
            parsed.GetValue(_seeds),
            parsed.GetValue(_steps),
            device,
            CommonOptions.ComparedType(parsed.GetValue(_dtype), device),
            _reading.Of(parsed),
            parsed.GetValue(_startOver));
        WriteJson(parsed, parsed.GetValue(_task) == CommonOptions.Answering
            ? await new AnswerRun(options).RunAsync(cancellationToken).ConfigureAwait(false)
            : new CompareRun(options).Run(cancellationToken));
    }
}
