using System.Text.Json;

namespace Retro.Retrievers;

/// <summary>What a checkpoint of a <see cref="RetrieverTrainer"/> knows besides its tensors.</summary>
/// <param name="Version">Of the format.</param>
/// <param name="Steps">Steps done.</param>
/// <param name="IndexMadeAt">The step after which the keys were made.</param>
/// <param name="Settings">What the training depends on.</param>
/// <param name="OptimizerSteps">How often each parameter was moved.</param>
/// <param name="Chains">Where the chain of each example is.</param>
/// <param name="Learns">Whether a step has had a gradient other than 0; taken for granted where an earlier version of this library saved it.</param>
internal sealed record RetrieverState(
    int Version,
    long Steps,
    long IndexMadeAt,
    Dictionary<string, string> Settings,
    Dictionary<string, long> OptimizerSteps,
    Dictionary<long, long> Chains,
    bool Learns = true)
{
    public const int CurrentVersion = 1;

    public static RetrieverState Parse(string? text, string path)
    {
        RetrieverState? state = null;
        try
        {
            state = text is null ? null : JsonSerializer.Deserialize<RetrieverState>(text);
        }
        catch (JsonException)
        {
            // Told below.
        }

        return state is { Version: CurrentVersion, Steps: >= 0, Settings: not null, OptimizerSteps: not null, Chains: not null }
            && state.IndexMadeAt >= 0 && state.IndexMadeAt <= state.Steps
            ? state
            : throw new CheckpointException(
                $"{path} holds no state of a retriever's training that this version reads (format {CurrentVersion}, found {state?.Version}).");
    }

    /// <summary>Refuses a training of other settings, naming those that differ.</summary>
    public void RequireSettings(Dictionary<string, string> now, string path)
    {
        string[] differing =
        [
            .. Settings.Keys.Union(now.Keys)
                .Where(key => Settings.GetValueOrDefault(key) != now.GetValueOrDefault(key))
                .Select(key => $"{key} {Settings.GetValueOrDefault(key, "none")} (now: {now.GetValueOrDefault(key, "none")})"),
        ];
        if (differing.Length > 0)
        {
            throw new CheckpointException($"{path} is of another training: {string.Join(", ", differing)}. Go on with its settings and data, or start again.");
        }
    }
}
