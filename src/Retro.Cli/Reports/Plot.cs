using System.Text.RegularExpressions;
using OxyPlot;
using OxyPlot.Axes;
using OxyPlot.Series;

namespace Retro.Cli.Reports;

/// <summary>A line of a plot.</summary>
/// <param name="Name">What it shows, for the key.</param>
/// <param name="Points">The points in order of x; those that are not finite are left out.</param>
internal sealed record PlotSeries(string Name, IReadOnlyList<(double X, double Y)> Points);

/// <summary>A point with its interval, beside its name.</summary>
/// <param name="Name">What it is of.</param>
/// <param name="Value">The value.</param>
/// <param name="Low">Where the interval begins; the value itself where there is none.</param>
/// <param name="High">Where it ends.</param>
internal sealed record PlotInterval(string Name, double Value, double Low, double High);

/// <summary>Draws plots as SVG for a <see cref="Page"/>, whose colors they take, so that they are light or dark as the page is.</summary>
internal static partial class Plot
{
    /// <summary>A plot is as wide as a telephone, so that its text stays as large as the page's.</summary>
    private const int Width = 400, Height = 250;

    private const int RowHeight = 26, MostPoints = 200, MostSeries = 6, LongestName = 21, LeftOfNames = 148, Left = 56, Below = 44;

    // The renderer wants numbers; they are replaced by names of the page's colors.
    private static readonly OxyColor s_ink = OxyColor.FromRgb(1, 2, 10), s_line = OxyColor.FromRgb(1, 2, 11);

    /// <summary>Lines over a common x axis.</summary>
    /// <param name="title">What it shows.</param>
    /// <param name="x">What x is, with its unit.</param>
    /// <param name="y">What y is, with its unit.</param>
    /// <param name="series">The lines, six at most; long ones are drawn by running means.</param>
    /// <returns>A figure; nothing where no line has a point.</returns>
    public static string Lines(string title, string x, string y, params IReadOnlyList<PlotSeries> series)
    {
        PlotSeries[] drawn =
        [
            .. series.Select(one => one with { Points = Thin([.. one.Points.Where(point => double.IsFinite(point.X) && double.IsFinite(point.Y))]) })
                .Where(one => one.Points.Count > 0)
                .Take(MostSeries),
        ];
        if (drawn.Length == 0)
        {
            return "";
        }

        PlotModel model = New(x, Left);
        model.Axes.Add(Styled(new LinearAxis { Position = AxisPosition.Left }));
        for (int i = 0; i < drawn.Length; i++)
        {
            LineSeries line = new() { Color = Series(i), StrokeThickness = 1.8, MarkerFill = Series(i) };
            line.MarkerType = drawn[i].Points.Count < 3 ? MarkerType.Circle : MarkerType.None;
            line.Points.AddRange(drawn[i].Points.Select(point => new DataPoint(point.X, point.Y)));
            model.Series.Add(line);
        }

        return Figure(title, y, model, Height, [.. drawn.Select(one => one.Name)]);
    }

    /// <summary>Points with intervals, one below the other, and a line at 0.</summary>
    /// <param name="title">What it shows.</param>
    /// <param name="x">What x is, with its unit.</param>
    /// <param name="rows">The points, from above.</param>
    /// <returns>A figure; nothing where there is no point.</returns>
    public static string Intervals(string title, string x, IReadOnlyList<PlotInterval> rows)
    {
        PlotInterval[] drawn = [.. rows.Where(row => double.IsFinite(row.Value))];
        if (drawn.Length == 0)
        {
            return "";
        }

        PlotModel model = New(x, LeftOfNames);
        model.Axes[0].MinimumPadding = model.Axes[0].MaximumPadding = 0.05; // room for the points at both ends
        CategoryAxis names = new() { Position = AxisPosition.Left, StartPosition = 1, EndPosition = 0, GapWidth = 0 };
        names.Labels.AddRange(drawn.Select(row => Shorten(row.Name)));
        model.Axes.Add(Styled(names));
        LineSeries zero = new() { Color = s_ink, StrokeThickness = 1 };
        zero.Points.AddRange([new(0, -0.5), new(0, drawn.Length - 0.5)]);
        model.Series.Add(zero);
        for (int i = 0; i < drawn.Length; i++)
        {
            LineSeries interval = new() { Color = Series(0), StrokeThickness = 3 };
            interval.Points.AddRange([new(drawn[i].Low, i), new(drawn[i].High, i)]);
            LineSeries point = new() { MarkerType = MarkerType.Circle, MarkerSize = 5, MarkerFill = Series(0), Color = Series(0) };
            point.Points.Add(new(drawn[i].Value, i));
            model.Series.Add(interval);
            model.Series.Add(point);
        }

        return Figure(title, "", model, 70 + (RowHeight * drawn.Length), []);
    }

