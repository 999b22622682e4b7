using System.Net;
using System.Net.Sockets;
using System.Text;
using Npgsql;
using Retro.Tests;

namespace Retro.Postgres.Tests;

/// <summary>Stands between a client and the server, cuts the connection after the client has sent so many bytes, and lets what has a text wait.</summary>
internal sealed class CuttingProxy : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly NpgsqlConnectionStringBuilder _settings;
    private readonly long _limit;
    private readonly Task _accepting;
    private long _sent;

    public CuttingProxy(string connectionString, long limit = long.MaxValue)
    {
        _settings = new(connectionString);
        _limit = limit;
        _listener.Start();
        _accepting = AcceptAsync(_settings.Host!, _settings.Port);
        _settings.Host = "127.0.0.1";
        _settings.Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        _settings.Pooling = false;
    }

    /// <summary>The connection string that leads through here.</summary>
    public string ConnectionString => _settings.ConnectionString;

    /// <summary>What waits for two seconds: whatever of the client's has this text near its beginning; null: nothing.</summary>
    public string? Slow { get; init; }

    /// <summary>Bytes that came from the client.</summary>
    public long Sent => Interlocked.Read(ref _sent);

    public void Dispose()
    {
        _listener.Stop();
        Assert.True(_accepting.Wait(ChildProcess.Limit), "A connection did not end.");
    }

    private async Task AcceptAsync(string host, int port)
    {
        List<Task> open = [];
        try
        {
            while (true)
            {
                open.Add(ServeAsync(await _listener.AcceptTcpClientAsync(), host, port));
            }
        }
        catch (Exception end) when (end is SocketException or ObjectDisposedException)
        {
        }

        await Task.WhenAll(open);
    }

    private async Task ServeAsync(TcpClient client, string host, int port)
    {
        using TcpClient accepted = client, server = new();
        try
        {
            await server.ConnectAsync(host, port);
            Task back = server.GetStream().CopyToAsync(client.GetStream());
            byte[] buffer = new byte[512];
            for (int read; (read = await client.GetStream().ReadAsync(buffer)) > 0;)
            {
                if (Slow is not null && Encoding.ASCII.GetString(buffer, 0, read).Contains(Slow, StringComparison.Ordinal))
                {
                    await Task.Delay(TimeSpan.FromSeconds(2));
                }

                long room = _limit - (Interlocked.Add(ref _sent, read) - read);
                await server.GetStream().WriteAsync(buffer.AsMemory(0, (int)Math.Clamp(room, 0, read)));
                if (room <= read)
                {
                    break;
                }
            }

            client.Close();
            server.Close();
            await back;
        }
        catch (Exception end) when (end is IOException or SocketException or ObjectDisposedException)
        {
        }
    }
}
