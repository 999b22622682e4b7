namespace Retro.Tests;

public class RetroExceptionTests
{
    [Fact]
    public void A_configuration_error_lists_every_fault()
    {
        RetroOptionsException exception = new("RetroConfig", ["Layers 0 has to be positive.", "Width 7 has to be even."]);

        Assert.Equal("RetroConfig", exception.Options);
        Assert.Equal(2, exception.Faults.Count);
        Assert.StartsWith("RetroConfig cannot be used: ", exception.Message, StringComparison.Ordinal);
        Assert.Contains("Layers 0", exception.Message, StringComparison.Ordinal);
        Assert.Contains("Width 7", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_shape_error_names_both_shapes_and_the_argument()
    {
        ShapeException exception = new("tokens", "[B, T]", [2, 3, 4]);

        Assert.Equal("tokens", exception.ParamName);
        Assert.StartsWith("Expected tokens of shape [B, T], got [2, 3, 4].", exception.Message, StringComparison.Ordinal);
    }
}
