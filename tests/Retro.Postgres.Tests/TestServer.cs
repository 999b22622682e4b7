using System.Diagnostics;
using System.Globalization;
using Npgsql;
using Retro.Tests;

[assembly: AssemblyFixture(typeof(Retro.Postgres.Tests.TestServer))]

namespace Retro.Postgres.Tests;

/// <summary>
/// The server that the tests use: the one whose connection string RETRO_POSTGRES is, else PGlite, which is PostgreSQL with pgvector as a package of Node.js. It
/// is installed below artifacts, once. Where Node.js is missing, or PGlite cannot be had, the tests are skipped and say so.
/// </summary>
public sealed class TestServer : IDisposable
{
    private const int LeastNode = 20;

    private static readonly Lazy<string?> s_missing = new(Install);
    private readonly Lazy<PgliteServer> _started = new(() => new PgliteServer());
    private int _schemas;

    /// <summary>What RETRO_POSTGRES says; null where it is not set.</summary>
    public static string? Given { get; } = Environment.GetEnvironmentVariable("RETRO_POSTGRES") is { Length: > 0 } given ? given : null;

    /// <summary>The connection string; the test is skipped where there is no server to be had.</summary>
    public string ConnectionString
    {
        get
        {
            if (Given is not null)
            {
                return Given;
            }

            RequirePglite();
            return _started.Value.ConnectionString;
        }
    }

    /// <summary>Skips the test where PGlite cannot be run.</summary>
    public static void RequirePglite()
    {
        if (s_missing.Value is { } missing)
        {
            NotCompared.Add("PostgreSQL");
            Assert.Skip(missing);
        }
    }

    /// <summary>Skips the test, and has the run's summary say so, where there is no server but PGlite.</summary>
    /// <param name="untried">What is not tried without one.</param>
    /// <param name="limit">What PGlite does otherwise.</param>
    public static void RequireGiven(string untried, string limit)
    {
        if (Given is null)
        {
            NotCompared.Add(untried);
            Assert.Skip($"PGlite {limit}: set RETRO_POSTGRES to the connection string of a server.");
        }
    }

    /// <summary>The name of a schema that no other test uses.</summary>
    public string NewSchema() => string.Create(CultureInfo.InvariantCulture, $"retro test {Environment.ProcessId} \"{Interlocked.Increment(ref _schemas)}\"");

    /// <summary>A connection string with which the server takes an index wherever there is one, however few the rows, until disposed.</summary>
    public IndexPreference PreferIndexes() => new(this);

    /// <summary>Asks the server something without the library.</summary>
    /// <returns>Each row as text.</returns>
    public List<string> Ask(string sql) => Ask(ConnectionString, sql);

    /// <inheritdoc cref="Ask(string)"/>
    public static List<string> Ask(string connectionString, string sql)
    {
        using NpgsqlConnection connection = new(connectionString);
        connection.Open();
        using NpgsqlCommand command = new(sql, connection);
        using NpgsqlDataReader reader = command.ExecuteReader();
        List<string> rows = [];
        while (reader.Read())
        {
            rows.Add(string.Join('|', Enumerable.Range(0, reader.FieldCount).Select(column => Convert.ToString(reader[column], CultureInfo.InvariantCulture))));
        }

        return rows;
    }

    /// <summary>Every row of a database, as text, in the order of their keys.</summary>
    public List<string> Rows(string schema)
    {
        string quoted = $"\"{schema.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
        return
        [
            .. Ask($"SELECT s::text FROM {quoted}.settings s"),
            .. Ask($"SELECT d::text FROM {quoted}.documents d ORDER BY document"),
            .. Ask($"SELECT c::text FROM {quoted}.chunks c ORDER BY document, position"),
        ];
    }

    public void Dispose()
    {
        if (Given is not null)
        {
            foreach (string schema in Ask($"SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname LIKE 'retro test {Environment.ProcessId} %'"))
            {
                Ask($"DROP SCHEMA {schema} CASCADE");
            }
        }

        if (_started.IsValueCreated)
        {
            _started.Value.Dispose();
        }
    }

    /// <summary>Installs PGlite where it is not; gives what is missing.</summary>
    private static string? Install()
    {
        string from = Path.Combine(Fixtures.Root, "tests", "Retro.Postgres.Tests", "server"), wanted = File.ReadAllText(Path.Combine(from, "package.json"));
        string done = Path.Combine(PgliteServer.Folder, "node_modules", ".retro-installed");
        try
        {
            Directory.CreateDirectory(PgliteServer.Folder);
            foreach (string file in Directory.GetFiles(from))
            {
                File.Copy(file, Path.Combine(PgliteServer.Folder, Path.GetFileName(file)), overwrite: true);
            }

            if (!File.Exists(done) || File.ReadAllText(done) != wanted)
            {
                // A network that answers nothing is one without PGlite: npm would try for longer than a program may take here.
                ProcessStartInfo npm = new(
                    "npm",
                    ["install", "--no-package-lock", "--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=0", "--fetch-timeout=60000"])
                {
                    WorkingDirectory = PgliteServer.Folder,
                };
                ChildProcess.Outcome install = ChildProcess.Run(npm);
                if (install.ExitCode != 0)
                {
                    return $"PGlite (PostgreSQL as a package of Node.js) could not be installed, and RETRO_POSTGRES names no server: {install.Errors.Trim()}";
                }

                File.WriteAllText(done, wanted);
            }

            ChildProcess.Outcome node = ChildProcess.Run(new("node", ["--version"]));
            string version = node.Output.Trim();
            return node.ExitCode == 0 && int.TryParse(version.TrimStart('v').Split('.')[0], CultureInfo.InvariantCulture, out int major) && major >= LeastNode
                ? null
                : $"PGlite needs Node.js {LeastNode} or newer, and here is {version}.";
        }
        catch (Xunit.Sdk.FailException endless)
        {
            return $"PGlite (PostgreSQL as a package of Node.js) could not be had, and RETRO_POSTGRES names no server: {endless.Message}";
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return "Node.js with npm is not on this machine, and RETRO_POSTGRES names no server: install nodejs and npm, or set it to the connection string of "
                + "a PostgreSQL with pgvector.";
        }
    }

    /// <summary>See <see cref="PreferIndexes"/>.</summary>
    public sealed class IndexPreference : IDisposable
    {
        private readonly TestServer _server;

        public IndexPreference(TestServer server)
        {
            _server = server;

            // A plan without an index looks so dear then that the server would compile it first, which takes far longer than these few rows.
            ConnectionString = Given is null ? server.ConnectionString
                : new NpgsqlConnectionStringBuilder(Given) { Options = "-c enable_seqscan=off -c jit=off" }.ConnectionString;
            Set("SET enable_seqscan = off");
        }

        public string ConnectionString { get; }

        public void Dispose() => Set("RESET enable_seqscan");

        // PGlite knows no options of a connection, but all of its connections are one session.
        private void Set(string statement)
        {
            if (Given is null)
            {
                _server.Ask(statement);
            }
        }
    }
}
