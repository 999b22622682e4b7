using System.Globalization;
using System.Text;
using Parquet;
using Parquet.Data;
using Parquet.Schema;

namespace Retro.Corpora;

/// <summary>A document per row of a table of Apache Parquet. What its columns say of documents is held for as many rows as the file has in a group.</summary>
internal sealed class ParquetTableReader(string root, CorpusOptions options, ReadingCounts counts) : DocumentReader(root, options, counts)
{
    private static readonly ParquetOptions s_asText = new() { TreatByteArrayAsString = true };

    /// <summary>Whether there is a column of texts; there need not be, where a file may hold any table.</summary>
    /// <exception cref="CorpusException">The file cannot be read.</exception>
    public static bool HasTexts(string file, CorpusOptions options)
    {
        using Table table = new(file);
        return table.Texts(options.Fields.Text) is not null;
    }

    public override IEnumerable<Document> Documents(string file)
    {
        using Table? table = Guarded(() => new Table(file));
        if (table is null || Guarded(() => table.Texts(Options.Fields.Text) ?? throw RowFaults.Columns(file, table.Names, Options.Fields)) is null)
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
        string text = group.Texts[row] ?? throw RowFaults.Row(where, $"has no \"{Options.Fields.Text}\"");
        return Encoding.UTF8.GetByteCount(text) > Options.MaximumDocumentBytes
            ? throw RowFaults.TooLong(where, Options.MaximumDocumentBytes)
            : new(text, NotEmpty(group.Ids?[row]), NotEmpty(group.Titles?[row]), DocumentRow.NotEmpty(group.Labels?[row] ?? []));

        static string? NotEmpty(string? value) => string.IsNullOrEmpty(value) ? null : value;
    }

    /// <summary>Rows that a file has in one group; null is a column that it has not.</summary>
    private sealed record Group(string?[] Texts, string?[]? Ids, string?[]? Titles, IReadOnlyList<string>[]? Labels);

