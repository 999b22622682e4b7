using ParquetSharp;
using ParquetSharp.Schema;
using Retro.Corpora;

namespace Retro.Tests.Corpora;

/// <summary>Tables of Apache Parquet as others write them: texts, levels and schemas as the format has them, and not as one writer likes them.</summary>
public sealed class ParquetTableTests : IDisposable
{
    private static readonly string[] s_texts =
        ["Der Müller mahlt Korn.", "Der Müller mahlt Mehl.", "Der Mütze fehlt ein Knopf.", "Café 🌾 au lait.", "Cafè nero."];

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Written by DuckDB 1.5: two groups of two rows, pages of version 2 in Zstandard, dictionaries.</summary>
    [Fact]
    public void A_row_of_Parquet_is_a_document()
    {
        string path = Path.Combine(Fixtures.Own, "rows.parquet");
        Document[] documents = Read(path, new() { KeepEmpty = true });
        Assert.Equal(["7", "9", "11", "12"], documents.Select(document => document.Id));
        Assert.Equal(["Ferry", "9", "Empty", "Second"], documents.Select(document => document.Title));
        Assert.Equal(["The ferry crosses at dawn.", "A müller grinds 🌾 grain.", "", "Line one\nline two"], documents.Select(document => document.Text));
        Assert.Equal(["staff,river", "", "", "staff"], documents.Select(document => string.Join(',', document.Labels)));
        Assert.Equal(["rows.parquet:1", "rows.parquet:2", "rows.parquet:3", "rows.parquet:4"], documents.Select(document => document.Location));
        Document[] others = Read(path, new() { Fields = new() { Text = "title", Id = "text", Labels = "none" }, SkipBroken = true });
        Assert.Equal(["Ferry", "Empty", "Second"], others.Select(document => document.Text)); // the second has no title
        Assert.All(others, document => Assert.Empty(document.Labels));
    }

    [Fact]
    public void Where_its_native_library_is_not_there_that_is_said_and_what_to_do()
    {
        const string Missing = "Unable to load shared library 'ParquetSharpNative'";
        foreach (Exception fault in new Exception[] { new DllNotFoundException(Missing), new TypeInitializationException("T", new BadImageFormatException()) })
        {
            string said = Assert.Throws<RetroException>(() => ParquetTableReader.Loaded<int>("rows.parquet", () => throw fault)).Message;
            Assert.StartsWith("rows.parquet cannot be read here: the native library of Parquet", said, StringComparison.Ordinal);
            Assert.Contains("Convert the file into JSON lines or CSV", said, StringComparison.Ordinal);
        }

        Assert.Throws<InvalidDataException>(() => ParquetTableReader.Loaded<int>("rows.parquet", () => throw new InvalidDataException()));
    }

    [Theory]
    [InlineData("DeltaByteArray")]
    [InlineData("DeltaLengthByteArray")]
    [InlineData("Plain", "Lz4Hadoop")]
    [InlineData("Plain", "Lz4")]
    [InlineData("Plain", "Brotli")]
    [InlineData("Plain", "Snappy")]
    [InlineData("RleDictionary", "Gzip")]
    public void Texts_ids_and_labels_are_those_that_were_written_in_whatever_way(string encoding, string compression = "Uncompressed")
    {
        foreach (ParquetDataPageVersion version in new[] { ParquetDataPageVersion.V1, ParquetDataPageVersion.V2 })
        {
            string[] ids = [.. s_texts.Select((_, i) => $"Übung-{i}")], labels = ["Öffentlich", "Öffnung", "", "Öffnung", "Ö"];
            string path = Write(
                $"{encoding}-{version}.parquet",
                [Text("text"), Text("id"), Text("labels")],
                group =>
                {
                    Texts(group, s_texts);
                    Texts(group, ids);
                    Texts(group, labels);
                },
                how =>
                {
                    how.DataPageVersion(version).Compression(Enum.Parse<Compression>(compression));
                    if (encoding != nameof(Encoding.RleDictionary))
                    {
                        how.DisableDictionary().Encoding(Enum.Parse<Encoding>(encoding));
                    }
                });
            Document[] documents = Read(path);
            Assert.Equal(s_texts, documents.Select(document => document.Text));
            Assert.Equal(ids, documents.Select(document => document.Id));
            Assert.Equal(labels, documents.Select(document => document.Labels.SingleOrDefault("")));
        }
    }

