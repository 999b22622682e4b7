namespace Retro.Modeling;

public sealed partial record RetroConfig
{
    /// <summary>Every parameter that a model of this configuration has, in the order of its state dictionary. Nothing is allocated for the values.</summary>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    internal IReadOnlyList<ParameterShape> Parameters()
    {
        Validate();
        List<ParameterShape> list = [];
        list.Add(new("embedding.weight", [VocabularySize, Width], ParameterKind.Embedding));
        if (Positions == PositionKind.Learned)
        {
            list.Add(new("positions.weight", [MaximumLength!.Value, Width], ParameterKind.Embedding));
        }

        for (int layer = 1; layer <= Layers; layer++)
        {
            string prefix = $"decoder.{layer}";
            AddAttention(
                list,
                $"{prefix}.attn",
                Width,
                Width,
                Heads,
                SelfAttentionKeyValueHeads,
                HeadSize,
                Positions == PositionKind.TransformerXl,
                shiftedKeys: false,
                ofDecoder: true);
            if (Retrieval is { } retrieval && CrossAttends(layer))
            {
                AddAttention(
                    list,
                    $"{prefix}.cca",
                    Width,
                    retrieval.Encoder.Width,
                    Heads,
                    Heads,
                    HeadSize,
                    EffectiveRetrievalPositions == PositionKind.TransformerXl,
                    retrieval.ShiftedKeys,
                    retrieval.CrossAttentionRank);
                if (retrieval.MatchBias)
                {
                    list.Add(new($"{prefix}.cca.match", [Heads, MatchFeatures.Count], ParameterKind.Bias));
                    list.Add(new($"{prefix}.cca.away", [Heads], ParameterKind.Bias));
                }

                if (retrieval.Gate)
                {
                    list.Add(new($"{prefix}.cca.gate", [1], ParameterKind.Bias));
                }
            }

            AddFeedForward(list, $"{prefix}.ffw", Width, FeedForwardSize, ofDecoder: true);
        }

        AddNorm(list, "decoder.norm", Width);
        if (Retrieval is not null)
        {
            AddEncoder(list, Retrieval);
        }

        if (!TieEmbeddings)
        {
            list.Add(new("head.weight", [VocabularySize, Width], ParameterKind.Embedding));
        }

        return list;
    }

    /// <summary>Counts the values of every parameter, without allocating any.</summary>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    public ParameterCounts CountParameters()
    {
        long[] counts = new long[4];
        foreach (ParameterShape parameter in Parameters())
        {
            counts[(int)parameter.Kind] += parameter.Count;
        }

        return new(counts[(int)ParameterKind.Matrix], counts[(int)ParameterKind.Embedding], counts[(int)ParameterKind.Norm], counts[(int)ParameterKind.Bias]);
    }

    private void AddEncoder(List<ParameterShape> list, RetrievalConfig retrieval)
    {
        EncoderConfig encoder = retrieval.Encoder;
        if (!encoder.ShareEmbedding)
        {
            list.Add(new("encoder.embedding.weight", [VocabularySize, encoder.Width], ParameterKind.Embedding));
        }
        else if (ProjectsSharedEmbedding)
        {
            list.Add(new("encoder.projection.weight", [encoder.Width, Width], ParameterKind.Matrix));
        }

        if (EffectiveRetrievalPositions == PositionKind.Learned)
        {
            list.Add(new("encoder.positions.weight", [retrieval.RetrievedLength, encoder.Width], ParameterKind.Embedding));
        }

        bool relative = EffectiveRetrievalPositions == PositionKind.TransformerXl;
        for (int layer = 1; layer <= encoder.Layers; layer++)
        {
            string prefix = $"encoder.{layer}";
            AddAttention(list, $"{prefix}.attn", encoder.Width, encoder.Width, encoder.Heads, encoder.Heads, encoder.HeadSize, relative, shiftedKeys: false);
            if (encoder.CrossAttentionLayers.Contains(layer))
            {
                AddAttention(list, $"{prefix}.cross", encoder.Width, Width, encoder.Heads, encoder.Heads, encoder.HeadSize, relative, shiftedKeys: false);
                if (encoder.NormalizeStates)
                {
                    AddNorm(list, $"{prefix}.cross.states_norm", Width);
                }
            }

            AddFeedForward(list, $"{prefix}.ffw", encoder.Width, encoder.FeedForwardSize);
        }

        if (encoder.FinalNorm)
        {
            AddNorm(list, "encoder.norm", encoder.Width);
        }
    }

