using Retro.Corpora;
using Retro.Database;
using Retro.Generation;
using Retro.Modeling;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tokenizers;
using static TorchSharp.torch;

namespace Retro.Tests.Generation;

/// <summary>Tests of a small model that writes and reads from a database of three texts, two of which share words.</summary>
public abstract class WritingTests : IDisposable
{
    private protected const int ChunkLength = 8;

    private protected static readonly RetroTokenizer s_tokenizer = EmbeddingInputs.Tokenizer;

    private protected static readonly string[] s_texts =
    [
        "The lighthouse stands on the northern cape, the lighthouse on the rock.", "Green tea is brewed below boiling heat; black tea is not.",
        "Ships that pass the cape at night look out for the light on the rock, and find it.",
    ];

    private protected readonly TemporaryFolder _folder = new();
    private protected readonly ChunkDatabase _database;
    private protected readonly KeywordNeighborSource _source;
    private protected readonly RetroModel _model;
    private protected readonly RetroGenerator _generator;

    /// <summary>Makes them.</summary>
    /// <param name="outputScale">How sure the model, which was never trained, is of what follows.</param>
    /// <param name="seed">Draws its weights.</param>
    private protected WritingTests(double outputScale, long seed)
    {
        _database = ChunkDatabaseBuilder.Build(
            _folder["db"], s_texts.Select((text, i) => new Document($"d{i}", $"Title {i}", text, "")), s_tokenizer, new() { ChunkLength = ChunkLength });
        _source = KeywordNeighborSource.Build(_database);
        manual_seed(seed);
        _model = new RetroModel(
            RetroConfig.Tiny with
            {
                VocabularySize = s_tokenizer.VocabularySize,
                InitialOutputScale = outputScale,
                Retrieval = RetroConfig.Tiny.Retrieval! with { ChunkLength = ChunkLength, RetrievedLength = 2 * ChunkLength, Neighbors = 2 },
            },
            ScalarType.Float64);
        _model.eval();
        _generator = new(_model, s_tokenizer, _source);
    }

    public void Dispose()
    {
        _model.Dispose();
        _database.Dispose();
        _folder.Dispose();
        GC.SuppressFinalize(this);
    }
}
