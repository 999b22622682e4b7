using System.Net;
using Retro.Cli;
using Retro.Cli.Serving;
using Retro.Generation;
using Retro.Modeling;
using Retro.Tests.Embedders;
using Retro.Tests.Generation;
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

    private ServedModel(Func<ServingOptions, ServingOptions> options, GenerationOptions defaults, bool reads, string? writes)
    {
        Workspace workspace = new(_folder["work"]);
        RetroConfig config = Fill(workspace);
        Sources sources = new(workspace.Folder, null, null, 1, null, default);
        manual_seed(1);
        RetroModel model = new(config with { TieEmbeddings = writes is null });
        if (writes is not null)
        {
            ChainModel.Write(model, sources.Tokenizer.EndOfText, [.. writes.Select(letter => sources.Tokenizer.Encode($"{letter}").Single())]);
        }

        model.eval();
        _opened = new(new TrainedModel(model, 0, default, []), null, sources.Tokenizer, sources, reads ? sources.Open("bm25", 1) : null);
        Database = sources.Database;
        try
        {
            _server = new(
                _opened,
                defaults,
                options(new(IPAddress.Loopback, 0, null, Name, 8, 300, 2048, 2048, 1 << 20, 1)));
        }
        catch
        {
            _opened.Dispose();
            _folder.Dispose();
            throw;
        }
    }

    public Retro.Database.ChunkDatabase Database { get; }

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
    public static async Task<ServedModel> StartAsync(
        Func<ServingOptions, ServingOptions>? options = null,
        int tokens = 16,
        string[]? labels = null,
        int beams = 1,
        int? stride = null,
        bool reads = true,
        string? writes = null)
    {
        GenerationOptions defaults = new() { Temperature = 0, MaximumNewTokens = tokens, Labels = labels, Beams = beams, RetrievalStride = stride };
        ServedModel served = new(options ?? (one => one), defaults, reads, writes);
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
