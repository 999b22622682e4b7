using System.Globalization;

namespace Retro.Modeling;

public sealed partial record RetroConfig
{
    private const int LargestSize = 1 << 24, MostLayers = 4096;

    /// <summary>Checks the configuration.</summary>
    /// <returns>The configuration itself, so that calls chain.</returns>
    /// <exception cref="RetroConfigException">Values are out of range or contradict each other; every fault is listed.</exception>
    public RetroConfig Validate()
    {
        List<string> faults = [];
        Positive(faults, nameof(VocabularySize), VocabularySize);
        Positive(faults, nameof(Width), Width);
        Positive(faults, nameof(Layers), Layers, MostLayers);
        Positive(faults, nameof(Heads), Heads);
        Positive(faults, nameof(HeadSize), HeadSize);
        Positive(faults, nameof(FeedForwardSize), FeedForwardSize);
        if (KeyValueHeads is int keyValueHeads && (keyValueHeads <= 0 || (Heads > 0 && Heads % keyValueHeads != 0)))
        {
            faults.Add($"{nameof(KeyValueHeads)} {keyValueHeads} has to divide {nameof(Heads)} {Heads}.");
        }

        ValidatePositions(faults);
        ValidateNumbers(faults);
        if (Retrieval is not null)
        {
            ValidateRetrieval(faults, Retrieval);
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

        Share(faults, nameof(Dropout), Dropout);
    }

    private void ValidateRetrieval(List<string> faults, RetrievalConfig retrieval)
    {
        Positive(faults, nameof(retrieval.ChunkLength), retrieval.ChunkLength);
        Positive(faults, nameof(retrieval.RetrievedLength), retrieval.RetrievedLength);
        Positive(faults, nameof(retrieval.Neighbors), retrieval.Neighbors);
        CheckLayers(faults, nameof(retrieval.CrossAttentionLayers), retrieval.CrossAttentionLayers, Layers);
        if (retrieval.CrossAttentionLayers is { Count: 0 })
        {
            faults.Add($"{nameof(retrieval.CrossAttentionLayers)} is empty, so that nothing could be read; name at least one layer, or leave {nameof(Retrieval)} null.");
        }

        if (retrieval.CrossAttentionRank is int rank)
        {
            Positive(faults, nameof(retrieval.CrossAttentionRank), rank);
        }

        if (retrieval.Positions is PositionKind positions)
        {
            Defined(faults, $"{nameof(Retrieval)}.{nameof(retrieval.Positions)}", positions);
        }

        if (retrieval.Encoder is not { } encoder)
        {
            faults.Add($"{nameof(Retrieval)}.{nameof(retrieval.Encoder)} is missing.");
            return;
        }

        Positive(faults, $"{nameof(retrieval.Encoder)}.{nameof(encoder.Width)}", encoder.Width);
        Positive(faults, $"{nameof(retrieval.Encoder)}.{nameof(encoder.Layers)}", encoder.Layers, MostLayers);
        Positive(faults, $"{nameof(retrieval.Encoder)}.{nameof(encoder.Heads)}", encoder.Heads);
        Positive(faults, $"{nameof(retrieval.Encoder)}.{nameof(encoder.HeadSize)}", encoder.HeadSize);
        Positive(faults, $"{nameof(retrieval.Encoder)}.{nameof(encoder.FeedForwardSize)}", encoder.FeedForwardSize);
        CheckLayers(faults, $"{nameof(retrieval.Encoder)}.{nameof(encoder.CrossAttentionLayers)}", encoder.CrossAttentionLayers, encoder.Layers);
        Share(faults, $"{nameof(retrieval.Encoder)}.{nameof(encoder.Dropout)}", encoder.Dropout);
        switch (EffectiveRetrievalPositions)
        {
            case PositionKind.Rotary when HeadSize % 2 != 0 || encoder.HeadSize % 2 != 0:
                faults.Add($"Rotary positions rotate pairs: {nameof(HeadSize)} {HeadSize} and {nameof(retrieval.Encoder)}.{nameof(encoder.HeadSize)} {encoder.HeadSize} have to be even.");
                break;
            case PositionKind.TransformerXl when Width % 2 != 0 || encoder.Width % 2 != 0:
                faults.Add($"Transformer-XL positions are pairs of a sine and a cosine of the query's width: {nameof(Width)} {Width} and {nameof(retrieval.Encoder)}.{nameof(encoder.Width)} {encoder.Width} have to be even.");
                break;
        }
    }

    private static void Share(List<string> faults, string name, double value)
    {
        if (!(value >= 0 && value < 1))
        {
            faults.Add(Text($"{name} {value} has to be at least 0 and below 1."));
        }
    }

    /// <summary>A size: positive, and small enough that no product of two overflows and no table of one alone fills a machine. It stops a damaged or hostile file before anything is allocated.</summary>
    private static void Positive(List<string> faults, string name, int value, int largest = LargestSize)
    {
        if (value <= 0)
        {
            faults.Add($"{name} {value} has to be positive.");
        }
        else if (value > largest)
        {
            faults.Add($"{name} {value} is more than any model has; at most {largest} is taken.");
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
