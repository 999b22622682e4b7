using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace Retro.Corpora;

/// <summary>
/// One document per line: an object with <c>text</c>, and <c>id</c>, <c>title</c> and <c>labels</c> where there are any. The files may be packed.
/// </summary>
internal sealed class JsonLinesReader(string root, CorpusOptions options, ReadingCounts counts) : DocumentReader(root, options, counts)
{
    public override IEnumerable<Document> Documents(string file)
    {
        string name = NameOf(file);
        bool utf8 = Options.Encoding is null || IsUtf8(file);
        using IEnumerator<(int Number, byte[]? Bytes)> lines = Lines(file).GetEnumerator();
        while (Guarded(() => MoveNext(lines, file)) is not null)
        {
            (int number, byte[]? bytes) = lines.Current;
            if (Guarded(() => Parse(bytes, utf8, file, name, number)) is { } document && Checked(document) is { } kept)
            {
                yield return kept;
            }
        }
    }

    /// <summary>
    /// Whether a file is UTF-8: more of its lines are than are not. By itself a short one of another encoding can be both, and one of UTF-8 be damaged.
    /// </summary>
    private bool IsUtf8(string file)
    {
        int valid = 0, invalid = 0;
        try
        {
            foreach ((_, byte[]? bytes) in Lines(file))
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
            when (PackedFile.IsDamage(exception) || exception is DecoderFallbackException or IOException or UnauthorizedAccessException)
        {
            // What cannot be read is told of when it is.
        }

        return valid > invalid || invalid == 0;
    }

    private static IEnumerator<(int Number, byte[]? Bytes)>? MoveNext(IEnumerator<(int Number, byte[]? Bytes)> lines, string file)
    {
        try
        {
            return lines.MoveNext() ? lines : null;
        }
        catch (Exception exception) when (PackedFile.IsDamage(exception))
        {
            throw new CorpusException(
                $"The file {file} is damaged or cut short: {exception.Message.TrimEnd('.')}. Fetch it anew, or skip what is broken (CorpusOptions.SkipBroken).",
                exception);
        }
        catch (DecoderFallbackException exception)
        {
            throw new CorpusException(
                $"The file {file} is of another encoding than is named: {exception.Message.TrimEnd('.')}. Name its encoding, convert it to UTF-8, or skip what "
                    + "is broken (CorpusOptions.Encoding, SkipBroken).",
                exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(file, exception);
        }
    }

    // A line that is too long has no bytes. Lines of UTF-16 and UTF-32 end in other bytes: such a file is made UTF-8 before it is cut.
    private IEnumerable<(int Number, byte[]? Bytes)> Lines(string file)
    {
        using FileStream packed = Open(file);
        using Stream stream = PackedFile.Unpack(file, packed);
        byte[] read = new byte[1 << 16], buffer = read;
        Decoder? decoder = null;
        using MemoryStream line = new();
        bool tooLong = false;
        int number = 1;
        for (bool head = true, more = true; more; head = false)
        {
            int count = stream.ReadAtLeast(read, 4, throwOnEndOfStream: false);
            more = count > 0;
            decoder = head ? TextDecoding.Certain(read.AsSpan(0, count), Options.Encoding)?.GetDecoder() : decoder;
            if (decoder is not null)
            {
                char[] text = new char[decoder.GetCharCount(read, 0, count, flush: !more)];
                buffer = Encoding.UTF8.GetBytes(text, 0, decoder.GetChars(read, 0, count, text, 0, flush: !more));
                count = buffer.Length;
            }

            int begin = 0;
            while (buffer.AsSpan(begin, count - begin).IndexOf((byte)'\n') is >= 0 and int length)
            {
                Add(begin, length);
                yield return (number++, tooLong ? null : line.ToArray());
                line.SetLength(0);
                tooLong = false;
                begin += length + 1;
            }

            Add(begin, count - begin);
        }

        if (line.Length > 0 || tooLong)
        {
            yield return (number, tooLong ? null : line.ToArray());
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

    private Document? Parse(byte[]? bytes, bool utf8, string file, string name, int number)
    {
        string where = $"Line {number} of {file}";
        if (bytes is null)
        {
            throw new CorpusException(
                $"{where} is longer than the {Options.MaximumDocumentBytes} bytes that one document may have. Split it into documents, skip what is broken, or "
                    + "allow more (CorpusOptions.SkipBroken, MaximumDocumentBytes).");
        }

        if (number == 1 && PackedFile.EndingOf(bytes) is { } ending)
        {
            throw new CorpusException($"The file {file} is packed: give its name the ending {ending}, or unpack it.");
        }

        string json = TextDecoding.Decode(bytes, where, Options.Encoding, utf8);
        if (string.IsNullOrWhiteSpace(json))
        {
            return null;
        }

        try
        {
            JsonRow row = JsonRow.Read(Encoding.UTF8.GetBytes(json));
            string id = row.Id is null ? $"{name}:{number}" : Options.IdsByFile ? $"{name}:{row.Id}" : row.Id;
            return new Document(id, row.Title ?? id, Cleaning.Clean(row.Text), $"{name}:{number}") { Labels = row.Labels };
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw new CorpusException(
                $"{where} is broken: {exception.Message.TrimEnd('.')}. Correct the line, or skip what is broken (CorpusOptions.SkipBroken).", exception);
        }
    }
}
