using System.CommandLine;
using Retro.Cli;
using Retro.Cli.Experiments;
using Retro.Cli.Workflow;
using Retro.Pretrained;

Option<string?> model = new("--model")
{
    Description = "The pretrained decoder: a Hugging Face folder (Llama, Mistral, Qwen2, GPT-2, GPT-NeoX), a llama2.c file, or a checkpoint of Retro. " +
        "Default: one is trained first, on half of the corpus; the other half is retrieved from.",
};
Option<string?> tokenizer = new("--tokenizer") { Description = "Its tokenizer, a folder or a llama2.c file. Default: the one beside the model." };
Option<string?> corpus = Sample.Corpus();
Option<int> decoderSteps = Sample.Steps("--decoder-steps", "Steps of the decoder that is trained first.");
Option<int> steps = Sample.Steps("--steps", "Steps of fitting, of two windows; the decoder is trained on by as many for comparison.", byDefault: 300);
Option<string> output = Sample.Output("retrofit");
Option<int> seed = Sample.Seed("Seed of every random choice.");
Option<double> megabytes = Sample.Megabytes();
Option<string?> dtype = CommonOptions.ComparedDtype();
Option<bool> skipBroken = CommonOptions.SkipBroken();
Option<RetrofitUnfreeze> unfreeze = new("--unfreeze") { Description = "What of the decoder is trained too." };
Option<int?> rank = new("--gate-rank") { Description = "Rank of a low-rank gate in place of full cross-attention matrices." };
RootCommand root = new(
    "Fits retrieval onto a decoder over a corpus, and prints held-out bits per byte of the decoder, of the decoder trained on by as many steps, and of the "
        + "fitted model without retrieval, with random neighbors, and with those that were found.")
{
    model, tokenizer, corpus, decoderSteps, steps, output, seed, megabytes, dtype, skipBroken, unfreeze, rank,
};
return await Sample.RunAsync(root, args, (parsed, cancellationToken) =>
{
    new RetrofitRun(new RetrofitSettings(
        parsed.GetValue(model),
        parsed.GetValue(tokenizer),
        parsed.GetValue(corpus),
        parsed.GetValue(decoderSteps),
        parsed.GetValue(steps),
        parsed.GetValue(output)!,
        parsed.GetValue(seed),
        (long)(parsed.GetValue(megabytes) * 1e6),
        CommonOptions.ComparedType(parsed.GetValue(dtype), null),
        parsed.GetValue(skipBroken),
        parsed.GetValue(unfreeze),
        parsed.GetValue(rank))).Run(cancellationToken);
    return Task.CompletedTask;
}).ConfigureAwait(false);
