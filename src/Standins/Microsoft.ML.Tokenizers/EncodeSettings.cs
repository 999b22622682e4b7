namespace Microsoft.ML.Tokenizers;

/// <summary>What an encoding run is asked for.</summary>
public struct EncodeSettings
{
    public EncodeSettings()
    {
    }

    public bool ConsiderPreTokenization { get; set; }

    public bool ConsiderNormalization { get; set; }

    public int MaxTokenCount { get; set; } = int.MaxValue;
}
