using Spectre.Console;

namespace Retro.Cli.Workflow;

/// <summary>The two streams that are printed on: results on the standard output, and how far the work is on the standard error.</summary>
internal static class Terminal
{
    /// <summary>The width of what is printed where there is no terminal.</summary>
    private const int PlainWidth = 200;

    /// <summary>Prepares the standard output: no colors, bars or wrapping where it is no terminal.</summary>
    public static void Prepare()
    {
        if (Console.IsOutputRedirected)
        {
            AnsiConsole.Console = Plain(Console.Out);
        }
    }

    /// <summary>The standard error, prepared in the same way.</summary>
    public static IAnsiConsole Errors() => Console.IsErrorRedirected
        ? Plain(Console.Error)
        : AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });

    private static IAnsiConsole Plain(TextWriter writer)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = AnsiSupport.No,
            ColorSystem = ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
            Out = new AnsiConsoleOutput(writer),
        });
        console.Profile.Width = PlainWidth;
        return console;
    }
}
