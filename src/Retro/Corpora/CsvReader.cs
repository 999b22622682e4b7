using System.Globalization;
using System.Text;
using CsvHelper;
using CsvHelper.Configuration;

namespace Retro.Corpora;

/// <summary>
/// A document per row of a table of text (RFC 4180), whose first row names the columns, parted by commas, semicolons or tabs (<see cref="TabTable"/>). The
/// files may be packed.
/// </summary>
/// <remarks>
/// Fields are cut out as bytes, each of them a character of Latin 1, and decoded one by one: a row of another encoding is that row's fault alone. What they are
/// cut at are bytes of ASCII, which are part of no other character in any encoding that <see cref="LineReader"/> leaves as it is.
/// </remarks>
internal sealed class CsvReader(string root, CorpusOptions options, ReadingCounts counts) : LineReader(root, options, counts)
{
    private const string TabEnding = ".tsv";

    protected override bool EndsAtReturn => true;

    /// <summary>Whether the first row names a column of texts; it need not, where a file may hold any table.</summary>
    /// <exception cref="CorpusException">The file cannot be read.</exception>
    public static bool HasTexts(string file, CorpusOptions options) => Head.Of(file, options).Names.Contains(options.Fields.Text);

    public override IEnumerable<Document> Documents(string file)
    {
        if (Guarded(() => Checked(Head.Of(file, Options), file)) is not { } head)
        {
            yield break;
        }

        string name = NameOf(file);
        TextIds ids = new(name);
        using Records records = new(Lines(file), () => IsCut, file, head.Delimiter, Options.MaximumDocumentBytes);
        Guarded(() => records.Next()); // the names
        int[] taken = [.. Options.Fields.Names.Select(field => Array.IndexOf(head.Names, field)).Where(column => column >= 0)];
        while (Guarded(() => records.Next(taken)) is { } record)
        {
            if (Guarded(() => Row(record, head, file).In(name, record.Line, ids, Options), record.Lines) is { } document && Checked(document) is { } kept)
            {
                yield return kept;
            }
        }

        Skip(records.Lost());
    }

    private Head Checked(Head head, string file)
        => head.Fault is not null ? throw RowFaults.Row(Where(file, 1), head.Fault)
            : RowFaults.OfNames(file, head.Names, Options.Fields) is { } fault ? throw fault
            : head.Names.Contains(Options.Fields.Text) ? head
            : throw RowFaults.Columns(file, head.Names, Options.Fields);

    private DocumentRow Row(Record record, Head head, string file)
    {
        string where = Where(file, record.Line);

        // A newline that nothing quotes parts a row: what it cuts off, labels for instance, must not be read as none.
        if (record.Fault is not null || record.Fields.Length != head.Names.Length)
        {
            throw RowFaults.Row(where, record.Fault ?? $"has {record.Fields.Length} fields, where the first row names {head.Names.Length} columns"
                + " (one with a line break or a delimiter in it has to be quoted)");
        }

        DocumentFields fields = Options.Fields;
        return new(Field(fields.Text)!, Scalar(fields.Id), Scalar(fields.Title), DocumentRow.OneLabel(Field(fields.Labels) ?? "", where));

        string? Scalar(string column) => Field(column) is { Length: > 0 } value ? value : null;

        string? Field(string column)
            => Array.IndexOf(head.Names, column) is >= 0 and int i ? Decoded(record, record.Fields[i]!, head.IsUtf8, file) : null;
    }

    private string Decoded(Record record, string field, Lazy<bool> utf8, string file)
        => Text(new Line(record.Line, Encoding.Latin1.GetBytes(field), record.IsDecoded), utf8, file);

    /// <summary>The first row of a file.</summary>
    /// <param name="Delimiter">What parts its fields, and those of all rows.</param>
    /// <param name="Names">The columns' names.</param>
    /// <param name="IsUtf8">Whether the file is UTF-8.</param>
    /// <param name="Fault">What is wrong with it, such as a quotation mark that is not closed, which takes all rows into the name; null: nothing.</param>
    private sealed record Head(string Delimiter, string[] Names, Lazy<bool> IsUtf8, string? Fault)
    {
        /// <summary>
        /// Reads it. What parts its fields is that which makes the column of texts one of them; a comma, or a tab by the ending, where none does.
        /// </summary>
        public static Head Of(string file, CorpusOptions options)
        {
            CsvReader reader = new(Path.GetDirectoryName(file)!, options with { SkipBroken = false }, new());
            Lazy<bool> utf8 = reader.IsUtf8(file);
            bool isOfTabs = PackedFile.WithoutEnding(file).EndsWith(TabEnding, StringComparison.OrdinalIgnoreCase);
            string[] delimiters = isOfTabs ? ["\t", ",", ";"] : [",", ";", "\t"];
            return delimiters.Select(By).FirstOrDefault(head => head.Names.Contains(options.Fields.Text)) ?? By(delimiters[0]);

            Head By(string delimiter)
            {
                using Records records = new(reader.Lines(file), () => reader.IsCut, file, delimiter, options.MaximumDocumentBytes);
                Record? first = records.Next();
                string[] names = first is null ? [] : Array.ConvertAll(first.Fields, field => reader.Decoded(first, field!, utf8, file).Trim());
                return new(delimiter, names, utf8, first?.Fault);
            }
        }
    }

    /// <summary>A row of a file.</summary>
    /// <param name="Line">The line that it begins in, from 1.</param>
    /// <param name="Lines">How many lines it has.</param>
    /// <param name="Fields">Its fields, a character a byte; null are those that nobody asked for.</param>
    /// <param name="IsDecoded">Whether the bytes are UTF-8 that a decoder has made of the file.</param>
    /// <param name="Fault">What is wrong with it; null: nothing.</param>
    private sealed record Record(int Line, int Lines, string?[] Fields, bool IsDecoded, string? Fault);

