using System.Globalization;
using Npgsql;
using NpgsqlTypes;
using Pgvector;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Postgres;

/// <content>How documents get in and out.</content>
public sealed partial class PostgresDatabase
{
    // Chunks whose keys are made, and which are written, in one go; statements that are sent in one go.
    private const int BlockChunks = 1024, BatchRows = 256;

    /// <summary>
    /// Writes the documents of a database: one whose id is there takes the place of that document, one that is there as it is costs nothing, and others stay.
    /// Its stored keys are taken where they were made by the same function, and made otherwise. In one transaction.
    /// </summary>
    /// <param name="database">The database, of the same tokenizer, chunk length and cleaning.</param>
    /// <param name="progress">Receives the number of bytes checked, then of documents done.</param>
    /// <param name="cancellationToken">Stops between blocks; nothing is then changed.</param>
    /// <exception cref="DatabaseException">
    /// It was made with another tokenizer, chunk length or cleaning, its tokens or documents do not have their checksums (it is damaged), or it is several
    /// that are opened as one and have a document each of the same id.
    /// </exception>
    /// <exception cref="PostgresDatabaseException">
    /// A text of a document cannot be stored, or the server does not answer or refuses; nothing is then changed. Where the connection is lost while the
    /// transaction ends, all may be there or nothing; doing it again makes sure.
    /// </exception>
    public void Import(ChunkDatabase database, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        RequireSettings(database);
        HashSet<UInt128> ids = [];
        if (!database.HasFolder && database.Documents.FirstOrDefault(entry => !ids.Add(TextHash.Of(entry.Id))) is { } twice)
        {
            throw new DatabaseException(
                $"Two documents of the databases in {database.Folder} have the id '{twice.Id}', the second from {twice.Location}: a schema has each id once; "
                    + "import the databases one after the other, the one whose documents are to stay last.");
        }

        database.RequireWhole(progress, cancellationToken);
        Write(database, [], [], progress, cancellationToken);
    }

