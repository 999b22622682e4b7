using System.Globalization;

namespace Retro.Training;

/// <summary>
/// Writes each step of a training as a line of comma-separated values, below a line that names them; a value that a step does not have is left empty.
/// </summary>
/// <param name="path">
/// The file, one for each training. An existing file is continued: a step that is not behind the last one takes the place of all lines from it on, as where
/// a training goes on from a checkpoint; a second training would take away the lines of the first.
/// </param>
public sealed class CsvObserver(string path) : IProgress<TrainingProgress>, IDisposable
{
    private static readonly string s_header = string.Join(',', TrainingScalars.Names.Prepend("step"));

    private readonly StepLines _lines = new(path, s_header, s_header, Step);

    /// <summary>Writes the step.</summary>
    /// <exception cref="TrainingException">The file cannot be written.</exception>
    public void Report(TrainingProgress value)
    {
        string step = value.Step.ToString(CultureInfo.InvariantCulture);
        IEnumerable<string> scalars = TrainingScalars.Of(value).Select(scalar => scalar?.ToString("R", CultureInfo.InvariantCulture) ?? "");
        _lines.Add(value.Step, string.Join(',', scalars.Prepend(step)));
    }

    /// <inheritdoc/>
    public void Dispose() => _lines.Dispose();

    private static long? Step(string line)
        => line.Split(',') is { } cells && cells.Length == TrainingScalars.Names.Length + 1
            && long.TryParse(cells[0], NumberStyles.None, CultureInfo.InvariantCulture, out long step) ? step : null;
}
