using Retro.Corpora;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Search;
using static TorchSharp.torch;

namespace Retro.Tests.Readers;

/// <summary>
/// While a reader is fitted nothing is retrieved from the document that is read, nor from a copy of it: it would be shown what it is to learn, and would trust
/// neighbors far more than it may later.
/// </summary>
public sealed class OwnDocumentTests : IDisposable
{
    private const int M = 8;

    private static readonly RetroConfig s_config = TinyRetro.Config with { Retrieval = null };

    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Theory]
    [InlineData("copy")]
    [InlineData("decoupled")]
    [InlineData("ensemble")]
    public void Every_query_of_a_fitting_leaves_out_the_texts_document_and_its_copies(string kind)
    {
        // Half of them are there twice, under another id.
        Random random = new(4);
        List<Document> documents = [.. Enumerable.Range(0, 12).Select(number => TestDatabases.Document(
            $"d{number}", string.Concat(Enumerable.Range(0, 60).Select(_ => (char)random.Next('!', '~' + 1)))))];
        documents.AddRange(documents[..6].Select(document => document with { Id = $"copy of {document.Id}" }));
        using ChunkDatabase database = _databases.Build(documents, M);
        int[][] texts = [.. database.Documents.Select(document => TestDatabases.Text(database, document))];
        RecordingSource source = new(new RandomNeighborSource(database, 1));
        manual_seed(1);
        using RetroModel model = new(s_config);
        switch (kind)
        {
            case "copy":
                CopyReader.Fit(model, database, source, new() { Neighbors = 2, Stride = 4, QueryLength = 8, Steps = 4, WindowLength = 5 * M }).Dispose();
                break;
            case "decoupled":
                DecoupledReader.Fit(model, database, source, new() { Neighbors = 2, Steps = 4, WindowLength = 5 * M, BatchSize = 4 }).Dispose();
                break;
            default:
                InContextOptions options = new() { Neighbors = 2, PrefixLength = 40 };
                PassagePrompt prompt = new(options, TestDatabases.EndOfText, TestDatabases.EndOfText, [], [], ['\n'], null);
                new EnsembleReader(model, prompt, options, 1).BestTemperature(database, source);
                break;
        }

        Assert.InRange(source.Queries.Count, 16, int.MaxValue);
        Assert.Contains(source.Queries, query => query.ExcludedDocuments.Count == 2);
        Assert.All(source.Queries, query =>
        {
            // A text is random, so that no other holds the same few tokens.
            int[] tokens = query.Tokens.ToArray();
            int[] holding = [.. Enumerable.Range(0, texts.Length).Where(document => texts[document].AsSpan().IndexOf(tokens) >= 0)];
            Assert.NotEmpty(holding);
            Assert.Equal(holding, query.ExcludedDocuments.Order());
        });
    }

    /// <summary>An index of runs is a second way to a text's own document, whose number there is another than in what the source searches.</summary>
    [Fact]
    public void Copying_from_anywhere_is_fitted_without_the_copies_in_the_index()
    {
        Random random = new(4);
        List<Document> texts = Random("d"), others = Random("o");
        using ChunkDatabase database = _databases.Build(texts, M, "texts");
        using ChunkDatabase searched = _databases.Build(texts.Select(text => text with { Id = $"copy of {text.Id}" }).Reverse(), M, "searched");
        using ChunkDatabase copies = _databases.Build(others.Concat(texts.Select(text => text with { Id = $"again {text.Id}" })), M, "copies");
        using ChunkDatabase nearly = _databases.Build(
            others.Concat(texts.Select(text => text with { Id = $"x{text.Id}", Text = $"{text.Text}!" })), M, "nearly");
        double Loss(ChunkDatabase indexed)
        {
            manual_seed(1);
            using RetroModel model = new(s_config);
            double loss = double.NaN;
            CopyReaderOptions options = new() { Neighbors = 1, Stride = 4, QueryLength = 8, Steps = 60, WindowLength = 5 * M };
            CopyReader.Fit(
                model,
                database,
                new RandomNeighborSource(searched, 1),
                options,
                TokenIndex.Build(indexed),
                progress: new Reports<StageProgress>(step => loss = step.Loss ?? loss)).Dispose();
            return loss;
        }

        // What nobody can foretell stays so; from texts that are others by their end it would be copied.
        Assert.InRange(Loss(copies), 4, 7);
        Assert.InRange(Loss(nearly), 0, 2.5);

        List<Document> Random(string name) => [.. Enumerable.Range(0, 12).Select(number => TestDatabases.Document(
            $"{name}{number}", string.Concat(Enumerable.Range(0, 60).Select(_ => (char)random.Next('!', '~' + 1)))))];
    }
}
