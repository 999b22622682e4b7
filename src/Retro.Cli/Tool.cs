using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Retro.Cli.Commands;
using Retro.Cli.Experiments;
using Retro.Cli.Workflow;
using Retro.Generation;
using Retro.Tokenizers;
using Retro.Training;

namespace Retro.Cli;

/// <summary>The command `retro`: its verbs, its exit codes, and how it is stopped.</summary>
internal static partial class Tool
{
    /// <summary>The command's name.</summary>
    public const string Name = "retro";

    private const string Description = """
        Language models that read from a database of text while they predict (RETRO, arXiv 2112.04426): builds the database, trains and fits models,
        measures them and generates with sources.

        Exit codes: 0 done; 1 it could not be done, and one sentence on the error output says why; 2 the command line cannot be understood; 130 stopped;
        serve, which nothing else ends, says 0 of that, too; 141 nobody reads what is printed any more.
        Ctrl-C ends the block or the step that is being done, writes a checkpoint where there is one to write, and says how to go on; a second one stops at
        once, and leaves nothing damaged.
        A folder that build, train, fit, embed-train or quickstart writes into (--out), or neighbors (--database), holds retro.json, with what was typed: the
        next time, what is left out is taken from there; so do update, ask, eval, generate and serve, as far as it is theirs to know.
        Completion in the shell: `retro "[suggest:POSITION]" "retro tra"` prints what can follow; dotnet-suggest, a tool of its own, asks for it.
        """;

    /// <summary>A text that begins with @ is a text, and no file of arguments.</summary>
    private static readonly ParserConfiguration s_parsing = new() { ResponseFileTokenReplacer = null };

    /// <summary>What the library's faults call by its own names, and what is typed for it: of a corpus, and of how text is written.</summary>
    private static readonly (string Member, string Option)[] s_ofBuilding =
    [
        ("CorpusOptions.Encoding", "--encoding"), ("CorpusOptions.Separator", "--separator"), ("CorpusOptions.Fields", "--fields"),
        ("CorpusOptions.IdsByFile", "--ids-by-file"),
        ("CorpusOptions.SkipBroken", "--skip-broken"), ("CorpusOptions.Include", "--include"), ("CorpusOptions.Exclude", "--exclude"),
        ("HeldOutOptions.Similarity", "--held-out-similarity"),
        ("SkipBroken", "--skip-broken"), ("start over", "--start-over"),
    ];

    private static readonly (string Member, string Option)[] s_ofWriting =
    [
        ("MaximumNewTokens", "--tokens"), ("Temperature", "--temperature"), ("TopK", "--top-k"), ("TopP", "--top-p"), ("MinP", "--min-p"),
        ("RepetitionPenalty", "--repetition-penalty"), ("FrequencyPenalty", "--frequency-penalty"), ("PresencePenalty", "--presence-penalty"),
        ("Beams", "--beams"), ("Neighbors", "--k"), ("Passages", "--passage"), ("RetrievalStride", "--retrieve-every"),
        ("Stop", "--stop"), ("BannedStrings", "--ban"),
    ];

    /// <summary>Runs the tool.</summary>
    /// <param name="arguments">The program's arguments.</param>
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(string[] arguments)
    {
        RootCommand root = MakeRoot();
        try
        {
            ParseResult parsed = Complete(root, arguments);
            if (parsed.Action is ParseErrorAction said)
            {
                (said.ShowHelp, said.ShowTypoCorrections) = (false, true);
                using StringWriter output = new();
                await parsed.InvokeAsync(new InvocationConfiguration { Output = output, Error = output }).ConfigureAwait(false);
                return await SayUsageAsync(Faults(parsed, output.ToString()), CommandOf(parsed)).ConfigureAwait(false);
            }

            if (parsed.CommandResult.Command is not Verb verb || parsed.Action is not AsynchronousCommandLineAction)
            {
                // Help, version, completion. The help would call the command by its file, which cannot be called retro beside Retro.dll: not every disk
                // tells the two names apart.
                using StringWriter output = new();
                int code = await parsed.InvokeAsync(new InvocationConfiguration { Output = output }).ConfigureAwait(false);
                await Console.Out.WriteAsync(output.ToString().Replace(RootCommand.ExecutableName, Name, StringComparison.Ordinal)).ConfigureAwait(false);
                return code;
            }

            return await RunAsync(verb, parsed).ConfigureAwait(false);
        }
        catch (RetroException fault)
        {
            await Console.Error.WriteLineAsync(fault.Message).ConfigureAwait(false);
            return ExitCodes.Failed;
        }
    }