    [Theory]
    [InlineData(ParquetDataPageVersion.V1)]
    [InlineData(ParquetDataPageVersion.V2)]
    public void Labels_are_those_of_lists(ParquetDataPageVersion version)
    {
        // Rows of two labels, of an empty list, of none, and of one.
        (short[] Definitions, short[] Repetitions) levels = ([3, 3, 1, 0, 3], [0, 1, 0, 0, 0]);
        string path = Write(
            "lists.parquet",
            [List("labels", Text("element", Repetition.Optional)), Text("text")],
            group =>
            {
                Texts(group, ["staff", "Fluß", "river"], levels.Definitions, levels.Repetitions);
                Texts(group, ["One.", "Two.", "Three.", "Four."]);
            },
            how => how.DataPageVersion(version));
        Assert.Equal(["staff,Fluß", "", "", "river"], Read(path).Select(document => string.Join(',', document.Labels)));

        // Of two levels, as early writers have them, and without a list around what is repeated.
        Node[] others =
        [
            new GroupNode("labels", Repetition.Optional, [Text("array", Repetition.Repeated)], LogicalType.List()),
            Text("labels", Repetition.Repeated),
        ];
        foreach (Node labels in others)
        {
            short there = (short)(labels is GroupNode ? 2 : 1);
            path = Write("repeated.parquet", [labels, Text("text")], group =>
            {
                Texts(group, ["staff", "river", "staff"], [there, there, 0, there], [0, 1, 0, 0]);
                Texts(group, ["One.", "Two.", "Three."]);
            });
            Assert.Equal(["staff,river", "", "staff"], Read(path).Select(document => string.Join(',', document.Labels)));
        }
    }

    /// <summary>A list of records of two levels, as parquet-avro writes it, says nothing of what stands behind it.</summary>
    [Fact]
    public void Labels_behind_a_list_of_records_are_read()
    {
        GroupNode items = new(
            "items",
            Repetition.Optional,
            [new GroupNode("array", Repetition.Repeated, [Text("a"), Text("b")])],
            LogicalType.List());
        string path = Write("avro.parquet", [items, Text("text"), Text("labels")], group =>
        {
            Texts(group, ["x", "y"], [2, 2], [0, 0]);
            Texts(group, ["x", "y"], [2, 2], [0, 0]);
            Texts(group, ["A secret of the staff.", "Another of the river."]);
            Texts(group, ["staff", "river"]);
        });
        Assert.Equal(["staff", "river"], Read(path).Select(document => Assert.Single(document.Labels)));
    }

    [Fact]
    public void Labels_that_are_no_texts_are_refused_and_not_read_as_none()
    {
        string path = Write("t.parquet", [Text("text"), new PrimitiveNode("labels", Repetition.Required, LogicalType.None(), PhysicalType.Int64)], group =>
        {
            Texts(group, ["One.", "Two."]);
            Values<long>(group, [1, 2]);
        });
        Assert.Contains("\"labels\"", Fault(path), StringComparison.Ordinal);
        Assert.Equal(2, Read(path, new() { Fields = new() { Labels = "none" } }).Length);

        GroupNode map = new(
            "labels",
            Repetition.Optional,
            [new GroupNode("key_value", Repetition.Repeated, [Text("key"), Text("value", Repetition.Optional)])],
            LogicalType.Map());
        path = Write("m.parquet", [Text("text"), map], group =>
        {
            Texts(group, ["A secret."]);
            Texts(group, ["who"], [2], [0]);
            Texts(group, ["staff"], [3], [0]);
        });
        Assert.Contains("\"labels\"", Fault(path), StringComparison.Ordinal);

        // An array of JSON may hold no null either; and a list that became text would be one label, which nobody has.
        path = Write("n.parquet", [Text("text"), List("labels", Text("element", Repetition.Optional))], group =>
        {
            Texts(group, ["A secret.", "A page."]);
            Texts(group, [], [2, 1], [0, 0]);
        });
        Assert.Contains($"Row 1 of {path} has null among its \"labels\"", Fault(path), StringComparison.Ordinal);
        Assert.Equal(["A page."], Read(path, new() { SkipBroken = true }).Select(document => document.Text));
        path = Write("s.parquet", [Text("text"), Text("labels")], group =>
        {
            Texts(group, ["A secret."]);
            Texts(group, ["['staff', 'river']"]);
        });
        Assert.Contains("['staff', 'river'] is a list that was written as text", Fault(path), StringComparison.Ordinal);
    }

