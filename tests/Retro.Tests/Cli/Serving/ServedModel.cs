using System.Net;
using System.Text.Json.Nodes;
using Retro.Cli;
using Retro.Cli.Serving;
using Retro.Generation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tests.Generation;
using Retro.Cli.Workflow;
using static TorchSharp.torch;

namespace Retro.Tests.Cli.Serving;

/// <summary>A tiny RETRO over a few documents, with an embedder, behind a server on a free port.</summary>
internal sealed class ServedModel : IAsyncDisposable
{
    public const string Name = "tiny";

    private readonly TemporaryFolder _folder = new();
    private readonly ReadingOptions.Opened _opened;
    private readonly Answerer? _answerer;
    private readonly Server _server;

    private ServedModel(
        Func<ServingOptions, ServingOptions> options,
        GenerationOptions defaults,
        bool reads,
        bool copies,
        string? writes,
        char? end,
        string? rowless,
        string? fitted,
        int? longest)
    {
        Workspace workspace = new(_folder["work"]);
        RetroConfig config = Fill(workspace, end, rowless, fitted);
        if (longest is not null)
        {
            config = config with { Positions = PositionKind.Learned, MaximumLength = longest };
        }

        Sources sources = new(workspace.Folder, null, null, 1, null, default);
        manual_seed(1);
        RetroModel model = new(config with { TieEmbeddings = writes is null });
        if (writes is not null)
        {
            ChainModel.Write(model, sources.Tokenizer.EndTokens[^1], [.. writes.Select(letter => sources.Tokenizer.Encode($"{letter}").Single())]);
        }

        model.eval();
        INeighborSource? source = reads && config.HasRetrieval ? sources.Open("bm25", 1) : null;
        CopyReaderOptions settings = new() { Neighbors = 2, Stride = 8, QueryLength = 16, Steps = 2, WindowLength = 32, BatchSize = 1 };
        CopyReader? copying = copies ? CopyReader.Fit(model, sources.Database, source!, settings, sources.Runs()) : null;
        _opened = new(new TrainedModel(model, 0, default, []), copying, sources.Tokenizer, sources, source);
        Database = sources.Database;
        try
        {
            ServingOptions serving = options(new(IPAddress.Loopback, 0, null, Name, 8, 300, 2048, 2048, 1 << 20, 1));
            if (fitted is not null)
            {
                Retro.Checkpoints.Checkpoint.Save(workspace.Model, model);
                workspace.Write("fit", new() { ["task"] = CommonOptions.Answering, ["reader"] = fitted, ["k"] = 2, ["window"] = 256 });
                _answerer = Answerer.Open(workspace.Folder, _opened, null, serving.Running, default);
            }

            _server = new(_opened, _answerer, defaults, serving);
        }
        catch
        {
            _answerer?.Dispose();
            _opened.Dispose();
            _folder.Dispose();
            throw;
        }
    }

    public Retro.Database.ChunkDatabase Database { get; }

    /// <summary>Asks it questions where it was fitted to answer.</summary>
    public Answerer Answerer => _answerer!;

    public RetroModel Model => _opened.Trained.Model;

    /// <summary>What writes for it.</summary>
    public RetroGenerator Generator => _opened.Generator();

    public string Url => _server.Url;

    public HttpClient Http { get; private set; } = null!;

