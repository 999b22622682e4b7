using System.Globalization;
using Retro;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Quickstart;

/// <summary>Runs the stages of the sample one after the other, each with a bar that shows its rate and the time left.</summary>
internal static class Stages
{
    /// <summary>Runs one stage and gives back its result.</summary>
    public static T Run<T>(string name, Func<IProgress<StageProgress>, T> work)
        => AnsiConsole.Progress()
            .AutoClear(false)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = 28 }, new PercentageColumn(), new RateColumn(), new RemainingTimeColumn(), new ElapsedTimeColumn())
            .Start(context =>
            {
                ProgressTask bar = context.AddTask(Markup.Escape(name), maxValue: 1);
                T result = work(new BarProgress(name, bar));
                bar.Value = bar.MaxValue;
                bar.StopTask();
                return result;
            });

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
