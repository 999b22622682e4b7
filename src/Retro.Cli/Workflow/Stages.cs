using System.Diagnostics;
using System.Globalization;
using Retro;
using Retro.Training;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Retro.Cli.Workflow;

/// <summary>
/// Runs the stages of a command one after the other: each with a bar that shows its rate and the time left, or, where there is no terminal, with a line now and
/// then; on the standard error, so that what is written into a file or through a pipe is the results alone.
/// </summary>
internal static class Stages
{
    private static readonly TimeSpan s_untilAskedAgain = TimeSpan.FromSeconds(0.2);
    private static IAnsiConsole s_console = Terminal.Errors();

    /// <summary>Whether nothing but results is shown: neither stages nor notes.</summary>
    public static bool Quiet { get; set; }

    /// <summary>Shows stages on the standard error as it is now.</summary>
    /// <param name="quiet">Whether nothing but results is shown.</param>
    public static void Prepare(bool quiet)
    {
        Quiet = quiet;
        s_console = Terminal.Errors();
    }

    /// <summary>Runs one stage and gives back its result.</summary>
    public static T Run<T>(string name, Func<IProgress<StageProgress>, T> work) => Show(name, bar => work(new StageReports(name, bar)));

    /// <summary>Runs one stage that gives nothing back.</summary>
    public static void Run(string name, Action<IProgress<StageProgress>> work)
        => Run(name, progress =>
        {
            work(progress);
            return true;
        });

