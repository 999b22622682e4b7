using System.Globalization;

namespace Retro.Modeling;

public sealed partial record RetroConfig
{
    /// <summary>Checks the configuration.</summary>
    /// <returns>The configuration itself, so that calls chain.</returns>
    /// <exception cref="RetroConfigException">Values are out of range or contradict each other; every fault is listed.</exception>
    public RetroConfig Validate()
    {
        List<string> faults = [];
        Positive(faults, nameof(VocabularySize), VocabularySize);
        Positive(faults, nameof(Width), Width);
        Positive(faults, nameof(Layers), Layers);
        Positive(faults, nameof(Heads), Heads);
        Positive(faults, nameof(HeadSize), HeadSize);
        Positive(faults, nameof(FeedForwardSize), FeedForwardSize);
        if (KeyValueHeads is int keyValueHeads && (keyValueHeads <= 0 || (Heads > 0 && Heads % keyValueHeads != 0)))
        {
            faults.Add($"{nameof(KeyValueHeads)} {keyValueHeads} has to divide {nameof(Heads)} {Heads}.");
        }

        ValidatePositions(faults);
        ValidateNumbers(faults);
        CheckLayers(faults, nameof(CrossAttentionLayers), CrossAttentionLayers, Layers);
        if (HasRetrieval)
        {
            ValidateRetrieval(faults);
        }

        return faults.Count == 0 ? this : throw new RetroConfigException(faults);
    }

    private void ValidatePositions(List<string> faults)
    {
        Defined(faults, nameof(Positions), Positions);
        if (MaximumLength is int length)
        {
            Positive(faults, nameof(MaximumLength), length);
        }
        else if (Positions == PositionKind.Learned)
        {
            faults.Add($"{nameof(MaximumLength)} is required for learned positions: it is the size of their table.");
        }

        if (SlidingWindow is int window)
        {
            Positive(faults, nameof(SlidingWindow), window);
        }

        if (!(RotaryBase > 0) || !double.IsFinite(RotaryBase))
        {
            faults.Add(Text($"{nameof(RotaryBase)} {RotaryBase} has to be positive and finite."));
        }

        if (!(RotaryFraction > 0 && RotaryFraction <= 1))
        {
            faults.Add(Text($"{nameof(RotaryFraction)} {RotaryFraction} has to lie above 0 and be at most 1."));
        }
        else if (Positions == PositionKind.Rotary && HeadSize > 0 && (RotarySize < 1 || RotarySize + (RotarySize % 2) > HeadSize))
        {
            faults.Add(Text($"Rotary positions rotate pairs: {nameof(HeadSize)} {HeadSize} times {nameof(RotaryFraction)} {RotaryFraction} gives {RotarySize} features, which has to be at least 1 and, made even, at most the head."));
        }

        if (Positions == PositionKind.TransformerXl && Width % 2 != 0)
        {
            faults.Add($"Transformer-XL positions are pairs of a sine and a cosine of the query's width: {nameof(Width)} {Width} has to be even.");
        }

        if (RotaryScaling is { } scaling)
        {
            Defined(faults, $"{nameof(RotaryScaling)}.{nameof(scaling.Kind)}", scaling.Kind);
            if (!(scaling.Factor >= 1) || !double.IsFinite(scaling.Factor))
            {
                faults.Add(Text($"{nameof(RotaryScaling)}.{nameof(scaling.Factor)} {scaling.Factor} has to be at least 1 and finite."));
            }

            if (scaling.Kind == RotaryScalingKind.Llama3)
            {
                Positive(faults, $"{nameof(RotaryScaling)}.{nameof(scaling.OriginalLength)}", scaling.OriginalLength);
                if (!(scaling.LowFrequencyFactor > 0 && scaling.HighFrequencyFactor > scaling.LowFrequencyFactor && double.IsFinite(scaling.HighFrequencyFactor)))
                {
                    faults.Add(Text($"{nameof(RotaryScaling)} needs 0 < {nameof(scaling.LowFrequencyFactor)} < {nameof(scaling.HighFrequencyFactor)}, got {scaling.LowFrequencyFactor} and {scaling.HighFrequencyFactor}."));
                }
            }
        }
    }