    /// <summary>What a writer knew no value of has no type of its own, or any.</summary>
    [Fact]
    public void Columns_without_any_value_are_as_if_they_were_not_there()
    {
        Node Nothing(string name) => new PrimitiveNode(name, Repetition.Optional, LogicalType.Null(), PhysicalType.Int32);
        string path = Write("list.parquet", [Text("text"), List("labels", Nothing("element"))], group =>
        {
            Texts(group, ["One.", "Two."]);
            Values<int>(group, [], [1, 0], [0, 0]);
        });
        Assert.All(Read(path), document => Assert.Empty(document.Labels));
        path = Write(
            "flat.parquet",
            [Text("text"), Nothing("labels"), Nothing("title"), new PrimitiveNode("id", Repetition.Optional, LogicalType.None(), PhysicalType.Double)],
            group =>
            {
                Texts(group, ["One.", "Two."]);
                Values<int>(group, [], [0, 0]);
                Values<int>(group, [], [0, 0]);
                Values<double>(group, [], [0, 0]);
            });
        Document[] documents = Read(path);
        Assert.Equal(["flat.parquet:1", "flat.parquet:2"], documents.Select(document => document.Title));
        Assert.All(documents, document => Assert.Empty(document.Labels));
    }

    [Fact]
    public void Ids_and_titles_may_be_whole_numbers_and_UUIDs()
    {
        Assert.Equal("-3", IdOf<int>(LogicalType.Int(8, isSigned: true), PhysicalType.Int32, -3));
        Assert.Equal("700", IdOf<int>(LogicalType.Int(16, isSigned: true), PhysicalType.Int32, 700));
        Assert.Equal("4294967293", IdOf<int>(LogicalType.Int(32, isSigned: false), PhysicalType.Int32, -3));
        Assert.Equal("-3", IdOf<long>(LogicalType.None(), PhysicalType.Int64, -3));
        Assert.Equal("18446744073709551613", IdOf<long>(LogicalType.Int(64, isSigned: false), PhysicalType.Int64, -3));
        string path = Write(
            "u.parquet",
            [
                Text("text"),
                new PrimitiveNode("id", Repetition.Required, LogicalType.Uuid(), PhysicalType.FixedLenByteArray, 16),
                new PrimitiveNode("title", Repetition.Required, LogicalType.Int(16, isSigned: true), PhysicalType.Int32),
            ],
            group =>
            {
                Texts(group, ["One."]);
                Uuid(group, new("00112233-4455-6677-8899-aabbccddeeff"));
                Values<int>(group, [1984]);
            });
        Document document = Assert.Single(Read(path));
        Assert.Equal(("00112233-4455-6677-8899-aabbccddeeff", "1984"), (document.Id, document.Title));

        path = Write("d.parquet", [Text("text"), new PrimitiveNode("id", Repetition.Required, LogicalType.None(), PhysicalType.Double)], group =>
        {
            Texts(group, ["One."]);
            Values<double>(group, [1]);
        });
        Assert.Contains("\"id\" of " + path + " does not hold one text, whole number or UUID a row", Fault(path), StringComparison.Ordinal);

        string IdOf<T>(LogicalType type, PhysicalType physical, T value)
            where T : unmanaged
            => Assert.Single(Read(Write("i.parquet", [Text("text"), new PrimitiveNode("id", Repetition.Required, type, physical)], group =>
            {
                Texts(group, ["One."]);
                Values<T>(group, [value]);
            }))).Id;
    }

    [Fact]
    public void Two_columns_of_a_name_are_refused()
    {
        string path = Write("twice.parquet", [Text("text"), Text("labels"), Text("labels")], group =>
        {
            Texts(group, ["A secret."]);
            Texts(group, [""]);
            Texts(group, ["staff"]);
        });
        Assert.Contains("more than one column called \"labels\"", Fault(path), StringComparison.Ordinal);
        Assert.Single(Read(path, new() { Fields = new() { Labels = "none" } }));
    }

    [Fact]
    public void Bytes_that_are_no_text_are_refused_or_of_the_encoding_that_is_named()
    {
        byte[][] texts = [[.. "caf"u8, 0xE9], "plain"u8.ToArray(), "Müller"u8.ToArray()];
        string path = Write(
            "latin.parquet",
            [new PrimitiveNode("text", Repetition.Required, LogicalType.None(), PhysicalType.ByteArray)],
            group => Bytes(group, texts));
        Assert.Contains($"Row 1 of {path}, column \"text\", is not UTF-8", Fault(path), StringComparison.Ordinal);
        Assert.Equal(["plain", "Müller"], Read(path, new() { SkipBroken = true }).Select(document => document.Text));
        Assert.Equal(["café", "plain", "Müller"], Read(path, new() { Encoding = "windows-1252" }).Select(document => document.Text));
    }

