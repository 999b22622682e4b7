using System.Globalization;
using ParquetSharp;
using ParquetSharp.Schema;
using Encoding = System.Text.Encoding;

namespace Retro.Corpora;

/// <summary>A document per row of a table of Apache Parquet. What its columns say of documents is held for as many rows as the file has in a group.</summary>
internal sealed class ParquetTableReader(string root, CorpusOptions options, ReadingCounts counts) : DocumentReader(root, options, counts)
{
    /// <summary>Whether there is a column of texts; there need not be, where a file may hold any table.</summary>
    /// <exception cref="CorpusException">The file cannot be read.</exception>
    public static bool HasTexts(string file, CorpusOptions options)
    {
        using Table table = new(file);
        return table.HasTexts(options.Fields.Text);
    }

    public override IEnumerable<Document> Documents(string file)
    {
        using Table? table = Guarded(() => new Table(file));
        if (table is null || Guarded(() => table.Checked(Options.Fields)) is null)
        {
            yield break;
        }

        string name = NameOf(file);
        TextIds ids = new(name);
        int number = 0;
        for (int i = 0; i < table.Groups; i++)
        {
            // Behind rows that cannot be read, the number of the next is not known.
            if (Guarded(() => table.Read(i, Options.Fields)) is not { } group)
            {
                yield break;
            }

            for (int row = 0; row < group.Texts.Length; row++)
            {
                number++;
                if (Guarded(() => Row(group, row, $"Row {number} of {file}").In(name, number, ids, Options)) is { } document && Checked(document) is { } kept)
                {
                    yield return kept;
                }
            }
        }
    }

    private DocumentRow Row(Group group, int row, string where)
    {
        DocumentFields fields = Options.Fields;
        byte[] text = group.Texts[row][0] ?? throw RowFaults.Row(where, $"has no \"{fields.Text}\"");
        return text.Length > Options.MaximumDocumentBytes
            ? throw RowFaults.TooLong(where, Options.MaximumDocumentBytes)
            : new(Decoded(text, fields.Text), Scalar(group.Ids, fields.Id), Scalar(group.Titles, fields.Title), Labels());

        string? Scalar(byte[]?[][]? column, string name) => column?[row][0] is { Length: > 0 } value ? Decoded(value, name) : null;

        IReadOnlyList<string> Labels()
        {
            byte[]?[] given = group.Labels?[row] ?? [];
            if (!group.AreLists)
            {
                return given is [{ } label] ? DocumentRow.OneLabel(Decoded(label, fields.Labels), where) : [];
            }

            return Array.Exists(given, label => label is null)
                ? throw RowFaults.Row(where, $"has null among its \"{fields.Labels}\"")
                : DocumentRow.NotEmpty(given.Select(label => Decoded(label!, fields.Labels)));
        }

        // A column of texts is UTF-8 by definition; one of bytes may hold others.
        string Decoded(byte[] value, string column) => TextDecoding.DecodePart(value, $"{where}, column \"{column}\",", Options.Encoding, utf8: true);
    }

