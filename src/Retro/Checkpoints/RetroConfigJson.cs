using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Retro.Modeling;

namespace Retro.Checkpoints;

/// <summary>
/// A model's configuration as JSON: <c>"model_type": "retro"</c>, a format version, then every property in snake case, that of retrieval and of the encoder
/// nested. Optional keys that are missing take their defaults; keys that are not known are refused, because ignoring one would change what the model computes.
/// </summary>
internal static class RetroConfigJson
{
    /// <summary>What <c>model_type</c> says.</summary>
    public const string ModelType = "retro";

    private const int FormatVersion = 2;

    private static readonly string[] s_required =
        [
            nameof(RetroConfig.VocabularySize), nameof(RetroConfig.Width), nameof(RetroConfig.Layers), nameof(RetroConfig.Heads), nameof(RetroConfig.HeadSize),
            nameof(RetroConfig.FeedForwardSize)
        ];

    private static readonly JsonSerializerOptions s_options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectNullableAnnotations = true,
        WriteIndented = true,
        Converters =
        {
            new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false),
            new ListConverter<LayerList, int>(layers => LayerList.Create(layers)),
            new ListConverter<FactorList, double>(factors => FactorList.Create(factors)),
        },
        TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { LeaveOutComputed } },
    };

    /// <summary>Writes a configuration as JSON.</summary>
    /// <param name="config">The configuration.</param>
    /// <exception cref="RetroOptionsException">It is not valid.</exception>
    public static string Write(RetroConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        JsonObject properties = JsonSerializer.SerializeToNode(config.Validate(), s_options)!.AsObject();
        JsonObject root = new() { ["model_type"] = ModelType, ["format_version"] = FormatVersion };
        foreach ((string name, JsonNode? value) in properties)
        {
            root[name] = value?.DeepClone();
        }

        return root.ToJsonString(s_options) + "\n";
    }

    /// <summary>Whether a file says that it is such a configuration, of whatever version.</summary>
    /// <param name="path">The file.</param>
    public static bool IsOne(string path) => WeightFolder.ConfigText(path, "model_type") == ModelType;

    /// <summary>Reads a configuration from JSON, and checks it.</summary>
    /// <param name="json">The JSON.</param>
    /// <exception cref="CheckpointException">It is no JSON, of another kind of model or version, has a key that is not known or lacks a required
    /// one, or its values are not valid.</exception>
    public static RetroConfig Read(string json)
    {
        ArgumentNullException.ThrowIfNull(json);
        try
        {
            if (JsonNode.Parse(json) is not JsonObject root)
            {
                throw new CheckpointException("The configuration is no JSON object.");
            }

            RequireVersion(root);
            string[] missing = [.. s_required.Select(JsonNamingPolicy.SnakeCaseLower.ConvertName).Where(name => !root.ContainsKey(name))];
            if (missing.Length > 0)
            {
                throw new CheckpointException($"The configuration lacks the keys {string.Join(", ", missing)}.");
            }

            root.Remove("model_type");
            root.Remove("format_version");
            return root.Deserialize<RetroConfig>(s_options)!.Validate();
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new CheckpointException($"The configuration cannot be read: {exception.Message}", exception);
        }
        catch (RetroOptionsException exception)
        {
            throw new CheckpointException(exception.Message, exception); // who reads a file says which
        }
    }

    private static void RequireVersion(JsonObject root)
    {
        string? kind = root["model_type"]?.GetValue<string>();
        if (kind != ModelType)
        {
            throw new CheckpointException(
                $"Expected a configuration with \"model_type\": \"{ModelType}\", got {(kind is null ? "none" : $"\"{kind}\"")}. A decoder of another kind is "
                    + "read by PretrainedDecoder.Load, and Checkpoint.Save makes one of these of its model.");
        }

        int version = root["format_version"]?.GetValue<int>() ?? throw new CheckpointException("The configuration lacks the key format_version.");
        if (version != FormatVersion)
        {
            throw new CheckpointException(
                $"The configuration is of format version {version}; this library reads version {FormatVersion}. Use the library that wrote it.");
        }
    }

    // What can be read alone follows from the rest.
    private static void LeaveOutComputed(JsonTypeInfo type)
    {
        for (int i = type.Properties.Count - 1; i >= 0; i--)
        {
            if (type.Properties[i].Set is null)
            {
                type.Properties.RemoveAt(i);
            }
        }
    }

    private sealed class ListConverter<TList, T>(Func<T[], TList> create) : JsonConverter<TList>
        where TList : IEnumerable<T>
    {
        public override TList Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
            => create(JsonSerializer.Deserialize<T[]>(ref reader, options) ?? throw new JsonException("A list is null; write [] for none."));

        public override void Write(Utf8JsonWriter writer, TList value, JsonSerializerOptions options)
            => JsonSerializer.Serialize(writer, value.ToArray(), options);
    }
}
