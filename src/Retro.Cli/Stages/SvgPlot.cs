using System.Globalization;
using System.Text;

namespace Samples;

/// <summary>A line of a plot.</summary>
/// <param name="Name">What the line shows, for the legend.</param>
/// <param name="Points">The points in order of x; points that are not finite are left out.</param>
internal sealed record PlotSeries(string Name, IReadOnlyList<(double X, double Y)> Points);

/// <summary>Draws the plots that reports hold, as SVG text: no library, opens in every browser.</summary>
internal static class SvgPlot
{
    private const int Width = 720;
    private const int Height = 360;
    private const int Left = 70;
    private const int Right = 20;
    private const int Top = 44;
    private const int Bottom = 52;

    private static readonly string[] s_colors = ["#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2"];

    /// <summary>Draws lines over a common x axis.</summary>
    /// <param name="title">The plot's title.</param>
    /// <param name="xLabel">What x is, with its unit.</param>
    /// <param name="yLabel">What y is, with its unit.</param>
    /// <param name="series">The lines; at least one finite point in all.</param>
    /// <returns>One <c>svg</c> element.</returns>
    /// <exception cref="ArgumentException">No line has a finite point.</exception>
    public static string Lines(string title, string xLabel, string yLabel, params IReadOnlyList<PlotSeries> series)
    {
        ArgumentNullException.ThrowIfNull(series);
        List<PlotSeries> finite = series
            .Select(s => s with { Points = s.Points.Where(p => double.IsFinite(p.X) && double.IsFinite(p.Y)).ToList() })
            .ToList();
        List<(double X, double Y)> all = finite.SelectMany(s => s.Points).ToList();
        if (all.Count == 0)
        {
            throw new ArgumentException("Expected at least one finite point to plot, got none.", nameof(series));
        }

        Axis x = new(all.Min(p => p.X), all.Max(p => p.X), Left, Width - Right);
        Axis y = new(all.Min(p => p.Y), all.Max(p => p.Y), Height - Bottom, Top);
        StringBuilder svg = Begin(title, yLabel);
        foreach (double tick in x.Ticks())
        {
            Text(svg, x.At(tick), Height - Bottom + 18, "middle", Number(tick));
        }

        Text(svg, (Left + Width - Right) / 2.0, Height - 12, "middle", xLabel);
        YGrid(svg, y);
        for (int i = 0; i < finite.Count; i++)
        {
            string color = s_colors[i % s_colors.Length];
            string points = string.Join(' ', finite[i].Points.Select(p => $"{Coordinate(x.At(p.X))},{Coordinate(y.At(p.Y))}"));
            svg.AppendLine(CultureInfo.InvariantCulture, $"""  <polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.6"/>""");
            if (finite.Count > 1)
            {
                int row = Top + 8 + (18 * i);
                svg.AppendLine(
                    CultureInfo.InvariantCulture,
                    $"""  <line x1="{Width - 190}" y1="{row}" x2="{Width - 166}" y2="{row}" stroke="{color}" stroke-width="3"/>""");
                Text(svg, Width - 160, row + 4, "start", finite[i].Name);
            }
        }

        return svg.Append("</svg>").ToString();
    }

    /// <summary>Draws one bar for each value. The axis starts near the smallest value, and says so, since the differences are what matters.</summary>
    /// <param name="title">The plot's title.</param>
    /// <param name="yLabel">What the values are, with their unit.</param>
    /// <param name="bars">The bars from left to right; at least one, all finite.</param>
    /// <returns>One <c>svg</c> element.</returns>
    /// <exception cref="ArgumentException">There is no bar, or one that is not finite.</exception>
    public static string Bars(string title, string yLabel, params IReadOnlyList<(string Name, double Value)> bars)
    {
        ArgumentNullException.ThrowIfNull(bars);
        if (bars.Count == 0 || bars.Any(b => !double.IsFinite(b.Value)))
        {
            throw new ArgumentException("Expected at least one bar and finite values only.", nameof(bars));
        }

        double low = bars.Min(b => b.Value);
        double high = bars.Max(b => b.Value);
        double margin = Math.Max((high - low) * 0.25, Math.Abs(high) * 0.002);
        Axis y = new(low - margin, high + (margin / 2), Height - Bottom, Top);
        StringBuilder svg = Begin(title, yLabel);
        YGrid(svg, y);
        double slot = (Width - Left - Right) / (double)bars.Count;
        for (int i = 0; i < bars.Count; i++)
        {
            double center = Left + (slot * (i + 0.5));
            double top = y.At(bars[i].Value);
            svg.AppendLine(
                CultureInfo.InvariantCulture,
                $"""  <rect x="{Coordinate(center - (slot * 0.3))}" y="{Coordinate(top)}" width="{Coordinate(slot * 0.6)}" height="{Coordinate(Height - Bottom - top)}" fill="{s_colors[i % s_colors.Length]}"/>""");
            Text(svg, center, top - 6, "middle", bars[i].Value.ToString("0.0000", CultureInfo.InvariantCulture));
            Text(svg, center, Height - Bottom + 18, "middle", bars[i].Name);
        }

        Text(svg, (Left + Width - Right) / 2.0, Height - 12, "middle", $"axis starts at {Number(y.Low)}");
        return svg.Append("</svg>").ToString();
    }

