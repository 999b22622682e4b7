using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Optimization;

namespace Retro.Training;

/// <summary>Where a training stands, besides its tensors: what its next step depends on, as a checkpoint keeps it.</summary>
internal sealed record TrainingState
{
    public const int CurrentFormatVersion = 2;

    private static readonly JsonSerializerOptions s_json = new()
    {
        WriteIndented = true,
        RespectNullableAnnotations = true,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Converters = { new JsonStringEnumConverter() },
    };

    public required int FormatVersion { get; init; }

    /// <summary>Names the training over all its runs, see <see cref="IdOf"/>; null: no step was done, or it was begun before trainings had one.</summary>
    public string? Id { get; init; }

    public required long Steps { get; init; }

    public required long Batches { get; init; }

    public required long Tokens { get; init; }

    public required int SkippedInARow { get; init; }

    public required TimeSpan Elapsed { get; init; }

    /// <summary>
    /// The time as the last step said it, or the measure that it ended in: what is due, and whether the training is finished, goes by it. Null: not known.
    /// </summary>
    public TimeSpan? ElapsedAtStep { get; init; }

    public string? Data { get; init; }

    public required JsonObject Config { get; init; }

    /// <summary>The options of the run, for the reader; another run may go on with other ones.</summary>
    public required JsonObject Options { get; init; }

    public required IReadOnlyDictionary<string, long> OptimizerSteps { get; init; }

    /// <summary>
    /// The lowest measure on the way here; null before the first one. The best model may be one that was found after the checkpoint, and says its measure
    /// itself.
    /// </summary>
    public double? BestMeasure { get; init; }

    /// <summary>Measures since the lowest one on the way here.</summary>
    public int MeasuresSinceBest { get; init; }

    /// <summary>The last step, where it was to be measured or looked at and neither was done to the end; null: nothing is owed.</summary>
    public TrainingProgress? Unseen { get; init; }

    /// <summary>Whether neighbors were read, which a training then does to its end.</summary>
    public bool Reads { get; init; }

    /// <summary>Whether any batch had a token to predict; where it is not known, it is taken for granted.</summary>
    public bool HasTargets { get; init; } = true;

    /// <summary>Whether any step had a gradient other than 0; where it is not known, it is taken for granted.</summary>
    public bool Learns { get; init; } = true;

    /// <summary>The hash of the parameters that are not trained; null: there are none.</summary>
    public string? Frozen { get; init; }

    /// <summary>Type of an optimizer that is not Retro's; null: Retro's.</summary>
    public string? Optimizer { get; init; }

    /// <summary>Of the model; null: not known.</summary>
    public string? TokenizerHash { get; init; }

    /// <summary>Why the optimizer's memory is not in the checkpoint; null: it is.</summary>
    public string? OptimizerFault { get; init; }

    /// <summary>That of a training which has done no step.</summary>
    /// <param name="config">Of the model.</param>
    /// <param name="options">Settings.</param>
    /// <param name="optimizer">See <see cref="Optimizer"/>.</param>
    public static TrainingState Begin(RetroConfig config, TrainingOptions options, string? optimizer) => new()
    {
        FormatVersion = CurrentFormatVersion,
        Steps = 0,
        Batches = 0,
        Tokens = 0,
        SkippedInARow = 0,
        Elapsed = TimeSpan.Zero,
        ElapsedAtStep = TimeSpan.Zero,
        Config = JsonNode.Parse(RetroConfigJson.Write(config))!.AsObject(),
        Options = Describe(options),
        OptimizerSteps = new Dictionary<string, long>(),
        Optimizer = optimizer,
        HasTargets = false,
        Learns = false,
    };

