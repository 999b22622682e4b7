using System.CommandLine;
using Quickstart;
using Retro;

Option<string?> corpus = new("--corpus") { Description = "A folder of .txt/.md files, a .jsonl file, or a folder of .NET XML documentation. Default: the documentation of the .NET reference packs." };
Option<double> minutes = new("--minutes") { Description = "Minutes for the whole run after the build, on two cores.", DefaultValueFactory = _ => 11 };
Option<string> output = new("--output") { Description = "Folder for the database, the model and the report.", DefaultValueFactory = _ => Path.Combine("artifacts", "quickstart") };
Option<int> seed = new("--seed") { Description = "Seed of every random choice.", DefaultValueFactory = _ => 1 };
Option<double> megabytes = new("--megabytes") { Description = "Most text to take from the corpus; documents are chosen by the seed.", DefaultValueFactory = _ => 6 };
Option<bool> skipBroken = new("--skip-broken") { Description = "Leave out files and lines that cannot be read, with a count, instead of stopping." };
minutes.Validators.Add(result =>
{
    if (result.GetValueOrDefault<double>() is not (>= 0.5 and <= 10_000))
    {
        result.AddError("--minutes takes a number from 0.5 to 10000.");
    }
});
megabytes.Validators.Add(result =>
{
    if (result.GetValueOrDefault<double>() is not (> 0 and <= 100_000))
    {
        result.AddError("--megabytes takes a number above 0, 100000 at most.");
    }
});

RootCommand root = new("Builds a retrieval database from text, trains a small RETRO on it, measures it on held-out text with retrieval on, off and random, and generates with sources.")
{
    corpus, minutes, output, seed, megabytes, skipBroken,
};
root.SetAction(async (parsed, cancellationToken) =>
{
    try
    {
        await new QuickstartRun(new QuickstartOptions(
            parsed.GetValue(corpus),
            TimeSpan.FromMinutes(parsed.GetValue(minutes)),
            parsed.GetValue(output)!,
            parsed.GetValue(seed),
            (long)(parsed.GetValue(megabytes) * 1e6),
            parsed.GetValue(skipBroken))).RunAsync(cancellationToken).ConfigureAwait(false);
        return 0;
    }
    catch (OperationCanceledException)
    {
        await Console.Error.WriteLineAsync("Stopped. Nothing half-written is taken for whole; the same command starts again.").ConfigureAwait(false);
        return 130;
    }
    catch (RetroException fault)
    {
        await Console.Error.WriteLineAsync(fault.Message).ConfigureAwait(false);
        return 1;
    }
    catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
    {
        await Console.Error.WriteLineAsync($"Reading or writing failed: {fault.Message} Free space or choose another folder with --output, and run it again.").ConfigureAwait(false);
        return 1;
    }
});

// A stage that is asked to stop finishes its step and saves; two seconds, the default, can be too few for that.
return await root.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromMinutes(1) }).ConfigureAwait(false);
