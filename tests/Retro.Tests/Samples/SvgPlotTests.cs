using System.Globalization;
using System.Xml.Linq;
using Samples;

namespace Retro.Tests.Samples;

public class SvgPlotTests
{
    private static readonly XNamespace s_svg = "http://www.w3.org/2000/svg";

    [Fact]
    public void A_line_plot_is_well_formed_and_maps_the_extremes_to_the_plot_area()
    {
        string svg = SvgPlot.Lines("Loss <a & b>", "step", "nats", new PlotSeries("train", [(0, 5), (10, 3), (20, 1)]));

        XElement root = XElement.Parse(svg);
        double[][] points = Points(root);
        Assert.Equal(3, points.Length);
        Assert.True(points[0][0] < points[1][0] && points[1][0] < points[2][0]);
        Assert.True(points[0][1] < points[1][1] && points[1][1] < points[2][1], "a falling loss is drawn downwards");
        Assert.Equal((points[0][0] + points[2][0]) / 2, points[1][0], 1e-2);
        Assert.Contains(root.Elements(s_svg + "text"), t => t.Value == "Loss <a & b>");
    }

    [Fact]
    public void Points_that_are_not_finite_are_left_out()
    {
        string svg = SvgPlot.Lines("t", "x", "y", new PlotSeries("a", [(0, 1), (1, double.NaN), (2, double.PositiveInfinity), (3, 2)]));

        Assert.Equal(2, XElement.Parse(svg).Element(s_svg + "polyline")!.Attribute("points")!.Value.Split(' ').Length);
    }

    [Fact]
    public void A_plot_without_a_point_is_refused()
        => Assert.Throws<ArgumentException>(() => SvgPlot.Lines("t", "x", "y", new PlotSeries("a", [(0, double.NaN)])));

    [Fact]
    public void Bars_keep_the_order_of_their_values()
    {
        XElement root = XElement.Parse(SvgPlot.Bars("bits", "bits per byte", ("off", 1.30), ("on", 1.21), ("random", 1.33)));

        double[] heights = root.Elements(s_svg + "rect")
            .Skip(1)
            .Select(r => double.Parse(r.Attribute("height")!.Value, CultureInfo.InvariantCulture))
            .ToArray();
        Assert.Equal(3, heights.Length);
        Assert.True(heights[1] < heights[0] && heights[0] < heights[2] && heights[1] > 0);
    }

    [Theory]
    [InlineData(1.5)]
    [InlineData(0)]
    [InlineData(-3)]
    public void Equal_values_still_make_a_plot(double value)
    {
        XElement bars = XElement.Parse(SvgPlot.Bars(
            "t", "y", ("a", value), ("b", value))), lines = XElement.Parse(SvgPlot.Lines("t", "x", "y", new PlotSeries("a", [(0, value), (1, value)])));

        double[][] sizes = [.. bars.Elements(s_svg + "rect").Skip(1).Select(bar => new[] { Number(bar, "y"), Number(bar, "height") })];
        Assert.Equal(2, sizes.Length);
        Assert.Equal(sizes[0], sizes[1]);
        Assert.True(value == 0 ? sizes[0][1] == 0 : sizes[0][1] > 0, "bars that are seen, from 0 on");
        double[][] points = Points(lines);
        Assert.Equal(points[0][1], points[1][1]);
        Assert.True(points[0][0] < points[1][0]);
        double[] box = [.. lines.Attribute("viewBox")!.Value.Split(' ').Select(size => double.Parse(size, CultureInfo.InvariantCulture))];
        Assert.All(points, point => Assert.True(point[0] > 0 && point[0] < box[2] && point[1] > 0 && point[1] < box[3]));
    }

    [Fact]
    public void Text_with_characters_that_xml_forbids_stays_well_formed()
        => Assert.Equal("a\uFFFDb<c>", XElement.Parse($"<t>{SvgPlot.Escape("a\u0001b<c>")}</t>").Value);

    private static double[][] Points(XElement plot)
        => [.. plot.Element(s_svg + "polyline")!.Attribute("points")!.Value.Split(' ')
            .Select(point => point.Split(',').Select(number => double.Parse(number, CultureInfo.InvariantCulture)).ToArray())];

    private static double Number(XElement element, string attribute) => double.Parse(element.Attribute(attribute)!.Value, CultureInfo.InvariantCulture);
}
