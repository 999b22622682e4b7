using System.Text.Json.Nodes;
using Retro.Modeling;
using Retro.Tests.Modeling;
using Retro.Training;
using Tensorboard;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>Files of a training's steps: what they hold, and what they hold after an interruption.</summary>
public sealed class ObserverTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void An_event_file_has_the_bytes_of_TensorBoards_own_writer()
    {
        string reference = Path.Combine(Fixtures.Own, "tensorboard"), path = _folder["events"];
        using (TensorBoardFile file = new(path, At(1_700_000_000)))
        {
            foreach (JsonNode? scalar in JsonNode.Parse(File.ReadAllText(Path.Combine(reference, "expected.json")))!.AsArray())
            {
                file.Write(At((double)scalar!["wall_time"]!), (long)scalar["step"]!, (string)scalar["tag"]!, (double)scalar["value"]!);
            }
        }

        Assert.Equal(File.ReadAllBytes(Path.Combine(reference, "events.out.tfevents.1700000000.host")), File.ReadAllBytes(path));

        static DateTimeOffset At(double seconds) => DateTimeOffset.UnixEpoch.AddSeconds(seconds);
    }

    /// <summary>Those of a training of weeks have no room there.</summary>
    [Fact]
    public void Lines_that_stay_are_never_all_in_memory()
    {
        const int Count = 1000;
        string path = _folder["steps"];
        File.WriteAllLines(path, Enumerable.Range(1, Count).Select(step => $"{step}"));
        WeakReference? early = null;
        bool? isHeld = null;
        using (StepLines lines = new(path, null, "", StepOf))
        {
            lines.Add(Count, "last");
        }

        Assert.False(isHeld);
        string[] kept = [.. Enumerable.Range(1, Count - 1).Select(step => $"{step}"), "last"];
        Assert.Equal(kept, File.ReadAllLines(path));

        long? StepOf(string line)
        {
            long step = long.Parse(line, System.Globalization.CultureInfo.InvariantCulture);
            if (step == 20)
            {
                early = new(line);
            }
            else if (step == Count)
            {
                GC.Collect();
                isHeld = early!.IsAlive;
            }

            return step;
        }
    }

    [Fact]
    public void The_event_files_of_a_run_that_goes_on_lie_side_by_side()
    {
        foreach (long step in new[] { 1, 300 })
        {
            using TensorBoardObserver observer = new(_folder["run"], new StandingClock());
            observer.Report(Step(step));
        }

        string[] files = Directory.GetFiles(_folder["run"]);
        Assert.Equal(2, files.Length);
        byte[][] bytes = [.. files.Order(StringComparer.Ordinal).Select(File.ReadAllBytes)];
        Assert.True(bytes[0].AsSpan().IndexOf("loss/off"u8) > 0 && bytes[0].AsSpan().IndexOf("measure"u8) < 0, "what a step has is written, and no more");

        // The steps differ alone: 300 takes a byte more where the file begins and in each of the eight scalars.
        Assert.Equal(bytes[0].Length + 9, bytes[1].Length);
        Assert.Throws<TrainingException>(() => new TensorBoardFile(files[0], DateTimeOffset.UnixEpoch));
    }

    /// <summary>As TensorBoard's event_accumulator reads: the first beginning of a run says nothing, each other takes out its step and later ones.</summary>
    /// <param name="byOne">Whether one observer is told of all runs, as where a training is loaded again within one process.</param>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Steps_done_again_take_the_place_of_those_that_TensorBoard_has(bool byOne)
    {
        TrainingProgress[][] runs = [[Step(1), Step(2), Step(3)], [Step(3) with { Loss = 9 }, Step(4)], [Step(4) with { Loss = 8 }, Step(5)]];
        foreach (TrainingProgress[] run in byOne ? [[.. runs.SelectMany(one => one)]] : runs)
        {
            using TensorBoardObserver observer = new(_folder["run"], new StandingClock());
            Array.ForEach(run, observer.Report);
        }

        List<(long Step, float Loss)> drawn = [];
        bool isRestart = false;
        foreach (byte[] file in Directory.GetFiles(_folder["run"]).Order(StringComparer.Ordinal).Select(File.ReadAllBytes))
        {
            for (int at = 0, length; at < file.Length; at += length + 16) // a record's length and three checksums are around it
            {
                length = (int)BitConverter.ToUInt64(file, at);
                Event read = Event.Parser.ParseFrom(file, at + 12, length);
                if (read.SessionLog?.Status == SessionLog.Types.SessionStatus.Start)
                {
                    drawn.RemoveAll(one => isRestart && one.Step >= read.Step);
                    isRestart = true;
                }

                drawn.AddRange((read.Summary?.Value ?? []).Where(value => value.Tag == "loss/train").Select(value => (read.Step, value.SimpleValue)));
            }
        }

        Assert.Equal([(1, 2.5f), (2, 2.5f), (3, 9f), (4, 8f), (5, 2.5f)], drawn);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Lines_say_what_the_steps_said_and_steps_done_again_replace_theirs(bool byOne)
    {
        string csv = _folder["steps.csv"], json = _folder["steps.jsonl"];
        TrainingProgress[] first = [Step(1), Step(2) with { GradientNorm = double.NaN }, Step(3)], again = [Step(3) with { Loss = 9 }, Step(4)];
        if (byOne)
        {
            Write([.. first, .. again]);
        }
        else
        {
            Write(first);
            File.AppendAllText(csv, "4,0.5"); // a process was killed while it wrote
            File.AppendAllText(json, "{\"step\":4,\"lo");
            Write(again);
        }

        TrainingProgress[] expected = [first[0], first[1], .. again];
        Assert.Equal(expected, JsonLinesObserver.Read(json));
        string[] lines = File.ReadAllLines(csv);
        Assert.Equal("step,loss/train,gradient_norm,learning_rate,tokens,tokens_per_second,seconds,measure,loss/off,loss/on", lines[0]);
        Assert.Equal(
            ["1,2.5,1,0.001,100,50,2,,4,3.5", "2,2.5,NaN,0.001,200,50,4,,4,3.5", "3,9,1,0.001,300,50,6,,4,3.5", "4,2.5,1,0.001,400,50,8,,4,3.5"], lines[1..]);

        void Write(TrainingProgress[] steps)
        {
            using CsvObserver table = new(csv);
            using JsonLinesObserver rows = new(json);
            Array.ForEach(steps, table.Report);
            Array.ForEach(steps, rows.Report);
        }
    }

    [Theory]
    [InlineData("steps.csv")]
    [InlineData("steps.jsonl")]
    public void A_file_that_is_there_and_holds_no_steps_is_refused_and_stays_as_it_is(string name)
    {
        const string Other = "{\"id\":1,\"text\":\"The river.\"}\nmeasure,value\n";
        string path = _folder[name];
        File.WriteAllText(path, Other);
        using CsvObserver table = new(path);
        using JsonLinesObserver rows = new(path);

        IProgress<TrainingProgress> observer = name.EndsWith('v') ? table : rows;
        string message = Assert.Throws<TrainingException>(() => observer.Report(Step(1))).Message;

        Assert.Contains("name another file", message, StringComparison.Ordinal);
        Assert.Equal(Other, File.ReadAllText(path));
    }

    /// <summary>A disk that was full at the first step leaves a file that no later training could go on with.</summary>
    [Theory]
    [InlineData("steps.csv", "step,loss/tr")]
    [InlineData("steps.jsonl", "{\"step\":1,\"pro")]
    [InlineData("steps.jsonl", "{\"s")]
    public void A_first_line_that_was_cut_off_goes(string name, string cut)
    {
        string path = _folder[name];
        File.WriteAllText(path, cut);
        using (CsvObserver table = new(path))
        using (JsonLinesObserver rows = new(path))
        {
            (name.EndsWith('v') ? (IProgress<TrainingProgress>)table : rows).Report(Step(1));
        }

        string[] lines = File.ReadAllLines(path);
        Assert.DoesNotContain(cut, lines);
        Assert.Equal(name.EndsWith('v') ? 2 : 1, lines.Length);
    }

    /// <summary>What is left over must not fail once more where the observer is disposed, in place of what ended the training.</summary>
    [Theory]
    [InlineData("steps.csv")]
    [InlineData("steps.jsonl")]
    [InlineData("events")]
    public void A_full_disk_is_told_once(string name)
    {
        using MountedDisk disk = new("32k");
        TrainingException fault = Assert.Throws<TrainingException>(() =>
        {
            IProgress<TrainingProgress> observer = name switch
            {
                "steps.csv" => new CsvObserver(disk[name]),
                "steps.jsonl" => new JsonLinesObserver(disk[name]),
                _ => new TensorBoardObserver(disk[name]),
            };
            using IDisposable closed = (IDisposable)observer;
            for (long step = 1; step < 10_000; step++)
            {
                observer.Report(Step(step));
            }
        });
        Assert.Contains(disk[name], fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_training_is_looked_at_as_often_as_asked_and_nothing_is_decided_by_it()
    {
        manual_seed(3);
        using RetroModel model = new(SmallModel.Config);
        TrainingOptions options = new() { Steps = 5, WarmupSteps = 0, MeasureEvery = 2, CheckpointFolder = _folder["model"] };
        List<(long, TrainingWatch?)> told = [];
        using (Trainer trainer = new(model, options)
        {
            Watch = watched =>
            {
                Assert.False(watched.training);
                return new(told.Count, 1);
            },
        })
        {
            trainer.Run(new CopyingData(SmallModel.Config, 2, 3, seed: 1), new Reports<TrainingProgress>(done => told.Add((done.Step, done.Watched))));
            Assert.Null(trainer.BestMeasure);
        }

        Assert.Equal([(1, null), (2, new(1, 1)), (3, null), (4, new(3, 1)), (5, new(4, 1))], told);
        Assert.False(Directory.Exists(Path.Combine(_folder["model"], Trainer.BestFolder)));
    }

    private static TrainingProgress Step(long step) => new(step, 0.1 * step, 2.5, 1, 0.001, 100 * step, 50, TimeSpan.FromSeconds(2 * step))
    {
        Watched = new(4, 3.5),
    };

    private sealed class StandingClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch.AddDays(20_000);
    }
}
