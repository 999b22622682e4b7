using System.CommandLine;
using System.Globalization;
using Retro;
using Spectre.Console;

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
        if (Console.IsOutputRedirected)
        {
            AnsiConsole.Console = AnsiConsole.Create(new AnsiConsoleSettings
            {
                Ansi = AnsiSupport.No,
                ColorSystem = ColorSystemSupport.NoColors,
                Interactive = InteractionSupport.No
            });
            AnsiConsole.Profile.Width = 200;
        }

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
                await Console.Error.WriteLineAsync(
                    $"Reading or writing failed: {fault.Message} Free space or choose another folder with --output, and run it again.").ConfigureAwait(false);
                return 1;
            }
        });

        // A stage that is asked to stop finishes its step and saves; two seconds, the default, can be too few for that.
        return root.Parse(arguments).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromMinutes(1) });
    }

    /// <summary>A device by its name.</summary>
    /// <param name="name">cpu or cuda.</param>
    /// <returns>The device; null for the processor.</returns>
    /// <exception cref="RetroException">It is not there.</exception>
    public static TorchSharp.torch.Device? Device(string name)
        => name == "cpu" ? null
            : TorchSharp.torch.cuda.is_available() ? TorchSharp.torch.CUDA
            : throw new RetroException(
                "--device cuda: there is no CUDA device here, or the program has no libtorch for one; build it with TorchSharp-cuda-linux, or compute on the cpu.");

    /// <summary>An option that takes a number within bounds.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="description">What it is for.</param>
    /// <param name="byDefault">The number without the option.</param>
    /// <param name="least">The smallest number taken.</param>
    /// <param name="most">The largest number taken.</param>
    /// <returns>The option.</returns>
    public static Option<double> Number(string name, string description, double byDefault, double least, double most)
    {
        Option<double> option = new(name)
        {
            Description = description,
            DefaultValueFactory = _ => byDefault,
            CustomParser = result =>
            {
                if (result.Tokens.Count == 1
                    && double.TryParse(result.Tokens[0].Value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number)
                    && number >= least
                    && number <= most)
                {
                    return number;
                }

                result.AddError(FormattableString.Invariant(
                    $"{name} takes a number from {least} to {most}, not '{string.Join(' ', result.Tokens.Select(token => token.Value))}'."));
                return 0;
            },
        };
        return option;
    }
}
