using System.Globalization;
using Retro.Checkpoints;
using Retro.Training;
using static TorchSharp.torch;

namespace Retro.Distributed.Tests;

/// <summary>Several processes train as one does. Each test compares what they wrote.</summary>
public sealed class DistributedTests(Runs runs) : IClassFixture<Runs>
{
    private const double Close = 1e-6;

    [Theory]
    [InlineData(1, "plain")]
    [InlineData(2, "plain")]
    [InlineData(4, "plain")]
    [InlineData(2, "sharded", "plain")]
    [InlineData(4, "sharded", "plain")]
    [InlineData(2, "muon")]
    [InlineData(4, "muon")]
    [InlineData(2, "muon-sharded", "muon")]
    [InlineData(4, "muon-sharded", "muon")]
    [InlineData(2, "dropout")]
    [InlineData(4, "dropout")]
    [InlineData(2, "recomputed")]
    [InlineData(4, "recomputed")]
    [InlineData(2, "closed-book")]
    [InlineData(4, "closed-book")]
    [InlineData(2, "six")]
    [InlineData(4, "six")]
    [InlineData(4, "stepped")]
    [InlineData(2, "wide")]
    [InlineData(4, "wide")]
    [InlineData(2, "wide-sharded", "wide")]
    [InlineData(4, "wide-sharded", "wide")]
    [InlineData(2, "wide-recomputed", "wide")]
    [InlineData(4, "wide-recomputed", "wide")]
    public void The_number_of_processes_changes_weights_and_optimizer_by_rounding_alone(int processes, string scenario, string? alone = null)
    {
        Together.Require();
        double largest = Difference(Path.Combine(runs.Of(0), alone ?? scenario), Path.Combine(runs.Of(processes), scenario));
        TestContext.Current.TestOutputHelper?.WriteLine($"{processes} processes, {scenario}: differs by {largest:0.0e0}");
        Assert.InRange(largest, 0, Close);
    }

