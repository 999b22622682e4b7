using Retro.Cli.Workflow;

namespace Retro.Tests.Samples;

public class PrintableTests
{
    [Fact]
    public void Control_characters_are_shown_and_everything_else_stays()
    {
        Assert.Equal("a\n\tb ␛[31m␀␡� é日👩‍👧", Printable.Of("a\n\tb \u001b[31m\0\u007f\u009b é日👩‍👧"));
        Assert.DoesNotContain(
            Enumerable.Range(0, 256).Select(code => Printable.Of(((char)code).ToString())[0]), shown => char.IsControl(shown) && shown is not ('\n' or '\t'));
    }
}
