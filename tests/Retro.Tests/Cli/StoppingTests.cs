using System.Globalization;
using System.Text.RegularExpressions;
using Retro.Training;

namespace Retro.Tests.Cli;

/// <summary>Ctrl-C in the tool: once ends the step and leaves a checkpoint, twice ends the process and leaves nothing damaged.</summary>
public sealed class StoppingTests : IDisposable
{
    private const int Steps = 150;

    private static readonly string[] s_train = ["train", "--source", "none", .. CliRun.Tiny];

    /// <summary>What ends a training that goes on with its next step.</summary>
    private static readonly string[] s_short = ["--steps", "1"], s_shortly = ["--minutes", "0.01"];

    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    [Fact]
    public void A_training_that_was_stopped_and_taken_up_again_ends_as_one_that_was_not()
    {
        _retro.Build();
        ChildProcess.Outcome run = Stop([.. s_train, "--out", "work", "--steps", $"{Steps}"], times: 1, steps: Path.Combine("work", "model", "steps.jsonl"));
        Assert.Equal(130, run.ExitCode);
        string[] said = run.Errors.Trim().Split('\n');
        Assert.Equal("Stopping after the current step; Ctrl-C once more stops at once.", said[0]);
        Assert.Equal($"Stopped. The checkpoint is in {Path.Combine("work", "model")}; go on with: retro train --out work --resume", said[1]);

        // What was saved can be used; everything but the folder is remembered.
        _retro.Done("generate", "--model", "work", "--source", "none", "--tokens", "3", "The");
        _retro.Done("train", "--out", "work", "--resume", "--json", "resumed.json");
        Assert.Equal(Steps, (int)_retro.Json("resumed.json")["steps"]!);
        _retro.Done([.. s_train, "--database", "work", "--out", "whole", "--steps", $"{Steps}"]);
        Assert.Equal(Weights("whole"), Weights("work"));
    }

    [Theory]
    [InlineData("--minutes", "5")]
    [InlineData("--steps", "100000")]
    public void A_training_that_was_killed_goes_on_from_the_checkpoint_that_its_clock_asked_for(string option, string length)
    {
        _retro.Build();
        ChildProcess.Outcome run = Kill([.. s_train, "--out", "work", option, length, "--checkpoint-minutes", "0.005"], "work", "train the decoder");
        Assert.NotEqual(0, run.ExitCode);
        string shown = _retro.Done(["train", "--out", "work", "--resume", .. option == "--steps" ? s_short : s_shortly]);
        Match step = Regex.Match(shown, @"going on after step ([\d,]+)");
        Assert.True(step.Success && int.Parse(step.Groups[1].Value, NumberStyles.AllowThousands, CultureInfo.InvariantCulture) > 0, shown);
    }

    [Fact]
    public void A_fitting_that_was_killed_goes_on_too_and_what_was_left_can_be_used()
    {
        _retro.Build();
        _retro.Done([.. s_train, "--database", "work", "--out", "decoder", "--steps", "2", "--quiet"]);
        string[] fit = ["fit", "--base", "decoder", "--database", "work", "--out", "fitted", "--window", "64"];
        Kill([.. fit, "--steps", "100000", "--checkpoint-minutes", "0.005"], "fitted", "fit retrieval");
        _retro.Done("generate", "--model", "fitted", "--tokens", "3", "The");
        Assert.Contains("going on after step ", _retro.Done(["fit", "--out", "fitted", "--resume", .. s_short]), StringComparison.Ordinal);
    }

    [Fact]
    public void Stopped_twice_it_ends_at_once_and_what_it_leaves_is_whole()
    {
        _retro.Build();
        _retro.Done([.. s_train, "--out", "work", "--steps", "2", "--quiet"]);
        byte[] before = Weights("work");
        ChildProcess.Outcome run = Stop([.. s_train, "--out", "work", "--steps", "9", "--batch", "4000", "--start-over"], times: 2);

        // It was in the middle of a step that takes long.
        Assert.Equal(130, run.ExitCode);
        Assert.DoesNotContain("Stopped.", run.Errors, StringComparison.Ordinal);
        _retro.Done("verify", "work", "--quiet");
        Assert.Equal(before, Weights("work"));
    }

