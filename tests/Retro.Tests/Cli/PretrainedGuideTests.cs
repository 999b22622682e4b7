using System.CommandLine.Parsing;
using System.Text.Json.Nodes;

namespace Retro.Tests.Cli;

/// <summary>The commands of docs/pretrained.md, each as it stands there, on a decoder and a text as small as they come.</summary>
public sealed class PretrainedGuideTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    [Fact]
    public void Each_command_of_the_guide_does_what_is_said_of_it()
    {
        _retro.WriteCorpus();
        Directory.CreateDirectory(_retro["qwen"]);
        foreach (string file in Directory.EnumerateFiles(Fixtures.Pretrained("llama-rope-linear")))
        {
            File.Copy(file, Path.Combine(_retro["qwen"], Path.GetFileName(file)));
        }

        string guide = Path.Combine(Fixtures.Root, "docs", "pretrained.md");
        foreach (string line in File.ReadLines(guide).Where(line => line.StartsWith("retro ", StringComparison.Ordinal)))
        {
            string[] words = [.. CommandLineParser.SplitCommandLine(line.Split('#')[0]).Skip(1)];
            switch (words[0])
            {
                case "build":
                    _retro.Done([.. words, "--chunk", "16"]);
                    break;
                case "fit":
                    _retro.Done([.. words, "--steps", "2", "--window", "32"]);
                    break;
                case "eval":
                    _retro.Done([.. words, "--window", "32", "--json", "eval.json"]);
                    break;
                case "ask":
                    _retro.Done([.. words, "--tokens", "2", "--json", "ask.json"]);
                    break;
                case "serve":
                    Serve([.. words, "--port", "0", "--tokens", "2"]);
                    break;
                default:
                    Assert.Fail($"{line}: say what it is to do.");
                    break;
            }
        }

        string[] measured = [.. _retro.Json("eval.json")["readers"]!.AsArray().Select(row => (string)row!["reader"]!)];
        Assert.Contains("closed book", measured);
        Assert.Contains("copying", measured);
    }

    /// <summary>Serves until one question was asked, with the passages that the command before was asked it with.</summary>
    private void Serve(string[] arguments)
    {
        long[] asked = InPrompt(_retro.Json("ask.json")["passages"]!);
        Assert.Equal(3, asked.Length);
        string answer = "";
        ChildProcess.Outcome run = _retro.Run(
            (process, line) =>
            {
                if (line.StartsWith("qwen is served at ", StringComparison.Ordinal))
                {
                    using HttpClient http = new() { BaseAddress = new(line.Split(' ')[4]) };
                    using StringContent body = new(
                        """{"model":"qwen","messages":[{"role":"user","content":"What crosses the river?"}]}""", null, "application/json");
                    answer = http.PostAsync("/v1/chat/completions", body).GetAwaiter().GetResult().Content.ReadAsStringAsync().GetAwaiter().GetResult();
                    CtrlC.Press(process);
                }
            },
            arguments);
        Assert.True(run.ExitCode == 0, run.Output + run.Errors);
        Assert.Equal(asked, InPrompt(JsonNode.Parse(answer)!["sources"]!));

        static long[] InPrompt(JsonNode read)
            => [.. read.AsArray().Where(source => (string)source!["read"]! == "in the prompt").Select(source => (long)source!["chunk"]!).Order()];
    }
}
