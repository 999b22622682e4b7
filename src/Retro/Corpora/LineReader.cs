using System.Text;
using System.Text.Unicode;

namespace Retro.Corpora;

/// <summary>Reads files line by line, so that no more of one is held than a document has; they may be packed.</summary>
internal abstract class LineReader(string root, CorpusOptions options, ReadingCounts counts) : DocumentReader(root, options, counts)
{
    /// <summary>Whether lines end at '\r', too, as those of old Macintosh do.</summary>
    protected virtual bool EndsAtReturn => false;

    /// <summary>Whether the lines that were read last ended where their file is broken, and not with it.</summary>
    protected bool IsCut { get; private set; }

    /// <summary>The lines of a file. The reading ends where the file is broken (<see cref="IsCut"/>).</summary>
    protected IEnumerable<Line> Lines(string file)
    {
        using IEnumerator<Line> lines = Read(file).GetEnumerator();
        while (Guarded(() => MoveNext(lines, file)) is not null)
        {
            yield return lines.Current;
        }
    }

    /// <summary>The text of a line.</summary>
    /// <param name="line">The line.</param>
    /// <param name="utf8">Whether its file is UTF-8, which a line of ASCII does not ask.</param>
    /// <param name="file">The file.</param>
    /// <exception cref="CorpusException">It is too long, or of another encoding.</exception>
    protected string Text(Line line, Lazy<bool> utf8, string file)
    {
        string where = Where(file, line.Number);
        if (line.Bytes is not { } bytes)
        {
            throw RowFaults.TooLong(where, Options.MaximumDocumentBytes);
        }

        // What a decoder has made holds nothing of the file's encoding any more, whatever it looks like.
        return line.IsDecoded
            ? TextDecoding.WithoutMark(Encoding.UTF8.GetString(bytes))
            : TextDecoding.DecodePart(bytes, where, Options.Encoding, Ascii.IsValid(bytes) || utf8.Value);
    }

    /// <summary>Names a line in a fault.</summary>
    protected static string Where(string file, int number) => $"Line {number} of {file}";

    /// <summary>
    /// Whether a file is UTF-8: more of its lines are than are not. By itself a short one of another encoding can be both, and one of UTF-8 be damaged. Who
    /// asks has the whole file read.
    /// </summary>
    protected Lazy<bool> IsUtf8(string file) => new(() => Options.Encoding is null || IsMostlyUtf8(file));

    private IEnumerator<Line>? MoveNext(IEnumerator<Line> lines, string file)
    {
        IsCut = true;
        try
        {
            bool more = lines.MoveNext();
            IsCut = false;
            return more ? lines : null;
        }
        catch (Exception exception) when (PackedFile.IsDamage(exception))
        {
            throw Damaged(file, exception);
        }
        catch (DecoderFallbackException exception)
        {
            throw CorpusException.Broken(
                $"The file {file} is of another encoding than is named: {exception.Message.TrimEnd('.')}.",
                "Name its encoding, convert it to UTF-8, or skip what is broken (CorpusOptions.Encoding, SkipBroken).",
                exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(file, exception);
        }
    }

    private bool IsMostlyUtf8(string file)
    {
        int valid = 0, invalid = 0;
        try
        {
            foreach ((_, byte[]? bytes, _) in Read(file))
            {
                // Of ASCII alone, it says nothing.
                if (bytes is not null && !Ascii.IsValid(bytes))
                {
                    bool isValid = Utf8.IsValid(bytes);
                    (valid, invalid) = (valid + (isValid ? 1 : 0), invalid + (isValid ? 0 : 1));
                }
            }
        }
        catch (Exception exception)
            when (PackedFile.IsDamage(exception) || exception is CorpusException or DecoderFallbackException or IOException or UnauthorizedAccessException)
        {
            // What cannot be read is told of when it is.
        }

        return valid > invalid || invalid == 0;
    }

    // What is asked of a file's head is asked once: its first line tells whether it is text. Zeros further on, as a crash leaves them, are of their line alone.
    private Encoding? Certain(ReadOnlySpan<byte> head, string file)
    {
        if (PackedFile.EndingOf(head) is { } ending)
        {
            throw new CorpusException($"The file {file} is packed: give its name the ending {ending}, or unpack it.");
        }

        Encoding? certain = TextDecoding.Certain(head, Options.Encoding);
        if (certain is null)
        {
            int end = head.IndexOf((byte)'\n');
            TextDecoding.RequireText(end < 0 ? head : head[..end], $"The file {file}");
        }

        return certain;
    }

    // Lines of UTF-16 and UTF-32 end in other bytes: such a file is made UTF-8 before it is cut.
    private IEnumerable<Line> Read(string file)
    {
        using FileStream packed = Open(file);
        using Stream stream = Unpacked(file, packed);
        byte[] read = new byte[1 << 16], buffer = read;
        Decoder? decoder = null;
        using MemoryStream line = new();
        bool tooLong = false, returned = false; // behind a return, a newline ends nothing more
        int number = 1;
        for (bool head = true, more = true; more; head = false)
        {
            int count = stream.ReadAtLeast(read, 4, throwOnEndOfStream: false);
            more = count > 0;
            decoder = head ? Certain(read.AsSpan(0, count), file)?.GetDecoder() : decoder;
            if (decoder is not null)
            {
                char[] text = new char[decoder.GetCharCount(read, 0, count, flush: !more)];
                buffer = Encoding.UTF8.GetBytes(text, 0, decoder.GetChars(read, 0, count, text, 0, flush: !more));
                count = buffer.Length;
            }

            int begin = 0;
            while (End(begin, count) is >= 0 and int length)
            {
                bool isRest = returned && length == 0 && buffer[begin] == '\n';
                returned = buffer[begin + length] == '\r';
                if (isRest)
                {
                    begin++;
                    continue;
                }

                Add(begin, length);
                yield return new Line(number++, tooLong ? null : line.ToArray(), decoder is not null);
                line.SetLength(0);
                tooLong = false;
                begin += length + 1;
            }

            Add(begin, count - begin);
            returned &= begin == count;
        }

        if (line.Length > 0 || tooLong)
        {
            yield return new Line(number, tooLong ? null : line.ToArray(), decoder is not null);
        }

        int End(int begin, int end)
        {
            ReadOnlySpan<byte> rest = buffer.AsSpan(begin, end - begin);
            return EndsAtReturn ? rest.IndexOfAny((byte)'\n', (byte)'\r') : rest.IndexOf((byte)'\n');
        }

        void Add(int begin, int length)
        {
            tooLong |= length > Options.MaximumDocumentBytes - line.Length;
            if (!tooLong)
            {
                line.Write(buffer, begin, length);
            }
        }
    }

    /// <summary>A line of a file.</summary>
    /// <param name="Number">Its number, from 1.</param>
    /// <param name="Bytes">Its bytes; null where it is longer than a document may be.</param>
    /// <param name="IsDecoded">Whether they are UTF-8 that a decoder has made of the file.</param>
    internal readonly record struct Line(int Number, byte[]? Bytes, bool IsDecoded);
}
