using System.Globalization;

namespace Retro.Tests;

public class OptionFaultsTests
{
    [Fact]
    public void A_fault_names_the_property_with_what_it_belongs_to_the_value_and_what_was_expected()
    {
        CultureInfo.CurrentCulture = new CultureInfo("") { NumberFormat = new() { NumberDecimalSeparator = "," } }; // of this test's own flow
        OptionFaults faults = new("SomeOptions");
        (double Share, int? Count, DayOfWeek Day) options = (1.5, null, (DayOfWeek)9);
        faults.Share(options.Share);
        faults.Require(options.Count is not null, options.Count, "a number");
        faults.Of("Inner").Defined(options.Day);
        faults.Of("Inner").Of("Most").Between(-1, 0, 7, "Size");

        RetroOptionsException exception = Assert.Throws<RetroOptionsException>(faults.Throw);

        Assert.Equal("SomeOptions", exception.Options);
        Assert.Equal(
            [
                "Share is 1.5; expected 0 to 1.",
                "Count is not set; expected a number.",
                "Inner.Day is 9; expected one of Sunday, Monday, Tuesday, Wednesday, Thursday, Friday, Saturday.",
                "Inner.Most.Size is -1; expected 0 to 7.",
            ],
            exception.Faults);
        Assert.All(exception.Faults, fault => Assert.Contains(fault, exception.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void Tokens_of_a_window_are_whole_chunks()
    {
        OptionFaults faults = new("SomeOptions");
        int window = 96, none = 0, chunk = 64;
        faults.MultipleOf(128, chunk, leastChunks: 2);
        faults.MultipleOf(window, chunkLength: null);
        faults.MultipleOf(window, chunk);
        faults.MultipleOf(none, chunk);
        faults.MultipleOf(chunk, chunk, leastChunks: 2);
        faults.MultipleOf(none, chunkLength: null, name: "Stride");

        Assert.Equal(
            [
                "window is 96; expected a multiple of the chunk length, 64.",
                "none is 0; expected a multiple of the chunk length, 64.",
                "chunk is 64; expected a multiple of the chunk length, 64, and at least 2 chunks.",
                "Stride is 0; expected at least 1.",
            ],
            Assert.Throws<RetroOptionsException>(faults.Throw).Faults);
    }

    [Fact]
    public void Without_a_fault_nothing_is_thrown()
    {
        OptionFaults faults = new("SomeOptions");
        faults.Positive(0.1);
        faults.NotNegative(0);
        faults.ShareBelowOne(0);

        faults.Throw();
    }
}