    /// <summary>Reads by the native library, without which no file of this kind can be read, broken or not.</summary>
    /// <exception cref="RetroException">It cannot be loaded.</exception>
    internal static T Loaded<T>(string file, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception exception) when ((exception is TypeInitializationException { InnerException: { } inner } ? inner : exception)
            is DllNotFoundException or BadImageFormatException or EntryPointNotFoundException)
        {
            throw new RetroException(
                $"{file} cannot be read here: the native library of Parquet (ParquetSharpNative) cannot be loaded, as there is none for this system, such as "
                    + "Linux with musl (Alpine), or none beside the program. Convert the file into JSON lines or CSV on another system, build the database "
                    + $"there, or leave the file out ({nameof(CorpusOptions)}.{nameof(CorpusOptions.Exclude)}). {exception.Message}",
                exception);
        }
    }

    /// <summary>Rows that a file has in one group: of each column, the values of each row; null is a column that it has not, or a value.</summary>
    private sealed record Group(byte[]?[][] Texts, byte[]?[][]? Ids, byte[]?[][]? Titles, byte[]?[][]? Labels, bool AreLists);

    /// <summary>An open file.</summary>
    private sealed class Table : IDisposable
    {
        private readonly string _file;
        private readonly FileStream _stream;
        private readonly ParquetFileReader _reader;
        private readonly string[] _names; // of the columns, each with all that nests in it
        private readonly Column[] _columns; // that hold values

        /// <exception cref="CorpusException">It cannot be read.</exception>
        public Table(string file)
        {
            _file = file;
            try
            {
                _stream = Open(file);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw Unreadable(file, exception);
            }

            try
            {
                using ReaderProperties properties = Undamaged(ReaderProperties.GetDefaultReaderProperties);
                properties.EnablePageChecksumVerification();
                _reader = Undamaged(() => new ParquetFileReader(Unpacked(file, _stream), properties, leaveOpen: true));
                SchemaDescriptor schema = Undamaged(() => _reader.FileMetaData.Schema);
                _names = Undamaged(() => Array.ConvertAll(schema.GroupNode.Fields, field => field.Name));
                _columns = Undamaged(() => Enumerable.Range(0, schema.NumColumns).Select(i => new Column(i, schema.Column(i))).ToArray());
            }
            catch
            {
                _reader?.Dispose();
                _stream.Dispose();
                throw;
            }
        }

        public int Groups => _reader.FileMetaData.NumRowGroups;

        /// <summary>Whether there is a column of text that has a name.</summary>
        public bool HasTexts(string name) => Undamaged(() => Texts(name)) is not null;

        /// <summary>This table.</summary>
        /// <exception cref="CorpusException">It has no column of texts, or two of one name, or nearly that of the labels.</exception>
        public Table Checked(DocumentFields fields)
            => RowFaults.OfNames(_file, _names, fields) is { } fault ? throw fault
                : HasTexts(fields.Text) ? this
                : throw RowFaults.Columns(_file, Undamaged(() => _names.Where(name => Texts(name) is not null).ToArray()), fields);

        /// <summary>Reads a group of rows.</summary>
        /// <exception cref="CorpusException">It is damaged, or ids or labels are of another type.</exception>
        public Group Read(int index, DocumentFields fields) => Undamaged(() =>
        {
            const string OneValue = "one text, whole number or UUID a row", Labels = "text, or lists of it";
            using RowGroupReader group = _reader.RowGroup(index);

            // Labels say who may not see a document: of what nests, none may be passed over.
            Column? titles = Array.Find(_columns, column => column.Path[0] == fields.Title && column is { IsFlat: true, IsScalar: true });
            Column? ids = Only(fields.Id, OneValue, column => column.IsFlat);
            Column? labels = Only(fields.Labels, Labels, column => column.IsFlat || column.IsList);
            return new Group(
                Values(group, Texts(fields.Text)!),
                ids is null ? null : Values(group, ids, ids.IsScalar ? null : Refused(fields.Id, OneValue)),
                titles is null ? null : Values(group, titles),
                labels is null ? null : Values(group, labels, labels.IsText ? null : Refused(fields.Labels, Labels)),
                labels is { IsList: true });
        });

        public void Dispose()
        {
            _reader.Dispose();
            _stream.Dispose();
        }

        private static byte[]?[][] Values(RowGroupReader group, Column column, CorpusException? refused = null)
        {
            using ColumnReader reader = group.Column(column.Index);
            return reader.Apply(new RowValues(column, group.MetaData.NumRows, refused));
        }

        private Column? Texts(string name) => Array.Find(_columns, column => column.Path[0] == name && column is { IsFlat: true, IsText: true });

        /// <summary>The column that has a name; null: there is none.</summary>
        /// <exception cref="CorpusException">It is of another shape, or several nest in it.</exception>
        private Column? Only(string name, string expected, Func<Column, bool> fits)
            => Array.FindAll(_columns, column => column.Path[0] == name) is [var only] && fits(only) ? only
                : _names.Contains(name) ? throw Refused(name, expected)
                : null;

        private CorpusException Refused(string column, string expected) => CorpusException.Broken(
            $"The column \"{column}\" of {_file} does not hold {expected}.",
            "Convert it, or name another (CorpusOptions.Fields), or skip what is broken (CorpusOptions.SkipBroken).");

        private T Undamaged<T>(Func<T> read)
        {
            try
            {
                return Loaded(_file, read);
            }
            catch (Exception exception) when (exception is not (RetroException or OutOfMemoryException))
            {
                // The library's message stands behind a name of C++.
                string said = exception.Message.Split("(message: '", 2)[^1].TrimEnd('\'', ')', '\n', '.');
                throw CorpusException.Broken(
                    $"The file {_file} is damaged or cut short, or written in a way of Parquet's that is not read: {said}.",
                    "Fetch it again, write it anew (not encrypted; with Zstandard, for instance), or skip what is broken (CorpusOptions.SkipBroken).",
                    exception);
            }
        }
    }

    /// <summary>A column that holds values; those of columns that nest are columns of their own.</summary>
    private sealed class Column(int index, ColumnDescriptor descriptor)
    {
        private readonly Lazy<(LogicalTypeEnum Type, bool IsSigned)> _type = new(() =>
        {
            using LogicalType type = descriptor.LogicalType;
            return (type.Type, (type as IntLogicalType)?.IsSigned ?? true);
        });

        public int Index => index;

        /// <summary>Its name behind the names of what it nests in.</summary>
        public string[] Path { get; } = PathOf(descriptor);

        public int Definitions => descriptor.MaxDefinitionLevel;

        public bool IsFlat => Path.Length == 1 && descriptor.MaxRepetitionLevel == 0;

        /// <summary>Whether it holds lists that are no deeper than their name, the list and the element.</summary>
        public bool IsList => Path.Length <= 3 && descriptor.MaxRepetitionLevel == 1;

        public bool IsText => descriptor.PhysicalType == PhysicalType.ByteArray
            && Type is LogicalTypeEnum.None or LogicalTypeEnum.String or LogicalTypeEnum.Enum or LogicalTypeEnum.Json;

        /// <summary>Whether a value is a text, a whole number or a UUID.</summary>
        public bool IsScalar => IsText
            || (Type == LogicalTypeEnum.Uuid && descriptor.PhysicalType == PhysicalType.FixedLenByteArray)
            || (Type is LogicalTypeEnum.None or LogicalTypeEnum.Int && descriptor.PhysicalType is PhysicalType.Int32 or PhysicalType.Int64);

        private LogicalTypeEnum Type => _type.Value.Type;

        /// <summary>The definition level from which on an element is there, if only as null; of what repeats nothing, any.</summary>
        public int ElementDefinitions()
        {
            int level = descriptor.MaxDefinitionLevel;
            for (Node? node = descriptor.SchemaNode; descriptor.MaxRepetitionLevel > 0 && node is not null && node.Repetition != Repetition.Repeated;
                node = node.Parent)
            {
                level -= node.Repetition == Repetition.Optional ? 1 : 0;
            }

            return descriptor.MaxRepetitionLevel > 0 ? level : 0;
        }

        /// <summary>A value that <see cref="IsScalar"/> promises, in UTF-8 where it is no text.</summary>
        public unsafe byte[] Written<TValue>(TValue value) => value switch
        {
            ByteArray text => new ReadOnlySpan<byte>((void*)text.Pointer, text.Length).ToArray(),
            FixedLenByteArray uuid => Ascii(new Guid(new ReadOnlySpan<byte>((void*)uuid.Pointer, 16), bigEndian: true)),
            int number => _type.Value.IsSigned ? Ascii(number) : Ascii((uint)number),
            long number => _type.Value.IsSigned ? Ascii(number) : Ascii((ulong)number),
            _ => throw new InvalidDataException($"a column of {descriptor.PhysicalType} has other values"),
        };

        private static byte[] Ascii(IFormattable value) => Encoding.ASCII.GetBytes(value.ToString(null, CultureInfo.InvariantCulture));

        private static string[] PathOf(ColumnDescriptor descriptor)
        {
            using ColumnPath path = descriptor.Path;
            return path.ToDotVector();
        }
    }

    /// <summary>Gathers the values of each row of a group; a row of what repeats nothing has one.</summary>
    /// <param name="column">The column.</param>
    /// <param name="rows">How many rows the group has.</param>
    /// <param name="refused">What to say where there is a value at all; null: values are read.</param>
    private sealed class RowValues(Column column, long rows, CorpusException? refused) : IColumnReaderVisitor<byte[]?[][]>
    {
        private const int Batch = 1024;

        public byte[]?[][] OnColumnReader<TValue>(ColumnReader<TValue> columnReader)
            where TValue : unmanaged
        {
            List<byte[]?[]> read = [];
            List<byte[]?> row = [];
            short[] definitions = new short[Batch], repetitions = new short[Batch];
            TValue[] values = new TValue[Batch];
            bool any = false;
            int whole = column.Definitions, element = column.ElementDefinitions();
            while (columnReader.HasNext && read.Count <= rows)
            {
                long levels = columnReader.ReadBatch(Batch, definitions, repetitions, values, out long given);
                int taken = 0;
                for (int i = 0; i < levels; i++)
                {
                    if (any && repetitions[i] == 0)
                    {
                        read.Add([.. row]);
                        row.Clear();
                    }

                    any = true;
                    if (definitions[i] == whole)
                    {
                        row.Add(refused is not null ? throw refused : column.Written(taken < given ? values[taken++] : throw OtherNumber("values")));
                    }
                    else if (definitions[i] >= element)
                    {
                        row.Add(null);
                    }
                }

                if (levels == 0 || taken != given)
                {
                    throw OtherNumber("values");
                }
            }

            if (any)
            {
                read.Add([.. row]);
            }

            return read.Count == rows ? [.. read] : throw OtherNumber("rows");

            static InvalidDataException OtherNumber(string of) => new($"a column has another number of {of} than is said of it");
        }
    }
}
