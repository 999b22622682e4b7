using System.Net;
using System.Net.Sockets;
using Npgsql;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Tests;
using Retro.Tokenizers;

namespace Retro.Postgres.Tests;

/// <summary>What goes wrong is said in a typed exception, without a password, and leaves the rows as they were.</summary>
public sealed class PostgresFaultTests(TestServer server) : IDisposable
{
    private const string Password = "s3cret-word";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_connection_that_is_cut_while_it_writes_leaves_all_or_nothing()
    {
        List<Document> documents = TestTexts.Documents(60, seed: 21);
        Document[] added = [.. documents[30..], .. documents[..5].Select(document => document with { Title = "another" })];
        string[] removed = [documents[6].Id, documents[7].Id];
        string expectedSchema = server.NewSchema(), schema = server.NewSchema();
        long sent;
        using (CuttingProxy whole = new(server.ConnectionString))
        {
            using PostgresDatabase direct = Open(server.ConnectionString, expectedSchema);
            direct.Update(documents[..30], []);
            using PostgresDatabase database = Open(whole.ConnectionString, expectedSchema);
            long before = whole.Sent;
            database.Update(added, removed);
            sent = whole.Sent - before;
        }

        List<string> expected = server.Rows(expectedSchema);
        using (PostgresDatabase database = Open(server.ConnectionString, schema))
        {
            database.Update(documents[..30], []);
        }

        List<string> rows = server.Rows(schema);
        Assert.NotEqual(expected, rows);
        long opening;
        using (CuttingProxy proxy = new(server.ConnectionString))
        {
            using PostgresDatabase database = Open(proxy.ConnectionString, schema);
            opening = proxy.Sent;
        }

        Random random = new(22);
        const int Cuts = 16;
        for (int cut = 0; cut < Cuts; cut++)
        {
            using CuttingProxy proxy = new(server.ConnectionString, opening + (long)((cut + random.NextDouble()) / Cuts * 0.98 * sent));
            using PostgresDatabase database = Open(proxy.ConnectionString, schema);
            PostgresDatabaseException fault = Assert.Throws<PostgresDatabaseException>(() => database.Update(added, removed));
            Assert.Contains("do it again", fault.Message, StringComparison.Ordinal);
            Assert.Equal(rows, server.Rows(schema));
        }

        using (PostgresDatabase database = Open(server.ConnectionString, schema))
        {
            database.Update(added, removed);
        }

        Assert.Equal(expected, server.Rows(schema));
    }

    [Fact]
    [Trait("Category", "Long")]
    public void A_server_that_is_killed_while_it_is_written_to_has_the_rows_from_before()
    {
        List<Document> documents = TestTexts.Documents(200, seed: 23);
        string data = _folder["data"];
        List<string> before;
        using (PgliteServer first = new(data))
        {
            using PostgresDatabase database = Open(first.ConnectionString, "retro");
            database.Update(documents[..20], []);
            before = Rows(first);
            CountingKeyer killing = new(TestTexts.Keyer, _ => first.Kill());
            using PostgresDatabase interrupted = Open(first.ConnectionString, "retro", killing);
            PostgresDatabaseException fault = Assert.Throws<PostgresDatabaseException>(() => interrupted.Update(documents, [documents[3].Id]));
            Assert.Contains("connection was lost", fault.Message, StringComparison.Ordinal);
            Assert.Contains("does not answer", Assert.Throws<PostgresDatabaseException>(() => database.Count()).Message, StringComparison.Ordinal);
        }

        using PgliteServer second = new(data);
        Assert.Equal(before, Rows(second));

        static List<string> Rows(PgliteServer of)
            => TestServer.Ask(
                of.ConnectionString, "SELECT d::text || c::text FROM retro.documents d JOIN retro.chunks c USING (document) ORDER BY id, position");
    }

