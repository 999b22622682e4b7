namespace Retro.Corpora;

/// <summary>
/// The lines of a table whose fields tabs part, as a parser of RFC 4180 is to see them. Some programs quote fields of such tables as those of CSV (Excel,
/// pandas); by the format itself nothing is quoted, and a quotation mark is a character like others
/// (https://www.iana.org/assignments/media-types/text/tab-separated-values). Here a field is quoted where another mark ends it and those within are doubled;
/// and where it goes over tabs or line ends, not all lines that it goes over are rows as they stand, with a field for each column. One that is too long, or in
/// which the file is cut, is left to the parser, which says so.
/// </summary>
/// <param name="lines">The lines of the file.</param>
/// <param name="isCut">Whether the lines, where they have ended, did so before the file's end.</param>
/// <param name="most">Bytes that a field may have.</param>
internal sealed class TabTable(IEnumerable<LineReader.Line> lines, Func<bool> isCut, int most)
{
    private const byte Tab = (byte)'\t', Mark = (byte)'"';

    // The end of a quoted field of which none is known: all lines are of it.
    private static readonly (int Lines, int End) s_never = (int.MaxValue, 0);

    private readonly Queue<LineReader.Line> _ahead = []; // read on to where a field might end
    private int _columns;
    private int _over, _end; // the lines that the last field goes over, and where it ends in the last of them

    /// <summary>The lines: fields that begin with a mark and are not quoted are so now.</summary>
    public IEnumerable<LineReader.Line> Lines()
    {
        using IEnumerator<LineReader.Line> source = lines.GetEnumerator();
        while (_ahead.TryDequeue(out LineReader.Line line) || source.MoveNext())
        {
            line = line.Number > 0 ? line : source.Current;
            bool isWithin = _over > 0 && --_over > 0;
            if (isWithin || line.Bytes is not { Length: > 0 } bytes)
            {
                yield return line;
                continue;
            }

            _columns = _columns > 0 ? _columns : Fields(bytes);
            int begin = _end;
            _end = 0;
            yield return bytes.AsSpan(begin).StartsWith(Mark) || bytes.AsSpan(begin).IndexOf([Tab, Mark]) >= 0
                ? line with { Bytes = Quoted(bytes, begin, source) }
                : line;
        }
    }

    private static int Fields(byte[] line) => line.AsSpan().Count(Tab) + 1;

    /// <summary>A line from where a field begins, or has ended that began in another.</summary>
    private byte[] Quoted(byte[] line, int at, IEnumerator<LineReader.Line> source)
    {
        using MemoryStream quoted = new(line.Length + 16);
        quoted.Write(line, 0, at);
        while (at < line.Length)
        {
            int tab = line.AsSpan(at).IndexOf(Tab), end = tab < 0 ? line.Length : at + tab;
            if (line[at] != Mark)
            {
                end = end == at ? at + 1 : end; // the tab before a field
                quoted.Write(line, at, end - at);
            }
            else if (End(line, at, source) is { } found)
            {
                (_over, _end) = found.Lines > 0 ? found : (0, 0);
                end = found.Lines > 0 ? line.Length : found.End;
                quoted.Write(line, at, end - at);
            }
            else
            {
                quoted.WriteByte(Mark);
                foreach (byte value in line.AsSpan(at, end - at))
                {
                    quoted.WriteByte(value);
                    if (value == Mark)
                    {
                        quoted.WriteByte(Mark);
                    }
                }

                quoted.WriteByte(Mark);
            }

            at = end;
        }

        return quoted.ToArray();
    }

    /// <summary>Where the field ends that begins with a mark: how many lines on, and at which byte there; null where it is not quoted.</summary>
    private (int Lines, int End)? End(byte[] first, int begin, IEnumerator<LineReader.Line> source)
    {
        int from = begin + 1, passed = 0, rows = 0; // of the lines behind the first
        long length = -begin; // of the lines passed
        bool areRows = true;
        foreach (byte[]? line in Following())
        {
            if (line is null)
            {
                return Open();
            }

            bool isRow = Fields(line) == _columns;
            areRows &= isRow;
            rows += passed > 0 && isRow ? 1 : 0;
            for (int mark; (mark = line.AsSpan(from).IndexOf(Mark)) >= 0; from += mark + 2)
            {
                int behind = from + mark + 1;
                if (behind < line.Length && line[behind] == Mark)
                {
                    continue;
                }

                bool goesOver = passed > 0 || first.AsSpan(begin, behind - begin).Contains(Tab);
                return !(behind == line.Length || line[behind] == Tab) || (goesOver && areRows) ? null
                    : length + behind > most ? s_never
                    : (passed, behind);
            }

            (from, length, passed) = (0, length + line.Length, passed + 1);
            if (length > most)
            {
                return Open();
            }
        }

        return isCut() ? Open() : null;

        // What did not end so far: that most lines behind the first are rows says that the mark is a character.
        (int Lines, int End)? Open() => passed > 1 && rows > (passed - 1) / 2 ? null : s_never;

        IEnumerable<byte[]?> Following()
        {
            yield return first;
            foreach (LineReader.Line line in _ahead)
            {
                yield return line.Bytes;
            }

            while (source.MoveNext())
            {
                _ahead.Enqueue(source.Current);
                yield return source.Current.Bytes;
            }
        }
    }
}
