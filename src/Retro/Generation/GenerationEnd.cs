namespace Retro.Generation;

/// <summary>Why a generated text ended.</summary>
public enum GenerationEnd
{
    /// <summary>As many tokens were generated as were asked for.</summary>
    MaximumNewTokens,

    /// <summary>The model ended the text itself.</summary>
    EndOfText,

    /// <summary>A stop string came.</summary>
    StopString,

    /// <summary>The text is as long as the model's positions reach.</summary>
    MaximumLength,
}