    [Fact]
    public void A_text_of_a_table_is_UTF_8_whatever_it_begins_with_and_its_labels_are_those_of_other_rows()
    {
        string path = Write(
            "marks.parquet",
            [new PrimitiveNode("text", Repetition.Required, LogicalType.String(), PhysicalType.ByteArray), Text("labels")],
            group =>
            {
                Bytes(group, [[0xFF, 0xFE, .. "abcd"u8], "a\0b"u8.ToArray(), "c"u8.ToArray()]);
                Texts(group, ["", " staff ", " "]);
            });
        Assert.Contains("is not UTF-8: invalid byte 0xFF at byte 0", Fault(path), StringComparison.Ordinal);
        Document[] documents = Read(path, new() { SkipBroken = true });
        Assert.Equal(["a\0b=staff", "c="], documents.Select(document => $"{document.Text}={string.Join('|', document.Labels)}"));
        path = Write("case.parquet", [Text("text"), Text("LABELS")], group =>
        {
            Texts(group, ["A secret."]);
            Texts(group, ["staff"]);
        });
        Assert.Contains("has a column \"LABELS\", where labels are called \"labels\"", Fault(path), StringComparison.Ordinal);
    }

    [Fact]
    public void A_damaged_table_is_told_and_never_read_as_if_it_were_whole()
    {
        byte[] whole = File.ReadAllBytes(Path.Combine(Fixtures.Own, "rows.parquet"));
        string path = _folder["t.parquet"];
        _folder.File("page.md", "A page.");
        int told = 0;
        for (int at = 0; at < whole.Length; at += 3)
        {
            byte[] damaged = [.. whole];
            damaged[at] ^= 0x55;
            File.WriteAllBytes(path, at % 2 == 0 ? damaged : whole[..at]);
            try
            {
                Assert.NotEmpty(Corpus.Open(_folder.Path).Documents().ToList());
            }
            catch (CorpusException exception)
            {
                told++;
                Assert.Contains(path, exception.Message, StringComparison.Ordinal);
                Assert.Equal(["A page."], Corpus.Open(_folder.Path, new() { SkipBroken = true }).Documents().Select(document => document.Text).Take(1));
            }
        }

        Assert.True(told > whole.Length / 6, $"{told} of {whole.Length / 3} were told."); // every file that is cut short is

        // A checksum, where a page has one, is compared: a letter that changed would be read otherwise.
        path = Write("sums.parquet", [Text("text")], group => Texts(group, s_texts), how => how.EnablePageChecksum().DisableDictionary().DisableStatistics());
        byte[] changed = File.ReadAllBytes(path);
        changed[changed.AsSpan().IndexOf("Knopf"u8)] ^= 1;
        File.WriteAllBytes(path, changed);
        Assert.Contains($"{path} is damaged", Fault(path), StringComparison.Ordinal);
    }

    private static Document[] Read(string path, CorpusOptions? options = null) => [.. Corpus.Open(path, options).Documents()];

    private static string Fault(string path) => Assert.Throws<CorpusException>(() => Read(path)).Message;

    private static PrimitiveNode Text(string name, Repetition repetition = Repetition.Required)
        => new(name, repetition, LogicalType.String(), PhysicalType.ByteArray);

    private static GroupNode List(string name, Node element)
        => new(name, Repetition.Optional, [new GroupNode("list", Repetition.Repeated, [element])], LogicalType.List());

    private static void Texts(RowGroupWriter group, string[] values, short[]? definitions = null, short[]? repetitions = null)
        => Bytes(group, Array.ConvertAll(values, System.Text.Encoding.UTF8.GetBytes), definitions, repetitions);

    private static unsafe void Bytes(RowGroupWriter group, byte[][] values, short[]? definitions = null, short[]? repetitions = null)
    {
        ByteArray[] places = new ByteArray[values.Length];
        fixed (byte* all = (byte[])[.. values.SelectMany(value => value), 0])
        {
            for (int i = 0, at = 0; i < values.Length; at += values[i++].Length)
            {
                places[i] = new((nint)(all + at), values[i].Length);
            }

            Values(group, places, definitions, repetitions);
        }
    }

    private static unsafe void Uuid(RowGroupWriter group, Guid value)
    {
        fixed (byte* bytes = value.ToByteArray(bigEndian: true))
        {
            Values<FixedLenByteArray>(group, [new((nint)bytes)]);
        }
    }

    private static void Values<T>(RowGroupWriter group, T[] values, short[]? definitions = null, short[]? repetitions = null)
        where T : unmanaged
    {
        using ColumnWriter column = group.NextColumn();
        ((ColumnWriter<T>)column).WriteBatch(definitions?.Length ?? values.Length, definitions, repetitions, values);
    }

    private string Write(string name, Node[] columns, Action<RowGroupWriter> rows, Action<WriterPropertiesBuilder>? how = null)
    {
        string path = _folder[name];
        using GroupNode schema = new("schema", Repetition.Required, columns);
        using WriterPropertiesBuilder builder = new();
        how?.Invoke(builder);
        using WriterProperties properties = builder.Build();
        using ParquetFileWriter writer = new(path, schema, properties);
        using (RowGroupWriter group = writer.AppendRowGroup())
        {
            rows(group);
        }

        writer.Close();
        return path;
    }
}
