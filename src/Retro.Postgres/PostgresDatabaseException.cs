namespace Retro.Postgres;

/// <summary>
/// A database in PostgreSQL cannot be reached, made, opened or changed: the server does not answer or refuses, pgvector is missing, or the database was made
/// with other settings. Messages name server and database, never a connection string.
/// </summary>
public sealed class PostgresDatabaseException(string message, Exception? innerException = null) : RetroException(message, innerException);
