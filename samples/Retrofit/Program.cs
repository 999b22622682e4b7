using System.CommandLine;
using Retro;
using Retro.Checkpoints;
using RetrofitSample;

Option<string> model = new("--model") { Description = "The pretrained decoder: a Hugging Face folder (Llama, Mistral, Qwen2, GPT-2, GPT-NeoX), or a llama2.c file.", Required = true };
Option<string?> tokenizer = new("--tokenizer") { Description = "Its tokenizer, a folder or a llama2.c file. Default: the one beside the model." };
Option<string?> corpus = new("--corpus") { Description = "A folder of .txt/.md files, a .jsonl file, or a folder of .NET XML documentation. Default: the documentation of the .NET reference packs." };
Option<double> minutes = new("--minutes") { Description = "Minutes of training.", DefaultValueFactory = _ => 5 };
Option<string> output = new("--output") { Description = "Folder for the databases and the fitted model.", DefaultValueFactory = _ => Path.Combine("artifacts", "retrofit") };
Option<int> seed = new("--seed") { Description = "Seed of every random choice.", DefaultValueFactory = _ => 1 };
Option<double> megabytes = new("--megabytes") { Description = "Most text to take from the corpus.", DefaultValueFactory = _ => 4 };
Option<RetrofitUnfreeze> unfreeze = new("--unfreeze") { Description = "What of the decoder is trained too." };
Option<int?> rank = new("--gate-rank") { Description = "Rank of a low-rank gate in place of full cross-attention matrices." };
minutes.Validators.Add(result =>
{
    if (result.GetValueOrDefault<double>() is not (> 0 and <= 100_000))
    {
        result.AddError("--minutes takes a number above 0, 100000 at most.");
    }
});
megabytes.Validators.Add(result =>
{
    if (result.GetValueOrDefault<double>() is not (> 0 and <= 100_000))
    {
        result.AddError("--megabytes takes a number above 0, 100000 at most.");
    }
});

RootCommand root = new("Fits retrieval onto a pretrained decoder over a corpus, and prints held-out bits per byte of the decoder, of the fitted model without retrieval, and with it.")
{
    model, tokenizer, corpus, minutes, output, seed, megabytes, unfreeze, rank,
};
root.SetAction((parsed, cancellationToken) =>
{
    try
    {
        new RetrofitRun(new RetrofitSettings(
            parsed.GetValue(model)!,
            parsed.GetValue(tokenizer),
            parsed.GetValue(corpus),
            TimeSpan.FromMinutes(parsed.GetValue(minutes)),
            parsed.GetValue(output)!,
            parsed.GetValue(seed),
            (long)(parsed.GetValue(megabytes) * 1e6),
            parsed.GetValue(unfreeze),
            parsed.GetValue(rank))).Run(cancellationToken);
        return Task.FromResult(0);
    }
    catch (OperationCanceledException)
    {
        Console.Error.WriteLine("Stopped. Nothing half-written is taken for whole; the same command starts again.");
        return Task.FromResult(130);
    }
    catch (RetroException fault)
    {
        Console.Error.WriteLine(fault.Message);
        return Task.FromResult(1);
    }
    catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
    {
        Console.Error.WriteLine($"Reading or writing failed: {fault.Message} Free space or choose another folder with --output, and run it again.");
        return Task.FromResult(1);
    }
});
return await root.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromMinutes(1) }).ConfigureAwait(false);
