using Retro.Modeling;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>Random tokens that only the neighbors foretell: with them the loss goes to nothing, without them it stays at the entropy.</summary>
public class LearningTests(ITestOutputHelper output)
{
    private static readonly RetroConfig s_config = new()
    {
        VocabularySize = 64,
        Width = 64,
        Layers = 3,
        Heads = 4,
        HeadSize = 16,
        FeedForwardSize = 128,
        TieEmbeddings = true,
        Retrieval = new()
        {
            ChunkLength = 16,
            RetrievedLength = 32,
            Neighbors = 1,
            CrossAttentionLayers = [2, 3],
            Encoder = new() { Width = 64, Layers = 1, Heads = 4, HeadSize = 16, FeedForwardSize = 128, ShareEmbedding = true },
        },
    };

    // One that reads with a match bias, which finds its place in a neighbor within few steps.
    private static readonly RetroConfig s_quick = s_config with
    {
        Width = 32,
        Layers = 2,
        Heads = 2,
        FeedForwardSize = 64,
        Retrieval = RetrievalConfig.Matching(s_config) with
        {
            ChunkLength = 16,
            RetrievedLength = 32,
            Neighbors = 1,
            CrossAttentionLayers = [2],
            Encoder = new() { Width = 32, Layers = 0, CrossAttentionLayers = [], Heads = 2, HeadSize = 16, FeedForwardSize = 64, ShareEmbedding = true },
        },
    };

    private static readonly double s_entropy = Math.Log(s_config.VocabularySize);

    /// <summary>The same with a small model in seconds.</summary>
    [Fact]
    public void P32_what_only_retrieval_can_know_is_learned_within_few_steps_where_a_match_bias_finds_the_place()
    {
        using RetroModel model = Train(shuffled: false, steps: 60, out double loss, config: s_quick);
        double on = Loss(model, shuffled: false, retrieval: true);
        double off = Loss(model, shuffled: false, retrieval: false);
        double wrong = Loss(model, shuffled: true, retrieval: true);
        output.WriteLine($"entropy {s_entropy:F3}, on {on:F3}, off {off:F3}, shuffled {wrong:F3}, last training loss {loss:F3}");
        Assert.InRange(on, 0, 0.5 * s_entropy);
        Assert.InRange(off, s_entropy - 0.1, s_entropy + 1);
        Assert.True(wrong > s_entropy - 0.1);
    }

    [Fact]
    [Trait("Category", "Long")]
    public void P32_what_only_retrieval_can_know_is_learned_and_nothing_else_is()
    {
        using RetroModel model = Train(shuffled: false, steps: 100, out double loss);
        double on = Loss(model, shuffled: false, retrieval: true);
        double off = Loss(model, shuffled: false, retrieval: false);
        double wrong = Loss(model, shuffled: true, retrieval: true);
        output.WriteLine($"entropy {s_entropy:F3}, on {on:F3}, off {off:F3}, shuffled {wrong:F3}, last training loss {loss:F3}");
        Assert.InRange(on, 0, 0.25);
        Assert.InRange(off, s_entropy - 0.1, s_entropy + 0.5);
        // Wrong neighbors are copied with confidence; they cannot help.
        Assert.True(wrong > s_entropy - 0.1);
    }

    [Fact]
    [Trait("Category", "Long")]
    public void In_bfloat16_the_loss_falls_as_in_float32()
    {
        using RetroModel exact = Train(
            shuffled: false, steps: 60, out double expected), narrow = Train(shuffled: false, steps: 60, out double came, ScalarType.BFloat16);
        double on = Loss(exact, shuffled: false, retrieval: true), narrowOn = Loss(narrow, shuffled: false, retrieval: true);
        output.WriteLine($"last training loss {expected:F3} in float32, {came:F3} in bfloat16; on {on:F3}, {narrowOn:F3}");
        Assert.Equal(ScalarType.BFloat16, narrow.Dtype);
        Assert.InRange(on, 0, 0.6 * s_entropy);
        Assert.InRange(narrowOn - on, -0.2, 0.2);
    }

    [Fact]
    [Trait("Category", "Long")]
    public void P32_trained_with_shuffled_neighbors_the_loss_stays_at_the_entropy()
    {
        using RetroModel model = Train(shuffled: true, steps: 50, out _);
        double loss = Loss(model, shuffled: true, retrieval: true);
        output.WriteLine($"entropy {s_entropy:F3}, shuffled {loss:F3}");
        Assert.InRange(loss, s_entropy - 0.05, s_entropy + 0.3);
    }

    private static RetroModel Train(bool shuffled, int steps, out double loss, ScalarType? dtype = null, RetroConfig? config = null)
    {
        manual_seed(1);
        RetroModel model = new(config ?? s_config);
        using Trainer trainer = new(model, TrainingOptions.SmallModel with { Steps = steps, WarmupSteps = 10, Dtype = dtype });
        double last = double.NaN;
        trainer.Run(new CopyingData(s_config, rows: 4, chunks: 6, seed: 11, dropout: 0.1, shuffled), new Reports<TrainingProgress>(value => last = value.Loss));
        loss = last;
        return model;
    }

    private static double Loss(RetroModel model, bool shuffled, bool retrieval)
    {
        model.eval();
        CopyingData fresh = new(s_config, rows: 8, chunks: 6, seed: 555, dropout: 0, shuffled);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable inference = inference_mode();
        TrainingBatch batch = fresh.Batch(0, 1).ToTensors();
        Tensor logits = model.call(batch.Tokens, retrieval ? batch.Neighbors : null, retrieval ? batch.Valid : null);
        return LogLikelihood.MeanLoss(logits, LogLikelihood.Targets(batch.Tokens, batch.LossMask)).item<float>();
    }
}
