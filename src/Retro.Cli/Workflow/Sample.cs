using System.CommandLine;
using Retro;

namespace Retro.Cli.Workflow;

/// <summary>
/// What the samples' command lines have in common: plain lines where the output is no terminal, one sentence and an exit code for every fault.
/// </summary>
internal static class Sample
{
    /// <summary>Runs a sample with the program's arguments.</summary>
    /// <param name="root">Its command.</param>
    /// <param name="arguments">The program's arguments.</param>
    /// <param name="work">What it does.</param>
    /// <returns>0; 1 after a fault; 130 where it was asked to stop.</returns>
    public static Task<int> RunAsync(RootCommand root, string[] arguments, Func<ParseResult, CancellationToken, Task> work)
    {
        Terminal.Prepare();
        root.SetAction(async (parsed, cancellationToken) =>
        {
            try
            {
                TorchLibrary.Require();

                // On another thread: a command that has not yet given its task back is not waited for when the program is asked to stop.
                await Task.Run(() => work(parsed, cancellationToken), cancellationToken).ConfigureAwait(false);
                return 0;
            }
            catch (OperationCanceledException)
            {
                string how = Has("--resume") ? "with --resume goes on" : Has("--start-over") ? "with --start-over begins again" : "starts again";
                await Console.Error.WriteLineAsync($"Stopped. Nothing half-written is taken for whole; the same command {how}.").ConfigureAwait(false);
                return 130;
            }
            catch (RetroException fault)
            {
                await Console.Error.WriteLineAsync(fault.Message).ConfigureAwait(false);
                return 1;
            }
            catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
            {
                await Console.Error.WriteLineAsync(
                    $"Reading or writing failed: {fault.Message} Free space or choose another folder with --output, and run it again.").ConfigureAwait(false);
                return 1;
            }
        });

        bool Has(string option) => root.Options.Any(one => one.Name == option);

        // A stage that is asked to stop finishes its step and saves; two seconds, the default, can be too few for that.
        return root.Parse(arguments).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromMinutes(1) });
    }

    /// <summary>The text.</summary>
    public static Option<string?> Corpus()
    {
        PathOption corpus = CommonOptions.Corpus();
        corpus.Description += " Default: the XML documentation of the .NET reference packs.";
        return corpus;
    }

    /// <summary>Where everything is written.</summary>
    /// <param name="name">The sample's; its folder by default is named after it.</param>
    public static Option<string> Output(string name) => new("--output")
    {
        Description = "Folder for the databases, the models and the report.",
        DefaultValueFactory = _ => Path.Combine("artifacts", name),
    };

    /// <summary>How much of the text.</summary>
    public static Option<double> Megabytes() => CommonOptions.Number(
        "--megabytes", "Most text to take from the corpus; documents are chosen by a hash.", byDefault: 6, least: 0.001, most: 100_000);

    /// <summary>A seed.</summary>
    /// <param name="description">Of what.</param>
    public static Option<int> Seed(string description) => CommonOptions.Whole("--seed", description, byDefault: 1, least: 0, most: int.MaxValue);

    /// <summary>How long something is trained.</summary>
    /// <param name="name">What is typed.</param>
    /// <param name="description">What is trained.</param>
    /// <param name="byDefault">Without the option.</param>
    /// <param name="least">The fewest.</param>
    public static Option<int> Steps(string name, string description, int byDefault = 600, int least = 1)
        => CommonOptions.Whole(name, description, byDefault, least, most: int.MaxValue);
}