    /// <param name="options">How it is served.</param>
    /// <param name="tokens">Tokens that are written.</param>
    /// <param name="labels">What may be seen.</param>
    /// <param name="beams">Texts that are followed at once.</param>
    /// <param name="stride">After how many tokens neighbors are found anew; null: after each chunk.</param>
    /// <param name="reads">Whether it reads from the documents.</param>
    /// <param name="writes">What it always writes, no letter of it twice; null: what comes of weights that are drawn.</param>
    /// <param name="writing">What else is said of how it writes.</param>
    /// <param name="copies">Whether it copies, from anywhere in the documents.</param>
    /// <param name="end">A letter that ends a text, too, and what is always written; null: there is none.</param>
    /// <param name="rowless">A special token of the tokenizer's, behind all others, for which the model has no row; null: there is none.</param>
    /// <param name="fitted">
    /// What it was fitted to answer questions as, of documents with the fields Stones and Steps: retro or in-context; null: it was not.
    /// </param>
    /// <param name="longest">Tokens that the model reads at most; null: any number.</param>
    public static async Task<ServedModel> StartAsync(
        Func<ServingOptions, ServingOptions>? options = null,
        int tokens = 16,
        string[]? labels = null,
        int beams = 1,
        int? stride = null,
        bool reads = true,
        string? writes = null,
        Func<GenerationOptions, GenerationOptions>? writing = null,
        bool copies = false,
        char? end = null,
        string? rowless = null,
        string? fitted = null,
        int? longest = null)
    {
        GenerationOptions defaults = new() { Temperature = 0, MaximumNewTokens = tokens, Labels = labels, Beams = beams, RetrievalStride = stride };
        ServedModel served = new(options ?? (one => one), writing?.Invoke(defaults) ?? defaults, reads, copies, writes, end, rowless, fitted, longest);
        await served._server.StartAsync(TestContext.Current.CancellationToken);
        served.Http = new() { BaseAddress = new(served.Url), Timeout = TimeSpan.FromMinutes(5) };
        return served;
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _server.DisposeAsync();
        _answerer?.Dispose();
        _opened.Dispose();
        _folder.Dispose();
    }

    private static RetroConfig Fill(Workspace workspace, char? end, string? rowless, string? fitted)
    {
        Retro.Tokenizers.RetroTokenizer tokenizer = EmbeddingInputs.Tokenizer;
        int rows = tokenizer.VocabularySize;
        tokenizer.Save(workspace.Tokenizer);
        if (end is not null)
        {
            File.WriteAllText(
                Path.Combine(workspace.Tokenizer, "generation_config.json"),
                $"{{\"eos_token_id\": [{tokenizer.EndOfText}, {tokenizer.Encode($"{end}").Single()}]}}");
        }

        if (rowless is not null)
        {
            string path = Path.Combine(workspace.Tokenizer, "vocab.json");
            JsonObject vocabulary = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
            vocabulary[rowless] = rows;
            File.WriteAllText(path, vocabulary.ToJsonString());
            tokenizer = Retro.Tokenizers.RetroTokenizer.Load(workspace.Tokenizer);
        }

        string[] topics = ["river", "bridge", "harbor", "mountain"];
        using (Retro.Database.ChunkDatabaseBuilder.Build(
            workspace.Database,
            Enumerable.Range(0, 12).Select(i => new Retro.Corpora.Document(
                $"{topics[i % 4]}-{i}.md",
                fitted is null ? $"The {topics[i % 4]} <{i}>" : $"{topics[i % 4]} {i}",
                fitted is null
                    ? string.Concat(Enumerable.Range(0, 6).Select(j => $"The {topics[i % 4]} number {i} has {(7 * j) + i} stones & {j * i} steps.\n"))
                    : $"Stones: {i}\nSteps: {7 * i}\n",
                $"docs/{topics[i % 4]}-{i}.md") { Labels = [topics[i % 4]] }),
            tokenizer,
            new() { ChunkLength = 16 }))
        {
        }

        using (Retro.Embedders.TextEmbedder embedder = Retro.Embedders.TextEmbedder.Load(Fixtures.Pretrained("bert")))
        {
            embedder.Save(workspace.Embedder);
        }

        RetroConfig tiny = RetroConfig.Tiny with { VocabularySize = rows, InitialOutputScale = 1 };
        return tiny with { Retrieval = fitted == "in-context" ? null : tiny.Retrieval! with { ChunkLength = 16, RetrievedLength = 32, Neighbors = 2 } };
    }
}