    /// <summary>The curve that lies beside a model is that of its training.</summary>
    [Fact]
    public void A_training_that_is_killed_before_its_first_checkpoint_leaves_the_steps_of_the_model_that_stays()
    {
        _retro.Build();
        _retro.Done([.. s_train, "--out", "work", "--steps", "2", "--quiet"]);
        string steps = Path.Combine(_retro["work"], "model", "steps.jsonl"), beside = steps + ".new", before = File.ReadAllText(steps);
        _retro.Run(
            (process, line) =>
            {
                if (line == "train the decoder ...")
                {
                    while (!process.HasExited && !File.Exists(beside) && File.ReadAllText(steps) == before)
                    {
                        Thread.Sleep(1);
                    }

                    process.Kill(entireProcessTree: true);
                }
            },
            [.. s_train, "--out", "work", "--steps", "100000", "--start-over"]);
        Assert.Equal(before, File.ReadAllText(steps));

        // It comes with the checkpoint, and what is left of one that was killed counts for nothing.
        _retro.Done([.. s_train, "--out", "work", "--steps", "3", "--seed", "2", "--start-over", "--quiet"]);
        Assert.Equal([1, 2, 3], Steps());
        Assert.False(File.Exists(beside));
        string own = File.ReadAllText(steps);

        // Killed between the checkpoint and the name of its steps.
        File.Move(steps, beside);
        File.WriteAllText(steps, before);
        File.SetLastWriteTimeUtc(beside, File.GetLastWriteTimeUtc(Path.Combine(_retro["work"], "model", "training.safetensors")).AddSeconds(-1));
        _retro.Done("train", "--out", "work", "--resume", "--steps", "4", "--quiet");
        Assert.Equal([1, 2, 3, 4], Steps());
        Assert.StartsWith(own, File.ReadAllText(steps), StringComparison.Ordinal);
        Assert.False(File.Exists(beside));

        long[] Steps() => [.. JsonLinesObserver.Read(steps).Select(step => step.Step)];
    }

    [Fact]
    public void What_is_stopped_before_it_was_saved_leaves_the_model_and_what_was_typed_for_it()
    {
        _retro.Build();
        _retro.Done([.. s_train, "--database", "work", "--out", "decoder", "--steps", "2", "--quiet"]);
        string[] fit = ["fit", "--base", "decoder", "--reader", "copying", "--database", "work", "--out", "copied", "--window", "64"];
        _retro.Done([.. fit, "--steps", "2", "--quiet"]);
        string typed = File.ReadAllText(Path.Combine(_retro["copied"], "retro.json"));
        byte[] before = Weights("copied");
        ChildProcess.Outcome run = Stop([.. fit, "--steps", "100000", "--start-over"], times: 1, "train copying");
        Assert.Equal(130, run.ExitCode);
        Assert.EndsWith("No step was saved, and what the folder held is as it was; the same command begins again.\n", run.Errors, StringComparison.Ordinal);
        Assert.Equal(typed, File.ReadAllText(Path.Combine(_retro["copied"], "retro.json")));
        Assert.Equal(before, Weights("copied"));
    }

