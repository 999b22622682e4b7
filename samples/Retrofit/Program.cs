using System.CommandLine;
using Retro.Pretrained;
using RetrofitSample;
using Retro.Cli.Workflow;

Option<string?> model = new("--model")
{
    Description = "The pretrained decoder: a Hugging Face folder (Llama, Mistral, Qwen2, GPT-2, GPT-NeoX), a llama2.c file, or a checkpoint of Retro. " +
        "Default: one is trained first, on half of the corpus; the other half is retrieved from.",
};
Option<string?> tokenizer = new("--tokenizer") { Description = "Its tokenizer, a folder or a llama2.c file. Default: the one beside the model." };
Option<string?> corpus = new("--corpus") { Description =
    "Text, Markdown, HTML, reStructuredText, JSON lines or .NET XML documentation: a file or folder. Default: that of the .NET reference packs." };
Option<double> decoderSteps = Sample.Number("--decoder-steps", "Steps of the decoder that is trained first.", byDefault: 600, least: 1, most: 1e9);
Option<double> steps = Sample.Number(
    "--steps", "Steps of fitting, of two windows; the decoder is trained on by as many for comparison.", byDefault: 300, least: 1, most: 1e9);
Option<string> output = new("--output")
{
    Description = "Folder for the databases, the fitted model and the report.",
    DefaultValueFactory = _ => Path.Combine("artifacts", "retrofit")
};
Option<int> seed = new("--seed") { Description = "Seed of every random choice.", DefaultValueFactory = _ => 1 };
Option<double> megabytes = Sample.Number("--megabytes", "Most text to take from the corpus.", byDefault: 6, least: 0.001, most: 100_000);
Option<bool> skipBroken = new("--skip-broken") { Description = "Leave out files and lines that cannot be read, with a count, instead of stopping." };
Option<RetrofitUnfreeze> unfreeze = new("--unfreeze") { Description = "What of the decoder is trained too." };
Option<int?> rank = new("--gate-rank") { Description = "Rank of a low-rank gate in place of full cross-attention matrices." };
RootCommand root = new(
    "Fits retrieval onto a decoder over a corpus, and prints held-out bits per byte of the decoder, of the decoder trained on by as many steps, and of the "
        + "fitted model without retrieval, with random neighbors, and with those that were found.")
{
    model, tokenizer, corpus, decoderSteps, steps, output, seed, megabytes, skipBroken, unfreeze, rank,
};
return await Sample.RunAsync(root, args, (parsed, cancellationToken) =>
{
    new RetrofitRun(new RetrofitSettings(
        parsed.GetValue(model),
        parsed.GetValue(tokenizer),
        parsed.GetValue(corpus),
        (int)parsed.GetValue(decoderSteps),
        (int)parsed.GetValue(steps),
        parsed.GetValue(output)!,
        parsed.GetValue(seed),
        (long)(parsed.GetValue(megabytes) * 1e6),
        parsed.GetValue(skipBroken),
        parsed.GetValue(unfreeze),
        parsed.GetValue(rank))).Run(cancellationToken);
    return Task.CompletedTask;
}).ConfigureAwait(false);
