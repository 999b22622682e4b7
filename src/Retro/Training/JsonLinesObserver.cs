using System.Text.Json;
using System.Text.Json.Nodes;

namespace Retro.Training;

/// <summary>Writes each step of a training as a line of JSON, and reads such a file.</summary>
/// <param name="path">
/// The file, one for each training. An existing file is continued: a step that is not behind the last one takes the place of all lines from it on, as where
/// a training goes on from a checkpoint; a second training would take away the lines of the first.
/// </param>
public sealed class JsonLinesObserver(string path) : IProgress<TrainingProgress>, IDisposable
{
    private readonly StepLines _lines = new(path, null, "{\"step\":", line => Parse(line)?.Step);

    /// <summary>Writes the step. What is not a number, such as the norm of a gradient that is not finite, is left out.</summary>
    /// <exception cref="TrainingException">The file cannot be written.</exception>
    public void Report(TrainingProgress value)
    {
        JsonObject line = new() { ["step"] = value.Step, ["progress"] = value.Progress };
        foreach ((string name, double? scalar) in TrainingScalars.Names.Zip(TrainingScalars.Of(value)))
        {
            if (scalar is { } number && double.IsFinite(number))
            {
                line[name] = number;
            }
        }

        _lines.Add(value.Step, line.ToJsonString());
    }

    /// <summary>Reads the steps of a file that this wrote; a line that was cut off by the end of its process is left out.</summary>
    /// <param name="path">The file.</param>
    /// <returns>The steps, in order.</returns>
    /// <exception cref="TrainingException">The file cannot be read.</exception>
    public static IReadOnlyList<TrainingProgress> Read(string path)
    {
        List<TrainingProgress> steps = [];
        AtomicFile.Guard(
            path,
            TrainingException.Of,
            () => steps.AddRange(File.ReadLines(path).Select(Parse).OfType<TrainingProgress>()));
        return steps;
    }

    /// <inheritdoc/>
    public void Dispose() => _lines.Dispose();

    private static TrainingProgress? Parse(string line)
    {
        try
        {
            if (JsonNode.Parse(line) is not JsonObject json || json["step"] is null)
            {
                return null;
            }

            string[] names = TrainingScalars.Names;
            double Value(int i) => (double?)json[names[i]] ?? double.NaN;
            return new TrainingProgress(
                (long)json["step"]!, (double?)json["progress"] ?? 0, Value(0), Value(1), Value(2), (long)((double?)json[names[3]] ?? 0), Value(4),
                TimeSpan.FromSeconds((double?)json[names[5]] ?? 0))
            {
                Measure = (double?)json[names[6]],
                Watched = (double?)json[names[7]] is { } off ? new TrainingWatch(off, (double?)json[names[8]]) : null,
            };
        }
        catch (Exception fault) when (fault is JsonException or FormatException or InvalidOperationException or ArgumentException or OverflowException)
        {
            return null;
        }
    }
}
