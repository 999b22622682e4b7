using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>Small models that differ in everything that a property might depend on, with weights that are nowhere zero, and random inputs for them.</summary>
internal static class ModelCase
{
    private static readonly RetroConfig s_base = new()
    {
        VocabularySize = 29,
        Width = 12,
        Layers = 3,
        Heads = 2,
        HeadSize = 4,
        FeedForwardSize = 20,
        Retrieval = new()
        {
            ChunkLength = 4,
            RetrievedLength = 8,
            CrossAttentionLayers = [2, 3],
            Encoder = new() { Width = 10, Layers = 2, Heads = 3, HeadSize = 4, FeedForwardSize = 16 },
        },
    };

    private static readonly Dictionary<string, RetroConfig> s_configs = new()
    {
        ["rotary"] = s_base,
        ["transformer-xl"] = s_base with { Positions = PositionKind.TransformerXl },
        ["transformer-xl, no biases"] = s_base with { Positions = PositionKind.TransformerXl, RelativeBiases = false, KeyValueHeads = 1, SlidingWindow = 5 },
        ["m 1"] = s_base with { Retrieval = s_base.Retrieval! with { ChunkLength = 1, RetrievedLength = 3 } },
        ["m 1, transformer-xl"] = s_base with
        {
            Positions = PositionKind.TransformerXl,
            Retrieval = s_base.Retrieval! with { ChunkLength = 1, RetrievedLength = 1 }
        },
        ["r = m"] = s_base with { Positions = PositionKind.TransformerXl, Retrieval = s_base.Retrieval! with { RetrievedLength = 4 } },
        ["r below m"] = s_base with { Retrieval = s_base.Retrieval! with
        {
            ChunkLength = 5,
            RetrievedLength = 3,
            CrossAttentionLayers = [1],
            Encoder = s_base.Retrieval!.Encoder with { CrossAttentionLayers = [] }
        } },
        ["shifted keys"] = s_base with { Retrieval = s_base.Retrieval! with { ShiftedKeys = true, ChunkLength = 3, RetrievedLength = 7 } },
        ["low rank"] = s_base with { Positions = PositionKind.TransformerXl, Retrieval = s_base.Retrieval! with { CrossAttentionRank = 3 } },
        ["last layer alone"] = s_base with { Retrieval = s_base.Retrieval! with
        {
            CrossAttentionLayers = [3],
            Encoder = s_base.Retrieval!.Encoder with { CrossAttentionLayers = [1, 2] }
        } },
        ["gpt-2"] = s_base with
        {
            Positions = PositionKind.Learned,
            MaximumLength = 40,
            Norm = NormKind.LayerNorm,
            Activation = ActivationKind.GeluTanh,
            QueryKeyValueBias = true,
            AttentionOutputBias = true,
            FeedForwardBias = true,
            TieEmbeddings = true,
            Retrieval = s_base.Retrieval! with { Encoder = s_base.Retrieval!.Encoder with { ShareEmbedding = true } },
        },
        ["gpt-neox"] = s_base with
        {
            HeadSize = 8,
            RotaryFraction = 0.25,
            ParallelResidual = true,
            Norm = NormKind.LayerNorm,
            QueryKeyValueBias = true,
            Retrieval = s_base.Retrieval! with { Positions = PositionKind.TransformerXl }
        },
        ["llama"] = s_base with
        {
            Heads = 4,
            KeyValueHeads = 2,
            Activation = ActivationKind.SwiGlu,
            SlidingWindow = 6,
            RotaryScaling = new() { Kind = RotaryScalingKind.Llama3, Factor = 8, OriginalLength = 16 },
            Retrieval = s_base.Retrieval! with { Encoder = s_base.Retrieval!.Encoder with { Width = 12, ShareEmbedding = true } },
        },
        ["normalized heads"] = s_base with { HeadSize = 6, Heads = 4, KeyValueHeads = 2, QueryKeyNorm = true, RotaryBase = 100 },
        ["normalized behind, across heads"] = s_base with
        {
            Heads = 4, KeyValueHeads = 2, NormPlacement = NormPlacement.After, QueryKeyNorm = true, QueryKeyNormAcrossHeads = true, RotaryBase = 100,
            Activation = ActivationKind.SwiGlu,
        },
        ["gemma"] = s_base with
        {
            Heads = 4,
            KeyValueHeads = 1,
            NormPlacement = NormPlacement.Both,
            QueryKeyNorm = true,
            Activation = ActivationKind.GeGluTanh,
            TieEmbeddings = true,
            EmbeddingScale = 3.5,
            SlidingWindow = 5,
            WindowLayers = [1, 3],
            RotaryBase = 1000,
            WindowRotaryBase = 50,
            Retrieval = s_base.Retrieval! with { Encoder = s_base.Retrieval!.Encoder with { ShareEmbedding = true } },
        },
        ["unrotated layers"] = s_base with
        {
            HeadSize = 8,
            RotaryFraction = 0.75,
            UnrotatedLayers = [2],
            RotaryScaling = new() { Kind = RotaryScalingKind.LongRope, PairFactors = [1, 1.5, 4], AttentionFactor = 1.2 },
            SlidingWindow = 6,
            WindowLayers = [2],
        },
        ["no positions in retrieval"] = s_base with
        {
            Positions = PositionKind.None,
            Activation = ActivationKind.GeGlu,
            Retrieval = s_base.Retrieval! with { Positions = PositionKind.None, Encoder = s_base.Retrieval!.Encoder with { FinalNorm = false } }
        },
        ["gated, with normalized states"] = s_base with { Retrieval = s_base.Retrieval! with
        {
            Gate = true,
            ShiftedKeys = true,
            Encoder = s_base.Retrieval!.Encoder with { NormalizeStates = true }
        } },
        ["match bias, no encoder layers"] = s_base with
        {
            VocabularySize = 5,
            Retrieval = s_base.Retrieval! with
            {
                MatchBias = true,
                ShiftedKeys = true,
                Encoder = s_base.Retrieval!.Encoder with { Width = 12, Layers = 0, CrossAttentionLayers = [], ShareEmbedding = true }
            }
        },
        ["match bias, transformer-xl"] = s_base with
        {
            VocabularySize = 5,
            Positions = PositionKind.TransformerXl,
            Retrieval = s_base.Retrieval! with { MatchBias = true, ChunkLength = 20, RetrievedLength = 30, CrossAttentionLayers = [2] }
        },
        ["learned in retrieval"] = s_base with
        {
            RotaryScaling = new() { Kind = RotaryScalingKind.Linear, Factor = 4 },
            Retrieval = s_base.Retrieval! with { Positions = PositionKind.Learned }
        },
    };

