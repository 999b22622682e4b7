using System.Text;

namespace Retro.Training;

/// <summary>
/// A text file with a line for each step of one training. A step that is not behind the last one takes the place of all lines from it on, as where the
/// training goes on from a checkpoint; a last line that was cut off goes, too.
/// </summary>
/// <param name="path">The file.</param>
/// <param name="header">Its first line; null: none.</param>
/// <param name="begin">What the first line begins with.</param>
/// <param name="stepOf">The step of a line; null: it is none.</param>
internal sealed class StepLines(string path, string? header, string begin, Func<string, long?> stepOf) : IDisposable
{
    private static readonly UTF8Encoding s_encoding = new(false);

    // Where it is when the observer is made: the first step comes later.
    private readonly string _path = Path.GetFullPath(path);

    private StreamWriter? _writer;
    private long _last;

    /// <summary>Adds a line.</summary>
    /// <exception cref="TrainingException">The file cannot be written.</exception>
    public void Add(long step, string line)
        => AtomicFile.Guard(_path, TrainingException.Of, () =>
        {
            if (step <= _last)
            {
                _writer?.Dispose();
                _writer = null;
            }

            _last = long.MaxValue; // no step comes behind a line that was cut off
            _writer ??= Begin(step);
            _writer.WriteLine(line);
            _writer.Flush();
            _last = step;
        });

    public void Dispose() => _writer?.Dispose();

    private StreamWriter Begin(long step)
    {
        bool isThere = File.Exists(_path);
        if (isThere)
        {
            string[] first = [.. File.ReadLines(_path).Take(2)];
            if (first.Length > 0 && !IsOurs(first[0], alone: first.Length == 1))
            {
                throw new TrainingException($"{_path} is there already and holds no steps of a training in this form; name another file, or delete it.");
            }
        }

        // Line by line: a training of weeks has more of them than memory holds.
        AtomicFile.Write(
            _path,
            stream =>
            {
                using StreamWriter kept = new(stream, s_encoding, leaveOpen: true) { NewLine = "\n" };
                if (header is not null)
                {
                    kept.WriteLine(header);
                }

                foreach (string line in isThere ? File.ReadLines(_path).Where(one => stepOf(one) < step) : [])
                {
                    kept.WriteLine(line);
                }
            },
            TrainingException.Of);

        // What a full disk has refused must not be written, and fail, once more when the file is closed.
        FileStream file = new(_path, FileMode.Append, FileAccess.Write, FileShare.Read, bufferSize: 0);
        return new StreamWriter(file, s_encoding) { NewLine = "\n" };
    }

    /// <summary>Whether a file whose first line is this one was written here. One that stands alone may have been cut off, as by a full disk.</summary>
    private bool IsOurs(string line, bool alone)
        => (header is null ? stepOf(line) is not null : line == header)
            || (alone && (begin.StartsWith(line, StringComparison.Ordinal) || line.StartsWith(begin, StringComparison.Ordinal)));
}
