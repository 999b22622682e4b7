using System.Text.Json;
using Retro.Checkpoints;
using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>A file of reference vectors: a model's configuration and weights, inputs, and what they give. Every size comes from the file.</summary>
internal sealed class ReferenceFile : IDisposable
{
    private readonly Safetensors _file;

    public ReferenceFile(string path)
    {
        _file = Safetensors.Open(path);
        Config = Read(_file.Metadata!["config"]);
    }

    public RetroConfig Config { get; }

    public IEnumerable<string> Names => _file.Entries.Select(entry => entry.Name);

    /// <summary>The configuration in the format of the reference files; numbers that are given are not in it.</summary>
    public static RetroConfig Read(string json, int? retrievedLength = null, int? neighborCount = null)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        JsonElement root = document.RootElement;
        int Number(string name) => root.GetProperty(name).GetInt32();
        int[] Numbers(string name) => [.. root.GetProperty(name).EnumerateArray().Select(item => item.GetInt32())];
        return new RetroConfig
        {
            VocabularySize = Number("vocab"),
            Width = Number("d"),
            Heads = Number("heads"),
            HeadSize = Number("head_size"),
            FeedForwardSize = Number("d_ffw"),
            Layers = Number("layers"),
            Retrieval = new()
            {
                ChunkLength = Number("chunk"),
                RetrievedLength = retrievedLength ?? Number("neighbour"),
                Neighbors = neighborCount ?? Number("k"),
                CrossAttentionLayers = Numbers("cca_layers"),
                Encoder = new()
                {
                    Width = Number("d_enc"),
                    Heads = Number("enc_heads"),
                    HeadSize = Number("enc_head_size"),
                    FeedForwardSize = Number("d_enc_ffw"),
                    Layers = Number("enc_layers"),
                    CrossAttentionLayers = Numbers("enc_cross_layers"),
                },
            },
            NormEpsilon = root.GetProperty("eps").GetDouble(),
            Positions = root.GetProperty("positions").GetString() switch
            {
                "rotary" => PositionKind.Rotary,
                "transformer-xl" => PositionKind.TransformerXl,
                string other => throw new InvalidDataException($"Unknown positions {other}."),
                null => throw new InvalidDataException("No positions."),
            },
        };
    }

    public Tensor Tensor(string name, ScalarType? dtype = null) => _file.Read(name, dtype);

    /// <summary>The model with the file's weights; every parameter is set, or the test fails.</summary>
    public RetroModel Model(ScalarType dtype)
    {
        RetroModel model = new(Config, dtype);
        Dictionary<string, Tensor> state = model.state_dict();
        HashSet<string> stored = [.. Names.Where(name => name.StartsWith("weights/", StringComparison.Ordinal)).Select(name => name["weights/".Length..])];
        Assert.Equal(stored.Order(StringComparer.Ordinal), state.Keys.Order(StringComparer.Ordinal));
        using IDisposable noGrad = no_grad();
        foreach ((string name, Tensor parameter) in state)
        {
            using Tensor value = Tensor($"weights/{name}", dtype);
            Assert.Equal(value.shape, parameter.shape);
            parameter.copy_(value);
        }

        return model;
    }

    public void Dispose() => _file.Dispose();
}