    /// <summary>
    /// What tells a training from another one that was done in its folder: how it was begun. One that is done again to the bit has the same, and the same
    /// files.
    /// </summary>
    /// <param name="options">What it was begun with.</param>
    /// <param name="data">The identity of its data; null: it was given batches.</param>
    /// <param name="loss">Of its first step, by which other weights are told.</param>
    /// <param name="norm">The norm of its first gradient.</param>
    public static string IdOf(TrainingOptions options, string? data, double loss, double norm)
    {
        string begun = string.Create(
            CultureInfo.InvariantCulture, $"{Describe(options with { CheckpointFolder = null }).ToJsonString()}\n{data}\n{loss:R}\n{norm:R}");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(begun)))[..32];
    }

    public static TrainingState Parse(string text, string path)
    {
        TrainingState? state;
        try
        {
            state = JsonSerializer.Deserialize<TrainingState>(text, s_json);
        }
        catch (JsonException exception)
        {
            throw new CheckpointException($"The state of the training in {path} cannot be read: {exception.Message} Use another checkpoint.", exception);
        }

        if (state is null || state.FormatVersion != CurrentFormatVersion)
        {
            throw new CheckpointException(
                $"The state of the training in {path} has format version {state?.FormatVersion}; this version reads {CurrentFormatVersion}.");
        }

        if (state.Steps < 0 || state.Batches < 0 || state.Tokens < 0 || state.SkippedInARow < 0 || state.MeasuresSinceBest < 0
            || state.Elapsed < TimeSpan.Zero || state.ElapsedAtStep < TimeSpan.Zero)
        {
            throw new CheckpointException($"The state of the training in {path} counts below zero; use another checkpoint.");
        }

        return state;
    }

    /// <summary>Refuses to go on with another model or optimizer than the training was begun with, naming what differs.</summary>
    /// <param name="model">The model.</param>
    /// <param name="optimizer">The optimizer, see <see cref="Optimizer"/>.</param>
    /// <param name="path">The file that this was read from.</param>
    /// <exception cref="CheckpointException">One is another, or the optimizer's memory could not be stored.</exception>
    public void RequireOf(RetroModel model, string? optimizer, string path)
    {
        RequireConfig(model.Config, path);
        if (TokenizerHash is { } tokenizer && (model.TokenizerHash ?? tokenizer) != tokenizer)
        {
            throw new CheckpointException(
                $"The training of {path} was begun with the tokenizer of hash {tokenizer}, and the model was trained with that of hash {model.TokenizerHash}; "
                    + "go on with the model that it was begun with.");
        }

        if (Optimizer != optimizer)
        {
            throw new CheckpointException(
                $"{path} was trained by {Optimizer ?? nameof(RetroOptimizer)}, this trainer has {optimizer ?? nameof(RetroOptimizer)}; resume with the "
                    + "optimizer of the first run.");
        }

        if (OptimizerFault is { } fault)
        {
            throw new CheckpointException($"The training of {path} cannot go on: {fault}");
        }
    }

    /// <summary>Refuses a model of another configuration, naming each value that differs.</summary>
    public void RequireConfig(RetroConfig config, string path)
    {
        RetroConfig stored;
        try
        {
            stored = RetroConfigJson.Read(Config.ToJsonString());
        }
        catch (Exception exception) when (exception is CheckpointException or InvalidOperationException or ArgumentException)
        {
            // A key that stands there twice, or half a surrogate pair, is found when it is read.
            throw new CheckpointException($"The configuration in {path} cannot be read: {exception.Message} Use another checkpoint.", exception);
        }

        if (stored == config)
        {
            return;
        }

        Dictionary<string, string> then = [], now = [];
        Flatten(JsonNode.Parse(RetroConfigJson.Write(stored)), "", then);
        Flatten(JsonNode.Parse(RetroConfigJson.Write(config)), "", now);
        IEnumerable<string> differences = then.Keys.Union(now.Keys)
            .Where(name => then.GetValueOrDefault(name) != now.GetValueOrDefault(name))
            .Select(name => $"{name} {then.GetValueOrDefault(name, "none")} (model: {now.GetValueOrDefault(name, "none")})");
        throw new CheckpointException(
            $"{path} is of a model of another configuration: {string.Join(", ", differences)}. Make the model with the checkpoint's configuration.");
    }

    /// <summary>Writes every value of a tree under its path.</summary>
    public static void Flatten(JsonNode? node, string name, Dictionary<string, string> values)
    {
        if (node is JsonObject many)
        {
            foreach ((string key, JsonNode? value) in many)
            {
                Flatten(value, name.Length == 0 ? key : $"{name}.{key}", values);
            }
        }
        else
        {
            values[name] = node?.ToJsonString() ?? "none";
        }
    }

    public override string ToString() => JsonSerializer.Serialize(this, s_json);

    private static JsonObject Describe(TrainingOptions value) => JsonSerializer.SerializeToNode(value, s_json)!.AsObject();
}