    private void AddAttention(
        List<ParameterShape> list,
        string name,
        int width,
        int keyWidth,
        int heads,
        int keyValueHeads,
        int headSize,
        bool relative,
        bool shiftedKeys,
        int? rank = null,
        bool ofDecoder = false)
    {
        int inner = heads * headSize, keyValueInner = keyValueHeads * headSize;
        if (!ofDecoder || NormsBefore)
        {
            AddNorm(list, $"{name}.norm", width);
        }

        AddLinear(list, $"{name}.q", width, inner, QueryKeyValueBias, rank);
        AddLinear(list, $"{name}.k", keyWidth, keyValueInner, QueryKeyValueBias, rank);
        if (shiftedKeys)
        {
            AddLinear(list, $"{name}.k_shifted", keyWidth, keyValueInner, bias: false, rank);
        }

        AddLinear(list, $"{name}.v", keyWidth, keyValueInner, QueryKeyValueBias, rank);
        AddLinear(list, $"{name}.o", inner, width, AttentionOutputBias, rank);
        if (ofDecoder && QueryKeyNorm)
        {
            list.Add(new($"{name}.q_norm.weight", [QueryKeyNormAcrossHeads ? inner : headSize], ParameterKind.Norm));
            list.Add(new($"{name}.k_norm.weight", [QueryKeyNormAcrossHeads ? keyValueInner : headSize], ParameterKind.Norm));
        }

        if (ofDecoder && NormsAfter)
        {
            AddNorm(list, $"{name}.output_norm", width);
        }

        if (relative)
        {
            AddLinear(list, $"{name}.r", width, inner, bias: false);
            if (RelativeBiases)
            {
                list.Add(new($"{name}.content_bias", [heads, headSize], ParameterKind.Bias));
                list.Add(new($"{name}.position_bias", [heads, headSize], ParameterKind.Bias));
            }
        }
    }

    private void AddFeedForward(List<ParameterShape> list, string name, int width, int inner, bool ofDecoder = false)
    {
        if (!ofDecoder || NormsBefore)
        {
            AddNorm(list, $"{name}.norm", width);
        }

        if (IsGated)
        {
            AddLinear(list, $"{name}.gate", width, inner, FeedForwardBias);
        }

        AddLinear(list, $"{name}.up", width, inner, FeedForwardBias);
        AddLinear(list, $"{name}.down", inner, width, FeedForwardBias);
        if (ofDecoder && NormsAfter)
        {
            AddNorm(list, $"{name}.output_norm", width);
        }
    }

    private void AddNorm(List<ParameterShape> list, string name, int width)
    {
        list.Add(new($"{name}.weight", [width], ParameterKind.Norm));
        if (Norm == NormKind.LayerNorm)
        {
            list.Add(new($"{name}.bias", [width], ParameterKind.Norm));
        }
    }

    private static void AddLinear(List<ParameterShape> list, string name, int input, int output, bool bias, int? rank = null)
    {
        if (rank is int narrow)
        {
            AddLinear(list, $"{name}.down", input, narrow, bias: false);
            AddLinear(list, $"{name}.up", narrow, output, bias);
            return;
        }

        list.Add(new($"{name}.weight", [output, input], ParameterKind.Matrix));
        if (bias)
        {
            list.Add(new($"{name}.bias", [output], ParameterKind.Bias));
        }
    }
}
