using System.CommandLine;
using Retro.Cli;
using Retro.Cli.Experiments;
using Retro.Cli.Workflow;

Option<string?> corpus = Sample.Corpus();
Option<string> output = Sample.Output("ablations");
Option<double> megabytes = Sample.Megabytes();
Option<int> steps = Sample.Steps("--steps", "Steps of each training, of two windows of 512 tokens; what is fitted takes half as many.", least: 2);
Option<int> seed = Sample.Seed("The seed of every training.");
Option<string[]> only = new("--only")
{
    Description = "Train these variants alone, such as \"paper, gate from zero\"; the report has every one that was measured in the folder.",
    AllowMultipleArgumentsPerToken = true,
};
Option<string> device = CommonOptions.Device();
Option<string?> dtype = CommonOptions.ComparedDtype();
Option<bool> resume = new("--resume") { Description = "Take what a former run with the same corpus, folder and settings has measured, and go on." };
Option<bool> skipBroken = CommonOptions.SkipBroken();
Option<bool> startOver = CommonOptions.ReplaceModels();
RootCommand root = new(
    "Trains retrieval in one way after the other on the same text, of which each differs from another in one thing, and measures all beside the decoder alone.")
{
    corpus, output, megabytes, steps, seed, only, device, dtype, resume, skipBroken, startOver,
};
return await Sample.RunAsync(root, args, (parsed, cancellationToken) =>
{
    var where = CommonOptions.Compute(parsed.GetValue(device)!, 0);
    new AblationsRun(new AblationsOptions(
        parsed.GetValue(corpus),
        parsed.GetValue(output)!,
        (long)(parsed.GetValue(megabytes) * 1e6),
        parsed.GetValue(steps),
        parsed.GetValue(seed),
        parsed.GetValue(only) ?? [],
        where,
        CommonOptions.ComparedType(parsed.GetValue(dtype), where),
        parsed.GetValue(resume),
        parsed.GetValue(skipBroken),
        parsed.GetValue(startOver))).Run(cancellationToken);
    return Task.CompletedTask;
}).ConfigureAwait(false);