    /// <summary>Escapes text for SVG and HTML.</summary>
    /// <param name="text">Any text.</param>
    /// <returns>The text with markup characters replaced; control characters that XML forbids become U+FFFD.</returns>
    public static string Escape(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        StringBuilder escaped = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            _ = rune.Value switch
            {
                '<' => escaped.Append("&lt;"),
                '>' => escaped.Append("&gt;"),
                '&' => escaped.Append("&amp;"),
                '"' => escaped.Append("&quot;"),
                < 0x20 and not '\n' and not '\t' and not '\r' => escaped.Append('\uFFFD'),
                0xFFFE or 0xFFFF => escaped.Append('\uFFFD'),
                _ => escaped.Append(rune),
            };
        }

        return escaped.ToString();
    }

    private static StringBuilder Begin(string title, string yLabel)
    {
        StringBuilder svg = new();
        svg.AppendLine(
            CultureInfo.InvariantCulture,
            $"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {Width} {Height}" width="{Width}" height="{Height}" font-family="system-ui, sans-serif" font-size="12" fill="#222">""");
        svg.AppendLine(CultureInfo.InvariantCulture, $"""  <rect width="{Width}" height="{Height}" fill="#fff"/>""");
        svg.AppendLine(CultureInfo.InvariantCulture, $"""  <text x="{Left}" y="22" font-size="15" font-weight="600">{Escape(title)}</text>""");
        svg.AppendLine(
            CultureInfo.InvariantCulture,
            $"""  <text x="16" y="{(Top + Height - Bottom) / 2}" text-anchor="middle" transform="rotate(-90 16 {(Top + Height - Bottom) / 2})">{Escape(yLabel)}</text>""");
        svg.AppendLine(CultureInfo.InvariantCulture, $"""  <path d="M{Left} {Top}V{Height - Bottom}H{Width - Right}" fill="none" stroke="#888"/>""");
        return svg;
    }

    private static void YGrid(StringBuilder svg, Axis y)
    {
        foreach (double tick in y.Ticks())
        {
            string at = Coordinate(y.At(tick));
            svg.AppendLine(CultureInfo.InvariantCulture, $"""  <line x1="{Left}" y1="{at}" x2="{Width - Right}" y2="{at}" stroke="#e5e5e5"/>""");
            Text(svg, Left - 6, y.At(tick) + 4, "end", Number(tick));
        }
    }

    private static void Text(StringBuilder svg, double x, double y, string anchor, string text)
        => svg.AppendLine(CultureInfo.InvariantCulture, $"""  <text x="{Coordinate(x)}" y="{Coordinate(y)}" text-anchor="{anchor}">{Escape(text)}</text>""");

    private static string Coordinate(double value) => value.ToString("0.##", CultureInfo.InvariantCulture);

    private static string Number(double value) => value.ToString("0.######", CultureInfo.InvariantCulture);

    /// <summary>Maps values to coordinates and chooses round ticks.</summary>
    private readonly struct Axis
    {
        private readonly double _high;
        private readonly double _from;
        private readonly double _to;

        public Axis(double low, double high, double from, double to)
        {
            Low = low;
            _high = high > low ? high : low + Math.Max(1e-9, Math.Abs(low) * 0.1);
            _from = from;
            _to = to;
        }

        public double Low { get; }

        public double At(double value) => _from + ((value - Low) / (_high - Low) * (_to - _from));

        public IEnumerable<double> Ticks()
        {
            double rough = (_high - Low) / 6;
            double power = Math.Pow(10, Math.Floor(Math.Log10(rough)));
            double step = power * (rough / power) switch { <= 1 => 1, <= 2 => 2, <= 5 => 5, _ => 10 };
            long last = (long)Math.Floor(_high / step);
            for (long tick = (long)Math.Ceiling(Low / step); tick <= last; tick++)
            {
                yield return tick * step;
            }
        }
    }
}
