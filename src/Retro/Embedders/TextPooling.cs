namespace Retro.Embedders;

/// <summary>How the states of a text's tokens become one vector.</summary>
public enum TextPooling
{
    /// <summary>The mean over the text's tokens, those of the frame ([CLS] and [SEP]) included.</summary>
    Mean,

    /// <summary>The state of the first token ([CLS]).</summary>
    FirstToken,

    /// <summary>The largest value of each dimension over the text's tokens.</summary>
    Max,

    /// <summary>The sum over the text's tokens, divided by the square root of their number.</summary>
    MeanSquareRoot,
}
