using System.CommandLine;
using Ablations;
using Retro.Cli.Workflow;

Option<string?> corpus = new("--corpus")
{
    Description = "Text, Markdown, HTML, reStructuredText, JSON lines or .NET XML documentation: a file or folder. Default: that of the .NET reference packs.",
};
Option<string> output = new("--output")
{
    Description = "Folder for the databases, the models and the report.",
    DefaultValueFactory = _ => Path.Combine("artifacts", "ablations"),
};
Option<double> megabytes = Sample.Number(
    "--megabytes", "Most text to take from the corpus; documents are chosen by a hash.", byDefault: 6, least: 0.001, most: 100_000);
Option<double> steps = Sample.Number(
    "--steps", "Steps of each training, of two windows of 512 tokens; what is fitted takes half as many.", byDefault: 600, least: 2, most: 1e9);
Option<double> seed = Sample.Number("--seed", "The seed of every training.", byDefault: 1, least: 0, most: 1e9);
Option<string[]> only = new("--only")
{
    Description = "Train these variants alone, such as \"paper, gate from zero\"; the report has every one that was measured in the folder.",
    AllowMultipleArgumentsPerToken = true,
};
Option<string> device = new("--device") { Description = "Where everything computes: cpu or cuda.", DefaultValueFactory = _ => "cpu" };
device.AcceptOnlyFromAmong("cpu", "cuda");
Option<bool> resume = new("--resume") { Description = "Take what a former run with the same corpus, folder and settings has measured, and go on." };
Option<bool> skipBroken = new("--skip-broken") { Description = "Leave out files and lines that cannot be read, with a count, instead of stopping." };
RootCommand root = new(
    "Trains retrieval in one way after the other on the same text, of which each differs from another in one thing, and measures all beside the decoder alone.")
{
    corpus, output, megabytes, steps, seed, only, device, resume, skipBroken,
};
return await Sample.RunAsync(
    root,
    args,
    (parsed, cancellationToken) =>
    {
        new AblationsRun(new AblationsOptions(
            parsed.GetValue(corpus),
            parsed.GetValue(output)!,
            (long)(parsed.GetValue(megabytes) * 1e6),
            (int)parsed.GetValue(steps),
            (int)parsed.GetValue(seed),
            parsed.GetValue(only) ?? [],
            Sample.Device(parsed.GetValue(device)!),
            parsed.GetValue(resume),
            parsed.GetValue(skipBroken))).Run(cancellationToken);
        return Task.CompletedTask;
    }).ConfigureAwait(false);
