using System.Globalization;
using Npgsql;
using NpgsqlTypes;
using Retro.Database;
using Retro.Search;
using Retro.Vectors;

namespace Retro.Postgres;

/// <summary>The tables of a database, in a schema of its own, and what its settings are.</summary>
internal sealed record PostgresTables(string Schema)
{
    /// <summary>The version of the tables.</summary>
    public const int Version = 1;

    /// <summary>The most dimensions of a vector in pgvector, and of one in an index.</summary>
    public const int MostDimensions = 16_000, MostIndexedDimensions = 2_000;

    private static readonly Version s_leastExtension = new(0, 8);

    public string Settings => Named("settings");

    public string Documents => Named("documents");

    public string Chunks => Named("chunks");

    public string KeyIndex => Named("chunks_key");

    public string NewKeyIndex => Named("chunks_key_new");

    /// <summary>A text as a literal.</summary>
    public static string Literal(string text) => $"'{text.Replace("'", "''", StringComparison.Ordinal)}'";

    /// <summary>The server's pgvector, checked.</summary>
    /// <exception cref="PostgresDatabaseException">There is none, or it is too old.</exception>
    public static void RequireExtension(NpgsqlConnection connection, PostgresServer server)
    {
        using NpgsqlCommand command = new("SELECT extversion FROM pg_extension WHERE extname = 'vector'", connection);
        string? version = (string?)command.ExecuteScalar();
        if (version is null || (System.Version.TryParse(version, out Version? found) && found < s_leastExtension))
        {
            throw new PostgresDatabaseException(
                $"{server.Name} has {(version is null ? "no pgvector" : $"pgvector {version}")}, and version {s_leastExtension} or newer is needed: install it "
                    + $"(https://github.com/pgvector/pgvector) and run {(version is null ? "CREATE EXTENSION vector" : "ALTER EXTENSION vector UPDATE")} in "
                    + "the database.");
        }
    }

    /// <summary>Makes schema and tables where they are missing, in one transaction.</summary>
    public void Create(NpgsqlConnection connection, PostgresSettings settings)
    {
        BuildSettings build = settings.Build;
        using NpgsqlTransaction transaction = connection.BeginTransaction();

        // Two that make it at once would each find nothing there; the second waits here for the first.
        Run(connection, "SELECT pg_advisory_xact_lock(hashtext('retro'))");
        if (!Exists(connection))
        {
            // Where it is there, a user without the right to make one must not be asked for that, and IF NOT EXISTS asks.
            if (!Names(connection, "to_regnamespace", Quoted(Schema)))
            {
                Run(connection, $"CREATE SCHEMA {Quoted(Schema)}");
            }

            Run(connection, $"""
                CREATE TABLE {Settings} (
                    one boolean PRIMARY KEY DEFAULT true CHECK (one),
                    version integer NOT NULL,
                    tokenizer_kind text NOT NULL,
                    tokenizer_hash text NOT NULL,
                    vocabulary_size integer NOT NULL,
                    end_of_text integer NOT NULL,
                    begin_of_text integer,
                    chunk_length integer NOT NULL,
                    cleaning text NOT NULL,
                    key_identity text NOT NULL,
                    dimensions integer NOT NULL,
                    metric text NOT NULL,
                    text_search text NOT NULL)
                """);
            Run(connection, $"""
                CREATE TABLE {Documents} (
                    document uuid PRIMARY KEY,
                    id text COLLATE "C" NOT NULL UNIQUE,
                    title text NOT NULL,
                    location text NOT NULL,
                    labels text[] NOT NULL,
                    content_hash bytea NOT NULL,
                    byte_count bigint NOT NULL,
                    token_count integer NOT NULL,
                    chunk_count integer NOT NULL)
                """);
            Run(connection, string.Create(CultureInfo.InvariantCulture, $"""
                CREATE TABLE {Chunks} (
                    document uuid NOT NULL REFERENCES {Documents} ON DELETE CASCADE,
                    position integer NOT NULL,
                    tokens integer[] NOT NULL,
                    text text NOT NULL,
                    words tsvector GENERATED ALWAYS AS (to_tsvector({Literal(settings.TextSearch)}::regconfig, text)) STORED,
                    labels text[] NOT NULL,
                    key vector({settings.Dimensions}),
                    PRIMARY KEY (document, position))
                """));
            Run(connection, $"CREATE INDEX chunks_words ON {Chunks} USING gin (words)");
            using NpgsqlCommand insert = new($"INSERT INTO {Settings} VALUES (true, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)", connection)
            {
                Parameters =
                {
                    new() { Value = Version },
                    new() { Value = build.TokenizerKind },
                    new() { Value = build.TokenizerHash },
                    new() { Value = build.VocabularySize },
                    new() { Value = build.EndOfText },
                    new() { Value = build.BeginOfText is { } begin ? begin : DBNull.Value, NpgsqlDbType = NpgsqlDbType.Integer },
                    new() { Value = build.ChunkLength },
                    new() { Value = build.Cleaning },
                    new() { Value = settings.KeyIdentity },
                    new() { Value = settings.Dimensions },
                    new() { Value = settings.Metric.ToString() },
                    new() { Value = settings.TextSearch },
                },
            };
            insert.ExecuteNonQuery();
        }

        // Tables of before keys were kept by the text are without it. Whoever does not own them goes on so: IF NOT EXISTS would ask for that.
        using NpgsqlCommand lacking = new(
            "SELECT to_regclass($1) IS NULL AND pg_has_role(relowner, 'USAGE') AND has_schema_privilege(relnamespace, 'CREATE') FROM pg_class WHERE oid = "
                + "to_regclass($2)",
            connection)
        {
            Parameters = { new() { Value = Named("documents_content") }, new() { Value = Documents } },
        };
        if (lacking.ExecuteScalar() is true)
        {
            Run(connection, $"CREATE INDEX documents_content ON {Documents} (content_hash)");
        }

        transaction.Commit();
    }