    [Theory]
    [InlineData("sharded", "plain")]
    [InlineData("bfloat16-sharded", "bfloat16")]
    [InlineData("wide-sharded", "wide")]
    public void Two_processes_with_a_share_of_the_optimizer_each_have_the_bits_of_two_with_all_of_it(string sharded, string whole)
    {
        Together.Require();
        Assert.Equal(0, Difference(Path.Combine(runs.Of(2), whole), Path.Combine(runs.Of(2), sharded)));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void Each_process_is_told_the_loss_and_the_tokens_of_all(int processes)
    {
        Together.Require();
        string[] alone = File.ReadAllLines(Path.Combine(runs.Of(0), "plain-0.txt"));
        Assert.Equal(8, alone.Length);
        for (int rank = 0; rank < processes; rank++)
        {
            string[] lines = File.ReadAllLines(Path.Combine(runs.Of(processes), $"plain-{rank}.txt"));
            Assert.Equal(alone.Length, lines.Length);
            foreach ((string expected, string came) in alone.Zip(lines))
            {
                double[] one = [.. expected.Split(' ').Select(double.Parse)], other = [.. came.Split(' ').Select(double.Parse)];
                Assert.Equal(one[..2], other[..2]);
                Assert.Equal(one[2], other[2], 2e-5);
                Assert.Equal(one[3], other[3], 2e-4);
            }
        }
    }

    [Theory]
    [InlineData("until", "until-sharded")]
    [InlineData("until", "until")]
    public void A_training_goes_on_with_any_number_of_processes(string first, string second)
    {
        Together.Require();
        using TemporaryFolder folder = new();
        Together.Done(0, folder.Path, $"{first}=2");
        Together.Done(2, folder.Path, $"{second}=4");
        Together.Done(4, folder.Path, $"{second}=6");
        Together.Done(0, folder.Path, $"{first}=8");
        // Begun with other weights than the plain one: both of this.
        Together.Done(0, folder["whole"], $"{first}=8");
        Assert.InRange(Difference(Path.Combine(folder["whole"], "until"), folder["until"]), 0, Close);
    }

    [Fact]
    public void As_many_processes_go_on_with_the_same_bits()
    {
        Together.Require();
        using TemporaryFolder folder = new();
        Together.Done(2, folder.Path, "until-sharded=3");
        Together.Done(2, folder.Path, "until-sharded=8");
        Together.Done(2, folder["whole"], "until-sharded=8");
        Assert.Equal(0, Difference(Path.Combine(folder["whole"], "until"), folder["until"]));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void The_first_process_measures_and_all_end_when_it_gets_no_better(int processes)
    {
        Together.Require();
        string alone = File.ReadAllText(Path.Combine(runs.Of(0), "measured-0.txt"));
        Assert.Equal("6 steps, best 1, asked 3, watched 3", alone);
        Assert.Equal(alone, File.ReadAllText(Path.Combine(runs.Of(processes), "measured-0.txt")));
        for (int rank = 1; rank < processes; rank++)
        {
            Assert.Equal("6 steps, best 1, asked 0, watched 0", File.ReadAllText(Path.Combine(runs.Of(processes), $"measured-{rank}.txt")));
        }
    }

    /// <summary>The second one computes with other instructions, as the processor of another machine would.</summary>
    [Fact]
    public void Processors_that_round_differently_train_together_and_go_on()
    {
        Together.Require();
        using TemporaryFolder folder = new(), alone = new();
        Together.DoneWithUnlikeProcessors(folder.Path, "twice");
        Together.Done(0, alone.Path, "twice");
        string[][] said = [.. Enumerable.Range(0, 2).Select(rank => File.ReadAllText(folder[$"twice-{rank}.txt"]).Split(", "))];
        Assert.All(said, one => Assert.Equal(["nothing", "8 steps", said[0][2]], one)); // and the same weights after the first run
        Assert.All([0, 1], rank => Assert.Equal("nothing", File.ReadAllText(folder[$"another-{rank}.txt"])));
        Assert.InRange(Difference(alone["twice"], folder["twice"]), 0, 10 * Close); // Muon blows rounding up
    }

    [Theory]
    [InlineData("other-options", "options.LearningRate: 0.001 in rank 0 of 2 on ", "0.002 in rank 1 of 2 on ")]
    [InlineData("other-config", "feed_forward_size: 32 in rank 0 of 2 on ", "48 in rank 1 of 2 on ")]
    [InlineData("other-data", "data: random in rank 0 of 2 on ", "other in rank 1 of 2 on ")]
    [InlineData("other-weights", "weights (SHA-256): ", " in rank 1 of 2 on ")]
    [InlineData("crowded", "There are 2 processes and 1 batches in a step", "start at most as many processes as there are batches")]
    [InlineData("diverged", "The gradient was not finite in 2 steps in a row", "lower the learning rate")]
    [InlineData("unwritable", "file/checkpoint")]
    [InlineData("other-folder", "/other-folder\" in rank 0 of 2 on ", "none in rank 1 of 2 on ", "all name the same CheckpointFolder")]
    [InlineData("other-measure", "measure: given in rank 0 of 2 on ", "none in rank 1 of 2 on ")]
    [InlineData("other-parameters", "trained parameters: ", " in rank 1 of 2 on ")]
    public void What_cannot_be_trained_together_is_refused_by_every_process(string scenario, params string[] parts)
    {
        Together.Require();
        for (int rank = 0; rank < 2; rank++)
        {
            string said = File.ReadAllText(Path.Combine(runs.Of(2), $"{scenario}-{rank}.txt"));
            Assert.All(parts, part => Assert.Contains(part, said, StringComparison.Ordinal));
            Assert.StartsWith(scenario == "unwritable" ? "CheckpointException" : "TrainingException", said, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void Sums_of_every_type_and_size_reach_every_process(int processes)
    {
        Together.Require();
        for (int rank = 0; rank < processes; rank++)
        {
            Assert.StartsWith(
                $"rank {rank} of {processes} on ", File.ReadAllText(Path.Combine(runs.Of(processes), $"exchange-{rank}.txt")), StringComparison.Ordinal);
            Said(processes, rank, "not-contiguous", "is not contiguous");
            Said(processes, rank, "not-summed", "expected float32, float64 or int64");
            Said(processes, rank, "again", "joined the others before");
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void What_all_open_is_made_by_the_first_while_the_others_wait(int processes)
    {
        Together.Require();
        Said(processes, 0, "by-first", "CheckpointException: There is no room.");
        for (int rank = 1; rank < processes; rank++)
        {
            Said(processes, rank, "by-first", $"RetroException: What all processes were to open was not made by rank 0 of {processes} on ");
            Said(processes, rank, "by-first", ": There is no room.");
        }
    }

    /// <summary>Launchers that OpenMPI does not know start processes that train alone, each the whole.</summary>
    [Theory]
    [InlineData("PMI_SIZE", "4", true)]
    [InlineData("SLURM_STEP_NUM_TASKS", "2", true)]
    [InlineData("SLURM_STEP_NUM_TASKS", "1", false)]
    [InlineData("PMI_SIZE", "", false)]
    [InlineData("SLURM_NTASKS", "4", false)] // a batch script's, whose own process is one
    public void Several_processes_that_MPI_does_not_join_are_told(string variable, string value, bool told)
        => Assert.Equal(told ? variable : null, MpiExchange.Unjoined(name => name == variable ? value : null));

    /// <summary>As MPI itself knows it: the worker sees none of mpirun's variables, as under another launcher.</summary>
    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void Each_process_knows_its_place_on_its_machine_whoever_started_it(int processes)
    {
        Together.Require();
        Assert.All(Enumerable.Range(0, processes), rank => Said(processes, rank, "placed", $"{rank} of its machine, several machines: False"));
    }

    /// <summary>Of the cores that processes may use each has a share, however a launcher has bound them, and two threads of a core are one.</summary>
    [Theory]
    [InlineData("0-15", "0-15", "0-15", 16, 4)]
    [InlineData("0-15", "", "0-15", 16, 4)]
    [InlineData("", "0-15", "", 16, 8)]
    [InlineData("0-7", "0-7", "8-15", 16, 4)]
    [InlineData("0-3,8,10", "0-3,8,10", "4-7", 16, 4)]
    [InlineData("0,1", "0,1", "2,3", 16, 1)]
    [InlineData("0-15", "0-15", "0-15", 3, 1)]
    [InlineData("5", "5", "5", 16, 1)]
    public void Each_process_has_its_share_of_the_cores_that_it_may_use(string own, string first, string second, int most, int expected)
        => Assert.Equal(expected, Processors.Threads(own, [first, second], most, processor => $"{processor / 2}"));

    [Theory]
    [InlineData("0", "1", "0-3", true)]
    [InlineData("0", "1", "0-2", false)]
    [InlineData("0-15", "0-15", "0-15", false)]
    [InlineData("0", "", "0-15", false)]
    public void That_half_of_the_cores_or_more_are_left_is_told(string first, string second, string machine, bool told)
        => Assert.Equal(told, Processors.LeavesHalf([first, second], machine, processor => $"{processor}"));

    /// <summary>Under mpirun, MKL gives torch one thread whatever there is, and OpenMPI binds a process to one core.</summary>
    [Theory]
    [InlineData("none")]
    [InlineData("core")]
    public void Torch_has_the_threads_that_its_process_has_cores(string bind)
    {
        Together.Require();
        int cores = Processors.Cores(Processors.OfMachine, Processors.CoreOf), own = Processors.Cores(Processors.Own, Processors.CoreOf);
        Assert.SkipUnless(cores > 1 && own == cores && Environment.ProcessorCount >= cores, "Torch has one thread anyway, or the tests are bound.");
        using TemporaryFolder folder = new();
        ChildProcess.Outcome outcome = Together.RunBound(bind, folder.Path, "threads");
        Assert.True(outcome.ExitCode == 0, outcome.Output + outcome.Errors);
        Assert.Equal(bind == "none" ? $"{cores}" : "1", File.ReadAllText(folder["threads-0.txt"]).Trim());
        Assert.Equal(bind == "core", outcome.Errors.Contains($"may use 1 of its {cores} cores", StringComparison.Ordinal));
    }

    /// <summary>
    /// A process that waits takes no core from the one that it waits for, which measures or writes: it sleeps, a second with pauses of 50 ms at most. What
    /// keeps its core gives it away by itself hardly ever.
    /// </summary>
    [Theory]
    [InlineData("gather")]
    [InlineData("broadcast")]
    [InlineData("sum")]
    public void A_process_that_waits_for_another_sleeps(string wait)
    {
        Together.Require();
        using TemporaryFolder folder = new();
        Together.DoneWithoutYielding(2, folder.Path, "waited");
        string[] lines = File.ReadAllLines(folder["waited-1.txt"]);
        long sleeps = long.Parse(lines.Single(line => line.StartsWith(wait, StringComparison.Ordinal)).Split(' ')[1], CultureInfo.InvariantCulture);
        TestContext.Current.TestOutputHelper?.WriteLine($"{wait}: slept {sleeps} times");
        Assert.InRange(sleeps, 8, long.MaxValue);
    }

    [Fact]
    public void Without_nccl_it_is_said_what_to_install()
    {
        Together.Require();
        Assert.SkipWhen(System.Runtime.InteropServices.NativeLibrary.TryLoad("libnccl.so.2", out _), "NCCL is on this machine.");
        Said(2, 0, "nccl", "libnccl.so.2 cannot be loaded");
        Said(2, 1, "nccl", "Install NCCL 2");
    }

    [Fact]
    public void A_process_beyond_the_GPUs_that_are_listed_takes_none_that_is_not()
    {
        Together.Require();
        Assert.All([0, 1, 2, 3], rank => Said(4, rank, "too-few-gpus", "is number 2 of its machine, from 0, and CUDA_VISIBLE_DEVICES lists 2 GPUs"));
    }

    [Fact]
    public void Processes_with_a_gpu_each_train_as_one_gpu_does()
    {
        Together.Require();
        TorchLibrary.Require();
        Assert.SkipUnless(TorchSharp.torch.cuda.is_available(), "There is no GPU on this machine.");
        using TemporaryFolder folder = new();
        Together.Done(TorchSharp.torch.cuda.device_count(), folder.Path, "gpus");
        string[] among = ["gpus", "gpus-sharded"];
        Assert.All(among, name => Assert.InRange(Difference(Path.Combine(folder.Path, "gpu"), Path.Combine(folder.Path, name)), 0, Close));
        Assert.InRange(Difference(Path.Combine(folder.Path, "gpu-muon"), Path.Combine(folder.Path, "gpus-muon")), 0, Close);
    }

    [Theory]
    [InlineData("failing")]
    [InlineData("caught")]
    public void A_process_that_fails_ends_the_others_and_is_named(string scenario)
    {
        Together.Require();
        using TemporaryFolder folder = new();
        ChildProcess.Outcome outcome = Together.Run(2, folder.Path, scenario);
        Assert.NotEqual(0, outcome.ExitCode);
        Assert.Contains($"Retro: rank 1 of 2 on {Environment.MachineName} ends the training of all processes: ", outcome.Errors, StringComparison.Ordinal);
        Assert.Contains("The disk of this process is gone.", outcome.Errors, StringComparison.Ordinal);
        RequireWhole(folder["ending"]);
    }

    /// <summary>In a program whose Main awaits, what is used is disposed before anybody is told of an exception.</summary>
    [Fact]
    public void A_process_that_leaves_while_others_exchange_ends_them_and_says_why()
    {
        Together.Require();
        using TemporaryFolder folder = new();
        ChildProcess.Outcome outcome = Together.Run(2, folder.Path, "left");
        Assert.NotEqual(0, outcome.ExitCode);
        Assert.Contains($"Retro: rank 1 of 2 on {Environment.MachineName} ends the training of all processes: ", outcome.Errors, StringComparison.Ordinal);
        Assert.Contains("The disk of this process is gone.", outcome.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void A_process_that_is_killed_ends_the_others_and_leaves_a_whole_checkpoint()
    {
        Together.Require();
        using TemporaryFolder folder = new();
        ChildProcess.Outcome outcome = Together.Run(2, folder.Path, "killed");
        Assert.NotEqual(0, outcome.ExitCode);
        Assert.Contains("rank 1", outcome.Output + outcome.Errors, StringComparison.Ordinal); // mpirun's own words
        RequireWhole(folder["ending"]);
    }

    private static void RequireWhole(string checkpoint)
    {
        using Modeling.RetroModel model = Checkpoint.Load(checkpoint);
        using Trainer trainer = new(model, new());
        trainer.Load(checkpoint);
        Assert.InRange(trainer.StepsDone, 1, 5);
    }

    private void Said(int processes, int rank, string scenario, string part)
        => Assert.Contains(part, File.ReadAllText(Path.Combine(runs.Of(processes), $"{scenario}-{rank}.txt")), StringComparison.Ordinal);

    /// <summary>The largest difference of all tensors of two trainings: weights, averages and what the optimizer remembers.</summary>
    private static double Difference(string expected, string came)
    {
        using Safetensors one = Safetensors.Open(Path.Combine(expected, Trainer.StateFile)), other = Safetensors.Open(Path.Combine(came, Trainer.StateFile));
        Assert.Equal(one.Entries.Select(entry => entry.Name), other.Entries.Select(entry => entry.Name));
        Assert.Contains(one.Entries, entry => entry.Name.StartsWith("optimizer/", StringComparison.Ordinal));
        return one.Entries.Max(entry =>
        {
            using Tensor left = one.Read(entry.Name).to_type(ScalarType.Float64), right = other.Read(entry.Name).to_type(ScalarType.Float64);
            Assert.Equal(left.shape, right.shape);
            using Tensor largest = (left - right).abs().max();
            return largest.item<double>() is double value && double.IsNaN(value) ? double.PositiveInfinity : value; // the greatest of others and NaN is not NaN
        });
    }
}
