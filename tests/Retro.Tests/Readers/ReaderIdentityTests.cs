using Retro.Checkpoints;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Embedders;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Readers;

/// <summary>What reads otherwise is named otherwise: a retriever's training goes on with the reader that it began with alone.</summary>
public sealed class ReaderIdentityTests : IDisposable
{
    private const int M = 8;

    private static readonly RetroConfig s_config = TinyRetro.Config with { Retrieval = null };

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Fact]
    public void Models_of_the_same_weights_that_compute_otherwise_are_two()
    {
        using RetroModel model = new(s_config), same = new(s_config with { Dropout = 0.1 }), other = new(s_config with { Heads = 4, HeadSize = 2 });
        Copy(model, same);
        Copy(model, other);
        ReadingBatch batch = ReaderContract.Batch(s_config.VocabularySize, 1, 9, M, 1, M, seed: 3);
        Assert.NotEqual(new DecoderReader(model).LogLikelihoods(batch), new DecoderReader(other).LogLikelihoods(batch));
        Assert.NotEqual(IdentityOf(new DecoderReader(model)), IdentityOf(new DecoderReader(other)));
        Assert.Equal(IdentityOf(new DecoderReader(model)), IdentityOf(new DecoderReader(same)));
        Assert.Equal(WeightsHash.Rounded(model, 1), WeightsHash.Rounded(other, 1));
    }

    [Fact]
    public void States_that_are_others_or_are_found_otherwise_are_two()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(7, seed: 2, maximumLength: 30), M);
        using RetroModel model = new(s_config, ScalarType.Float64);
        TokenStoreOptions[] options = [new(), new() { WindowLength = 4 }, new() { Float16 = false }, new() { Factory = "SQ8" }];
        string?[] identities = [.. options.Select(one =>
        {
            using TokenStore store = TokenStore.Build(model, database, options: one);
            return IdentityOf(new NearestNeighborReader(model, store, 0.3, 0.8, 7));
        })];
        Assert.Equal(identities.Length, identities.Distinct().Count());
    }

    [Fact]
    public void A_reader_on_top_of_one_that_is_not_known_is_not_known_and_two_ways_to_read_are_two()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(3, seed: 2, maximumLength: 30), M);
        ToyReader unknown = new(s_config.VocabularySize);
        PointerRule rule = new(2, M, 2 * M, [.. Enumerable.Repeat(0.5, PointerRule.LongestRun)]);
        Assert.Null(IdentityOf(new PointerReader(unknown, rule)));
        Assert.Null(IdentityOf(new RunReader(unknown, TokenIndex.Build(database), [.. Enumerable.Repeat(0.5, TokenIndex.LongestRun)])));

        using RetroModel model = new(TinyRetro.Config with { VocabularySize = EmbeddingInputs.Tokenizer.VocabularySize });
        InContextOptions options = new() { Neighbors = 2 };
        IReader one = new InContextReader(model, EmbeddingInputs.Tokenizer, options);
        IReader other = new RetroInContextReader(model, EmbeddingInputs.Tokenizer, options);
        Assert.NotEqual(one.Identity, other.Identity);
    }

    /// <summary>Files that an earlier version wrote, which named the weights alone, load with these weights.</summary>
    [Fact]
    public void A_file_is_read_with_the_model_that_it_was_trained_for_and_so_is_one_of_before()
    {
        using RetroModel model = new(s_config), alike = new(s_config with { Heads = 4, HeadSize = 2 }), other = new(s_config);
        Copy(model, alike);
        string path = _databases.Folder("now.safetensors"), before = _databases.Folder("before.safetensors");
        ReaderFile.Save(path, "copy reader", model, []);
        Safetensors.Write(before, [], new Dictionary<string, string> { ["retro.copy_reader"] = "1", ["model"] = WeightsHash.Rounded(model, 1) });
        using ReaderFile now = ReaderFile.Open(path, "copy reader"), then = ReaderFile.Open(before, "copy reader");
        now.RequireModel(model);
        then.RequireModel(model);
        Assert.Throws<CheckpointException>(() => now.RequireModel(alike));
        Assert.All([now, then], file => Assert.Throws<CheckpointException>(() => file.RequireModel(other)));
    }

    private static string? IdentityOf(IReader reader) => reader.Identity;

    private static void Copy(RetroModel from, RetroModel to)
    {
        using IDisposable noGradients = no_grad();
        foreach ((var one, var other) in from.named_parameters().Zip(to.named_parameters()))
        {
            other.parameter.copy_(one.parameter);
        }
    }
}