    /// <summary>Whether the tables are there.</summary>
    public bool Exists(NpgsqlConnection connection) => Names(connection, "to_regclass", Settings);

    /// <summary>Reads the settings.</summary>
    /// <exception cref="PostgresDatabaseException">There are none, or they are of another version.</exception>
    public PostgresSettings Read(NpgsqlConnection connection, PostgresServer server)
    {
        if (!Exists(connection))
        {
            throw new PostgresDatabaseException($"{server.Name} has no database of Retro's in the schema \"{Schema}\": create it, or name another schema.");
        }

        // The version alone first: another version may have other columns.
        using (NpgsqlCommand versions = new($"SELECT version FROM {Settings}", connection))
        {
            if (versions.ExecuteScalar() is not int version || version != Version)
            {
                throw new PostgresDatabaseException(
                    $"{server.Name} has tables of version {versions.ExecuteScalar() ?? "(none)"} in the schema \"{Schema}\", and this library reads version "
                        + $"{Version}: use the library that made them, or import the documents into another schema.");
            }
        }

        using NpgsqlCommand command = new(
            $"SELECT tokenizer_kind, tokenizer_hash, vocabulary_size, end_of_text, begin_of_text, chunk_length, cleaning, key_identity, dimensions, metric, "
                + $"text_search FROM {Settings}",
            connection);
        using NpgsqlDataReader row = command.ExecuteReader();
        row.Read();
        return new(
            new BuildSettings
            {
                FormatVersion = DatabaseManifest.CurrentFormatVersion,
                TokenizerKind = row.GetString(0),
                TokenizerHash = row.GetString(1),
                VocabularySize = row.GetInt32(2),
                EndOfText = row.GetInt32(3),
                BeginOfText = row.IsDBNull(4) ? null : row.GetInt32(4),
                ChunkLength = row.GetInt32(5),
                Cleaning = row.GetString(6),
            },
            row.GetString(7),
            row.GetInt32(8),
            Enum.TryParse(row.GetString(9), out VectorMetric metric)
                ? metric
                : throw new PostgresDatabaseException($"{server.Name} says the metric {row.GetString(9)} in {Settings}, which there is not: it is damaged."),
            row.GetString(10));
    }

    /// <summary>Runs a statement, however long it takes or waits for others, unless it is canceled.</summary>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public static void Run(NpgsqlConnection connection, string sql, CancellationToken cancellationToken = default)
    {
        using NpgsqlCommand command = new(sql, connection) { CommandTimeout = 0 };

        // The driver's own way with a token, which nothing else has: Cancel does nothing to a command that is about to begin.
        command.ExecuteNonQueryAsync(cancellationToken).GetAwaiter().GetResult();
    }

    /// <summary>Reads the rows that a command gives, each by itself.</summary>
    public static void Read(NpgsqlCommand command, Action<NpgsqlDataReader> take, CancellationToken cancellationToken)
    {
        using NpgsqlDataReader rows = command.ExecuteReaderAsync(cancellationToken).GetAwaiter().GetResult();
        using CancellationTokenRegistration stop = cancellationToken.Register(command.Cancel);
        while (rows.Read())
        {
            take(rows);
        }
    }

    // Whether there is what a name is to name.
    private static bool Names(NpgsqlConnection connection, string function, string name)
    {
        using NpgsqlCommand command = new($"SELECT {function}($1) IS NOT NULL", connection) { Parameters = { new() { Value = name } } };
        return (bool)command.ExecuteScalar()!;
    }

    private static string Quoted(string name) => $"\"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";

    private string Named(string table) => $"{Quoted(Schema)}.{table}";
}
