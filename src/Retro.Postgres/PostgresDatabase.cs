using Npgsql;
using NpgsqlTypes;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Vectors;

namespace Retro.Postgres;

/// <summary>
/// A retrieval database in PostgreSQL with pgvector: documents with their labels, their chunks of <c>M</c> tokens with text, words and keys, in a schema of its
/// own (tables <c>documents</c>, <c>chunks</c>, <c>settings</c>; <c>DROP SCHEMA</c> removes it). Everything that changes it is one transaction, which others
/// see whole or not at all, and writers wait for each other. The rows depend on the documents alone, never on the order that they came in.
/// <para>
/// A server finds what is to be read, and the tokens are read from a copy on this machine, which is small beside the keys: the <see cref="ChunkDatabase"/> that
/// was imported, or one from <see cref="Download"/>. <see cref="Dense"/> and <see cref="Keywords"/> make sure that the copy holds the same documents.
/// </para>
/// Safe for use from several threads; no more connections are open at once than the connection string's "Maximum Pool Size", and whoever needs one more waits.
/// </summary>
public sealed partial class PostgresDatabase : IDisposable
{
    private readonly PostgresServer _server;
    private readonly PostgresTables _tables;
    private readonly PostgresSettings _settings;
    private readonly RetroTokenizer _tokenizer;
    private readonly IChunkKeyer _keyer;
    private readonly bool _copies;

    private PostgresDatabase(
        PostgresServer server, PostgresTables tables, PostgresSettings settings, RetroTokenizer tokenizer, IChunkKeyer keyer, bool copies)
    {
        (_server, _tables, _settings, _tokenizer, _keyer, _copies) = (server, tables, settings, tokenizer, keyer, copies);
    }

    /// <summary>The schema that holds its tables.</summary>
    public string Schema => _tables.Schema;

    /// <summary>Tokens of a chunk, <c>M</c>.</summary>
    public int ChunkLength => _settings.Build.ChunkLength;

    /// <summary>Numbers in a key.</summary>
    public int Dimensions => _settings.Dimensions;

    /// <summary>How many documents and chunks there are now; the server reads the tables for it, which takes time where they are large.</summary>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="PostgresDatabaseException">The server does not answer, or refuses.</exception>
    public (long Documents, long Chunks) Count(CancellationToken cancellationToken = default)
        => _server.Use(
            "count documents and chunks",
            connection =>
            {
                using NpgsqlCommand command = new($"SELECT (SELECT count(*) FROM {_tables.Documents}), (SELECT count(*) FROM {_tables.Chunks})", connection)
                {
                    CommandTimeout = 0,
                };
                using CancellationTokenRegistration stop = cancellationToken.Register(command.Cancel);
                using NpgsqlDataReader row = command.ExecuteReader();
                row.Read();
                return (row.GetInt64(0), row.GetInt64(1));
            },
            cancellationToken);

    /// <summary>
    /// Makes a database without documents, and the extension pgvector where the server has it; opens the one that is there with these settings.
    /// </summary>
    /// <param name="connectionString">Server, database, user and more, in Npgsql's form.</param>
    /// <param name="tokenizer">Makes the tokens, and text of them.</param>
    /// <param name="keyer">The function from chunk to key.</param>
    /// <param name="options">Schema, chunk length and more; the defaults where null.</param>
    /// <returns>The database; dispose it.</returns>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="PostgresDatabaseException">
    /// The server does not answer or refuses, it has no pgvector of version 0.8 or newer, or the schema has a database of other settings: both are named.
    /// </exception>
    public static PostgresDatabase Create(string connectionString, RetroTokenizer tokenizer, IChunkKeyer keyer, PostgresOptions? options = null)
        => Connect(connectionString, tokenizer, keyer, options, create: true);

