using System.Globalization;
using Retro;
using Retro.Training;
using Spectre.Console;

namespace RetrofitSample;

/// <summary>Runs the stages of the sample one after the other, each with a bar and the time left.</summary>
internal static class Bars
{
    /// <summary>Runs one stage and gives back its result.</summary>
    public static T Run<T>(string name, Func<IProgress<StageProgress>, T> work) => Show(name, bar => work(new StageBar(bar)));

    /// <summary>Trains for a time.</summary>
    public static void Train(string name, TimeSpan time, Action<IProgress<TrainingProgress>> work) => Show(name, bar =>
    {
        work(new TrainingBar(name, time, bar));
        return true;
    });

    private static T Show<T>(string name, Func<ProgressTask, T> work)
        => AnsiConsole.Progress().AutoClear(false)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = 28 }, new PercentageColumn(), new RemainingTimeColumn(), new ElapsedTimeColumn())
            .Start(context =>
            {
                ProgressTask bar = context.AddTask(Markup.Escape(name), maxValue: 1);
                T result = work(bar);
                bar.Value = bar.MaxValue;
                bar.StopTask();
                return result;
            });

    private sealed class StageBar(ProgressTask bar) : IProgress<StageProgress>
    {
        public void Report(StageProgress value)
        {
            if (value.Total > 0)
            {
                bar.MaxValue = value.Total;
                bar.Value = value.Done;
            }
        }
    }

    private sealed class TrainingBar(string name, TimeSpan time, ProgressTask bar) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value)
        {
            bar.Description = Markup.Escape(string.Create(CultureInfo.InvariantCulture, $"{name}: step {value.Step}, loss {value.Loss:0.00}"));
            bar.MaxValue = time.TotalSeconds;
            bar.Value = Math.Min(value.Progress, 1) * time.TotalSeconds;
        }
    }
}
