using System.CommandLine;
using Retro.Cli;
using Retro.Cli.Workflow;

Option<string?> corpus = Sample.Corpus();
Option<string> output = Sample.Output("compare");
Option<double> megabytes = Sample.Megabytes();
Option<double> kilobytes = CommonOptions.Number(
    "--measured-kilobytes", "Thousands of characters of held-out text to measure on; the longest documents are cut.", byDefault: 200, least: 1, most: 1e6);
Option<int> seeds = CommonOptions.Whole(
    "--seeds", "How many times everything is trained, each time with another seed.", byDefault: 1, least: 1, most: 100);
Option<int> steps = Sample.Steps(
    "--steps",
    "Steps of the decoder, of two windows of 512 tokens; what is learned on top of it takes half as many, a retriever a sixth.",
    least: 2);
Option<string> device = CommonOptions.Device();
Option<string?> dtype = CommonOptions.ComparedDtype();
Option<bool> skipBroken = CommonOptions.SkipBroken();
RootCommand root = new(
    "Trains every reader of what is retrieved, and every retriever, on one corpus, and measures them on the same held-out documents: bits per byte, tokens a "
    + "second, bytes of database, seconds of training.")
{
    corpus, output, megabytes, kilobytes, seeds, steps, device, dtype, skipBroken,
};
return await Sample.RunAsync(root, args, (parsed, cancellationToken) =>
{
    var where = CommonOptions.Compute(parsed.GetValue(device)!, 0);
    new CompareRun(new CompareOptions(
        parsed.GetValue(corpus),
        parsed.GetValue(output)!,
        (long)(parsed.GetValue(megabytes) * 1e6),
        (long)(parsed.GetValue(kilobytes) * 1e3),
        Questions: 0,
        parsed.GetValue(seeds),
        parsed.GetValue(steps),
        where,
        CommonOptions.ComparedType(parsed.GetValue(dtype), where),
        parsed.GetValue(skipBroken))).Run(cancellationToken);
    return Task.CompletedTask;
}).ConfigureAwait(false);