    /// <summary>Opens a database that is there; makes nothing.</summary>
    /// <param name="connectionString">Server, database, user and more, in Npgsql's form.</param>
    /// <param name="tokenizer">The tokenizer that it was made with.</param>
    /// <param name="keyer">The function that made its keys.</param>
    /// <param name="options">The schema, and how rows are written; the other options are the database's own.</param>
    /// <returns>The database; dispose it.</returns>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="PostgresDatabaseException">
    /// The server does not answer or refuses, it has no pgvector of version 0.8 or newer, the schema has no database, one of another version, or one made with
    /// another tokenizer or other keys: both are named.
    /// </exception>
    public static PostgresDatabase Open(string connectionString, RetroTokenizer tokenizer, IChunkKeyer keyer, PostgresOptions? options = null)
        => Connect(connectionString, tokenizer, keyer, options, create: false);

    /// <summary>
    /// Builds an index over the keys, in place of the one that is there. Without one every search compares with all keys; with one the server chooses, which
    /// may still be to compare, where labels hide most. What is written later enters the index at once; of inverted lists, build it again when the documents
    /// have become many more. By pgvector's documentation a graph is built significantly quicker where it fits into the server's
    /// <c>maintenance_work_mem</c>, which the connection string can set (<c>Options=-c maintenance_work_mem=8GB</c>).
    /// </summary>
    /// <param name="options">Kind and size; a graph where null.</param>
    /// <param name="cancellationToken">Stops it; the index is then as it was.</param>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="PostgresDatabaseException">The keys have too many numbers for an index, or the server does not answer or refuses.</exception>
    public void BuildIndex(PostgresIndexOptions? options = null, CancellationToken cancellationToken = default)
    {
        options = (options ?? new()).Validate();
        if (options.Kind != PostgresIndexKind.None && Dimensions > PostgresTables.MostIndexedDimensions)
        {
            throw new PostgresDatabaseException(
                $"An index of pgvector's takes keys of at most {PostgresTables.MostIndexedDimensions} numbers, and these have {Dimensions}: search without "
                    + "one, or use an embedder of fewer.");
        }

        _server.Use(
            "build the index",
            connection =>
            {
                using NpgsqlTransaction transaction = connection.BeginTransaction();
                Lock(connection, cancellationToken);
                string metric = _settings.Metric == VectorMetric.InnerProduct ? "vector_ip_ops" : "vector_l2_ops";
                long lists = options.Kind != PostgresIndexKind.IvfFlat ? 0 : options.Lists > 0 ? options.Lists : ListsFor(connection, cancellationToken);
                string? how = options.Kind switch
                {
                    PostgresIndexKind.Hnsw => $"hnsw (key {metric}) WITH (m = {options.Connections}, ef_construction = {options.Candidates})",
                    PostgresIndexKind.IvfFlat => $"ivfflat (key {metric}) WITH (lists = {lists})",
                    _ => null,
                };
                if (how is not null)
                {
                    PostgresTables.Run(connection, $"CREATE INDEX chunks_key_new ON {_tables.Chunks} USING {how}", cancellationToken);
                }

                // From here to the end of the transaction nobody can search, so the old one goes when all work is done; until then the disk holds both.
                PostgresTables.Run(connection, $"DROP INDEX IF EXISTS {_tables.KeyIndex}", cancellationToken);
                if (how is not null)
                {
                    PostgresTables.Run(connection, $"ALTER INDEX {_tables.NewKeyIndex} RENAME TO chunks_key", cancellationToken);
                }

                transaction.Commit();
            },
            cancellationToken);
    }

    /// <summary>
    /// The chunks with the nearest keys. The score is minus the squared distance, or the inner product; what labels hide is passed over inside the search.
    /// </summary>
    /// <param name="copy">A copy of the same documents on this machine, whose chunk numbers are found.</param>
    /// <param name="options">How it searches; the defaults where null.</param>
    /// <param name="cancellationToken">Stops the comparison with the copy.</param>
    /// <returns>The source; it uses this database and the copy, which stay the caller's.</returns>
    /// <exception cref="RetroOptionsException">An option is out of range.</exception>
    /// <exception cref="PostgresDatabaseException">The copy has other documents, or the server does not answer or refuses.</exception>
    /// <exception cref="DatabaseException">The copy was made with another tokenizer or chunk length.</exception>
    public PostgresDenseNeighborSource Dense(ChunkDatabase copy, PostgresDenseOptions? options = null, CancellationToken cancellationToken = default)
    {
        options = (options ?? new()).Validate();
        PostgresSearch search = new(_server, _tables, copy, DocumentsOf(copy, cancellationToken));
        return new(search, _keyer, _settings.Metric, options, IndexDefinition());
    }

