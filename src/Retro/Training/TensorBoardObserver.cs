namespace Retro.Training;

/// <summary>
/// Writes each step of a training as scalars that TensorBoard draws; a training that goes on begins a file of its own in the same folder, whose steps take the
/// place of those that are done again. One folder for each training: the steps of a second one would take the place of the first one's.
/// </summary>
public sealed class TensorBoardObserver : IProgress<TrainingProgress>, IDisposable
{
    private readonly TensorBoardFile _file;
    private readonly TimeProvider _time;
    private long? _last;

    /// <summary>Begins the file.</summary>
    /// <param name="folder">The run's folder; it is made where it is missing.</param>
    /// <param name="time">The clock; null: the system's.</param>
    /// <exception cref="TrainingException">The file cannot be written.</exception>
    public TensorBoardObserver(string folder, TimeProvider? time = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        _time = time ?? TimeProvider.System;
        DateTimeOffset now = _time.GetUtcNow();
        string path = Path.Combine(folder, TensorBoardFile.NameFor(now));
        for (int again = 1; File.Exists(path); again++)
        {
            path = Path.Combine(folder, FormattableString.Invariant($"{TensorBoardFile.NameFor(now)}.{again}"));
        }

        _file = new(path, now);
    }

    /// <summary>Writes the step.</summary>
    /// <exception cref="TrainingException">The file cannot be written.</exception>
    public void Report(TrainingProgress value)
    {
        DateTimeOffset now = _time.GetUtcNow();
        if (_last is null || value.Step <= _last)
        {
            _file.Begin(now, value.Step);
        }

        _last = value.Step;
        foreach ((string name, double? scalar) in TrainingScalars.Names.Zip(TrainingScalars.Of(value)))
        {
            if (scalar is { } number)
            {
                _file.Write(now, value.Step, name, number);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();
}