    public static IEnumerable<TheoryDataRow<string>> Names => s_configs.Keys.Select(name => new TheoryDataRow<string>(name));

    public static RetroConfig Config(string name) => s_configs[name];

    /// <summary>The configuration with another retrieval.</summary>
    public static RetroConfig With(this RetroConfig config, Func<RetrievalConfig, RetrievalConfig> change)
        => config with { Retrieval = change(config.Retrieval!) };

    /// <summary>A model in float64 whose every parameter is drawn anew: biases, norms and output projections included.</summary>
    public static RetroModel Model(RetroConfig config, long seed = 1, ScalarType dtype = ScalarType.Float64)
    {
        manual_seed(seed);
        RetroModel model = new(config, dtype);
        Randomize(model);
        model.eval();
        return model;
    }

    public static void Randomize(nn.Module model)
    {
        using IDisposable noGrad = no_grad();
        foreach ((string name, TorchSharp.Modules.Parameter parameter) in model.named_parameters())
        {
            bool norm = name.Contains("norm.weight", StringComparison.Ordinal);
            parameter.normal_(norm ? 1 : 0, norm || parameter.dim() == 1 ? 0.3 : 0.5);
        }
    }

    public static Tensor Tokens(RetroConfig config, long batch, long length) => randint(config.VocabularySize, [batch, length], ScalarType.Int64);

    /// <summary>Neighbors of every complete chunk, and a mask with missing continuations, missing neighbors and, now and then, a chunk without any.</summary>
    public static (Tensor Neighbors, Tensor Valid) Neighbors(RetroConfig config, long batch, long length, long count)
    {
        long chunks = length / config.Retrieval!.ChunkLength;
        Tensor neighbors = randint(config.VocabularySize, [batch, chunks, count, config.Retrieval!.RetrievedLength], ScalarType.Int64);
        Tensor filled = randint(config.Retrieval!.RetrievedLength + 1, [batch, chunks, count, 1], ScalarType.Int64);
        Tensor present = rand(batch, chunks, count, 1).ge(0.2).logical_and(rand(batch, chunks, 1, 1).ge(0.15));
        return (neighbors, arange(config.Retrieval!.RetrievedLength, ScalarType.Int64).lt(filled).logical_and(present));
    }

    /// <summary>The neighbors as the forward pass encodes them on its way, [B, C, K, R, E].</summary>
    public static Tensor Encode(this RetroModel model, Tensor tokens, Tensor neighbors, Tensor? valid = null)
    {
        using DisposeScope scope = NewDisposeScope();
        return model.Decode(tokens, PassNeighbors.Of(neighbors, valid)).Encoded!.MoveToOuterDisposeScope();
    }

    public static bool BitEqual(Tensor a, Tensor b)
        => a.shape.SequenceEqual(b.shape) && a.detach().contiguous().bytes.SequenceEqual(b.detach().contiguous().bytes);

    public static double Distance(Tensor a, Tensor b)
    {
        Assert.Equal(a.shape, b.shape);
        return a.numel() == 0 ? 0 : (a.detach() - b.detach()).abs().max().ToDouble();
    }

    /// <summary>A copy of ids with one of them changed to another of the vocabulary.</summary>
    public static Tensor Changed(Tensor ids, RetroConfig config, params long[] at)
    {
        Tensor changed = ids.clone();
        Tensor place = changed;
        foreach (long index in at)
        {
            place = place.select(0, index);
        }

        place.copy_((place + 1 + randint(config.VocabularySize - 1, place.shape, ScalarType.Int64)).remainder(config.VocabularySize));
        return changed;
    }
}
