using System.CommandLine;
using Quickstart;
using Samples;

Option<string?> corpus = new("--corpus") { Description =
    "Text, Markdown, HTML, reStructuredText, JSON lines or .NET XML documentation: a file or folder. Default: that of the .NET reference packs." };
Option<double> minutes = Sample.Number("--minutes", "Minutes for the whole run after the build, on two cores.", byDefault: 12, least: 0.1, most: 10_000);
Option<string> output = new("--output")
{
    Description = "Folder for the database, the model and the report.",
    DefaultValueFactory = _ => Path.Combine("artifacts", "quickstart")
};
Option<int> seed = new("--seed") { Description = "Seed of every random choice.", DefaultValueFactory = _ => 1 };
Option<double> megabytes = Sample.Number(
    "--megabytes", "Most text to take from the corpus; documents are chosen by the seed.", byDefault: 6, least: 0.001, most: 100_000);
Option<bool> skipBroken = new("--skip-broken") { Description = "Leave out files and lines that cannot be read, with a count, instead of stopping." };
Option<string?> embedder = new("--embedder") { Description =
    "A Hugging Face BERT or sentence-transformers folder that makes the chunks' keys. Default: a small embedder, trained on the corpus." };
RootCommand root = new(
    "Builds a retrieval database from text, trains a small decoder, a reader that copies on top of it and a RETRO, measures them " +
    "on held-out text beside a rule that copies without training, and generates with sources.")
{
    corpus, minutes, output, seed, megabytes, skipBroken, embedder,
};
return await Sample.RunAsync(root, args, (parsed, cancellationToken) => new QuickstartRun(new QuickstartOptions(
    parsed.GetValue(corpus),
    TimeSpan.FromMinutes(parsed.GetValue(minutes)),
    parsed.GetValue(output)!,
    parsed.GetValue(seed),
    (long)(parsed.GetValue(megabytes) * 1e6),
    parsed.GetValue(skipBroken),
    parsed.GetValue(embedder))).RunAsync(cancellationToken)).ConfigureAwait(false);
