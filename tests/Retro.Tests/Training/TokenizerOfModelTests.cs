using Retro.Answering;
using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Generation;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;

namespace Retro.Tests.Training;

/// <summary>Two tokenizers of one size fit the same model, and only one of them is that whose ids it was trained on.</summary>
public sealed class TokenizerOfModelTests : IDisposable
{
    private static readonly Document[] s_texts =
    [
        .. new[] { "river", "bridge", "harbor" }
            .Select(name => new Document(name, name, string.Concat(Enumerable.Repeat($"The {name} is wide and old. ", 30)), $"{name}.txt")),
    ];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(long.MaxValue)]
    [InlineData(1000)]
    public void A_checkpoint_keeps_which_it_was_and_another_is_refused(long maximumFileBytes)
    {
        RetroTokenizer own = Tokenizer("own", "abcdefgh"), other = Tokenizer("other", "hgfedcba");
        Assert.Equal(own.VocabularySize, other.VocabularySize);
        using ChunkDatabase database = Build("own-database", own), foreign = Build("other-database", other);
        RetroConfig config = RetroConfig.Tiny with { VocabularySize = own.VocabularySize };
        using RetroModel fresh = new(config);
        using (Trainer trainer = new(fresh, TrainingOptions.SmallModel with { Steps = 1 }))
        {
            Assert.Null(fresh.TokenizerHash);
            trainer.Run(Windows(database));
        }

        string path = _folder["model"];
        Checkpoint.Save(path, fresh, new() { MaximumFileBytes = maximumFileBytes });
        using RetroModel model = Checkpoint.Load(path);
        Assert.Equal(own.Hash, fresh.TokenizerHash);
        Assert.Equal(own.Hash, model.TokenizerHash);

        _ = new RetroGenerator(model, own);
        Assert.True(BitsPerByte.Measure(model, database).Value > 0);
        KeywordNeighborSource source = KeywordNeighborSource.Build(foreign);
        using NeighborTable table = NeighborTable.Build(foreign, source);
        using Trainer again = new(model, TrainingOptions.SmallModel with { Steps = 1 });
        Action[] refused =
        [
            () => _ = new RetroGenerator(model, other),
            () => BitsPerByte.Measure(model, foreign),
            () => again.Run(Windows(foreign)),
            () => CopyReader.Fit(model, foreign, source),
            () => DecoupledReader.Fit(model, foreign, source),
            () => TokenStore.Build(model, foreign),
            () => BitsPerByte.Measure(new PointerReader(new DecoderReader(model), PointerRule.Count(foreign, table)), foreign, table),
            () => _ = new InContextReader(model, other),
            () => _ = new QuestionReader(new DecoderReader(model), new QuestionPassages(foreign, other, source)),
        ];
        Assert.All(refused, use => Assert.Contains(own.Hash, Assert.ThrowsAny<RetroException>(use).Message, StringComparison.Ordinal));
        Assert.Equal(0, again.StepsDone);
    }

    [Fact]
    public void A_training_that_goes_on_knows_it_and_a_run_that_is_refused_leaves_none()
    {
        RetroTokenizer own = Tokenizer("own", "abcdefgh"), other = Tokenizer("other", "hgfedcba");
        using ChunkDatabase database = Build("own-database", own), foreign = Build("other-database", other);
        TrainingOptions options = TrainingOptions.SmallModel with { Steps = 2 };
        RetroConfig config = RetroConfig.Tiny with { VocabularySize = own.VocabularySize };
        using RetroModel first = new(config), loaded = new(config);
        using (Trainer trainer = new(first, options))
        {
            trainer.Run(Windows(database));
            trainer.Save(_folder["training"]);
        }

        using Trainer on = new(loaded, options with { Steps = 4 });
        on.Load(_folder["training"]);
        Assert.Equal(own.Hash, loaded.TokenizerHash);
        loaded.TokenizerHash = null;
        Assert.ThrowsAny<RetroException>(() => on.Run(Windows(foreign)));
        Assert.Null(loaded.TokenizerHash);
        on.Run(Windows(database));
        Assert.Equal(own.Hash, loaded.TokenizerHash);
    }

    [Fact]
    public void A_loop_of_ones_own_says_it_once()
    {
        RetroTokenizer own = Tokenizer("own", "abcdefgh"), other = Tokenizer("other", "hgfedcba");
        using RetroModel model = new(RetroConfig.Tiny with { VocabularySize = own.VocabularySize });
        model.TieTokenizer(own.Hash);
        model.TieTokenizer(own.Hash);
        string message = Assert.Throws<RetroException>(() => model.TieTokenizer(other.Hash)).Message;
        Assert.Contains(own.Hash, message, StringComparison.Ordinal);
        Assert.Contains(other.Hash, message, StringComparison.Ordinal);
        Assert.Equal(own.Hash, model.TokenizerHash);
        Checkpoint.Save(_folder["model"], model);
        using RetroModel loaded = Checkpoint.Load(_folder["model"]);
        Assert.Contains(own.Hash, Assert.Throws<RetroException>(() => new RetroGenerator(loaded, other)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_decoder_of_ones_own_hands_it_on_to_what_is_fitted_onto_it()
    {
        RetroTokenizer own = Tokenizer("own", "abcdefgh");
        using RetroModel decoder = new(RetroConfig.Tiny with { VocabularySize = own.VocabularySize, Retrieval = null }) { TokenizerHash = own.Hash };
        Checkpoint.Save(_folder["decoder"], decoder);
        using PretrainedDecoder loaded = PretrainedDecoder.Load(_folder["decoder"]);
        using Retrofit fitted = Retrofit.From(loaded, RetrievalConfig.Matching(loaded.Model.Config));
        Assert.Equal(own.Hash, loaded.Model.TokenizerHash);
        Assert.Equal(own.Hash, fitted.Model.TokenizerHash);

        // Fitted onto one that does not know it, the additions do, and so does a checkpoint of the whole.
        loaded.Model.TokenizerHash = null;
        fitted.Save(_folder["additions"]);
        Checkpoint.Save(_folder["whole"], fitted.Model);
        foreach (string name in new[] { "additions", "whole" })
        {
            using Retrofit again = Retrofit.Load(_folder[name], loaded);
            Assert.Equal(own.Hash, again.Model.TokenizerHash);
        }
    }

    private RetroTokenizer Tokenizer(string name, string letters)
    {
        string text = string.Concat(Enumerable.Range(1, 7).Select(i => string.Concat(Enumerable.Repeat(letters[..i] + " ", 10 * i))));
        return BpeTrainer.Train([text], 262, _folder[name]);
    }

    private ChunkDatabase Build(string name, RetroTokenizer tokenizer)
        => ChunkDatabaseBuilder.Build(_folder[name], s_texts, tokenizer, new() { ChunkLength = RetroConfig.Tiny.Retrieval!.ChunkLength });

    private static WindowSampler Windows(ChunkDatabase database) => new(
        database,
        new() { WindowLength = 2 * database.ChunkLength, RetrievedLength = 2 * database.ChunkLength, Neighbors = 1 },
        NeighborTable.Build(database, KeywordNeighborSource.Build(database)));
}
