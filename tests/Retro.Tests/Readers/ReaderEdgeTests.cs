using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tests.Database;
using static TorchSharp.torch;

namespace Retro.Tests.Readers;

/// <summary>Inputs at the edge, for every reader: one neighbor, none at all, equal scores, a text longer than the model takes.</summary>
public sealed class ReaderEdgeTests : IDisposable
{
    private const int M = TinyRetro.M, Longest = 7 * M;

    private readonly TestDatabases _databases = new();
    private readonly ChunkDatabase _database;
    private readonly KeywordNeighborSource _source;
    private readonly RetroModel _model;
    private readonly List<IDisposable> _owned = [];

    public ReaderEdgeTests()
    {
        List<Document> twins = CopyReaderTests.Twins(6, 40, seed: 2);
        _database = _databases.Build(twins, M);
        _source = KeywordNeighborSource.Build(_database);
        manual_seed(3);
        _model = new(TinyRetro.Config with { MaximumLength = Longest }, ScalarType.Float64);
    }

    public static TheoryData<string> Names => ["decoder", "RETRO", "in context", "ensemble", "copying", "own attention", "pointer rule", "nearest states"];

    public void Dispose()
    {
        _owned.ForEach(one => one.Dispose());
        _model.Dispose();
        _source.Dispose();
        _database.Dispose();
        _databases.Dispose();
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void With_one_neighbor_or_none_it_is_a_distribution_and_what_is_missing_is_as_what_was_never_asked_for(string name)
    {
        IReader reader = Reader(name);
        ReadingBatch batch = ReaderContract.Batch(TestDatabases.Bytes.VocabularySize, 2, 3 * M, M, 1, 2 * M, seed: 6);
        Array.Fill(batch.Retrieved!.Valid, true);
        Array.Fill(batch.Retrieved.Scores, 2); // all equal
        for (int i = 0; i < batch.Retrieved.Tokens.Length; i++)
        {
            // The text's own chunk, so that there is something to copy.
            (int chunk, int within) = Math.DivRem(i, 2 * M);
            batch.Retrieved.Tokens[i] = batch.Tokens[(chunk / 3 * batch.Length) + Math.Min((chunk % 3 * M) + within, batch.Length - 1)];
        }

        double[] one = reader.LogLikelihoods(batch);
        Assert.All(one, likelihood => Assert.InRange(likelihood, -50, 1e-9));

        Array.Fill(batch.Retrieved.Valid, false);
        Array.Fill(batch.Retrieved.Scores, float.NaN);
        double[] missing = reader.LogLikelihoods(batch);
        batch.Retrieved = null;
        Assert.Equal(reader.LogLikelihoods(batch), missing);
        bool reads = reader.Neighbors > 0;
        Assert.Equal(reads, !missing.SequenceEqual(one));
    }

    /// <summary>A table has neighbors of every chunk; what is asked for while reading has to have them wherever they matter.</summary>
    [Theory]
    [InlineData("RETRO")]
    [InlineData("in context")]
    [InlineData("copying")]
    [InlineData("own attention")]
    [InlineData("pointer rule")]
    [InlineData("RETRO, best in context")]
    [InlineData("RETRO + copying")]
    [InlineData("RETRO + pointer rule")]
    public void In_windows_that_overlap_a_source_is_worth_what_its_table_is(string name)
    {
        using ChunkDatabase heldOut = _databases.Build(
            CopyReaderTests.Twins(3, 40, seed: 9).Select(document => document with { Id = $"new {document.Id}" }), M, "held-out");
        IReader reader = Reader(name);
        RandomNeighborSource source = new(_database, 1);
        using NeighborTable table = NeighborTable.Build(heldOut, source, reader.Neighbors, excludeOwnDocument: false);
        BitsPerByteOptions options = new() { WindowLength = 4 * M }; // by halves
        IReadOnlyList<double> expected = BitsPerByte.Measure(reader, heldOut, table, options).ChunkBits;
        Assert.Equal(expected, BitsPerByte.Measure(reader, heldOut, source, options).ChunkBits, (one, other) => Math.Abs(one - other) < 1e-9);
    }

    /// <summary>A reader that takes any length gets two chunks of the database that is read from, whoever found them.</summary>
    [Fact]
    public void What_is_retrieved_is_as_long_by_a_table_as_by_its_source_where_chunk_lengths_differ()
    {
        using ChunkDatabase heldOut = _databases.Build(
            CopyReaderTests.Twins(3, 40, seed: 9).Select(document => document with { Id = $"new {document.Id}" }), 2 * M, "held-out of longer chunks");
        IReader reader = Reader("in context");
        RandomNeighborSource source = new(_database, 1);
        using NeighborTable table = NeighborTable.Build(heldOut, source, reader.Neighbors, excludeOwnDocument: false);
        BitsPerByteOptions options = new() { WindowLength = 4 * M };
        BitsPerByteResult byTable = BitsPerByte.Measure(reader, heldOut, table, options), bySource = BitsPerByte.Measure(reader, heldOut, source, options);
        Assert.Equal((2 * M, 2 * M), (byTable.RetrievedLength, bySource.RetrievedLength));
        Assert.Equal(byTable.ChunkBits, bySource.ChunkBits, (one, other) => Math.Abs(one - other) < 1e-9);
    }

    /// <summary>Readers that write passages in front of the text leave out its oldest tokens; the others say what the model takes.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void A_text_longer_than_the_model_takes_is_cut_at_its_beginning_or_refused_in_one_sentence(string name)
    {
        IReader reader = Reader(name);
        ReadingBatch batch = ReaderContract.Batch(TestDatabases.Bytes.VocabularySize, 1, Longest + M, M, 1, 2 * M, seed: 6);
        Array.Fill(batch.Retrieved!.Valid, true);
        Array.Fill(batch.Retrieved.Scores, 1);
        if (reader is PromptReader)
        {
            Assert.All(reader.LogLikelihoods(batch), likelihood => Assert.InRange(likelihood, -50, 1e-9));
            return;
        }

        ArgumentException fault = Assert.ThrowsAny<ArgumentException>(() => reader.LogLikelihoods(batch));
        Assert.Contains($"A sequence of {Longest + M} tokens is longer than the {Longest} that", fault.Message, StringComparison.Ordinal);
        Assert.Contains(nameof(BitsPerByteOptions.WindowLength), fault.Message, StringComparison.Ordinal);
    }

    /// <summary>Its ids are in range, and mean other texts: what reads them measures noise.</summary>
    [Fact]
    public void What_was_made_with_another_tokenizer_is_refused_by_whatever_reads_or_is_fitted_from_it()
    {
        string hash = new('b', 64);
        TokenizerFacts facts = new("bytes", hash, TestDatabases.Bytes.VocabularySize, TestDatabases.EndOfText, TestDatabases.Bytes.Encode);
        List<Document> fresh = [.. CopyReaderTests.Twins(3, 40, seed: 9).Select(document => document with { Id = $"new {document.Id}" })];
        using ChunkDatabase own = _databases.Build(fresh, M, "own"),
            other = ChunkDatabaseBuilder.Build(_databases.Folder("other"), fresh, facts, new ChunkDatabaseOptions { ChunkLength = M });
        RandomNeighborSource foreign = new(other, 1);
        TokenIndex runs = TokenIndex.Build(other);
        InContextOptions context = new() { Neighbors = 2, PrefixLength = 2 + (4 * M), WindowLength = Longest };
        PassagePrompt prompt = new(context, TestDatabases.EndOfText, TestDatabases.EndOfText, [], [], ['\n'], Longest);
        CopyReaderOptions copying = new() { Neighbors = 1, Stride = M, QueryLength = M, WindowLength = 2 * M, Steps = 1 };
        using TokenStore store = TokenStore.Build(_model, _database, options: new() { WindowLength = 4 * M });
        Action[] uses =
        [
            () => BitsPerByte.Measure(Reader("RETRO"), own, foreign),
            () => BitsPerByte.Measure(Reader("in context"), own, foreign),
            () => BitsPerByte.Measure(new RunReader(new DecoderReader(_model), runs, new double[TokenIndex.LongestRun]), own),
            () => CopyReader.Fit(_model, _database, foreign, copying),
            () => CopyReader.Fit(_model, _database, _source, copying, runs),
            () => DecoupledReader.Fit(_model, _database, foreign, new() { Neighbors = 1, WindowLength = 2 * M, Steps = 1 }),
            () => new EnsembleReader(_model, prompt, context, double.PositiveInfinity).BestTemperature(own, foreign),
            () => new EnsembleReader(_model, prompt, context, double.PositiveInfinity).BestTemperature(other, _source),
            () => NearestNeighborReader.Fit(_model, store, other),
            () => NextChunkRecall.Measure(foreign, own, 1),
        ];
        Assert.All(uses, use =>
        {
            DatabaseException fault = Assert.Throws<DatabaseException>(use);
            Assert.Contains(hash, fault.Message, StringComparison.Ordinal);
            Assert.Contains(TestDatabases.Bytes.Hash, fault.Message, StringComparison.Ordinal);
        });
    }

    private IReader Reader(string name)
    {
        InContextOptions context = new() { Neighbors = 1, PrefixLength = 2 + (2 * M), WindowLength = Longest };
        PassagePrompt prompt = new(context, TestDatabases.EndOfText, TestDatabases.EndOfText, [], [], ['\n'], Longest);
        return name switch
        {
            "decoder" => new DecoderReader(_model),
            "RETRO" => new RetroReader(_model, 1),
            "in context" => new InContextReader(_model, prompt, context),
            "ensemble" => new EnsembleReader(_model, prompt, context, 1),
            "RETRO, best in context" => new RetroInContextReader(_model, prompt, context with { Neighbors = 2 }),
            "copying" => Copying(0),
            "RETRO + copying" => Copying(1),
            "RETRO + pointer rule" => Rule(new RetroReader(_model, 1)),
            "own attention" => Own(DecoupledReader.Fit(
                _model, _database, _source, new() { Neighbors = 1, WindowLength = 2 * M, Steps = 1, LearningRate = 0.1 })),
            "pointer rule" => Rule(new DecoderReader(_model)),
            _ => new NearestNeighborReader(_model, Own(TokenStore.Build(_model, _database, options: new() { WindowLength = 4 * M })), 0.5, 1, 1),
        };

        CopyReader Copying(int crossAttended) => Own(CopyReader.Fit(
            _model,
            _database,
            _source,
            new() { Neighbors = 1, Stride = M, QueryLength = M, WindowLength = 2 * M, Steps = 1, CrossAttended = crossAttended }));

        static PointerReader Rule(IReader below) => new(below, new PointerRule(1, M, 2 * M, [.. Enumerable.Repeat(0.5, PointerRule.LongestRun)]));

        T Own<T>(T owned)
            where T : IDisposable
        {
            _owned.Add(owned);
            return owned;
        }
    }
}