    /// <summary>Adds documents, replaces and removes some, in one transaction.</summary>
    /// <param name="add">
    /// The documents to add; one whose id is there takes the place of that document, one that is there as it is gets no new key, and one without text takes out
    /// the document of its id, where that is there. Enumerated more than once, and the same each time. They are not compared with the texts that are there,
    /// nor are lines known that a cleaning took out before: clean them by what they are to be added to.
    /// </param>
    /// <param name="remove">Ids of the documents to remove.</param>
    /// <param name="progress">Receives the number of documents encoded, then of those done.</param>
    /// <param name="cancellationToken">Stops between blocks; nothing is then changed.</param>
    /// <exception cref="CorpusException">The documents to add have no text, and there is nothing to take out.</exception>
    /// <exception cref="DatabaseException">Two documents to add have one id, or there is no room for temporary files.</exception>
    /// <exception cref="PostgresDatabaseException">
    /// There is no document of an id to remove, a text of a document cannot be stored, or the server does not answer or refuses; nothing is then changed.
    /// </exception>
    public void Update(
        IEnumerable<Document> add, IEnumerable<string> remove, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(add);
        ArgumentNullException.ThrowIfNull(remove);
        string[] gone = [.. remove.Distinct(StringComparer.Ordinal)];
        Array.ForEach(gone, id => ArgumentNullException.ThrowIfNull(id, nameof(remove)));

        // Chunks are what the library's own builder makes them.
        string folder = Directory.CreateTempSubdirectory("retro-postgres-").FullName;
        try
        {
            ChunkDatabaseOptions options = new() { ChunkLength = ChunkLength, Cleaning = _settings.Build.Cleaning };
            using ChunkDatabase? added = ChunkDatabaseBuilder.BuildSegment(
                folder, add, TokenizerFacts.Of(_tokenizer).KnownAs(_settings.Build.TokenizerHash), options, progress, cancellationToken);

            // Not those without text alone: of some, the tokenizer leaves nothing.
            string[] empty = [.. add.Select(document => document.Id).Except(added?.Documents.Select(entry => entry.Id) ?? [], StringComparer.Ordinal)];
            Write(added, gone, empty, progress, cancellationToken);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>
    /// Writes a copy of documents and tokens to this machine, for the sources to be read with: a database as any other, in the order of the documents' ids, and
    /// so the same bytes wherever and whenever it is made of the same documents.
    /// </summary>
    /// <param name="folder">The copy's folder; a copy of the same documents that is there is opened.</param>
    /// <param name="progress">Receives the number of documents done.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <returns>The copy, open; dispose it.</returns>
    /// <exception cref="CorpusException">There are no documents.</exception>
    /// <exception cref="DatabaseException">The folder holds another database, or cannot be written.</exception>
    /// <exception cref="PostgresDatabaseException">The server does not answer or refuses.</exception>
    public ChunkDatabase Download(string folder, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        if (File.Exists(Path.Combine(folder, DatabaseManifest.FileName)))
        {
            ChunkDatabase there = ChunkDatabase.Open(folder, cancellationToken: cancellationToken);
            try
            {
                DocumentsOf(there, cancellationToken);
                return there;
            }
            catch (PostgresDatabaseException difference)
            {
                there.Dispose();
                throw new DatabaseException($"'{folder}' holds another database; choose another folder. {difference.Message}", difference);
            }
            catch
            {
                there.Dispose();
                throw;
            }
        }

        return _server.Use(
            "send the documents",
            connection =>
            {
                using NpgsqlCommand counting = new($"SELECT count(*) FROM {_tables.Documents}", connection) { CommandTimeout = 0 };
                using CancellationTokenRegistration stopCounting = cancellationToken.Register(counting.Cancel);
                long total = (long)counting.ExecuteScalar()!;
                using NpgsqlCommand command = new(
                    $"""
                    SELECT d.id, d.title, d.location, d.labels, d.content_hash, d.byte_count, d.token_count, d.chunk_count, c.tokens
                    FROM {_tables.Documents} d JOIN {_tables.Chunks} c ON c.document = d.document
                    ORDER BY d.id COLLATE "C", c.position
                    """,
                    connection) { CommandTimeout = 0 };
                using CancellationTokenRegistration stop = cancellationToken.Register(command.Cancel);
                using NpgsqlDataReader rows = command.ExecuteReader();
                try
                {
                    return ChunkDatabaseBuilder.Copy(folder, _settings.Build, Documents(rows), total, progress, cancellationToken);
                }
                catch
                {
                    // Else disposing would wait for the rest of the database first.
                    command.Cancel();
                    try
                    {
                        rows.Dispose();
                    }
                    catch (NpgsqlException)
                    {
                        // It was canceled; what is told is why.
                    }

                    throw;
                }
            },
            cancellationToken);
    }

    private IEnumerable<PreparedDocument> Documents(NpgsqlDataReader rows)
    {
        while (rows.Read())
        {
            Document document = new(rows.GetString(0), rows.GetString(1), "", rows.GetString(2)) { Labels = rows.GetFieldValue<string[]>(3) };
            byte[] hash = rows.GetFieldValue<byte[]>(4);
            long bytes = rows.GetInt64(5);
            int[] tokens = new int[rows.GetInt32(6)];
            int chunks = rows.GetInt32(7), done = 0;
            for (int position = 0; position < chunks; position++)
            {
                int[] chunk = position > 0 && (!rows.Read() || rows.GetString(0) != document.Id) ? [] : rows.GetFieldValue<int[]>(8);
                if (chunk.Length == 0 || chunk.Length > tokens.Length - done)
                {
                    throw Incomplete(document);
                }

                chunk.CopyTo(tokens, done);
                done += chunk.Length;
            }

            if (done < tokens.Length)
            {
                throw Incomplete(document);
            }

            // Without the tokens before and after the text.
            yield return PreparedDocument.Of(document, hash, bytes, tokens[1..^1]);
        }
    }

    private PostgresDatabaseException Incomplete(Document document)
        => new($"{_server.Name} does not have the chunks of the document '{document.Id}' in the schema \"{Schema}\" as its row says: import it again.");

    private static string Storable(string text, string what, DocumentEntry document)
        => text.Contains('\0', StringComparison.Ordinal)
            ? throw new PostgresDatabaseException(
                $"PostgreSQL stores no text with the character U+0000, and {what} of the document '{document.Id}' has one: take it out.")
            : text;

    /// <summary>Makes the others wait who would change the database, and waits for the one who does.</summary>
    private void Lock(NpgsqlConnection connection, CancellationToken cancellationToken)
        => PostgresTables.Run(connection, $"SELECT 1 FROM {_tables.Settings} FOR UPDATE", cancellationToken);

    private void Write(
        ChunkDatabase? database, string[] remove, string[] empty, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        using StoredKeys? stored = database is null ? null : StoredKeys.TryOpen(database, _keyer.Identity);
        _server.Use(
            "write documents",
            connection =>
            {
                using NpgsqlTransaction transaction = connection.BeginTransaction();
                Lock(connection, cancellationToken);
                Dictionary<string, Guid> leaving = There(connection, [.. remove, .. empty], cancellationToken);
                if (Array.Find(remove, id => !leaving.ContainsKey(id)) is { } missing)
                {
                    throw new PostgresDatabaseException(
                        $"{_server.Name} has no document with the id '{missing}' in the schema \"{Schema}\" to remove; name one that it has.");
                }

                if (database is null && empty.Length > 0 && leaving.Count == 0)
                {
                    throw new CorpusException(
                        $"Of the {empty.Length} documents to add none has text, as what was taken out of them has none, and the schema \"{Schema}\" has none "
                            + "of their ids; give documents with text.");
                }

                // What leaves goes when all is written: until then its keys are those of the same text that comes under another id.
                HashSet<Guid> gone = [.. leaving.Values];
                int total = database?.Documents.Count ?? 0;
                List<DocumentEntry> block = [];
                int chunks = 0;
                for (int number = 0; number < total; number++)
                {
                    DocumentEntry entry = database!.Documents[number];
                    block.Add(entry);
                    chunks += entry.ChunkCount;
                    if (chunks >= BlockChunks || number == total - 1)
                    {
                        cancellationToken.ThrowIfCancellationRequested();
                        Write(connection, database, block, stored, gone, cancellationToken);
                        progress?.Report(new("write documents", number + 1, total));
                        block.Clear();
                        chunks = 0;
                    }
                }

                foreach (Guid[] some in gone.Chunk(BlockChunks))
                {
                    Execute(connection, $"DELETE FROM {_tables.Documents} WHERE document = ANY($1)", some, cancellationToken);
                }

                transaction.Commit();
            },
            cancellationToken);
    }

    /// <summary>The rows of the documents of some ids, where they are there.</summary>
    private Dictionary<string, Guid> There(NpgsqlConnection connection, IEnumerable<string> ids, CancellationToken cancellationToken)
    {
        // No document has an id that cannot be stored.
        Dictionary<string, Guid> there = new(StringComparer.Ordinal);
        using NpgsqlCommand command = new($"SELECT id, document FROM {_tables.Documents} WHERE id = ANY($1)", connection)
        {
            CommandTimeout = 0,
            Parameters = { new() { Value = ids.Where(PostgresSearch.IsStorable).ToArray() } },
        };
        PostgresTables.Read(command, rows => there.Add(rows.GetString(0), rows.GetGuid(1)), cancellationToken);
        return there;
    }

    private static void Execute(NpgsqlConnection connection, string sql, object argument, CancellationToken cancellationToken)
    {
        using NpgsqlCommand command = new(sql, connection) { CommandTimeout = 0, Parameters = { new() { Value = argument } } };
        command.ExecuteNonQueryAsync(cancellationToken).GetAwaiter().GetResult();
    }

    private void Write(
        NpgsqlConnection connection,
        ChunkDatabase database,
        List<DocumentEntry> block,
        StoredKeys? stored,
        HashSet<Guid> gone,
        CancellationToken cancellationToken)
    {
        block.ForEach(document => Storable(document.Id, "the id", document));
        Dictionary<string, Guid> there = There(connection, block.Select(document => document.Id), cancellationToken);
        ChangedDocument[] changed =
        [
            .. block.Select(document => (Key: DocumentKey.Of(document), Entry: document))
                .Where(document => !there.TryGetValue(document.Entry.Id, out Guid row) || row != document.Key)
                .Select(document => new ChangedDocument(document.Key, document.Entry, LabelsOf(document.Entry))),
        ];
        gone.ExceptWith(there.Values);
        if (changed.Length == 0)
        {
            return;
        }

        // The id is another's now; U+0001 and the row's own name are nobody's.
        Guid[] replaced = [.. changed.Where(document => there.ContainsKey(document.Entry.Id)).Select(document => there[document.Entry.Id])];
        Execute(connection, $"UPDATE {_tables.Documents} SET id = E'\\x01' || document WHERE document = ANY($1)", replaced, cancellationToken);
        gone.UnionWith(replaced);
        string[] contents = [.. changed.Select(document => document.Entry.ContentHash).Distinct()];
        Dictionary<(string Content, int Position), Vector?> kept = KeysOf(connection, contents, cancellationToken);
        Insert(connection, _tables.Documents, s_documentColumns, DocumentRows(changed));
        Insert(connection, _tables.Chunks, s_chunkColumns, ChunkRows(database, changed, kept, stored, cancellationToken));
    }

    private static readonly (string Name, NpgsqlDbType? Type)[] s_documentColumns =
    [
        ("document", NpgsqlDbType.Uuid), ("id", NpgsqlDbType.Text), ("title", NpgsqlDbType.Text), ("location", NpgsqlDbType.Text),
        ("labels", NpgsqlDbType.Array | NpgsqlDbType.Text), ("content_hash", NpgsqlDbType.Bytea), ("byte_count", NpgsqlDbType.Bigint),
        ("token_count", NpgsqlDbType.Integer), ("chunk_count", NpgsqlDbType.Integer),
    ];

    // A type of an extension has a name only.
    private static readonly (string Name, NpgsqlDbType? Type)[] s_chunkColumns =
    [
        ("document", NpgsqlDbType.Uuid), ("position", NpgsqlDbType.Integer), ("tokens", NpgsqlDbType.Array | NpgsqlDbType.Integer), ("text", NpgsqlDbType.Text),
        ("labels", NpgsqlDbType.Array | NpgsqlDbType.Text), ("key", null),
    ];

    private static IEnumerable<object?[]> DocumentRows(ChangedDocument[] documents) => documents.Select(document => new object?[]
    {
        document.Key,
        document.Entry.Id,
        Storable(document.Entry.Title, "the title", document.Entry),
        Storable(document.Entry.Location, "the location", document.Entry),
        document.Labels,
        Convert.FromHexString(document.Entry.ContentHash),
        document.Entry.ByteCount,
        document.Entry.TokenCount,
        document.Entry.ChunkCount,
    });

    private static string[] LabelsOf(DocumentEntry document) => [.. document.Labels.Select(label => Storable(label, "a label", document))];

    private IEnumerable<object?[]> ChunkRows(
        ChunkDatabase database,
        ChangedDocument[] documents,
        Dictionary<(string Content, int Position), Vector?> kept,
        StoredKeys? stored,
        CancellationToken cancellationToken)
    {
        IEnumerable<(ChangedDocument Document, int Position)> chunks = documents.SelectMany(
            document => Enumerable.Range(0, document.Entry.ChunkCount).Select(position => (document, position)));
        foreach ((ChangedDocument Document, int Position)[] block in chunks.Chunk(BlockChunks))
        {
            int[][] tokens = Array.ConvertAll(block, chunk => database.OwnTokens(chunk.Document.Entry.FirstChunk + chunk.Position).ToArray());
            float[] keys = new float[block.Length * Dimensions];
            KnownKeys.Complete(_keyer, [.. tokens.Select(chunk => new ReadOnlyMemory<int>(chunk))], TryRead, keys, NameOf, cancellationToken);
            string NameOf(int i) => $"chunk {block[i].Position} of the document '{block[i].Document.Entry.Id}'";
            bool TryRead(int i, Span<float> room)
            {
                (DocumentEntry entry, int position) = (block[i].Document.Entry, block[i].Position);
                if (!kept.TryGetValue((entry.ContentHash, position), out Vector? key))
                {
                    return stored?.TryRead(entry.FirstChunk + position, room) == true;
                }

                key?.Memory.Span.CopyTo(room); // a chunk without a key has zeros
                return true;
            }

            for (int i = 0; i < block.Length; i++)
            {
                (ChangedDocument document, int position) = block[i];
                ReadOnlyMemory<float> row = keys.AsMemory(i * Dimensions, Dimensions);
                yield return
                [
                    document.Key, position, tokens[i], PostgresSearch.TextOf(_tokenizer, tokens[i]), document.Labels,
                    row.Span.ContainsAnyExcept(0f) ? new Vector(row) : null,
                ];
            }
        }
    }

    /// <summary>The keys of the chunks of some texts, whichever documents have them; null for a chunk that has none.</summary>
    private Dictionary<(string Content, int Position), Vector?> KeysOf(NpgsqlConnection connection, string[] contents, CancellationToken cancellationToken)
    {
        Dictionary<(string, int), Vector?> keys = [];
        using NpgsqlCommand command = new(
            $"""
            SELECT d.content_hash, c.position, c.key
            FROM (SELECT DISTINCT ON (content_hash) document, content_hash FROM {_tables.Documents} WHERE content_hash = ANY($1)) d
            JOIN {_tables.Chunks} c ON c.document = d.document
            """,
            connection)
        {
            CommandTimeout = 0,
            Parameters = { new() { Value = Array.ConvertAll(contents, Convert.FromHexString) } },
        };
        PostgresTables.Read(command, Take, cancellationToken);
        return keys;

        void Take(NpgsqlDataReader row) => keys.Add(
            (Convert.ToHexStringLower(row.GetFieldValue<byte[]>(0)), row.GetInt32(1)), row.IsDBNull(2) ? null : row.GetFieldValue<Vector>(2));
    }

    private void Insert(NpgsqlConnection connection, string table, (string Name, NpgsqlDbType? Type)[] columns, IEnumerable<object?[]> rows)
    {
        string names = string.Join(", ", columns.Select(column => column.Name));
        if (_copies)
        {
            using NpgsqlBinaryImporter writer = connection.BeginBinaryImport($"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)");
            writer.Timeout = TimeSpan.Zero;
            foreach (object?[] row in rows)
            {
                writer.StartRow();
                for (int i = 0; i < row.Length; i++)
                {
                    if (row[i] is null)
                    {
                        writer.WriteNull();
                    }
                    else if (columns[i].Type is { } type)
                    {
                        writer.Write(row[i], type);
                    }
                    else
                    {
                        writer.Write((Vector)row[i]!);
                    }
                }
            }

            writer.Complete();
            return;
        }

        string values = string.Join(", ", columns.Select((_, i) => string.Create(CultureInfo.InvariantCulture, $"${i + 1}")));
        foreach (object?[][] some in rows.Chunk(BatchRows))
        {
            using NpgsqlBatch batch = new(connection) { Timeout = 0 };
            foreach (object?[] row in some)
            {
                NpgsqlBatchCommand command = new($"INSERT INTO {table} ({names}) VALUES ({values})");
                for (int i = 0; i < row.Length; i++)
                {
                    NpgsqlParameter parameter = new() { Value = row[i] ?? DBNull.Value };
                    if (columns[i].Type is { } type)
                    {
                        parameter.NpgsqlDbType = type;
                    }

                    command.Parameters.Add(parameter);
                }

                batch.BatchCommands.Add(command);
            }

            batch.ExecuteNonQuery();
        }
    }

    /// <summary>A document that is not there as it is.</summary>
    /// <param name="Key">The name of its row.</param>
    /// <param name="Entry">What the database that it comes from says of it.</param>
    /// <param name="Labels">Its labels, which can be stored.</param>
    private sealed record ChangedDocument(Guid Key, DocumentEntry Entry, string[] Labels);
}
