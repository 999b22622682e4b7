using Retro.Optimization;
using Retro.Training;
using static Retro.Tests.Training.Trainings;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

public sealed class TrainingOptionsTests
{
    /// <summary>The operating system is asked what the processor has, in place of the processor itself.</summary>
    [Fact]
    public void The_processor_is_trained_on_in_bfloat16_where_it_has_products_of_it_and_all_else_in_float32()
    {
        const string Cpu = "/proc/cpuinfo";
        bool fast = File.Exists(Cpu) && File.ReadLines(Cpu).Any(line => line.StartsWith("flags", StringComparison.Ordinal)
            && line.Contains("avx512_bf16", StringComparison.Ordinal));
        ScalarType expected = fast ? ScalarType.BFloat16 : ScalarType.Float32;
        Assert.Equal(expected, TrainingOptions.PreferredDtype());
        Assert.Equal(expected, TrainingOptions.PreferredDtype(CPU));
        Assert.Equal(ScalarType.Float32, TrainingOptions.PreferredDtype(META));
    }

    [Fact]
    public void The_warm_up_is_a_twentieth_of_the_steps_unless_it_is_said()
    {
        Assert.Equal([1, 1, 50, 3], new[]
        {
            new TrainingOptions { Steps = 1 }, new TrainingOptions { Steps = 20 }, new TrainingOptions(), new TrainingOptions { WarmupSteps = 3 },
        }.Select(options => options.Validate().Schedule().WarmupSteps));

        // By time, of the time.
        Assert.All([1, 2, 19, 30, 1000], steps =>
        {
            LearningRateSchedule schedule = new TrainingOptions { Steps = steps, TimeBudget = TimeSpan.FromMinutes(1) }.Validate().Schedule();
            Assert.InRange(schedule.RateAt(0), 0, 0.03 * schedule.Peak);
            Assert.Equal(schedule.Peak / 2, schedule.RateAt(0.025), 0.03 * schedule.Peak);
            Assert.Equal(schedule.Peak, schedule.RateAt(0.05), 12);
            Assert.InRange(schedule.RateAt(0.5), schedule.Final, 0.6 * schedule.Peak);
        });
    }

    [Fact]
    public void Every_fault_of_the_options_is_named()
    {
        RetroOptionsException exception = Assert.Throws<RetroOptionsException>(() => (Options with
        {
            WarmupSteps = 100,
            Accumulation = 0,
            MuonLearningRate = -1,
            CheckpointEvery = -5,
            CheckpointFolder = "",
            CheckpointInterval = TimeSpan.Zero,
            TimeBudget = TimeSpan.Zero,
            Optimizer = new() { Beta2 = 2 },
            Dtype = ScalarType.Float16,
            RetrievalRate = 0,
            ClosedBook = 2,
            MeasureEvery = -1,
            Measures = -1,
            Patience = 0,
        }).Validate());
        Assert.All(
            [
                "WarmupSteps", "Accumulation", "MuonLearningRate", "CheckpointEvery", "CheckpointFolder", "CheckpointInterval", "TimeBudget", "Optimizer.Beta2",
                "Dtype", "RetrievalRate", "ClosedBook",
                "MeasureEvery", "Measures", "Patience"
            ],
            part => Assert.Contains(part, exception.Message, StringComparison.Ordinal));
    }
}