    /// <summary>What is wrong with a command line, and the words that may have been meant. Behind a word that is not known all the rest is hearsay.</summary>
    private static string[] Faults(ParseResult parsed, string printed)
    {
        string[] faults = [.. parsed.Errors.Select(Fault).Distinct()];
        if (parsed.UnmatchedTokens is not [var unknown, ..])
        {
            return faults;
        }

        string quoted = $"'{unknown}'";
        string[] first = [.. faults.Where(fault => fault.Contains(quoted, StringComparison.Ordinal)).Take(1)];
        if (parsed.CommandResult.Command is Verb { Arguments: var arguments } && !unknown.StartsWith('-'))
        {
            // A word of a text, and no mistyped option: nothing is like it, and the rest is true.
            string[] rest = [.. faults.Where(fault => !parsed.UnmatchedTokens.Any(word => fault.Contains($"'{word}'", StringComparison.Ordinal)))];
            return [.. first, .. arguments.Count > 0 ? new[] { $"A {arguments[0].Name} of several words stands in quotes." } : [], .. rest];
        }

        string[] meant =
        [
            .. printed.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Except(faults)
                .SkipWhile(line => !line.StartsWith(quoted, StringComparison.Ordinal))
                .TakeWhile((line, i) => i == 0 || !line.StartsWith('\'')),
        ];
        return meant.Length > 0 ? [.. first, string.Join(' ', meant)] : first;
    }

    /// <summary>What is wrong, in the words of the verb where the parser says only that an argument is missing.</summary>
    private static string Fault(ParseError error) => error.SymbolResult is ArgumentResult { Tokens.Count: 0, Parent: CommandResult { Command: Verb verb } } none
        ? $"{Name} {verb.Name} takes a {none.Argument.Name}, such as: {verb.Examples[0]}"
        : error.Message;

    private static async Task<int> SayUsageAsync(IEnumerable<string> faults, string command)
    {
        foreach (string fault in faults)
        {
            await Console.Error.WriteLineAsync(fault).ConfigureAwait(false);
        }

        await Console.Error.WriteLineAsync($"See {command} --help.").ConfigureAwait(false);
        return ExitCodes.Usage;
    }

    /// <summary>A fault of the library, in the words of a verb's options.</summary>
    private static string Typed(Verb verb, string fault, (string Member, string Option)[] names)
    {
        foreach ((string member, string option) in names.Where(one => verb.Options.Any(option => option.Name == one.Option)))
        {
            fault = Regex.Replace(fault, $@"(?<![\w.]){Regex.Escape(member)}\b", option);
        }

        return fault.Replace(nameof(BpeTrainer), $"{Name} build without --tokenizer", StringComparison.Ordinal);
    }

    /// <summary>The command with all its verbs.</summary>
    internal static RootCommand MakeRoot()
    {
        RootCommand root = new(Description) 
        {
            new BuildCommand(),
            new UpdateCommand(),
            new NeighborsCommand(),
            new TrainCommand(),
            new FitCommand(),
            new EvalCommand(),
            new SearchEvalCommand(),
            new GenerateCommand(),
            new AskCommand(),
            new ServeCommand(),
            new InspectCommand(),
            new EmbedTrainCommand(),
            new CompareCommand(),
            new QuickstartCommand(),
            new Command("experiment", "The runs behind the published tables, from a corpus to a report.")
            {
                new EvaluateExperiment(),
                new AblationsExperiment(),
                new UpdateExperiment(),
                new RetrofitExperiment(),
            },
            new ExportCommand(),
            new InfoCommand(),
            new VerifyCommand(),
        };
        foreach (Option option in root.Options)
        {
            if (option is HelpOption { Action: HelpAction plain } help)
            {
                help.Action = new HelpWithExamples(plain);
            }
        }

        return root;
    }

    /// <summary>Parses, and adds what the folder's retro.json knows and the command line does not say.</summary>
    private static ParseResult Complete(RootCommand root, string[] arguments)
    {
        ParseResult parsed = root.Parse(arguments, s_parsing);
        if (parsed.CommandResult.Command is not Verb verb || parsed.Action is not (AsynchronousCommandLineAction or ParseErrorAction))
        {
            return parsed;
        }

        verb.Original = parsed;
        if (OptionTakenForAValue(arguments, parsed) is { } unknown)
        {
            // Where it can be no value, the parser says what it says of any other.
            string[] path = [.. arguments.Take(Array.IndexOf(arguments, verb.Name) + 1)];
            return root.Parse([.. path, .. verb.Arguments.Select(argument => argument.Name), unknown], s_parsing);
        }

        // Behind the verb: what stands behind -- is no option.
        int place = Array.IndexOf(arguments, verb.Name) + 1;
        return verb.Remembered(parsed) is { Count: > 0 } remembered
            ? root.Parse([.. arguments[..place], .. remembered, .. arguments[place..]], s_parsing)
            : parsed;
    }

