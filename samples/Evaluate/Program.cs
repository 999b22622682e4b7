using System.CommandLine;
using System.Globalization;
using Retro.Cli;
using Retro.Cli.Experiments;
using Retro.Cli.Workflow;

Option<string?> corpus = Sample.Corpus();
Option<string> output = Sample.Output("evaluate");
Option<double> megabytes = Sample.Megabytes();
Option<int> seeds = CommonOptions.Whole(
    "--seeds", "How many times everything is trained, each time with another seed.", byDefault: 3, least: 1, most: 100);
Option<int> firstSeed = Sample.Seed("The first of the seeds; the others follow it.");
Option<int> steps = Sample.Steps("--steps", "Steps of each training, of two windows of 512 tokens.");
Option<double> minutes = CommonOptions.Number(
    "--minutes",
    "Minutes to train the closed book, instead of --steps; the RETRO then has as many steps as these were enough for. 0: by steps.",
    byDefault: 0,
    least: 0,
    most: 1e6);
Option<int> k = CommonOptions.Whole("--k", "Neighbors that are copied from.", byDefault: 16, least: 1, most: 1024);
Option<bool> withoutRetro = new("--without-retro") { Description = "Leave out the RETRO, which takes most of the time." };
Option<double[]> ladder = new("--ladder")
{
    Description = "Train larger decoders alone, too, each about so many times the parameters, for as many steps: such as 2 4 10 25.",
    AllowMultipleArgumentsPerToken = true,
};
ladder.Validators.Add(result =>
{
    if (result.Tokens.Any(token => !double.TryParse(token.Value, CultureInfo.InvariantCulture, out double factor) || factor is not (> 1 and <= 10_000)))
    {
        result.AddError("--ladder is how many times the decoder's parameters larger decoders have: numbers above 1, up to 10,000.");
    }
});
Option<bool> trainOnly = new("--train-only") { Description = "Train and measure nothing; a run with --resume measures, on another device if you like." };
Option<string> device = CommonOptions.Device();
Option<string?> dtype = CommonOptions.ComparedDtype();
Option<bool> resume = new("--resume")
{
    Description = "Take the models that a former run with the same corpus, folder and seeds has trained, and go on with what is not done.",
};
Option<bool> records = new("--records") { Description = "Write tokens.jsonl: what each held-out token costs each reader, with the first seed." };
Option<bool> skipBroken = CommonOptions.SkipBroken();
Option<bool> startOver = CommonOptions.ReplaceModels();
RootCommand root = new(
    "Trains a RETRO, and its decoder alone with as many steps and with as much time, and measures them " +
    "on held-out documents beside a rule that copies from the neighbors.")
{
    corpus, output, megabytes, seeds, firstSeed, steps, minutes, k, withoutRetro, ladder, trainOnly, device, dtype, resume, records, skipBroken, startOver,
};
return await Sample.RunAsync(root, args, (parsed, cancellationToken) =>
{
    var where = CommonOptions.Compute(parsed.GetValue(device)!, 0);
    return new EvaluateRun(new EvaluateOptions(
        parsed.GetValue(corpus),
        parsed.GetValue(output)!,
        (long)(parsed.GetValue(megabytes) * 1e6),
        parsed.GetValue(seeds),
        parsed.GetValue(firstSeed),
        parsed.GetValue(steps),
        parsed.GetValue(minutes) is > 0 and var time ? TimeSpan.FromMinutes(time) : null,
        parsed.GetValue(k),
        !parsed.GetValue(withoutRetro),
        parsed.GetValue(ladder) ?? [],
        parsed.GetValue(trainOnly),
        where,
        CommonOptions.ComparedType(parsed.GetValue(dtype), where),
        parsed.GetValue(resume),
        parsed.GetValue(records),
        parsed.GetValue(skipBroken),
        parsed.GetValue(startOver))).RunAsync(cancellationToken);
}).ConfigureAwait(false);