    [Fact]
    public void A_server_that_is_not_there_is_named_and_its_password_is_not()
    {
        int port;
        using (TcpListener free = new(IPAddress.Loopback, 0))
        {
            free.Start();
            port = ((IPEndPoint)free.LocalEndpoint).Port;
        }

        PostgresDatabaseException fault = Assert.Throws<PostgresDatabaseException>(
            () => Open($"Host=127.0.0.1;Port={port};Username=reader;Password={Password};Database=texts;Timeout=5", "retro"));
        Assert.Contains($"127.0.0.1:{port} (database texts) does not answer", fault.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(Password, fault.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData($"Host=localhost;Password={Password};Wonder=1")]
    [InlineData($"Host=localhost;Port={Password}")]
    [InlineData(Password)]
    [InlineData($"Host=localhost;Password=\"{Password}")]
    public void A_connection_string_that_cannot_be_read_is_not_repeated(string connectionString)
    {
        PostgresDatabaseException fault = Assert.Throws<PostgresDatabaseException>(() => Open(connectionString, "retro"));
        Assert.Contains("Host=localhost;Database=texts", fault.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(Password, fault.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_server_without_pgvector_is_told_from_others()
    {
        using PgliteServer plain = new(vectors: false);
        Assert.Contains(
            "CREATE EXTENSION vector", Assert.Throws<PostgresDatabaseException>(() => Open(plain.ConnectionString, "retro")).Message, StringComparison.Ordinal);
        PostgresDatabaseException fault = Assert.Throws<PostgresDatabaseException>(
            () => PostgresDatabase.Open(plain.ConnectionString, TestTexts.Tokenizer, TestTexts.Keyer));
        Assert.Contains("no pgvector", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Another_version_other_settings_and_nothing_at_all_are_named()
    {
        string schema = server.NewSchema(), quoted = Quoted(schema);
        PostgresOptions options = TestTexts.Options(schema);
        Open(server.ConnectionString, server.NewSchema()).Dispose(); // which is what makes the extension, where this test is the first
        Refused(() => PostgresDatabase.Open(server.ConnectionString, TestTexts.Tokenizer, TestTexts.Keyer, options), schema, "create it");
        using (PostgresDatabase database = Open(server.ConnectionString, schema))
        {
            database.Update([new("one", "", "the river", "")], []);
            Assert.Equal((TestTexts.ChunkLength, 24, schema), (database.ChunkLength, database.Dimensions, database.Schema));
        }

        using (PostgresDatabase again = PostgresDatabase.Open(server.ConnectionString, TestTexts.Tokenizer, TestTexts.Keyer, new() { Schema = schema }))
        {
            Assert.Equal((1, 1), again.Count());
            Assert.Equal(TestTexts.ChunkLength, again.ChunkLength);
        }

        Refused(
            () => PostgresDatabase.Create(server.ConnectionString, TestTexts.Tokenizer, TestTexts.Keyer, options with { ChunkLength = 8 }),
            "length 16 there, 8 asked");
        Refused(() => Open(server.ConnectionString, schema, new CountingKeyer(TestTexts.Keyer, identity: "others")), TestTexts.Keyer.Identity, "others asked");
        Refused(() => Open(server.ConnectionString, schema, new CountingKeyer(TestTexts.Keyer, dimensions: 25)), "24 there, 25 asked");
        Refused(() => Open(server.ConnectionString, schema, new CountingKeyer(TestTexts.Keyer, dimensions: 16_001)), "16001");
        RetroTokenizer other = BpeTrainer.Train(["another text"], vocabularySize: 260, _folder["tokenizer"]);
        Refused(
            () => PostgresDatabase.Open(server.ConnectionString, other, new ChunkKeyer(other, new HashingEmbedder(24)), options),
            TestTexts.Tokenizer.Hash,
            other.Hash);
        using (PostgresDatabase database = Open(server.ConnectionString, schema))
        {
            using ChunkDatabase longer = ChunkDatabaseBuilder.Build(
                _folder["longer"], [new("one", "", string.Join(' ', Enumerable.Repeat("the river", 20)), "")], TestTexts.Tokenizer, new() { ChunkLength = 32 });
            Assert.Contains("length 32 there, 16 asked", Assert.Throws<DatabaseException>(() => database.Import(longer)).Message, StringComparison.Ordinal);
            Assert.Throws<DatabaseException>(() => database.Keywords(longer));
        }

        Refused(() => PostgresDatabase.Create(server.ConnectionString, TestTexts.Tokenizer, TestTexts.Keyer, options with
        {
            Schema = server.NewSchema(),
            TextSearch = "nobody's",
        }), "nobody's");
        server.Ask($"UPDATE {quoted}.settings SET version = 2");
        Refused(() => PostgresDatabase.Open(server.ConnectionString, TestTexts.Tokenizer, TestTexts.Keyer, options), "version 2", "version 1");
        server.Ask($"DELETE FROM {quoted}.settings");
        Refused(() => Open(server.ConnectionString, schema), "(none)");
    }

    [Fact]
    public async Task Whoever_waits_for_another_writer_can_be_stopped()
    {
        TestServer.RequireGiven("PostgreSQL's several connections", "takes one connection at a time");
        string schema = server.NewSchema();
        using PostgresDatabase database = Open(server.ConnectionString, schema);
        List<Document> documents = TestTexts.Documents(10, seed: 24);
        database.Update(documents, []);
        List<string> before = server.Rows(schema);
        using (NpgsqlConnection other = new(server.ConnectionString))
        {
            other.Open();
            using NpgsqlTransaction writing = other.BeginTransaction();
            using NpgsqlCommand held = new($"SELECT 1 FROM {Quoted(schema)}.settings FOR UPDATE", other, writing);
            held.ExecuteNonQuery();
            Action<CancellationToken>[] waiting =
            [
                stop => database.Update([documents[0] with { Title = "another" }], [], cancellationToken: stop),
                stop => database.Update([], [documents[0].Id], cancellationToken: stop),
                stop => database.BuildIndex(cancellationToken: stop),
            ];
            foreach (Action<CancellationToken> one in waiting)
            {
                using CancellationTokenSource stop = new(TimeSpan.FromSeconds(0.5));
                Task task = Task.Run(() => one(stop.Token), CancellationToken.None);
                Assert.IsAssignableFrom<OperationCanceledException>(await Record.ExceptionAsync(() => task.WaitAsync(TimeSpan.FromSeconds(30))));
            }
        }

        Assert.Equal(before, server.Rows(schema));
        database.Update([], [documents[0].Id]); // nothing is held
    }

    [Theory]
    [InlineData("documents")]
    [InlineData("chunks")]
    public async Task Whoever_waits_for_rows_can_be_stopped(string table)
    {
        TestServer.RequireGiven("PostgreSQL's several connections", "takes one connection at a time");
        string schema = server.NewSchema();
        using TemporaryFolder folder = new();
        using PostgresDatabase database = Open(server.ConnectionString, schema);
        List<Document> documents = TestTexts.Documents(10, seed: 25);
        database.Update(documents, []);
        using ChunkDatabase copy = database.Download(folder["copy"], cancellationToken: TestContext.Current.CancellationToken);
        List<string> before = server.Rows(schema);
        using (NpgsqlConnection other = new(server.ConnectionString))
        {
            other.Open();
            using NpgsqlTransaction writing = other.BeginTransaction();
            using NpgsqlCommand held = new($"LOCK TABLE {Quoted(schema)}.{table} IN ACCESS EXCLUSIVE MODE", other, writing);
            held.ExecuteNonQuery();
            Action<CancellationToken>[] waiting = table == "chunks"
                ?
                [
                    stop => database.BuildIndex(new() { Kind = PostgresIndexKind.IvfFlat }, stop),
                    stop => database.Update([documents[0] with { Text = "another" }], [], cancellationToken: stop),
                ]
                :
                [
                    stop => database.Dense(copy, cancellationToken: stop),
                    stop => database.Keywords(copy, stop),
                    stop => database.Download(folder["copy"], cancellationToken: stop),
                    stop => database.Update([documents[0] with { Title = "another" }], [], cancellationToken: stop),
                    stop => database.Update([], [documents[0].Id], cancellationToken: stop),
                ];
            foreach (Action<CancellationToken> one in waiting)
            {
                using CancellationTokenSource stop = new(TimeSpan.FromSeconds(0.5));
                Task task = Task.Run(() => one(stop.Token), CancellationToken.None);
                Assert.IsAssignableFrom<OperationCanceledException>(await Record.ExceptionAsync(() => task.WaitAsync(TimeSpan.FromSeconds(30))));
            }
        }

        Assert.Equal(before, server.Rows(schema));
    }

    [Theory]
    [InlineData(typeof(IOException))]
    [InlineData(typeof(TimeoutException))]
    [InlineData(typeof(SocketException))]
    public void What_making_keys_throws_is_not_put_down_to_the_server(Type thrown)
    {
        string schema = server.NewSchema();
        Exception own = (Exception)Activator.CreateInstance(thrown)!;
        using PostgresDatabase database = Open(server.ConnectionString, schema, new CountingKeyer(TestTexts.Keyer, _ => throw own));
        Assert.Same(own, Assert.Throws(thrown, () => database.Update([new("one", "", "the river", "")], [])));
        Assert.Equal((0, 0), database.Count());
    }

    [Fact]
    public void A_database_that_is_damaged_is_not_imported()
    {
        string schema = server.NewSchema(), folder = _folder["damaged"];
        using PostgresDatabase database = Open(server.ConnectionString, schema);
        string tokens;
        using (ChunkDatabase whole = TestTexts.Build(TestTexts.Documents(10, seed: 25), folder))
        {
            tokens = whole.PathOf(whole.Manifest.Files.Single(file => file.Name.StartsWith("tokens", StringComparison.Ordinal)).Name);
        }

        using (FileStream file = File.Open(tokens, FileMode.Open))
        {
            // Another token of the same vocabulary, which reading alone does not notice.
            file.Position = TokenFile.HeaderBytes + sizeof(int);
            int first = file.ReadByte();
            file.Position--;
            file.WriteByte((byte)(first ^ 1));
        }

        using ChunkDatabase damaged = ChunkDatabase.Open(folder, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Contains("checksum", Assert.Throws<DatabaseException>(() => database.Import(damaged)).Message, StringComparison.Ordinal);
        Assert.Equal((0, 0), database.Count());
    }

    /// <summary>As counting does where there are many documents.</summary>
    [Fact]
    public void Counting_may_take_longer_than_a_command_may()
    {
        string schema = server.NewSchema();
        using CuttingProxy proxy = new(server.ConnectionString) { Slow = "count(*)" };
        string impatient = new NpgsqlConnectionStringBuilder(proxy.ConnectionString) { CommandTimeout = 1 }.ConnectionString;
        using PostgresDatabase database = Open(impatient, schema);
        database.Update([new("one", "", "the river", "")], []);
        Assert.Equal((1, 1), database.Count());
        using ChunkDatabase copy = database.Download(_folder["copy"]);
        Assert.Equal("one", Assert.Single(copy.Documents).Id);
    }

    [Fact]
    public void A_schema_that_was_given_to_a_user_takes_a_database_without_the_right_to_make_another()
    {
        TestServer.RequireGiven("PostgreSQL's users", "has one user");
        string schema = server.NewSchema(), role = $"\"{Guid.NewGuid():N}\"";
        Open(server.ConnectionString, server.NewSchema()).Dispose(); // which is what makes the extension, where this test is the first
        server.Ask($"CREATE ROLE {role}");
        try
        {
            server.Ask($"CREATE SCHEMA {Quoted(schema)} AUTHORIZATION {role}");
            string connectionString = new NpgsqlConnectionStringBuilder(server.ConnectionString) { Options = $"-c role={role.Trim('"')}" }.ConnectionString;
            using (PostgresDatabase database = Open(connectionString, schema))
            {
                database.Update([new("one", "", "the river", "")], []);
                Assert.Equal((1, 1), database.Count());
            }

            Refused(() => Open(connectionString, server.NewSchema()), "42501", "administrator");
        }
        finally
        {
            server.Ask($"DROP SCHEMA IF EXISTS {Quoted(schema)} CASCADE");
            server.Ask($"DROP ROLE {role}");
        }
    }

    [Fact]
    public void Keys_of_too_many_numbers_have_no_index()
    {
        using PostgresDatabase database = Open(server.ConnectionString, server.NewSchema(), new CountingKeyer(TestTexts.Keyer, dimensions: 2_001));
        Refused(() => database.BuildIndex(), "2001", "2000");
    }

    private static PostgresDatabase Open(string connectionString, string schema, IChunkKeyer? keyer = null)
        => PostgresDatabase.Create(connectionString, TestTexts.Tokenizer, keyer ?? TestTexts.Keyer, TestTexts.Options(schema));

    private static string Quoted(string schema) => $"\"{schema.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";

    private static void Refused(Action action, params string[] said)
    {
        PostgresDatabaseException fault = Assert.Throws<PostgresDatabaseException>(action);
        Assert.All(said, part => Assert.Contains(part, fault.Message, StringComparison.Ordinal));
    }
}
