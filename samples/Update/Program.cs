using System.CommandLine;
using Retro.Cli;
using Retro.Cli.Experiments;
using Retro.Cli.Workflow;

Option<string?> corpus = Sample.Corpus();
Option<string?> subject = new("--subject")
{
    Description =
        "Documents whose id begins so are the subject that is new. Default: the largest group of ids with one beginning that is at most a fifth of the corpus.",
};
Option<string> output = Sample.Output("update");
Option<double> megabytes = Sample.Megabytes();
Option<int> steps = Sample.Steps("--steps", "Steps of the decoder's training, of two windows of 512 tokens.");
Option<int> seed = Sample.Seed("Seed of every random choice.");
Option<string?> dtype = CommonOptions.ComparedDtype();
RootCommand root = new(
    "Trains readers without anything about one subject, and measures them on held-out text about it: before documents about it are added to the database, " +
    "after, and after they are removed again; beside a decoder that is trained on those documents instead.")
{
    corpus, subject, output, megabytes, steps, seed, dtype,
};
return await Sample.RunAsync(root, args, (parsed, cancellationToken) => new UpdateRun(new UpdateOptions(
    parsed.GetValue(corpus),
    parsed.GetValue(subject),
    parsed.GetValue(output)!,
    (long)(parsed.GetValue(megabytes) * 1e6),
    parsed.GetValue(steps),
    parsed.GetValue(seed),
    CommonOptions.ComparedType(parsed.GetValue(dtype), null))).RunAsync(cancellationToken)).ConfigureAwait(false);