    /// <summary>An open file.</summary>
    private sealed class Table : IDisposable
    {
        private readonly string _file;
        private readonly FileStream _stream;
        private readonly ParquetReader _reader;
        private readonly DataField[] _columns;

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
                _reader = Undamaged(() => ParquetReader.CreateAsync(Unpacked(file, _stream), s_asText));
                _columns = Undamaged(() => Task.FromResult(_reader.Schema.GetDataFields()));
            }
            catch
            {
                _stream.Dispose();
                throw;
            }
        }

        public int Groups => _reader.RowGroupCount;

        /// <summary>The names of the columns of text.</summary>
        public IReadOnlyList<string> Names => [.. _columns.Where(IsText).Select(column => column.Name)];

        /// <summary>The column of text that has a name; null: there is none.</summary>
        public DataField? Texts(string name) => Column(name) is { } column && IsText(column) ? column : null;

        /// <summary>Reads a group of rows.</summary>
        /// <exception cref="CorpusException">It is damaged, or ids or labels are of another type.</exception>
        public Group Read(int index, DocumentFields fields)
        {
            DataField? ids = Column(fields.Id), labels = Column(fields.Labels);
            Require(ids is null || IsFlat(ids), fields.Id, "one text or whole number a row");

            // They say who may not see a document: of what nests, none may be passed over.
            Require(labels is null || IsText(labels) || (IsList(labels) && Parts(fields.Labels) == 1), fields.Labels, "text, or lists of it");
            using ParquetRowGroupReader group = Undamaged(() => Task.FromResult(_reader.OpenRowGroupReader(index)));
            Group read = new(
                Values(group, Texts(fields.Text)!).Values,
                ids is null ? null : Values(group, ids).Values,
                Texts(fields.Title) is { } titles ? Values(group, titles).Values : null,
                labels is null ? null : Lists(Values(group, labels)));
            Array?[] others = [read.Ids, read.Titles, read.Labels];
            return Array.TrueForAll(others, column => column is null || column.Length == read.Texts.Length)
                ? read
                : throw Damaged(_file, new InvalidDataException("its columns have other numbers of rows"));
        }

        public void Dispose()
        {
            _reader.DisposeAsync().AsTask().GetAwaiter().GetResult();
            _stream.Dispose();
        }

        private static bool IsFlat(DataField column) => column.Path.Length == 1 && column.MaxRepetitionLevel == 0;

        private static bool IsText(DataField column) => IsFlat(column) && column.ClrType == typeof(ReadOnlyMemory<char>);

        // A list is no deeper than its name, the list and the element.
        private static bool IsList(DataField column)
            => column.MaxRepetitionLevel == 1 && column.Path.Length <= 3 && column.ClrType == typeof(ReadOnlyMemory<char>);

        // Of what nests, the first part alone says that it is there.
        private DataField? Column(string name) => Array.Find(_columns, column => column.Path.FirstPart == name);

        private int Parts(string name) => _columns.Count(column => column.Path.FirstPart == name);

        private void Require(bool condition, string column, string expected)
        {
            if (!condition)
            {
                throw CorpusException.Broken(
                    $"The column \"{column}\" of {_file} does not hold {expected}.",
                    "Convert it, or name another (CorpusOptions.Fields), or skip what is broken (CorpusOptions.SkipBroken).");
            }
        }

        /// <summary>
        /// The values of a column, null where there is none, and for each whether it goes on with the row of the one before (above 0); null: none does.
        /// </summary>
        private (string?[] Values, int[]? Repetitions) Values(ParquetRowGroupReader group, DataField column) => Undamaged(async () =>
        {
            using RawColumnData read = await group.ReadRawColumnDataBaseAsync(column).ConfigureAwait(false);
            Func<int, string>? value = read switch
            {
                RawColumnData<ReadOnlyMemory<char>> texts => i => texts.Values[i].ToString(),
                RawColumnData<long> numbers => i => numbers.Values[i].ToString(CultureInfo.InvariantCulture),
                RawColumnData<int> numbers => i => numbers.Values[i].ToString(CultureInfo.InvariantCulture),
                RawColumnData<ulong> numbers => i => numbers.Values[i].ToString(CultureInfo.InvariantCulture),
                RawColumnData<uint> numbers => i => numbers.Values[i].ToString(CultureInfo.InvariantCulture),
                _ => null,
            };
            Require(value is not null, column.Name, "text or whole numbers");
            return (All(read, checked((int)group.RowCount), column, value!), column.MaxRepetitionLevel > 0 ? read.RepetitionLevels.ToArray() : null);
        });

        private static string?[] All(RawColumnData read, int rows, DataField column, Func<int, string> value)
        {
            ReadOnlySpan<int> levels = column.MaxDefinitionLevel > 0 ? read.DefinitionLevels : [];
            string?[] all = new string?[column.MaxDefinitionLevel > 0 ? levels.Length : rows];
            for (int i = 0, given = 0; i < all.Length; i++)
            {
                all[i] = levels.IsEmpty || levels[i] == column.MaxDefinitionLevel ? value(given++) : null;
            }

            return all;
        }

        private static IReadOnlyList<string>[] Lists((string?[] Values, int[]? Repetitions) column)
        {
            List<List<string>> lists = [];
            for (int i = 0; i < column.Values.Length; i++)
            {
                if (column.Repetitions is null || column.Repetitions[i] == 0)
                {
                    lists.Add([]);
                }

                if (column.Values[i] is { } value)
                {
                    lists[^1].Add(value);
                }
            }

            return [.. lists];
        }

        /// <summary>Reads on a thread of the pool, since whoever waits here may be what the reader would go on by.</summary>
        private T Undamaged<T>(Func<Task<T>> read)
        {
            try
            {
                return Task.Run(read).GetAwaiter().GetResult();
            }
            catch (Exception exception) when (exception is not (CorpusException or OutOfMemoryException))
            {
                throw Damaged(_file, exception);
            }
        }
    }
}
