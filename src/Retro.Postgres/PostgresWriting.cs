namespace Retro.Postgres;

/// <summary>How rows get to the server.</summary>
public enum PostgresWriting
{
    /// <summary>
    /// By COPY where the server's version is one that is known to take it, else by inserts: a server that does not may lose the connection over being tried.
    /// </summary>
    Auto,

    /// <summary>By COPY, in its binary form.</summary>
    Copy,

    /// <summary>By batches of parameterized inserts, which every server takes.</summary>
    Insert,
}
