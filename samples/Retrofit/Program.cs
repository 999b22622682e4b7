using System.CommandLine;
using Retro.Pretrained;
using RetrofitSample;
using Samples;

Option<string> model = new("--model")
{
    Description = "The pretrained decoder: a Hugging Face folder (Llama, Mistral, Qwen2, GPT-2, GPT-NeoX), or a llama2.c file.",
    Required = true
};
Option<string?> tokenizer = new("--tokenizer") { Description = "Its tokenizer, a folder or a llama2.c file. Default: the one beside the model." };
Option<string?> corpus = new("--corpus") { Description =
    "A folder of .txt/.md files, a .jsonl file, or a folder of .NET XML documentation. Default: the documentation of the .NET reference packs." };
Option<double> minutes = Sample.Number("--minutes", "Minutes of training.", byDefault: 5, least: 0.01, most: 100_000);
Option<string> output = new("--output")
{
    Description = "Folder for the databases and the fitted model.",
    DefaultValueFactory = _ => Path.Combine("artifacts", "retrofit")
};
Option<int> seed = new("--seed") { Description = "Seed of every random choice.", DefaultValueFactory = _ => 1 };
Option<double> megabytes = Sample.Number("--megabytes", "Most text to take from the corpus.", byDefault: 4, least: 0.001, most: 100_000);
Option<bool> skipBroken = new("--skip-broken") { Description = "Leave out files and lines that cannot be read, with a count, instead of stopping." };
Option<RetrofitUnfreeze> unfreeze = new("--unfreeze") { Description = "What of the decoder is trained too." };
Option<int?> rank = new("--gate-rank") { Description = "Rank of a low-rank gate in place of full cross-attention matrices." };
RootCommand root = new(
    "Fits retrieval onto a pretrained decoder over a corpus, and prints held-out bits per byte of the decoder, of the fitted model without retrieval, "
        + "and with it.")
{
    model, tokenizer, corpus, minutes, output, seed, megabytes, skipBroken, unfreeze, rank,
};
return await Sample.RunAsync(root, args, (parsed, cancellationToken) =>
{
    new RetrofitRun(new RetrofitSettings(
        parsed.GetValue(model)!,
        parsed.GetValue(tokenizer),
        parsed.GetValue(corpus),
        TimeSpan.FromMinutes(parsed.GetValue(minutes)),
        parsed.GetValue(output)!,
        parsed.GetValue(seed),
        (long)(parsed.GetValue(megabytes) * 1e6),
        parsed.GetValue(skipBroken),
        parsed.GetValue(unfreeze),
        parsed.GetValue(rank))).Run(cancellationToken);
    return Task.CompletedTask;
}).ConfigureAwait(false);