    private static OxyColor Series(int i) => OxyColor.FromRgb(1, 2, (byte)(i + 1));

    /// <param name="x">What x is.</param>
    /// <param name="left">Room for the labels of the other axis: the renderer does not know how wide the page's letters are.</param>
    private static PlotModel New(string x, int left)
    {
        PlotModel model = new()
        {
            DefaultFont = "system-ui,sans-serif", DefaultFontSize = 12, TextColor = s_ink, PlotAreaBorderColor = s_line,
            PlotMargins = new(left, 4, 12, Below), Padding = new(0),
        };
        model.Axes.Add(Styled(new LinearAxis { Position = AxisPosition.Bottom, Title = x, AxisTitleDistance = 8 }));
        return model;
    }

    private static T Styled<T>(T axis)
        where T : Axis
    {
        axis.MajorGridlineStyle = LineStyle.Solid;
        axis.MajorGridlineThickness = 0.6;
        axis.MajorGridlineColor = axis.TicklineColor = axis.ExtraGridlineColor = s_line;
        axis.MinorTickSize = 0;
        axis.MajorTickSize = 4;
        return axis;
    }

    private static string Figure(string title, string unit, PlotModel model, int height, IReadOnlyList<string> names)
    {
        string svg = new SvgExporter { Width = Width, Height = height, IsDocument = false }.ExportToString(model);
        svg = svg[svg.IndexOf("<svg", StringComparison.Ordinal)..];
        svg = Fixed().Replace(svg, $"viewBox=\"0 0 {Width} {height}\" role=\"img\" aria-label=\"{Page.Escape(title)}\"", 1);
        svg = Clip().Replace(svg, "");
        svg = FillAttribute().Replace(svg, match => $" style=\"fill:{match.Groups[1].Value}\"");
        svg = Marked().Replace(svg, match => match.Groups[1].Value switch { "10" => "var(--ink)", "11" => "var(--line)", var i => $"var(--series{i})" });
        string key = names.Count < 2 ? "" : $"<ul class=\"key\">{string.Concat(names.Select((name, i) =>
            $"<li><i style=\"background:var(--series{i + 1})\"></i>{Page.Escape(name)}</li>"))}</ul>";
        string of = unit.Length > 0 ? $" <small>({Page.Escape(unit)})</small>" : "";
        return $"<figure><figcaption>{Page.Escape(title)}{of}</figcaption>{key}{svg}</figure>";
    }

    /// <summary>Running means, so that the trend is seen behind the noise of single steps.</summary>
    private static (double X, double Y)[] Thin((double X, double Y)[] points)
        => points.Length <= MostPoints
            ? points
            : [.. points.Chunk((points.Length + MostPoints - 1) / MostPoints).Select(some => (some.Average(one => one.X), some.Average(one => one.Y)))];

    /// <summary>A name without its middle where it is long: those of one decoder's readers differ at their ends.</summary>
    private static string Shorten(string name) => name.Length > LongestName ? $"{name[..8]}…{name[^(LongestName - 9)..]}" : name;

    [GeneratedRegex("""width="\d+" height="\d+"(?= version)""")]
    private static partial Regex Fixed();

    // Nothing is drawn outside, and ids would have to differ between the plots of a page.
    [GeneratedRegex("""(?s)<defs>.*?</defs>|\s(clip-path|xmlns:xlink|version|xmlns|shape-rendering)="[^"]*"|(?<=>)\s+(?=<)""")]
    private static partial Regex Clip();

    [GeneratedRegex("\\sfill=\"(rgb\\([^\"]*\\))\"")]
    private static partial Regex FillAttribute();

    [GeneratedRegex(@"rgb\(1,2,(\d+)\)")]
    private static partial Regex Marked();
}
