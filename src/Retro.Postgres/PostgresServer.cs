using System.Data;
using System.Net.Sockets;
using Npgsql;

namespace Retro.Postgres;

/// <summary>A server and how it is asked: connections, and what its faults mean.</summary>
internal sealed class PostgresServer : IDisposable
{
    private readonly NpgsqlDataSource _source;

    // Whoever asks while as many do as the connection string allows waits here: the driver's own pool gives up after a while, and does not count at all where
    // pooling is off.
    private readonly SemaphoreSlim _room;

    /// <exception cref="PostgresDatabaseException">The connection string cannot be read.</exception>
    public PostgresServer(string connectionString)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(connectionString);
        NpgsqlDataSourceBuilder builder;
        try
        {
            builder = new NpgsqlDataSourceBuilder(connectionString);
            builder.UseVector();
            _source = builder.Build();
        }
        catch (Exception fault) when (fault is ArgumentException or FormatException or InvalidOperationException or NotSupportedException or OverflowException)
        {
            // What is wrong with it may quote a part of it, and the password with that.
            throw new PostgresDatabaseException(
                "The connection string cannot be used: expected the form of Npgsql's, such as \"Host=localhost;Database=texts;Username=reader\"; fix it.");
        }

        NpgsqlConnectionStringBuilder settings = builder.ConnectionStringBuilder;
        _room = new(Math.Max(1, settings.MaxPoolSize));
        Name = $"The server {settings.Host}:{settings.Port} (database {settings.Database ?? settings.Username ?? "by default"})";
    }

    /// <summary>How messages name it; they begin with it.</summary>
    public string Name { get; }

    /// <summary>Does something with a connection.</summary>
    /// <param name="what">What is done, as it follows "to".</param>
    /// <param name="work">What to do.</param>
    /// <param name="cancellationToken">Stops waiting; the work has to look itself.</param>
    /// <exception cref="PostgresDatabaseException">The server does not answer, or refuses, or the connection is lost.</exception>
    public T Use<T>(string what, Func<NpgsqlConnection, T> work, CancellationToken cancellationToken)
    {
        _room.Wait(cancellationToken);
        NpgsqlConnection? opened = null;
        try
        {
            using NpgsqlConnection connection = _source.OpenConnection();
            opened = connection;
            return work(connection);
        }
        catch (PostgresException refusal) when (refusal.SqlState == PostgresErrorCodes.QueryCanceled && cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(refusal.MessageText, refusal, cancellationToken);
        }
        catch (PostgresException refusal) when (!IsEnd(refusal.SqlState))
        {
            throw new PostgresDatabaseException($"{Name} refused to {what}: {refusal.MessageText} ({refusal.SqlState}). {Advice(refusal.SqlState)}", refusal);
        }
        catch (Exception fault) when (
            fault is NpgsqlException or InvalidOperationException { Source: "Npgsql" }
            // Where the connection is still open, that is the fault of what the work does besides, such as to make keys.
            || (fault is IOException or SocketException or TimeoutException && opened is not { State: ConnectionState.Open }))
        {
            throw new PostgresDatabaseException(
                opened is not null
                    ? $"{Name} was to {what}, and the connection was lost or took too long ({fault.Message}). A change is there whole or not at all; see that "
                        + "the server runs, and do it again."
                    : $"{Name} does not answer ({fault.Message}). See that it runs and that host, port, user and password are right.",
                fault);
        }
        finally
        {
            _room.Release();
        }
    }

    /// <inheritdoc cref="Use{T}(string, Func{NpgsqlConnection, T}, CancellationToken)"/>
    public void Use(string what, Action<NpgsqlConnection> work, CancellationToken cancellationToken)
        => Use(
            what,
            connection =>
            {
                work(connection);
                return true;
            },
            cancellationToken);

    public void Dispose()
    {
        _source.Dispose();
        _room.Dispose();
    }

    // The server ends the connection: shut down, crashed, or by order of an administrator.
    private static bool IsEnd(string state)
        => state is PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown or PostgresErrorCodes.CannotConnectNow;

    private static string Advice(string state) => state switch
    {
        PostgresErrorCodes.InvalidPassword or PostgresErrorCodes.InvalidAuthorizationSpecification => "Fix user and password of the connection string.",
        PostgresErrorCodes.InvalidCatalogName => "Create that database, or name another in the connection string.",
        PostgresErrorCodes.InsufficientPrivilege => "Ask its administrator for the right, or use another user.",
        PostgresErrorCodes.DiskFull or PostgresErrorCodes.OutOfMemory => "Make room on the server, and do it again; nothing was changed.",
        PostgresErrorCodes.TooManyConnections => "Set \"Maximum Pool Size\" in the connection string to what the server takes.",
        PostgresErrorCodes.QueryCanceled => "Give it more time (\"Command Timeout\" in the connection string, statement_timeout on the server).",
        _ => "Nothing was changed.",
    };
}
