using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Retro.Modeling;

namespace Retro.Training;

/// <summary>What a checkpoint knows of the training besides its tensors.</summary>
internal sealed record TrainingState
{
    public const int CurrentFormatVersion = 1;

    private static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Converters = { new JsonStringEnumConverter() },
    };

    public required int FormatVersion { get; init; }

    public required long Steps { get; init; }

    public required long Batches { get; init; }

    public required long Tokens { get; init; }

    public required int SkippedInARow { get; init; }

    public required TimeSpan Elapsed { get; init; }

    public string? Data { get; init; }

    public required JsonObject Config { get; init; }

    /// <summary>The options of the run, for the reader; another run may go on with other ones.</summary>
    public required JsonObject Options { get; init; }

    public required IReadOnlyDictionary<string, long> OptimizerSteps { get; init; }

    public static JsonObject Describe<T>(T value) => JsonSerializer.SerializeToNode(value, Json)!.AsObject();

    public static TrainingState Parse(string text, string path)
    {
        TrainingState? state;
        try
        {
            state = JsonSerializer.Deserialize<TrainingState>(text, Json);
        }
        catch (JsonException exception)
        {
            throw new CheckpointException($"The state of the training in {path} cannot be read: {exception.Message} Use another checkpoint.", exception);
        }

        if (state is null || state.FormatVersion != CurrentFormatVersion)
        {
            throw new CheckpointException($"The state of the training in {path} has format version {state?.FormatVersion}; this version reads {CurrentFormatVersion}.");
        }

        if (state.Steps < 0 || state.Batches < 0 || state.Tokens < 0 || state.SkippedInARow < 0 || state.Elapsed < TimeSpan.Zero)
        {
            throw new CheckpointException($"The state of the training in {path} counts below zero; use another checkpoint.");
        }

        return state;
    }

    /// <summary>Refuses a model of another configuration, naming each value that differs.</summary>
    public void RequireConfig(RetroConfig config, string path)
    {
        JsonObject now = Describe(config), unset = Describe(new RetroConfig());
        string[] differences =
        [
            // A value that the checkpoint's writer did not know had its default.
            .. now.Select(pair => (Name: pair.Key, Stored: Config.TryGetPropertyValue(pair.Key, out JsonNode? stored) ? stored : unset[pair.Key], Now: pair.Value))
                .Where(item => !JsonNode.DeepEquals(item.Stored, item.Now))
                .Select(item => $"{item.Name} {Text(item.Stored)} (model: {Text(item.Now)})"),
        ];
        if (differences.Length > 0)
        {
            throw new CheckpointException($"{path} is of a model of another configuration: {string.Join(", ", differences)}. Make the model with the checkpoint's configuration.");
        }
    }

    public override string ToString() => JsonSerializer.Serialize(this, Json);

    private static string Text(JsonNode? node) => node?.ToJsonString() ?? "none";
}
