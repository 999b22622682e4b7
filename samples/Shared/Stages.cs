using System.Globalization;
using Retro;
using Retro.Training;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Samples;

/// <summary>Runs the stages of the sample one after the other, each with a bar that shows its rate and the time left.</summary>
internal static class Stages
{
    /// <summary>Runs one stage and gives back its result.</summary>
    public static T Run<T>(string name, Func<IProgress<StageProgress>, T> work) => Show(name, bar => work(new BarProgress(name, bar)));

    /// <summary>Runs one stage that gives nothing back.</summary>
    public static void Run(string name, Action<IProgress<StageProgress>> work)
        => Run(name, progress =>
        {
            work(progress);
            return true;
        });

    /// <summary>Trains for a time and gives back what each step reported.</summary>
    public static List<TrainingProgress> Train(string name, TimeSpan time, Action<IProgress<TrainingProgress>> work)
        => Show(name, bar =>
        {
            StepProgress progress = new(name, time, bar);
            work(progress);
            return progress.Steps;
        });

    private static T Show<T>(string name, Func<ProgressTask, T> work)
        => AnsiConsole.Progress()
            .AutoClear(false)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = 28 }, new PercentageColumn(), new RateColumn(), new RemainingTimeColumn(), new ElapsedTimeColumn())
            .Start(context =>
            {
                ProgressTask bar = context.AddTask(Markup.Escape(name), maxValue: 1);
                T result = work(bar);
                bar.IsIndeterminate = false;
                bar.Value = bar.MaxValue;
                bar.StopTask();
                return result;
            });

    /// <summary>Keeps each step; the bar counts tokens up to what the time will allow at the rate so far.</summary>
    private sealed class StepProgress(string name, TimeSpan time, ProgressTask bar) : IProgress<TrainingProgress>
    {
        public List<TrainingProgress> Steps { get; } = [];

        public void Report(TrainingProgress value)
        {
            Steps.Add(value);
            bar.Description = Markup.Escape(string.Create(CultureInfo.InvariantCulture, $"{name}: step {value.Step}, loss {value.Loss:0.00}"));
            bar.MaxValue = Math.Max(value.TokensPerSecond * time.TotalSeconds, value.Tokens);
            bar.Value = value.Tokens;
        }
    }

    /// <summary>Moves a bar; called from whichever thread does the work.</summary>
    private sealed class BarProgress(string name, ProgressTask bar) : IProgress<StageProgress>
    {
        public void Report(StageProgress value)
        {
            bar.Description = value.Stage.Length == 0 || value.Stage == name ? Markup.Escape(name) : Markup.Escape($"{name}: {value.Stage}");
            bar.IsIndeterminate = value.Total <= 0;
            if (value.Total > 0)
            {
                bar.MaxValue = value.Total;
                bar.Value = value.Done;
            }
        }
    }

    /// <summary>Units a second, as measured over the last seconds.</summary>
    private sealed class RateColumn : ProgressColumn
    {
        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime)
            => new Text((task.Speed is { } speed and > 0 ? speed.ToString(speed >= 100 ? "#,0" : "0.0", CultureInfo.InvariantCulture) : "-") + "/s").RightJustified();
    }
}
