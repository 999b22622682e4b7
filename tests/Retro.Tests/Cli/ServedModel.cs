using System.Net;
using Retro.Cli;
using Retro.Cli.Serving;
using Retro.Generation;
using Retro.Modeling;
using Retro.Tests.Embedders;
using Retro.Cli.Workflow;
using static TorchSharp.torch;

namespace Retro.Tests.Cli;

/// <summary>A tiny RETRO over a few documents, with an embedder, behind a server on a free port.</summary>
internal sealed class ServedModel : IAsyncDisposable
{
    public const string Name = "tiny";

    private readonly TemporaryFolder _folder = new();
    private readonly ReadingOptions.Opened _opened;
    private readonly Server _server;

    private ServedModel(Func<ServingOptions, ServingOptions> options, int tokens, string[]? labels)
    {
        Workspace workspace = new(_folder["work"]);
        RetroConfig config = Fill(workspace);
        Sources sources = new(workspace.Folder, null, null, 1, null, default);
        manual_seed(1);
        RetroModel model = new(config);
        model.eval();
        _opened = new(new TrainedModel(model, 0, default, []), null, sources.Tokenizer, sources, sources.Open("bm25", 1));
        Database = sources.Database;
        _server = new(
            _opened,
            new GenerationOptions { Temperature = 0, MaximumNewTokens = tokens, Labels = labels },
            options(new(IPAddress.Loopback, 0, null, Name, 2, 300, 2048, 2048, 1 << 20, 1)));
    }

    public Retro.Database.ChunkDatabase Database { get; }

    public string Url => _server.Url;

    public HttpClient Http { get; private set; } = null!;

    public static async Task<ServedModel> StartAsync(Func<ServingOptions, ServingOptions>? options = null, int tokens = 16, string[]? labels = null)
    {
        ServedModel served = new(options ?? (one => one), tokens, labels);
        await served._server.StartAsync(TestContext.Current.CancellationToken);
        served.Http = new() { BaseAddress = new(served.Url), Timeout = TimeSpan.FromMinutes(5) };
        return served;
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _server.DisposeAsync();
        _opened.Dispose();
        _folder.Dispose();
    }

    private static RetroConfig Fill(Workspace workspace)
    {
        Retro.Tokenizers.RetroTokenizer tokenizer = EmbeddingInputs.Tokenizer;
        tokenizer.Save(workspace.Tokenizer);
        string[] topics = ["river", "bridge", "harbor", "mountain"];
        using (Retro.Database.ChunkDatabaseBuilder.Build(
            workspace.Database,
            Enumerable.Range(0, 12).Select(i => new Retro.Corpora.Document(
                $"{topics[i % 4]}-{i}.md",
                $"The {topics[i % 4]} <{i}>",
                string.Concat(Enumerable.Range(0, 6).Select(j => $"The {topics[i % 4]} number {i} has {(7 * j) + i} stones & {j * i} steps.\n")),
                $"docs/{topics[i % 4]}-{i}.md") { Labels = [topics[i % 4]] }),
            tokenizer,
            new() { ChunkLength = 16 }))
        {
        }

        using (Retro.Embedders.TextEmbedder embedder = Retro.Embedders.TextEmbedder.Load(Fixtures.Pretrained("bert")))
        {
            embedder.Save(workspace.Embedder);
        }

        RetroConfig tiny = RetroConfig.Tiny with { VocabularySize = tokenizer.VocabularySize, InitialOutputScale = 1 };
        return tiny with { Retrieval = tiny.Retrieval! with { ChunkLength = 16, RetrievedLength = 32, Neighbors = 2 } };
    }
}