    private void ValidateNumbers(List<string> faults)
    {
        Defined(faults, nameof(Norm), Norm);
        Defined(faults, nameof(Activation), Activation);
        if (!(NormEpsilon > 0) || !double.IsFinite(NormEpsilon))
        {
            faults.Add(Text($"{nameof(NormEpsilon)} {NormEpsilon} has to be positive and finite."));
        }

        if (!(InitialOutputScale >= 0) || !double.IsFinite(InitialOutputScale))
        {
            faults.Add(Text($"{nameof(InitialOutputScale)} {InitialOutputScale} has to be at least 0 and finite."));
        }

        foreach ((string name, double value) in new[] { (nameof(Dropout), Dropout), (nameof(EncoderDropout), EncoderDropout) })
        {
            if (!(value >= 0 && value < 1))
            {
                faults.Add(Text($"{name} {value} has to be at least 0 and below 1."));
            }
        }
    }

    private void ValidateRetrieval(List<string> faults)
    {
        Positive(faults, nameof(ChunkLength), ChunkLength);
        Positive(faults, nameof(RetrievedLength), RetrievedLength);
        Positive(faults, nameof(Neighbors), Neighbors);
        Positive(faults, nameof(EncoderWidth), EncoderWidth);
        Positive(faults, nameof(EncoderLayers), EncoderLayers);
        Positive(faults, nameof(EncoderHeads), EncoderHeads);
        Positive(faults, nameof(EncoderHeadSize), EncoderHeadSize);
        Positive(faults, nameof(EncoderFeedForwardSize), EncoderFeedForwardSize);
        if (CrossAttentionRank is int rank)
        {
            Positive(faults, nameof(CrossAttentionRank), rank);
        }

        CheckLayers(faults, nameof(EncoderCrossAttentionLayers), EncoderCrossAttentionLayers, EncoderLayers);
        if (RetrievalPositions is PositionKind retrieval)
        {
            Defined(faults, nameof(RetrievalPositions), retrieval);
        }

        switch (EffectiveRetrievalPositions)
        {
            case PositionKind.Rotary when HeadSize % 2 != 0 || EncoderHeadSize % 2 != 0:
                faults.Add($"Rotary positions rotate pairs: {nameof(HeadSize)} {HeadSize} and {nameof(EncoderHeadSize)} {EncoderHeadSize} have to be even.");
                break;
            case PositionKind.TransformerXl when Width % 2 != 0 || EncoderWidth % 2 != 0:
                faults.Add($"Transformer-XL positions are pairs of a sine and a cosine of the query's width: {nameof(Width)} {Width} and {nameof(EncoderWidth)} {EncoderWidth} have to be even.");
                break;
        }
    }

    private static void Positive(List<string> faults, string name, int value)
    {
        if (value <= 0)
        {
            faults.Add($"{name} {value} has to be positive.");
        }
    }

    private static void Defined<T>(List<string> faults, string name, T value)
        where T : struct, Enum
    {
        if (!Enum.IsDefined(value))
        {
            faults.Add($"{name} {value} is none of {string.Join(", ", Enum.GetNames<T>())}.");
        }
    }

    private static void CheckLayers(List<string> faults, string name, LayerList? list, int layers)
    {
        if (list is null)
        {
            faults.Add($"{name} has to be a list of layer numbers; empty for none.");
            return;
        }

        for (int i = 0; i < list.Count; i++)
        {
            if (list[i] < 1 || list[i] > layers || (i > 0 && list[i] <= list[i - 1]))
            {
                faults.Add($"{name} {list} has to ascend and to lie between 1 and the number of layers, {layers}.");
                return;
            }
        }
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