    /// <summary>
    /// The chunks that share words with a chunk, ranked by PostgreSQL's <c>ts_rank</c>: by how often they hold the words. That is not BM25, which
    /// <see cref="KeywordNeighborSource"/> computes: it does not know how rare a word is in the collection.
    /// </summary>
    /// <param name="copy">A copy of the same documents on this machine, whose chunk numbers are found.</param>
    /// <param name="cancellationToken">Stops the comparison with the copy.</param>
    /// <returns>The source; it uses this database and the copy, which stay the caller's.</returns>
    /// <exception cref="PostgresDatabaseException">The copy has other documents, or the server does not answer or refuses.</exception>
    /// <exception cref="DatabaseException">The copy was made with another tokenizer or chunk length.</exception>
    public PostgresKeywordNeighborSource Keywords(ChunkDatabase copy, CancellationToken cancellationToken = default)
        => new(new PostgresSearch(_server, _tables, copy, DocumentsOf(copy, cancellationToken)), _tokenizer, _settings.TextSearch);

    /// <summary>Closes the connections.</summary>
    public void Dispose() => _server.Dispose();

    private static PostgresDatabase Connect(
        string connectionString, RetroTokenizer tokenizer, IChunkKeyer keyer, PostgresOptions? options, bool create)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(keyer);
        options = (options ?? new()).Validate();
        if (keyer.Dimensions > PostgresTables.MostDimensions)
        {
            throw new PostgresDatabaseException(
                $"A vector of pgvector's has at most {PostgresTables.MostDimensions} numbers, and the keys have {keyer.Dimensions}: use an embedder of fewer.");
        }