    [Fact]
    public void A_server_answers_until_it_is_stopped()
    {
        _retro.Build();
        _retro.Done(["train", "--out", "work", "--steps", "2", "--seed", "3", "--quiet", .. CliRun.Tiny]);
        string answer = "";
        HashSet<string> drawn = [];
        ChildProcess.Outcome run = _retro.Run(
            (process, line) =>
            {
                if (line.StartsWith("work is served at ", StringComparison.Ordinal))
                {
                    using HttpClient http = new() { BaseAddress = new(line.Split(' ')[4]) };
                    answer = Write(http, """{"text":"How many stones has bridge 5?","ask":true}""");
                    drawn = [.. Enumerable.Range(0, 3).Select(_ => Write(http, """{"text":"The bridge","temperature":9}"""))];
                    CtrlC.Press(process);
                }
            },
            "serve", "--model", "work", "--port", "0", "--tokens", "4");
        Assert.Equal(0, run.ExitCode);
        Assert.EndsWith("Stopped. Nobody is served any more.\n", run.Errors, StringComparison.Ordinal);
        Assert.Contains("\"read\":\"in the prompt\"", answer, StringComparison.Ordinal);
        Assert.Contains("\"end\":", answer, StringComparison.Ordinal);
        Assert.True(drawn.Count > 1, "What was typed where the model was made is no seed of the requests.");

        static string Write(HttpClient http, string request)
        {
            using StringContent content = new(request, null, "application/json");
            return http.PostAsync("/api/write", content).GetAwaiter().GetResult().Content.ReadAsStringAsync().GetAwaiter().GetResult();
        }
    }

    [Fact]
    public async Task A_server_that_is_stopped_twice_ends_at_once()
    {
        _retro.Build();
        _retro.Done(["train", "--out", "work", "--steps", "2", "--quiet", .. CliRun.Tiny]);
        using HttpClient http = new();
        Task<HttpResponseMessage>? asked = null;
        ChildProcess.Outcome run = _retro.Run(
            (process, line) =>
            {
                if (line.StartsWith("work is served at ", StringComparison.Ordinal))
                {
                    // Far more than is written before it is cut off.
                    http.BaseAddress = new(line.Split(' ')[4]);
                    asked = http.PostAsync(
                        "/v1/completions",
                        Serving.Requests.Body("""{"model":"work","prompt":"The","n":128,"max_tokens":1024,"min_tokens":1024,"temperature":1}"""));
                    while (!process.HasExited && !asked.IsCompleted && !IsRunning(http))
                    {
                        Thread.Sleep(1);
                    }

                    CtrlC.Press(process);
                }
                else if (line.StartsWith("Stopping; ", StringComparison.Ordinal))
                {
                    CtrlC.Press(process);
                }
            },
            "serve", "--model", "work", "--port", "0");
        Assert.Equal(130, run.ExitCode); // of the signal
        Assert.DoesNotContain("Nobody is served any more.", run.Errors, StringComparison.Ordinal);
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => asked!);

        static bool IsRunning(HttpClient http)
            => http.GetStringAsync("/api/state").GetAwaiter().GetResult().Contains("\"running\":1", StringComparison.Ordinal);
    }

    private byte[] Weights(string folder) => File.ReadAllBytes(Path.Combine(_retro[folder], "model", "model.safetensors"));

    /// <summary>Ends it without a word once it has left a checkpoint and has gone on.</summary>
    private ChildProcess.Outcome Kill(string[] arguments, string folder, string stage) => _retro.Run(
        (process, line) =>
        {
            if (line == $"{stage} ...")
            {
                string next = Path.Combine(_retro[folder], "model", "trained-on.safetensors"); // which comes with the step after
                while (!process.HasExited && !File.Exists(next))
                {
                    Thread.Sleep(1);
                }

                process.Kill(entireProcessTree: true);
            }
        },
        arguments);

    /// <summary>Stops it once it trains; somewhere in the middle of it.</summary>
    /// <param name="arguments">What is run.</param>
    /// <param name="times">How often it is told to stop.</param>
    /// <param name="stage">Where.</param>
    /// <param name="steps">The file of the steps, which is empty until the first is done; null where one step takes long, or there are many.</param>
    private ChildProcess.Outcome Stop(string[] arguments, int times, string stage = "train the decoder", string? steps = null) => _retro.Run(
        (process, line) =>
        {
            if (line == $"{stage} ...")
            {
                while (steps is not null && !process.HasExited && new FileInfo(_retro[steps]) is not { Exists: true, Length: > 0 })
                {
                    Thread.Sleep(1);
                }

                Thread.Sleep(steps is null ? 500 : 0);
                CtrlC.Press(process);
            }
            else if (line.StartsWith("Stopping after ", StringComparison.Ordinal) && times > 1)
            {
                CtrlC.Press(process);
            }
        },
        arguments);
}