    /// <summary>
    /// Runs a stage that makes what is missing of a database, such as an index, and leaves what is there: while another process changes the database, perhaps
    /// for the same, it waits, says for whom, and then takes what it finds.
    /// </summary>
    /// <param name="name">The stage.</param>
    /// <param name="make">Makes it, or opens what is there.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public static T Make<T>(string name, Func<IProgress<StageProgress>, T> make, CancellationToken cancellationToken) => Run(name, progress =>
    {
        string? told = null;
        while (true)
        {
            try
            {
                return make(progress);
            }
            catch (DatabaseException fault) when (fault.Holder is { } holder)
            {
                if (holder != told)
                {
                    told = holder;
                    progress.Report(new(name, 0, 0, $"waits for {holder}"));
                }

                cancellationToken.WaitHandle.WaitOne(s_untilAskedAgain);
                cancellationToken.ThrowIfCancellationRequested();
            }
        }
    });

    /// <summary>Trains for a time, or where there is none by steps, and gives back what each step reported.</summary>
    public static List<TrainingProgress> Train(string name, TimeSpan? time, Action<IProgress<TrainingProgress>> work)
        => Show(name, bar =>
        {
            FreedMemory.Keep();
            StepReports progress = new(name, time, bar);
            work(progress);
            return progress.Steps;
        });

    /// <summary>Writes a report into a file, which is the old one or the new one whole, prints it and says where it is.</summary>
    /// <param name="path">The file.</param>
    /// <param name="markdown">The report.</param>
    /// <param name="also">What else is to be said; null: nothing.</param>
    /// <exception cref="RetroException">It cannot be written.</exception>
    public static void Report(string path, string markdown, string? also = null)
    {
        Workspace.WriteText(path, markdown);
        Screen.Text(markdown + "\n");
        Screen.Note($"Report: {Path.GetFullPath(path)}{(also is null ? "" : $". {also}")}");
    }

    private static T Show<T>(string name, Func<IBar, T> work)
    {
        if (Quiet)
        {
            return work(new Nothing());
        }

        if (!s_console.Profile.Capabilities.Interactive)
        {
            Stopwatch clock = Stopwatch.StartNew();
            s_console.WriteLine($"{name} ...");
            T result = work(new Lines());
            s_console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: done in {clock.Elapsed.TotalSeconds:0.0} s"));
            return result;
        }

        // Where a stage is done, one line stays of it.
        Stopwatch time = Stopwatch.StartNew();
        T made = s_console.Progress()
            .AutoClear(true)
            .Columns(
                new TaskDescriptionColumn { Alignment = Justify.Left },
                new ProgressBarColumn { Width = 28 },
                new PercentageColumn(),
                new RateColumn(),
                new RemainingTimeColumn(),
                new ElapsedTimeColumn())
            .Start(context =>
            {
                ProgressTask bar = context.AddTask(Markup.Escape(name), maxValue: 1);
                T result = work(new Bar(bar));
                bar.IsIndeterminate = false;
                bar.Value = bar.MaxValue;
                bar.StopTask();
                return result;
            });
        s_console.MarkupLineInterpolated(CultureInfo.InvariantCulture, $"[green]✓[/] {name} [grey]{time.Elapsed.TotalSeconds:0.0} s[/]");
        return made;
    }

    /// <summary>Where a stage shows how far it is; called from whichever thread does the work.</summary>
    private interface IBar
    {
        /// <summary>Shows a state. A total of 0 or less is unknown.</summary>
        void Show(string what, double done, double total);
    }

    private sealed class Nothing : IBar
    {
        public void Show(string what, double done, double total)
        {
        }
    }

    private sealed class Bar(ProgressTask task) : IBar
    {
        public void Show(string what, double done, double total)
        {
            task.Description = Markup.Escape(what);
            task.IsIndeterminate = total <= 0;
            if (total > 0)
            {
                task.MaxValue = total;
                task.Value = done;
            }
        }
    }

    /// <summary>A line every ten seconds, with the rate since the beginning and the time left at that rate.</summary>
    private sealed class Lines : IBar
    {
        private static readonly TimeSpan s_between = TimeSpan.FromSeconds(10);
        private readonly Stopwatch _clock = Stopwatch.StartNew();
        private readonly Lock _lock = new();
        private TimeSpan _next = s_between;

        public void Show(string what, double done, double total)
        {
            lock (_lock)
            {
                TimeSpan now = _clock.Elapsed;
                if (now < _next)
                {
                    return;
                }

                _next = now + s_between;
                double rate = done / now.TotalSeconds;
                TimeSpan left = TimeSpan.FromSeconds(rate > 0 && total > done ? (total - done) / rate : 0);
                string share = total > 0
                    ? string.Create(CultureInfo.InvariantCulture, $"{done / total:0 %}, {rate:#,0.#}/s, {Clock(left)} left")
                    : "...";
                s_console.WriteLine($"  {what}: {share}");
            }
        }
    }

    /// <summary>Minutes and seconds, and hours where there are any.</summary>
    internal static string Clock(TimeSpan time)
        => string.Create(CultureInfo.InvariantCulture, $"{(time.TotalHours >= 1 ? $"{(long)time.TotalHours}:" : "")}{time:mm\\:ss}");

    /// <summary>Keeps each step; the bar counts tokens up to what the time will allow at the rate so far.</summary>
    private sealed class StepReports(string name, TimeSpan? time, IBar bar) : IProgress<TrainingProgress>
    {
        public List<TrainingProgress> Steps { get; } = [];

        public void Report(TrainingProgress value)
        {
            Steps.Add(value);
            bar.Show(
                string.Create(CultureInfo.InvariantCulture, $"{name}: step {value.Step}, loss {value.Loss:0.00} nats a token"),
                value.Tokens,
                Math.Max(time is { } budget ? value.TokensPerSecond * budget.TotalSeconds : value.Tokens / value.Progress, value.Tokens));
        }
    }

    private sealed class StageReports(string name, IBar bar) : IProgress<StageProgress>
    {
        public void Report(StageProgress value)
        {
            if (value.Message is { } message && !Quiet)
            {
                s_console.WriteLine($"  {message}");
            }

            bar.Show(
                value.Loss is { } loss ? string.Create(CultureInfo.InvariantCulture, $"{name}, loss {loss:0.00} nats") : name, value.Done, value.Total);
        }
    }

    /// <summary>Units a second, as measured over the last seconds.</summary>
    private sealed class RateColumn : ProgressColumn
    {
        /// <inheritdoc/>
        protected override bool NoWrap => true;

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime)
            => new Text(task.Speed is { } speed and > 0 && task.MaxValue > 1 ? $"{Shown(speed)}/s" : "-").RightJustified();

        private static string Shown(double speed) => speed.ToString(speed >= 100 ? "#,0" : "0.0", CultureInfo.InvariantCulture);
    }
}
