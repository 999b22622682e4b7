using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Readers;
using Retro.Tests.Search;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Evaluation;

public sealed class BitsPerByteTests : IDisposable
{
    private const int M = TinyRetro.M;

    private static readonly RetroConfig s_config = TinyRetro.Config;

    private readonly TestDatabases _databases = new();
    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        _databases.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(16, null, 3, false)]
    [InlineData(16, null, 1, true)]
    [InlineData(16, 8, 5, true)]
    [InlineData(12, 4, 4, false)]
    [InlineData(8, 4, 64, true)]
    public void Bits_equal_those_of_one_token_at_a_time(int length, int? stride, int rows, bool retrieve)
    {
        using ChunkDatabase heldOut = HeldOutDocuments(8);
        using ChunkDatabase retrieval = _databases.Build(TestDatabases.Documents(20, seed: 2), M, "retrieval");
        using NeighborTable? table = retrieve ? Table(heldOut, retrieval) : null;
        manual_seed(1);
        using RetroModel model = new(s_config, ScalarType.Float64);
        BitsPerByteResult result = BitsPerByte.Measure(
            model, heldOut, table, new() { WindowLength = length, Stride = stride, BatchSize = rows, KeepTokens = true });

        double[] chunkBits = new double[heldOut.ChunkCount];
        double[] tokenBits = [.. Enumerable.Repeat(double.NaN, (int)heldOut.ChunkCount * M)];
        long tokens = 0, tokensBefore = 0;
        double bitsBefore = 0;
        int step = stride ?? Math.Max(M, length / 2 / M * M);
        foreach (DocumentEntry document in heldOut.Documents)
        {
            int[] text = TestDatabases.Text(heldOut, document);
            for (int target = 1; target < text.Length; target++, tokens++)
            {
                // The first window that reaches the target: it begins a multiple of the stride into the document.
                int start = 0;
                while (start + length < target)
                {
                    start += step;
                }

                double bits = Bits(model, text[start..target], text[target], document.FirstChunk + start / M, table, retrieval);
                chunkBits[document.FirstChunk + target / M] += bits;
                tokenBits[(int)document.FirstChunk * M + target] = bits;
                if (target - start < M)
                {
                    tokensBefore++;
                    bitsBefore += bits;
                }
            }
        }

        Assert.Equal(tokens, result.Tokens);
        Assert.Equal(heldOut.Documents.Sum(document => (long)document.TokenCount - 1), result.Tokens);
        Assert.Equal(heldOut.Documents.Sum(document => document.ByteCount), result.Bytes);
        Assert.Equal(heldOut.Documents.Count, result.Documents);
        Assert.Equal(chunkBits, result.ChunkBits, (one, other) => Math.Abs(one - other) < 1e-9);
        Assert.Equal(tokenBits, result.TokenBits!.Select(bits => (double)bits), (one, other) =>
            (double.IsNaN(one) && double.IsNaN(other)) || Math.Abs(one - other) < 1e-5);
        Assert.Equal(chunkBits.Sum(), result.Bits, 8);
        Assert.Equal(tokensBefore, result.FirstChunkTokens);
        Assert.Equal(bitsBefore, result.FirstChunkBits, 8);
        Assert.Equal(heldOut.Documents.Select(document => (double)document.ByteCount), result.DocumentSums.Bytes);
        Assert.Equal(
            heldOut.Documents.Select(document => chunkBits[(int)document.FirstChunk..((int)document.FirstChunk + document.ChunkCount)].Sum()),
                result.DocumentSums.Bits, (one, other) => Math.Abs(one - other) < 1e-9);
        Assert.Equal(result.Bits / result.Bytes, result.Value);
        Assert.Equal(Math.Exp(chunkBits.Sum() * Math.Log(2) / tokens), result.Perplexity, 1e-6);
        Assert.Equal(retrieve ? ("RETRO", "given", 2) : ("RETRO off", "off", 0), (result.Reader, result.SourceName, result.Neighbors));
        Assert.Equal(heldOut.Manifest.TokensHash, result.HeldOutHash);
    }

    [Fact]
    public void Retrieval_changes_what_is_measured_but_nothing_in_a_documents_first_chunk()
    {
        using ChunkDatabase heldOut = HeldOutDocuments(8);
        using ChunkDatabase retrieval = _databases.Build(TestDatabases.Documents(20, seed: 2), M, "retrieval");
        using NeighborTable table = Table(heldOut, retrieval);
        manual_seed(1);
        using RetroModel model = new(s_config, ScalarType.Float64);
        BitsPerByteResult on = BitsPerByte.Measure(model, heldOut, table, new() { WindowLength = 16 });
        BitsPerByteResult off = BitsPerByte.Measure(model, heldOut, options: new() { WindowLength = 16 });
        Assert.NotEqual(on.Bits, off.Bits, 3);
        Assert.All(heldOut.Documents, document => Assert.Equal(on.ChunkBits[(int)document.FirstChunk], off.ChunkBits[(int)document.FirstChunk], 9));
    }

    /// <summary>What stands in first chunks is compared between readers, so that it is of the same tokens however often one retrieves.</summary>
    [Fact]
    public void What_stands_in_a_first_chunk_is_of_the_same_tokens_for_every_reader()
    {
        using ChunkDatabase heldOut = HeldOutDocuments(8);
        using ChunkDatabase retrieval = _databases.Build(TestDatabases.Documents(20, seed: 2), M, "retrieval");
        RandomNeighborSource source = new(retrieval, 1);
        ToyReader toy = new(257);
        PointerReader Rule(int stretch) => new(toy, new PointerRule(2, stretch, 2 * M, new double[PointerRule.LongestRun])); // the toy, without any mass
        BitsPerByteOptions options = new() { WindowLength = 16 };
        BitsPerByteResult alone = BitsPerByte.Measure(toy, heldOut, options: options);
        foreach (int stretch in new[] { M, M / 2, 1 })
        {
            BitsPerByteResult often = BitsPerByte.Measure(Rule(stretch), heldOut, source, options);
            Assert.Equal(alone.FirstChunkTokens, often.FirstChunkTokens);
            Assert.Equal(alone.FirstChunkBits, often.FirstChunkBits, 1e-9);
            Assert.Equal((stretch < M, 2 * M), (often.ReadsOtherText, often.RetrievedLength));
        }

        Assert.Equal((16, 8, false, null), (alone.WindowLength, alone.Stride, alone.ReadsOtherText, alone.RetrievedLength));
        RunReader anywhere = new(toy, TokenIndex.Build(retrieval), new double[TokenIndex.LongestRun]);
        Assert.True(BitsPerByte.Measure(anywhere, heldOut, options: options).ReadsOtherText);
    }

    /// <summary>Windows overlap by half: without care everything but a document's first and last half of a window is asked twice.</summary>
    [Fact]
    public void Windows_that_overlap_ask_once()
    {
        using ChunkDatabase heldOut = HeldOutDocuments(8);
        using ChunkDatabase retrieval = _databases.Build(TestDatabases.Documents(20, seed: 2), M, "retrieval");
        using KeywordNeighborSource keywords = KeywordNeighborSource.Build(retrieval);
        RecordingSource source = new(keywords);
        using RetroModel model = new(s_config);
        BitsPerByteResult live = BitsPerByte.Measure(model, heldOut, source, new() { WindowLength = 16, BatchSize = int.MaxValue });
        using NeighborTable table = NeighborTable.Build(
            Path.Combine(_folder.Path, "table.bin"), heldOut, keywords, s_config.Retrieval!.Neighbors, excludeOwnDocument: false);
        Assert.Equal(BitsPerByte.Measure(model, heldOut, table, new() { WindowLength = 16 }).Bits, live.Bits, 1e-3);
        Assert.InRange(source.Queries.Count, heldOut.Documents.Count, heldOut.ChunkCount);
    }

    [Fact]
    public void A_held_out_document_that_is_in_the_database_is_refused_by_name()
    {
        List<Document> known = TestDatabases.Documents(10, seed: 2);
        using ChunkDatabase retrieval = _databases.Build(known, M, "retrieval");
        Document copied = known.First(document => document.Text.Length > 10);
        using ChunkDatabase heldOut = _databases.Build(
            [TestDatabases.Document("new", "some other text"), TestDatabases.Document("copy", copied.Text)], M, "held-out");
        using RetroModel model = new(s_config);
        RandomNeighborSource source = new(retrieval);
        DatabaseException exception = Assert.Throws<DatabaseException>(() => BitsPerByte.Measure(model, heldOut, source, new() { WindowLength = 16 }));
        using ChunkDatabase edited = _databases.Build([known[4] with { Text = known[4].Text + " and more" }], M, "edited");
        Assert.Contains($"\"{known[4].Id}\"", Assert.Throws<DatabaseException>(
            () => BitsPerByte.Measure(model, edited, source, new() { WindowLength = 16 })).Message, StringComparison.Ordinal);
        Assert.Contains("1 of 2", exception.Message, StringComparison.Ordinal);
        Assert.Contains("\"copy\"", exception.Message, StringComparison.Ordinal);
        Assert.Contains($"\"{copied.Id}\"", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Faulty_options_and_a_table_of_another_database_are_refused()
    {
        using ChunkDatabase heldOut = HeldOutDocuments(4);
        using ChunkDatabase retrieval = _databases.Build(TestDatabases.Documents(20, seed: 2), M, "retrieval");
        using ChunkDatabase longer = _databases.Build(TestDatabases.Documents(4, seed: 3), 2 * M, "longer");
        using NeighborTable table = Table(heldOut, retrieval), foreign = Table(retrieval, heldOut);
        using RetroModel model = new(s_config);
        RetroOptionsException faults = Assert.Throws<RetroOptionsException>(
            () => BitsPerByte.Measure(model, heldOut, options: new() { WindowLength = 6, Stride = 3, BatchSize = 0, MaximumBytes = 0 }));
        Assert.Equal(4, faults.Faults.Count);
        Assert.All(["WindowLength is 6", "Stride is 3", "BatchSize is 0", "MaximumBytes is 0"], part =>
            Assert.Contains(part, faults.Message, StringComparison.Ordinal));
        Assert.Throws<DatabaseException>(() => BitsPerByte.Measure(model, heldOut, foreign, new() { WindowLength = 16 }));
        ArgumentException beyond = Assert.Throws<ArgumentException>(
            () => BitsPerByte.Measure(new RetroReader(model, table.Count + 1), heldOut, table, new() { WindowLength = 16 }));
        Assert.Contains("the table holds 3", beyond.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => BitsPerByte.Measure(new RetroReader(model), heldOut, options: new() { WindowLength = 16 }));
        Assert.Throws<ArgumentException>(() => BitsPerByte.Measure(new DecoderReader(model), heldOut, table, new() { WindowLength = 16 }));
        using RetroModel plain = new(s_config with { Retrieval = null });
        Assert.Throws<ArgumentException>(() => BitsPerByte.Measure(plain, heldOut, table, new() { WindowLength = 16 }));
        Assert.Throws<DatabaseException>(() => BitsPerByte.Measure(model, longer));
    }

    [Fact]
    public void Little_memory_measures_the_same_in_order()
    {
        using ChunkDatabase heldOut = HeldOutDocuments(12);
        using ChunkDatabase retrieval = _databases.Build(TestDatabases.Documents(20, seed: 2), M, "retrieval");
        using NeighborTable table = Table(heldOut, retrieval);
        manual_seed(1);
        using RetroModel model = new(s_config, ScalarType.Float64);
        BitsPerByteResult expected = BitsPerByte.Measure(model, heldOut, table, new() { WindowLength = 16 });
        List<StageProgress> told = [];
        BitsPerByteResult little = BitsPerByte.Measure(
            model, heldOut, table, new() { WindowLength = 16, MaximumBytes = 1 }, new Reports<StageProgress>(told.Add));
        told.RemoveAll(report => report.Stage == "compare documents");
        Assert.Equal(expected.ChunkBits, little.ChunkBits, (one, other) => Math.Abs(one - other) < 1e-9);
        Assert.Equal(told.Select(report => report.Done).Order(), told.Select(report => report.Done));
        Assert.Equal((0, expected.Tokens, expected.Tokens), (told[0].Done, told[^1].Done, told[^1].Total));

        // One window at a time, where the default takes eight on each core.
        Assert.True(told.Count > heldOut.Documents.Count(document => document.TokenCount > 1), $"{told.Count} reports");
    }

    [Fact]
    public void A_held_out_document_that_is_nearly_in_the_database_is_refused_by_name()
    {
        string text = string.Join(' ', Enumerable.Range(0, 400).Select(i => $"w{i * 7919 % 1000}")),
            other = string.Join(' ', Enumerable.Range(0, 400).Select(i => $"v{i * 7919 % 1000}"));
        BpeTrainer.Train([text + other], 300, Path.Combine(_folder.Path, "tokenizer"));
        RetroTokenizer tokenizer = RetroTokenizer.Load(Path.Combine(_folder.Path, "tokenizer"));
        ChunkDatabaseOptions chunks = new() { ChunkLength = M };
        using ChunkDatabase retrieval = ChunkDatabaseBuilder.Build(Path.Combine(_folder.Path, "retrieval"),
            [TestDatabases.Document("x", other), TestDatabases.Document("near", text.Replace("w919 ", "other ", StringComparison.Ordinal))], tokenizer, chunks);
        using ChunkDatabase seen = ChunkDatabaseBuilder.Build(Path.Combine(_folder.Path, "seen"),
            [TestDatabases.Document("unseen", "nothing of the kind"), TestDatabases.Document("secret", text)], tokenizer, chunks);
        using ChunkDatabase unseen = ChunkDatabaseBuilder.Build(
            Path.Combine(_folder.Path, "unseen"),
            [TestDatabases.Document("half", $"{text[..(text.Length / 2)]} {other[(other.Length / 3)..].Replace('v', 'u')}")],
            tokenizer,
            chunks);
        using ChunkDatabase within = ChunkDatabaseBuilder.Build(
            Path.Combine(_folder.Path, "within"), [TestDatabases.Document("part", text[..(text.Length / 2)])], tokenizer, chunks);
        HeldOut.Require(seen, retrieval);
        string message = Assert.Throws<DatabaseException>(() => HeldOut.Require(seen, retrieval, tokenizer)).Message;
        Assert.Contains("\"secret\" (there \"near\", similarity 0.9", message, StringComparison.Ordinal);
        Assert.Contains("1 of 2", message, StringComparison.Ordinal);
        List<StageProgress> told = [];
        HeldOut.Require(unseen, retrieval, tokenizer, progress: new Reports<StageProgress>(told.Add));
        Assert.Equal(2, told.Count(report => report.Stage != "compare documents"));
        Assert.Throws<DatabaseException>(() => HeldOut.Require(unseen, retrieval, tokenizer, new() { Similarity = 0.1 }));
        Assert.Contains(
            "\"part\" (there \"near\", similarity 0.4",
            Assert.Throws<DatabaseException>(() => HeldOut.Require(within, retrieval, tokenizer)).Message,
            StringComparison.Ordinal);
        using CancellationTokenSource cancel = new();
        Assert.Throws<OperationCanceledException>(
            () => HeldOut.Require(unseen, retrieval, tokenizer, progress: new Reports<StageProgress>(_ => cancel.Cancel()), cancellationToken: cancel.Token));
        using ChunkDatabase bytes = _databases.Build([TestDatabases.Document("a", "some text")], M, "bytes");
        Assert.Throws<DatabaseException>(() => HeldOut.Require(bytes, retrieval, tokenizer));
    }

    /// <summary>A mean of what is not a number is none, and a comparison of such numbers comes out as if by chance.</summary>
    [Fact]
    public void Weights_that_are_not_numbers_are_refused_by_whatever_measures_or_fits()
    {
        using ChunkDatabase heldOut = HeldOutDocuments(8);
        using ChunkDatabase retrieval = _databases.Build(TestDatabases.Documents(20, seed: 2), M, "retrieval");
        using KeywordNeighborSource source = KeywordNeighborSource.Build(retrieval);
        using RetroModel model = new(s_config);
        using (no_grad())
        {
            model.parameters().Last().fill_(float.NaN);
        }

        InContextOptions context = new() { Neighbors = 2, PrefixLength = 20, WindowLength = 60 };
        PassagePrompt prompt = new(context, TestDatabases.EndOfText, TestDatabases.EndOfText, [], [], ['\n'], null);
        using TokenStore states = TokenStore.Build(model, retrieval);
        Refused(() => BitsPerByte.Measure(model, heldOut, options: new() { KeepTokens = true }));
        Refused(() => BitsPerByte.Measure(new RetroReader(model, 2), heldOut, source));
        Refused(() => BitsPerByte.Measure(new InContextReader(model, prompt, context), heldOut, source));
        Refused(() => new EnsembleReader(model, prompt, context, 1).BestTemperature(heldOut, source));
        Refused(() => NearestNeighborReader.Fit(model, states, heldOut, new() { Neighbors = 2, Tokens = 50, WindowLength = 20 }));

        static void Refused(Action measure)
            => Assert.Contains("a log-likelihood that is not a number", Assert.Throws<RetroException>(measure).Message, StringComparison.Ordinal);
    }

    /// <summary>A reader of one's own can give anything; what would be measured by it would be a number all the same.</summary>
    [Fact]
    public void What_is_no_log_likelihood_is_refused_with_the_readers_name()
    {
        using ChunkDatabase heldOut = HeldOutDocuments(4);
        ToyReader toy = new(s_config.VocabularySize);
        double whole = BitsPerByte.Measure(new OwnReader(toy, likelihoods => likelihoods), heldOut).Value;
        Assert.True(whole > 0);
        Refused(likelihoods => likelihoods[1..], "log-likelihoods for a batch of");
        Refused(likelihoods => [.. likelihoods, 0], "log-likelihoods for a batch of");
        Refused(_ => null!, "gives null in place of log-likelihoods");
        Refused(likelihoods => [.. likelihoods.Select(one => -one)], "the logarithm of a probability is at most 0");
        Refused(likelihoods => [.. likelihoods.Select(_ => double.PositiveInfinity)], "the logarithm of a probability is at most 0");
        Refused(likelihoods => [.. likelihoods.Select(_ => double.NaN)], "a log-likelihood that is not a number");

        void Refused(Func<double[], double[]> change, string expected)
        {
            OwnReader own = new(toy, change);
            PointerReader rule = new(own, new PointerRule(1, M, 2 * M, new double[PointerRule.LongestRun]));
            foreach (IReader reader in new IReader[] { own, rule })
            {
                ReadingBatch batch = new(1, 2 * M, M);
                batch.Targets[3] = 1;
                string message = Assert.Throws<RetroException>(
                    () => reader is PointerReader ? reader.LogLikelihoods(batch) : [BitsPerByte.Measure(reader, heldOut).Value]).Message;
                Assert.StartsWith("my own", message, StringComparison.Ordinal);
                Assert.Contains(expected, message, StringComparison.Ordinal);
            }
        }
    }

    /// <summary>Its generator refuses it as well.</summary>
    [Fact]
    public void Chunks_of_another_length_than_a_retros_are_not_read()
    {
        using ChunkDatabase heldOut = HeldOutDocuments(4);
        using ChunkDatabase longer = _databases.Build(TestDatabases.Documents(20, seed: 2), 2 * M, "longer");
        using RetroModel model = new(s_config);
        using NeighborTable table = Table(heldOut, longer);
        RandomNeighborSource source = new(longer, 1);
        PointerReader above = new(new RetroReader(model, 1), new PointerRule(1, M, 2 * M, new double[PointerRule.LongestRun]));
        Action[] measures =
        [
            () => BitsPerByte.Measure(model, heldOut, table), () => BitsPerByte.Measure(model, heldOut, source),
            () => BitsPerByte.Measure(above, heldOut, source),
        ];
        Assert.All(measures, measure => Assert.Contains(longer.Folder, Assert.Throws<DatabaseException>(measure).Message, StringComparison.Ordinal));
    }

    [Fact]
    public void Cancelling_ends_the_measurement()
    {
        using ChunkDatabase heldOut = HeldOutDocuments(8);
        using RetroModel model = new(s_config);
        using CancellationTokenSource cancel = new();
        Assert.Throws<OperationCanceledException>(() => BitsPerByte.Measure(
            model, heldOut, options: new() { WindowLength = 8, BatchSize = 1 }, progress: new Reports<StageProgress>(_ => cancel.Cancel()),
                cancellationToken: cancel.Token));
    }

    private sealed class OwnReader(IReader reader, Func<double[], double[]> change) : IReader
    {
        public string Name => "my own";

        public int Neighbors => reader.Neighbors;

        public int? ChunkLength => reader.ChunkLength;

        public int? RetrievedLength => reader.RetrievedLength;

        public Device Device => reader.Device;

        public long RowBytes(int length) => reader.RowBytes(length);

        public double[] LogLikelihoods(ReadingBatch batch) => change(reader.LogLikelihoods(batch));
    }

    private ChunkDatabase HeldOutDocuments(int count) =>
        _databases.Build(TestDatabases.Documents(count, seed: 1).Select(document => document with { Id = $"held-out {document.Id}" }), M, "held-out");

    private NeighborTable Table(ChunkDatabase queries, ChunkDatabase retrieval)
    {
        int number = 0;
        // Some chunks have one neighbor, some none, some more than are read.
        GivenNeighborSource source = new(
            retrieval, _ => [.. Enumerable.Range(0, number++ % 4).Select(i => (long)((number * 7 + i * 5) % retrieval.ChunkCount))]);
        return NeighborTable.Build(Path.Combine(_folder.Path, Guid.NewGuid().ToString("N")), queries, source, 3, excludeOwnDocument: false);
    }

    private static double Bits(RetroModel model, int[] context, int target, long firstChunk, NeighborTable? table, ChunkDatabase retrieval)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable gradients = no_grad();
        Tensor? neighbors = null, valid = null;
        int chunks = context.Length / M;
        if (table is not null && chunks > 0)
        {
            long[] tokens = new long[chunks * 2 * 2 * M];
            bool[] exists = new bool[tokens.Length];
            for (int chunk = 0; chunk < chunks; chunk++)
            {
                for (int k = 0; k < 2; k++)
                {
                    int start = (chunk * 2 + k) * 2 * M;
                    retrieval.CopyRetrieved(table.Row(firstChunk + chunk)[k], tokens.AsSpan(start, 2 * M), exists.AsSpan(start, 2 * M));
                }
            }

            neighbors = tensor(tokens, [1, chunks, 2, 2 * M]);
            valid = tensor(exists, [1, chunks, 2, 2 * M]);
        }

        Tensor logits = model.call(tensor(context.Select(token => (long)token).ToArray(), [1, context.Length]), neighbors, valid);
        double[] scores = logits[0, context.Length - 1].contiguous().data<double>().ToArray();
        return (Math.Log(scores.Sum(Math.Exp)) - scores[target]) / Math.Log(2);
    }
}
