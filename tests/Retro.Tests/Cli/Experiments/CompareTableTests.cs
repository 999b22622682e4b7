using Retro.Cli.Experiments;

namespace Retro.Tests.Cli.Experiments;

/// <summary>The table of `retro compare`, of readers that are trained with several seeds.</summary>
public class CompareTableTests
{
    [Fact]
    public void A_row_says_what_was_read_with_each_seed()
    {
        CompareTable table = new();
        foreach (string share in new[] { "0.23", "0.31", "0.23" })
        {
            Measure("closed book", "nothing");
            Measure("nearest states", $"λ = {share}");
        }

        string text = table.ToMarkdown("closed book");
        Assert.Contains("| closed book | nothing | ", text, StringComparison.Ordinal);
        Assert.Contains("| nearest states | λ = 0.23; λ = 0.31 | ", text, StringComparison.Ordinal);

        void Measure(string name, string from) => table.Measure(
            name, from, 0, TimeSpan.Zero, _ => new(name, "off", 0, 1000, new([1, 2], [3, 4]), [1], 100, 300, "hash") { WindowLength = 64, Stride = 32 });
    }
}