    /// <summary>
    /// An option that the verb does not have, behind one that takes a value: the parser takes it for the value. Null: there is none. A value that begins so is
    /// typed with =, or behind --.
    /// </summary>
    private static string? OptionTakenForAValue(string[] arguments, ParseResult parsed)
    {
        string[] values =
        [
            .. parsed.Tokens.Where(token => token.Type == TokenType.Argument).Select(token => token.Value)
                .Except(parsed.UnmatchedTokens).Except(parsed.Tokens.Where(token => token.Type == TokenType.Option).Select(token => token.Value)),
        ];
        return arguments.TakeWhile(argument => argument != "--").FirstOrDefault(argument => OptionLike().IsMatch(argument) && values.Contains(argument));
    }

    [GeneratedRegex("^--[a-z][a-z0-9-]*(=|$)")]
    private static partial Regex OptionLike();

    private static async Task<int> RunAsync(Verb verb, ParseResult parsed)
    {
        Screen.Prepare(verb, parsed);
        using CancellationTokenSource stopping = new();
        void Stop(PosixSignalContext context)
        {
            // The second time, the signal does what it always does: the process ends where it stands, and what it was writing never gets its name.
            if (stopping.IsCancellationRequested)
            {
                if (!Console.IsErrorRedirected)
                {
                    Console.Error.Write("\u001b[?25h"); // a bar has hidden the cursor
                }

                return;
            }

            context.Cancel = true;
            string below = Console.IsErrorRedirected ? "" : "\n"; // of a bar
            Console.Error.WriteLine($"{below}{verb.Stopping}");
            stopping.Cancel();
        }

        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        try
        {
            verb.RequireMeant(parsed);
            await Task.Run(() => verb.RunAsync(parsed, stopping.Token), stopping.Token).ConfigureAwait(false);
            return ExitCodes.Done;
        }
        catch (OperationCanceledException exception) when (stopping.IsCancellationRequested)
        {
            string stopped = AndWhyNotSaved("Stopped.", exception);
            await Console.Error.WriteLineAsync($"{stopped.ReplaceLineEndings(" ")} {verb.HowToGoOn(parsed)}").ConfigureAwait(false);
            return verb.Stopped;
        }
        catch (UnreadException)
        {
            return ExitCodes.Unread; // of which there is nobody to tell
        }
        catch (UsageException exception)
        {
            return await SayUsageAsync([exception.Message], CommandOf(parsed)).ConfigureAwait(false);
        }
        catch (RetroOptionsException exception) when (exception.Options == nameof(GenerationOptions))
        {
            return await SayUsageAsync(exception.Faults.Select(one => Typed(verb, one, s_ofWriting)), CommandOf(parsed)).ConfigureAwait(false);
        }
        catch (Exception exception) when (SentenceOf(verb, exception) is { } fault)
        {
            await Console.Error.WriteLineAsync(AndWhyNotSaved(fault, exception).ReplaceLineEndings(" ")).ConfigureAwait(false);
            return ExitCodes.Failed;
        }
    }

    /// <summary>What is said of an exception that ended a verb; null: it is a fault of the tool's own.</summary>
    private static string? SentenceOf(Verb verb, Exception exception) => exception switch
    {
        RetroException => Typed(verb, exception.Message, s_ofBuilding),
        ArgumentException { ParamName: { } name } => exception.Message.Replace($" (Parameter '{name}')", "", StringComparison.Ordinal),
        ArgumentException => exception.Message,
        IOException or UnauthorizedAccessException => $"Reading or writing failed: {exception.Message}",

        // Of libtorch, such as a device whose memory is full; the first line says it, the rest is where in libtorch.
        ExternalException => $"libtorch: {exception.Message.Split('\n')[0]}",
        _ => null,
    };

    /// <summary>What is said of an exception, and, where it ended a training whose last steps could not be saved, why not.</summary>
    internal static string AndWhyNotSaved(string said, Exception exception) => exception.Data[Trainer.NotSaved] is string why ? $"{said} {why}" : said;

    /// <summary>What was typed of the command: its name, and those of a group and of a verb as far as they are there.</summary>
    private static string CommandOf(ParseResult parsed)
    {
        string words = "";
        for (CommandResult result = parsed.CommandResult; result.Parent is CommandResult group; result = group)
        {
            words = $" {result.Command.Name}{words}";
        }

        return Name + words;
    }

    /// <summary>The help, and after a verb's its examples.</summary>
    private sealed class HelpWithExamples(HelpAction plain) : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parseResult)
        {
            Verb? verb = parseResult.CommandResult.Command as Verb;
            foreach (Option option in verb?.Remembering ?? [])
            {
                (option.Required, option.Description) = (false, $"{option.Description} Required, unless {Workspace.SettingsFile} says it.");
            }

            int code = plain.Invoke(parseResult);
            if (verb is not null)
            {
                TextWriter output = parseResult.InvocationConfiguration.Output;
                output.WriteLine("Examples:");
                foreach (string example in verb.Examples)
                {
                    output.WriteLine($"  {example}");
                }
            }

            return code;
        }
    }
}