    /// <summary>The rows of a file.</summary>
    private sealed class Records : IDisposable
    {
        private const char Quote = '"';

        private readonly string _file;
        private readonly int _most;
        private readonly string _quoted;
        private readonly Bytes _bytes;
        private readonly CsvParser _parser;
        private string? _fault;
        private bool _isCut;

        public Records(IEnumerable<Line> lines, Func<bool> isCut, string file, string delimiter, int most)
        {
            (_file, _most, _quoted) = (file, most, delimiter + Quote);
            IEnumerable<Line> rows = WithoutMarks(lines);
            _bytes = new(delimiter == "\t" ? new TabTable(rows, isCut, most).Lines() : rows, file, most);
            _parser = new(_bytes, new CsvConfiguration(CultureInfo.InvariantCulture)
            {
                Delimiter = delimiter,
                MaxFieldSize = most,

                // A quotation mark within a field that begins with none is a character like others.
                BadDataFound = bad
                    => _fault ??= bad.Field.StartsWith(Quote) ? "has a quotation mark in a quoted field that is not doubled, or not closed" : null,
            });
        }

        /// <summary>The next row; null: there is none.</summary>
        /// <param name="columns">The columns whose fields are taken; null: all.</param>
        /// <exception cref="CorpusException">A field is too long. Where the next row begins is not known, and none comes.</exception>
        public Record? Next(int[]? columns = null)
        {
            if (_isCut)
            {
                return null;
            }

            _fault = null;
            _isCut = true;
            _bytes.Begin();
            try
            {
                if (!_parser.Read())
                {
                    _isCut = false;
                    return null;
                }
            }
            catch (MaxFieldSizeException)
            {
                throw RowFaults.TooLong(Where(_file, _bytes.First), _most);
            }

            _isCut = false;

            // The parser copies the row for each field that is asked for and holds a quotation mark, but is not quoted. Of the others, those can be at fault,
            // and have taken what follows, that begin with one.
            string row = _parser.RawRecord;
            bool isQuoted = row.StartsWith(Quote) || row.Contains(_quoted, StringComparison.Ordinal);
            string?[] fields = new string?[_parser.Count];
            for (int i = 0; i < fields.Length; i++)
            {
                fields[i] = columns is null || isQuoted || columns.Contains(i) ? _parser[i] : null;
            }

            // What a mark that is not closed has taken is told with it.
            int lines = _bytes.Last - _bytes.First + 1;
            string? fault = _fault is not null && lines > 1 ? $"{_fault}, and takes the {Amount.Of(lines - 1, "line")} behind it" : _fault;
            return new(_bytes.First, lines, fields, _bytes.AreDecoded, fault);
        }

        /// <summary>How many lines are lost behind the first of what is too long: where the next row begins is not known.</summary>
        public int Lost()
        {
            while (_isCut && _bytes.MoveNext())
            {
            }

            return _isCut ? _bytes.Last - _bytes.First : 0;
        }

        public void Dispose()
        {
            _parser.Dispose();
            _bytes.Dispose();
        }
    }

    /// <summary>
    /// Lines without the mark of UTF-8 that they may begin with, and without what Excel is told of a file before its first row, for which an empty line stands.
    /// </summary>
    private static IEnumerable<Line> WithoutMarks(IEnumerable<Line> lines)
    {
        foreach (Line line in lines)
        {
            if (line is not { Number: 1, Bytes: { } bytes })
            {
                yield return line;
                continue;
            }

            int mark = bytes.AsSpan().StartsWith(Encoding.UTF8.Preamble) ? Encoding.UTF8.Preamble.Length : 0;
            yield return line with { Bytes = bytes.Length == mark + 5 && bytes.AsSpan(mark).StartsWith("sep="u8) ? [] : bytes[mark..] };
        }
    }

    /// <summary>The bytes of lines, each a character. A parser that needs no more than it has asks for none of the next line.</summary>
    private sealed class Bytes(IEnumerable<Line> lines, string file, int most) : TextReader
    {
        private readonly IEnumerator<Line> _lines = lines.GetEnumerator();
        private byte[] _line = [];
        private int _read;
        private bool _isBegun;

        /// <summary>The first line since <see cref="Begin"/> that is not empty; where there was none, the last one.</summary>
        public int First { get; private set; }

        /// <summary>The last line.</summary>
        public int Last { get; private set; }

        /// <summary>Whether they are UTF-8 that a decoder has made of the file.</summary>
        public bool AreDecoded { get; private set; }

        public void Begin() => _isBegun = false;

        public bool MoveNext()
        {
            if (!_lines.MoveNext())
            {
                return false;
            }

            Last = _lines.Current.Number;
            First = _isBegun ? First : Last;
            _isBegun |= _lines.Current.Bytes is not [];
            return true;
        }

        public override int Read(char[] buffer, int index, int count)
        {
            while (_read == _line.Length)
            {
                if (!MoveNext())
                {
                    return 0;
                }

                AreDecoded = _lines.Current.IsDecoded;
                _line = [.. _lines.Current.Bytes ?? throw RowFaults.TooLong(Where(file, Last), most), (byte)'\n'];
                _read = 0;
            }

            int taken = Encoding.Latin1.GetChars(_line.AsSpan(_read, Math.Min(count, _line.Length - _read)), buffer.AsSpan(index));
            _read += taken;
            return taken;
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                _lines.Dispose();
            }

            base.Dispose(disposing);
        }
    }
}
