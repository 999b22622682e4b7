using System.Text;

namespace Retro.Corpora;

/// <summary>
/// A document per row of a table of text (RFC 4180), whose first row names the columns, parted by commas, semicolons or tabs. The files may be packed.
/// </summary>
/// <remarks>
/// Fields are cut out as bytes and decoded one by one: a row of another encoding is that row's fault alone. What they are cut at are bytes of ASCII, which are
/// part of no other character in any encoding that <see cref="LineReader"/> leaves as it is. Libraries for tables were tried: one copies the row for each
/// quotation mark in it that quotes nothing, others take such a one for the beginning of a quotation, or end with the first row that is broken.
/// </remarks>
internal sealed class CsvReader(string root, CorpusOptions options, ReadingCounts counts) : LineReader(root, options, counts)
{
    private const string TabEnding = ".tsv";

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
        using Records records = new(Lines(file), file, head.Delimiter, Options.MaximumDocumentBytes);
        Guarded(() => records.Next()); // the names
        int[] taken = [.. Options.Fields.Names.Select(field => Array.IndexOf(head.Names, field)).Where(column => column >= 0)];
        while (Guarded(() => records.Next(taken)) is { } record)
        {
            if (Guarded(() => Row(record, head, file).In(name, record.Line, ids, Options)) is { } document && Checked(document) is { } kept)
            {
                yield return kept;
            }
        }
    }

    private Head Checked(Head head, string file)
    {
        // Labels say who may not see a document: a second column of them must not be passed over.
        string[] repeated = [.. Options.Fields.Names.Distinct().Where(name => head.Names.Count(column => column == name) > 1)];
        return head.Fault is not null ? throw RowFaults.Row(Where(file, 1), head.Fault)
            : repeated.Length > 0 ? throw RowFaults.Repeated(file, repeated)
            : head.Names.Contains(Options.Fields.Text) ? head
            : throw RowFaults.Columns(file, head.Names, Options.Fields);
    }

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
        return new(Field(fields.Text)!, Scalar(fields.Id), Scalar(fields.Title), DocumentRow.OneLabel(Field(fields.Labels)?.Trim() ?? "", where));

        string? Scalar(string column) => Field(column) is { Length: > 0 } value ? value : null;

        string? Field(string column)
            => Array.IndexOf(head.Names, column) is >= 0 and int i ? Decoded(record, record.Fields[i]!, head.IsUtf8, file) : null;
    }

    private string Decoded(Record record, byte[] field, Lazy<bool> utf8, string file) => Text(new Line(record.Line, field, record.IsDecoded), utf8, file);

    /// <summary>The first row of a file.</summary>
    /// <param name="Delimiter">What parts its fields, and those of all rows.</param>
    /// <param name="Names">The columns' names.</param>
    /// <param name="IsUtf8">Whether the file is UTF-8.</param>
    /// <param name="Fault">What is wrong with it; null: nothing.</param>
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
                using Records records = new(reader.Lines(file), file, delimiter, options.MaximumDocumentBytes);
                Record? first = records.Next();
                string[] names = first is null ? [] : Array.ConvertAll(first.Fields, field => reader.Decoded(first, field!, utf8, file).Trim());
                return new(delimiter, names, utf8, first?.Fault);
            }
        }
    }

    /// <summary>A row of a file.</summary>
    /// <param name="Line">The line that it begins in, from 1.</param>
    /// <param name="Fields">Its fields; null are those that nobody asked for.</param>
    /// <param name="IsDecoded">Whether the bytes are UTF-8 that a decoder has made of the file.</param>
    /// <param name="Fault">What is wrong with it; null: nothing.</param>
    private sealed record Record(int Line, byte[]?[] Fields, bool IsDecoded, string? Fault);

    /// <summary>The rows of a file.</summary>
    private sealed class Records(IEnumerable<Line> lines, string file, string delimiter, int most) : IDisposable
    {
        private const byte Quote = (byte)'"', Newline = (byte)'\n', Return = (byte)'\r';

        private readonly IEnumerator<Line> _lines = lines.GetEnumerator();
        private readonly byte _delimiter = (byte)delimiter[0];
        private readonly MemoryStream _field = new();
        private byte[] _line = []; // with the newline that ends it
        private int _at;
        private int _number = 1; // of the line that is read, which a return alone ends, too
        private bool _areDecoded;
        private bool _isOver;

        /// <summary>The next row; null: there is none.</summary>
        /// <param name="columns">The columns whose fields are taken; null: all.</param>
        /// <exception cref="CorpusException">A field is too long. Where the next row begins is not known, and none comes.</exception>
        public Record? Next(int[]? columns = null)
        {
            if (_isOver)
            {
                return null;
            }

            _isOver = true;
            while (HasMore() && _line[_at] is Newline or Return)
            {
                EndLine();
            }

            if (!HasMore())
            {
                return null;
            }

            int first = _number;
            string? fault = null;
            List<byte[]?> fields = [];
            for (bool another = true; another;)
            {
                bool isTaken = columns?.Contains(fields.Count) != false;
                string? found = ReadField();
                fault ??= found;
                fields.Add(isTaken ? _field.ToArray() : null);
                another = _at < _line.Length && _line[_at] == _delimiter;
                _at += another ? 1 : 0;
            }

            if (HasMore())
            {
                EndLine();
                _isOver = false;
            }

            return new(first, [.. fields], _areDecoded, fault);
        }

        public void Dispose()
        {
            _lines.Dispose();
            _field.Dispose();
        }

        /// <summary>Reads a field, to what ends it.</summary>
        /// <returns>What is wrong with it; null: nothing.</returns>
        private string? ReadField()
        {
            _field.SetLength(0);
            string? fault = null;
            if (_line[_at] == Quote)
            {
                int opened = _number;
                bool isClosed = false;
                _at++;
                while (!isClosed)
                {
                    if (!HasMore())
                    {
                        return $"has a quotation mark in line {opened} that is not closed, so that all that follows would be in its field";
                    }

                    int length = _line.AsSpan(_at).IndexOf(Quote);
                    bool isRest = length < 0;
                    Add(isRest ? _line.Length - _at : length, opened);
                    if (isRest)
                    {
                        _number++;
                    }
                    else if (_line[++_at] == Quote)
                    {
                        Add(1, opened); // which is doubled
                    }
                    else
                    {
                        isClosed = true;
                    }
                }

                fault = _line[_at] == _delimiter || _line[_at] is Newline or Return ? null
                    : "has a quotation mark in a quoted field that is not doubled, or not closed";
            }

            // A quotation mark within a field that begins with none is a character like others.
            Add(_line.AsSpan(_at).IndexOfAny(_delimiter, Newline, Return), null);
            return fault;
        }

        /// <summary>Adds bytes of the line to the field.</summary>
        private void Add(int count, int? opened)
        {
            if (count > most - _field.Length)
            {
                throw RowFaults.TooLong(opened is null ? Where(file, _number) : $"What a quotation mark in line {opened} of {file} begins", most);
            }

            _field.Write(_line, _at, count);
            _at += count;
        }

        /// <summary>Whether there is another byte; the next line is read where this one is.</summary>
        private bool HasMore()
        {
            if (_at < _line.Length)
            {
                return true;
            }

            if (!_lines.MoveNext())
            {
                return false;
            }

            Line line = _lines.Current;
            byte[] bytes = line.Bytes ?? throw RowFaults.TooLong(Where(file, line.Number), most);
            _line = [.. bytes, Newline];
            _at = line.Number == 1 && bytes.AsSpan().StartsWith(Encoding.UTF8.Preamble) ? Encoding.UTF8.Preamble.Length : 0;
            _areDecoded = line.IsDecoded;
            return true;
        }

        /// <summary>Passes over what ends a line: a newline, a return, or both.</summary>
        private void EndLine()
        {
            _at += _line[_at] == Return && _line[_at + 1] == Newline ? 2 : 1;
            _number++;
        }
    }
}