        PostgresServer server = new(connectionString);
        try
        {
            PostgresTables tables = new(options.Schema);
            return server.Use(
                create ? "create the database" : "open the database",
                connection =>
                {
                    PostgresSettings asked = new(
                        BuildSettings.Of(TokenizerFacts.Of(tokenizer), new() { ChunkLength = options.ChunkLength, Cleaning = options.Cleaning }),
                        keyer.Identity,
                        keyer.Dimensions,
                        options.Metric,
                        options.TextSearch);
                    if (create)
                    {
                        CreateExtension(connection, server);
                        tables.Create(connection, asked);
                    }
                    else
                    {
                        PostgresTables.RequireExtension(connection, server);
                    }

                    PostgresSettings settings = tables.Read(connection, server);
                    if (!create)
                    {
                        asked = asked with
                        {
                            Build = asked.Build with { ChunkLength = settings.Build.ChunkLength, Cleaning = settings.Build.Cleaning },
                            Metric = settings.Metric,
                            TextSearch = settings.TextSearch,
                        };
                    }

                    return settings.DifferencesTo(asked) is { Count: > 0 } differences
                        ? throw new PostgresDatabaseException(
                            $"{server.Name} has a database of other settings in the schema \"{options.Schema}\" ({string.Join("; ", differences)}): use those, "
                                + "or another schema.")
                        : new PostgresDatabase(server, tables, settings, tokenizer, keyer, TakesCopy(connection, options.Writing));
                },
                CancellationToken.None);
        }
        catch
        {
            server.Dispose();
            throw;
        }
    }

    private static void CreateExtension(NpgsqlConnection connection, PostgresServer server)
    {
        try
        {
            // Where it is there, a user without the right to make it must not be asked for that.
            PostgresTables.Run(
                connection,
                """
                DO $$ BEGIN
                    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') THEN
                        PERFORM pg_advisory_xact_lock(hashtext('retro')); -- two at once would each find nothing there
                        CREATE EXTENSION IF NOT EXISTS vector;
                    END IF;
                END $$
                """);
        }
        catch (PostgresException refusal)
        {
            throw new PostgresDatabaseException(
                $"{server.Name} has no pgvector in this database and refused to make it: {refusal.MessageText} ({refusal.SqlState}). Install it "
                    + "(https://github.com/pgvector/pgvector), or have an administrator run CREATE EXTENSION vector in the database.",
                refusal);
        }

        connection.ReloadTypes();
        PostgresTables.RequireExtension(connection, server);
    }

    // Trying is no way to find out: a server that speaks the protocol without COPY can be lost over it (PGlite's then answers nobody).
    private static bool TakesCopy(NpgsqlConnection connection, PostgresWriting writing)
    {
        if (writing != PostgresWriting.Auto)
        {
            return writing == PostgresWriting.Copy;
        }

        using NpgsqlCommand command = new("SELECT version()", connection);
        string version = (string)command.ExecuteScalar()!;
        return version.StartsWith("PostgreSQL ", StringComparison.Ordinal) && !version.Contains("emscripten", StringComparison.OrdinalIgnoreCase);
    }

    // The advice of pgvector's documentation.
    private long ListsFor(NpgsqlConnection connection, CancellationToken cancellationToken)
    {
        using NpgsqlCommand command = new($"SELECT count(key) FROM {_tables.Chunks}", connection) { CommandTimeout = 0 };
        long keys = (long)command.ExecuteScalarAsync(cancellationToken).GetAwaiter().GetResult()!;
        return Math.Clamp(keys <= 1_000_000 ? keys / 1000 : (long)Math.Sqrt(keys), 1, 32768);
    }

    /// <summary>The index over the keys, as the server defines it; null where there is none.</summary>
    private string? IndexDefinition()
        => _server.Use(
            "look for the index",
            connection =>
            {
                using NpgsqlCommand command = new("SELECT indexdef FROM pg_indexes WHERE schemaname = $1 AND indexname = 'chunks_key'", connection)
                {
                    Parameters = { new() { Value = Schema } },
                };
                return (string?)command.ExecuteScalar();
            },
            CancellationToken.None);

    /// <summary>What names each document of a copy, by number, once it is known that the server has the same ones.</summary>
    private Guid[] DocumentsOf(ChunkDatabase copy, CancellationToken cancellationToken)
    {
        RequireSettings(copy);
        Guid[] documents = [.. copy.Documents.Select(DocumentKey.Of)];
        HashSet<Guid> there = _server.Use(
            "list the documents",
            connection =>
            {
                HashSet<Guid> keys = [];
                using NpgsqlCommand command = new($"SELECT document FROM {_tables.Documents}", connection) { CommandTimeout = 0 };
                PostgresTables.Read(command, rows => keys.Add(rows.GetGuid(0)), cancellationToken);
                return keys;
            },
            cancellationToken);
        int common = documents.Distinct().Count(there.Contains); // databases that are read as one may have a document twice
        return common == documents.Length && common == there.Count
            ? documents
            : throw new PostgresDatabaseException(
                $"The copy in {copy.Folder} has {documents.Length} documents and the schema \"{Schema}\" of the server {there.Count}, of which {common} are "
                    + "the same (id, title, location, labels and text): import the copy, or download one.");
    }

    private void RequireSettings(ChunkDatabase database)
    {
        ArgumentNullException.ThrowIfNull(database);
        database.RequireTokenizer(_tokenizer);
        if (database.Manifest.Settings.DifferencesTo(_settings.Build) is { Count: > 0 } differences)
        {
            throw new DatabaseException(
                $"The database in {database.Folder} has other settings than the schema \"{Schema}\" of the server ({string.Join("; ", differences)}): build it "
                    + "with the latter.");
        }
    }
}
