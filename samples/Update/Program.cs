using System.CommandLine;
using Retro.Cli.Workflow;
using Update;

Option<string?> corpus = new("--corpus")
{
    Description = "Text, Markdown, HTML, reStructuredText, JSON lines or .NET XML documentation: a file or folder. Default: that of the .NET reference packs.",
};
Option<string?> subject = new("--subject")
{
    Description =
        "Documents whose id begins so are the subject that is new. Default: the largest group of ids with one beginning that is at most a fifth of the corpus.",
};
Option<string> output = new("--output")
{
    Description = "Folder for the databases, the models and the report.",
    DefaultValueFactory = _ => Path.Combine("artifacts", "update"),
};
Option<double> megabytes = Sample.Number(
    "--megabytes", "Most text to take from the corpus; documents are chosen by a hash.", byDefault: 6, least: 0.001, most: 100_000);
Option<double> steps = Sample.Number("--steps", "Steps of the decoder's training, of two windows of 512 tokens.", byDefault: 600, least: 1, most: 1e9);
Option<int> seed = new("--seed") { Description = "Seed of every random choice.", DefaultValueFactory = _ => 1 };
RootCommand root = new(
    "Trains readers without anything about one subject, and measures them on held-out text about it: before documents about it are added to the database, " +
    "after, and after they are removed again; beside a decoder that is trained on those documents instead.")
{
    corpus, subject, output, megabytes, steps, seed,
};
return await Sample.RunAsync(root, args, (parsed, cancellationToken) => new UpdateRun(new UpdateOptions(
    parsed.GetValue(corpus),
    parsed.GetValue(subject),
    parsed.GetValue(output)!,
    (long)(parsed.GetValue(megabytes) * 1e6),
    (int)parsed.GetValue(steps),
    parsed.GetValue(seed))).RunAsync(cancellationToken)).ConfigureAwait(false);
