using System.Runtime.CompilerServices;

namespace Retro.Modeling;

public sealed partial record RetroConfig
{
    /// <summary>More layers than any model has.</summary>
    internal const int MostLayers = 4096;

    private const int LargestSize = 1 << 24;

    /// <summary>Checks the configuration.</summary>
    /// <returns>The configuration itself, so that calls chain.</returns>
    /// <exception cref="RetroOptionsException">Values are out of range or contradict each other; every fault is listed.</exception>
    public RetroConfig Validate()
    {
        OptionFaults faults = new(nameof(RetroConfig));
        Size(faults, VocabularySize);
        Size(faults, Width);
        faults.Between(Layers, 1, MostLayers);
        Size(faults, Heads);
        Size(faults, HeadSize);
        HeadsTogether(faults, Heads, HeadSize);
        Size(faults, FeedForwardSize);
        if (KeyValueHeads is int keyValueHeads)
        {
            faults.Require(keyValueHeads > 0 && (Heads <= 0 || Heads % keyValueHeads == 0), KeyValueHeads, $"a divisor of {nameof(Heads)}, {Heads}");
        }

        CheckPositions(faults);
        faults.Defined(Norm);
        faults.Defined(NormPlacement);
        faults.Require(
            QueryKeyNorm || !QueryKeyNormAcrossHeads, QueryKeyNormAcrossHeads, $"false without {nameof(QueryKeyNorm)}, of which it says how it is computed");
        faults.Defined(Activation);
        faults.Positive(NormEpsilon);
        faults.NotNegative(InitialOutputScale);
        faults.ShareBelowOne(Dropout);
        if (Retrieval is not null)
        {
            CheckRetrieval(faults.Of(nameof(Retrieval)), Retrieval);
            faults.Require(
                !(Retrieval.Gate && InitialOutputScale == 0),
                InitialOutputScale,
                $"more than 0 with {nameof(Retrieval)}.{nameof(Retrieval.Gate)}: nothing would ever be learned");
        }

        faults.Throw();
        return this;
    }

    private void CheckPositions(OptionFaults faults)
    {
        faults.Defined(Positions);
        if (MaximumLength is int length)
        {
            Size(faults, length, nameof(MaximumLength));
        }
        else
        {
            faults.Require(Positions != PositionKind.Learned, MaximumLength, "a number: it is the size of the table of learned positions");
        }

        if (SlidingWindow is int window)
        {
            Size(faults, window, nameof(SlidingWindow));
        }

        if (WindowLayers is not null)
        {
            CheckLayers(faults, WindowLayers, Layers);
            faults.Require(SlidingWindow is not null, WindowLayers, $"not set without {nameof(SlidingWindow)}");
        }

        if (WindowRotaryBase is double own)
        {
            faults.Positive(own, nameof(WindowRotaryBase));
            faults.Require(
                SlidingWindow is not null && Positions == PositionKind.Rotary,
                WindowRotaryBase,
                $"not set without {nameof(SlidingWindow)} and rotary positions");
        }

        faults.Positive(EmbeddingScale);
        CheckLayers(faults, UnrotatedLayers, Layers);
        faults.Require(
            UnrotatedLayers is not { Count: > 0 } || Positions == PositionKind.Rotary, UnrotatedLayers, $"none where {nameof(Positions)} are not rotary");

        faults.Positive(RotaryBase);
        bool fraction = RotaryFraction > 0 && RotaryFraction <= 1;
        faults.Require(fraction, RotaryFraction, "more than 0 and at most 1");
        if (fraction && Positions == PositionKind.Rotary && HeadSize > 0 && (RotarySize < 1 || RotarySize + (RotarySize % 2) > HeadSize))
        {
            faults.Add(
                $"{nameof(HeadSize)} {HeadSize} times {nameof(RotaryFraction)} {RotaryFraction} gives {RotarySize} rotated features; expected at least 1 and, made even (they are rotated in pairs), at most the head.");
        }

        faults.Require(
            Positions != PositionKind.TransformerXl || Width % 2 == 0,
            Width,
            "an even number: Transformer-XL positions are pairs of a sine and a cosine of the query's width");
        if (RotaryScaling is { } scaling)
        {
            OptionFaults of = faults.Of(nameof(RotaryScaling));
            of.Defined(scaling.Kind);
            of.Require(scaling.Factor >= 1 && double.IsFinite(scaling.Factor), scaling.Factor, "a finite number of at least 1");
            Size(of, scaling.OriginalLength);
            of.Positive(scaling.AttentionFactor);
            of.Positive(scaling.LowFrequencyFactor);
            of.Require(
                scaling.HighFrequencyFactor > scaling.LowFrequencyFactor && double.IsFinite(scaling.HighFrequencyFactor),
                scaling.HighFrequencyFactor,
                FormattableString.Invariant($"a finite number above {nameof(scaling.LowFrequencyFactor)}, {scaling.LowFrequencyFactor}"));
            int pairs = scaling.Kind == RotaryScalingKind.LongRope ? (RotarySize + 1) / 2 : 0;
            of.Require(
                scaling.PairFactors?.Count == pairs && scaling.PairFactors.All(factor => factor > 0 && double.IsFinite(factor)),
                scaling.PairFactors,
                pairs == 0 ? "none, which LongRoPE alone has" : $"{pairs} finite numbers above 0, one for each pair of rotated features");
        }
    }

