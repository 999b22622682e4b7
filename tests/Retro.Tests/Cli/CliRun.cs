using System.Text.Json.Nodes;
using Retro.Cli;
using Retro.Cli.Workflow;
using Retro.Database;

namespace Retro.Tests.Cli;

/// <summary>
/// Runs the tool, in a folder of its own. Starting a program, and compiling it once more, takes longer than most of what is asked of it here: a command line
/// runs in this process, from the arguments to the exit code, but where the process is what is tested.
/// </summary>
/// <param name="apart">Whether each command line is a program of its own, as for its users.</param>
internal sealed class CliRun(bool apart = false) : IDisposable
{
    /// <summary>Options of a model that trains in seconds.</summary>
    public static readonly string[] Tiny = ["--preset", "tiny", "--window", "64"];

    /// <summary>The folder that a process is in, its console and the number of its threads are of the whole process.</summary>
    private static readonly Lock s_process = new();

    private readonly TemporaryFolder _folder = new();

    /// <summary>Variables of the environment that it runs with, beside those of the tests; it is then a program of its own.</summary>
    public Dictionary<string, string> Variables { get; } = [];

    /// <summary>The folder that it runs in.</summary>
    public string Folder => _folder.Path;

    /// <summary>A path in it.</summary>
    public string this[string name] => _folder[name];

    public void Dispose() => _folder.Dispose();

    /// <summary>Writes two dozen documents, "docs", of which some say the same of other things.</summary>
    public void WriteCorpus()
    {
        for (int i = 0; i < 24; i++)
        {
            string topic = new[] { "river", "bridge", "harbor", "mountain" }[i % 4];
            _folder.File(
                Path.Combine("docs", $"{topic}-{i}.md"),
                string.Concat(Enumerable.Range(0, 20).Select(j => $"The {topic} number {i} has {(7 * j) + i} stones and {j * i} steps.\n")));
        }
    }

    /// <summary>Writes a file.</summary>
    public void WriteFile(string name, string text) => _folder.File(name, text);

    /// <summary>Writes the documents, and builds "work" of them, in chunks of 16 tokens.</summary>
    public void Build()
    {
        WriteCorpus();
        Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2");
    }

    /// <summary>Runs a command line that has to succeed.</summary>
    /// <returns>What it printed.</returns>
    public string Done(params string[] arguments)
    {
        ChildProcess.Outcome run = Run(arguments);
        Assert.True(run.ExitCode == 0, $"retro {string.Join(' ', arguments)} ended with {run.ExitCode}: {run.Output}{run.Errors}");
        Assert.Equal("", run.Errors);
        Assert.DoesNotContain('\u001b', run.Output);
        return run.Output;
    }

    /// <summary>Runs a command line.</summary>
    public ChildProcess.Outcome Run(params string[] arguments)
        => (apart || Variables.Count > 0 ? Streams(null, arguments) : Here(Folder, arguments)).OfTool();

    /// <summary>Runs a command line in this process, in a folder that is there.</summary>
    /// <returns>The exit code, and what it wrote to either stream.</returns>
    public static (int ExitCode, string Output) In(string folder, params string[] arguments)
    {
        ChildProcess.Outcome run = Here(folder, arguments);
        return (run.ExitCode, run.Output + run.Errors);
    }

    /// <summary>Runs a command line in a process of its own.</summary>
    /// <param name="watch">Told each line that it writes, to either stream, as it comes; null: nobody.</param>
    /// <param name="arguments">The command line.</param>
    public ChildProcess.Outcome Run(Action<System.Diagnostics.Process, string>? watch, params string[] arguments) => Streams(watch, arguments).OfTool();

    /// <summary>Runs a command line in a process of its own, and gives back its two streams as they are.</summary>
    public ChildProcess.Outcome Streams(Action<System.Diagnostics.Process, string>? watch, params string[] arguments)
        => ChildProcess.Run(
            CtrlC.Start(Folder, [.. Variables.Select(variable => $"{variable.Key}={variable.Value}"), "dotnet", Fixtures.Cli, .. arguments]), watch);

    private static ChildProcess.Outcome Here(string folder, string[] arguments)
    {
        if (!Console.IsOutputRedirected || !Console.IsErrorRedirected || arguments.Contains("--threads"))
        {
            // The tool would draw bars and tables for the terminal; and what threads take over of a number of threads they keep.
            return ChildProcess.Run(CtrlC.Start(folder, ["dotnet", Fixtures.Cli, .. arguments]));
        }

        lock (s_process)
        {
            (string before, TextWriter output, TextWriter errors, int threads) =
                (Environment.CurrentDirectory, Console.Out, Console.Error, TorchSharp.torch.get_num_threads());
            using StringWriter printed = new(), said = new();
            try
            {
                Environment.CurrentDirectory = folder;
                Console.SetOut(printed);
                Console.SetError(said);
                Task<int> run = Tool.RunAsync(arguments);
                if (Task.WaitAny([run], ChildProcess.Limit) < 0)
                {
                    // It holds what is of the whole process, which no test after it could do without.
                    Environment.FailFast($"retro {string.Join(' ', arguments)} did not end within {ChildProcess.Limit}. It wrote: {printed}{said}");
                }

                return new(run.GetAwaiter().GetResult(), Lines(printed), Lines(said));
            }
            finally
            {
                Console.SetOut(output);
                Console.SetError(errors);
                Terminal.Prepare();
                Stages.Prepare(quiet: false);
                Environment.CurrentDirectory = before;
                TorchSharp.torch.set_num_threads(threads);
            }
        }

        // The last line has an end, as that of a program's output has when it is read.
        static string Lines(StringWriter text) => text.ToString() is var all && (all.Length == 0 || all.EndsWith('\n')) ? all : all + "\n";
    }

    /// <summary>A file of results.</summary>
    public JsonObject Json(string name) => JsonNode.Parse(File.ReadAllText(this[name]))!.AsObject();

    /// <summary>Opens a database; dispose it.</summary>
    public ChunkDatabase Database(string folder = "work/database") => ChunkDatabase.Open(this[folder]);

    /// <summary>The page of a run shows something, and asks for nothing from elsewhere.</summary>
    public void RequireReport(string file, params string[] shown)
    {
        string page = File.ReadAllText(this[file]);
        Assert.All([.. shown, "<svg"], text => Assert.Contains(text, page, StringComparison.Ordinal));
        Assert.DoesNotMatch("(src|href)=|url\\(|@import|<script", page);
    }
}
