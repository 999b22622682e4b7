using System.CommandLine;
using Retro.Cli.Workflow;

Option<string?> corpus = new("--corpus")
{
    Description = "Text, Markdown, HTML, reStructuredText, JSON lines or .NET XML documentation: a file or folder. Default: that of the .NET reference packs.",
};
Option<string> output = new("--output")
{
    Description = "Folder for the databases and the table.",
    DefaultValueFactory = _ => Path.Combine("artifacts", "compare"),
};
Option<double> megabytes = Sample.Number(
    "--megabytes", "Most text to take from the corpus; documents are chosen by a hash.", byDefault: 6, least: 0.001, most: 100_000);
Option<double> kilobytes = Sample.Number(
    "--measured-kilobytes", "Thousands of characters of held-out text to measure on; the longest documents are cut.", byDefault: 200, least: 1, most: 1e6);
Option<double> seeds = Sample.Number("--seeds", "How many times everything is trained, each time with another seed.", byDefault: 1, least: 1, most: 100);
Option<double> steps = Sample.Number(
    "--steps",
    "Steps of the decoder, of two windows of 512 tokens; what is learned on top of it takes half as many, a retriever a sixth.",
    byDefault: 600,
    least: 2,
    most: 1e9);
Option<string> device = new("--device") { Description = "Where everything computes: cpu or cuda.", DefaultValueFactory = _ => "cpu" };
device.AcceptOnlyFromAmong("cpu", "cuda");
Option<bool> skipBroken = new("--skip-broken") { Description = "Leave out files and lines that cannot be read, with a count, instead of stopping." };
RootCommand root = new(
    "Trains every reader of what is retrieved, and every retriever, on one corpus, and measures them on the same held-out documents: bits per byte, tokens a "
    + "second, bytes of database, seconds of training.")
{
    corpus, output, megabytes, kilobytes, seeds, steps, device, skipBroken,
};
return await Sample.RunAsync(root, args, (parsed, cancellationToken) =>
{
    new CompareRun(new CompareOptions(
        parsed.GetValue(corpus),
        parsed.GetValue(output)!,
        (long)(parsed.GetValue(megabytes) * 1e6),
        (long)(parsed.GetValue(kilobytes) * 1e3),
        Questions: 0,
        (int)parsed.GetValue(seeds),
        (int)parsed.GetValue(steps),
        Sample.Device(parsed.GetValue(device)!),
        parsed.GetValue(skipBroken))).Run(cancellationToken);
    return Task.CompletedTask;
}).ConfigureAwait(false);