    private void CheckRetrieval(OptionFaults faults, RetrievalConfig retrieval)
    {
        Size(faults, retrieval.ChunkLength);
        Size(faults, retrieval.RetrievedLength);
        Size(faults, retrieval.Neighbors);
        CheckLayers(faults, retrieval.CrossAttentionLayers, Layers);
        faults.Require(
            retrieval.CrossAttentionLayers is not { Count: 0 }, retrieval.CrossAttentionLayers, $"at least one layer that reads, or {nameof(Retrieval)} null");
        if (retrieval.CrossAttentionRank is int rank)
        {
            Size(faults, rank, nameof(retrieval.CrossAttentionRank));
        }

        if (retrieval.Positions is PositionKind positions)
        {
            faults.Defined(positions, nameof(retrieval.Positions));
        }

        faults.Require(!(retrieval.Gate && retrieval.ZeroOutput), retrieval.ZeroOutput, $"false with {nameof(retrieval.Gate)}: nothing would ever be learned");
        faults.Require(retrieval.Encoder is not null, retrieval.Encoder, "an encoder");
        if (retrieval.Encoder is not { } encoder)
        {
            return;
        }

        OptionFaults of = faults.Of(nameof(retrieval.Encoder));
        Size(of, encoder.Width);
        of.Between(encoder.Layers, 0, MostLayers);
        Size(of, encoder.Heads);
        Size(of, encoder.HeadSize);
        HeadsTogether(of, encoder.Heads, encoder.HeadSize);
        Size(of, encoder.FeedForwardSize);
        CheckLayers(of, encoder.CrossAttentionLayers, encoder.Layers);
        of.ShareBelowOne(encoder.Dropout);
        switch (EffectiveRetrievalPositions)
        {
            case PositionKind.Rotary when HeadSize % 2 != 0 || encoder.HeadSize % 2 != 0:
                faults.Add(
                    $"{nameof(HeadSize)} is {HeadSize} and {nameof(Retrieval)}.{nameof(retrieval.Encoder)}.{nameof(encoder.HeadSize)} {encoder.HeadSize}; expected even numbers: rotary positions rotate pairs.");
                break;
            case PositionKind.TransformerXl when Width % 2 != 0 || encoder.Width % 2 != 0:
                faults.Add(
                    $"{nameof(Width)} is {Width} and {nameof(Retrieval)}.{nameof(retrieval.Encoder)}.{nameof(encoder.Width)} {encoder.Width}; expected even numbers: Transformer-XL positions are pairs of a sine and a cosine of the query's width.");
                break;
        }
    }

    /// <summary>
    /// A size: positive, and small enough that no product of two overflows a long and no table of one alone fills a machine. It stops a damaged or hostile file
    /// before anything is allocated.
    /// </summary>
    private static void Size(OptionFaults faults, int value, [CallerArgumentExpression(nameof(value))] string name = "")
        => faults.Between(value, 1, LargestSize, name);

    /// <summary>The heads side by side are a size, too.</summary>
    private static void HeadsTogether(OptionFaults faults, int heads, int headSize)
        => faults.Require(
            (long)heads * headSize <= LargestSize,
            headSize,
            FormattableString.Invariant($"at most {LargestSize} features in all {heads} heads"),
            nameof(HeadSize));

    private static void CheckLayers(OptionFaults faults, LayerList? list, int layers, [CallerArgumentExpression(nameof(list))] string name = "")
        => faults.Require(
            list is not null && Enumerable.Range(0, list.Count).All(i => list[i] >= 1 && list[i] <= layers && (i == 0 || list[i] > list[i - 1])),
            list,
            $"layers from 1 to {layers}, ascending (none: an empty list)",
            name);
}
