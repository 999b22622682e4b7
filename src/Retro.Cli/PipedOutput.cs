using Microsoft.Win32.SafeHandles;

namespace Retro.Cli;

/// <summary>
/// The standard output where it is a pipe or a socket, which knows whether anybody reads it. The console's own stream takes what it is given either way: before
/// a head that has seen enough, a text would be written to its end for nobody.
/// </summary>
/// <param name="pipe">The pipe or socket, whose writes fail where nobody reads it.</param>
/// <param name="console">The console's stream of the same pipe, which waits where the pipe is full and would not.</param>
internal sealed class PipedOutput(Stream pipe, Stream console) : Stream
{
    /// <summary>Bytes that any system writes into a pipe together, or not at all: of what was refused, nothing is written twice.</summary>
    private const int Together = 512;

    private const int BrokenPipe = 32; // EPIPE of every Unix
    private const int Reset = 104; // ECONNRESET of Linux: the other end of a socket was closed with something unread

    private static PipedOutput? s_installed;

    /// <summary>Whether the standard output is a pipe that nobody reads any more, as far as was found when it was written to.</summary>
    public static bool IsOutputUnread => s_installed is { IsUnread: true };

    /// <summary>Whether nobody read the pipe when it was last written to.</summary>
    public bool IsUnread { get; private set; }

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Puts it in the place of the console's own stream where the standard output is a pipe, or a socket.</summary>
    public static void Install()
    {
        if (OperatingSystem.IsWindows() || !Console.IsOutputRedirected)
        {
            return;
        }

        try
        {
            FileStream output = new(new SafeFileHandle(1, ownsHandle: false), FileAccess.Write, bufferSize: 0);
            if (!output.CanSeek)
            {
                s_installed = new(output, Console.OpenStandardOutput());
                Console.SetOut(new StreamWriter(s_installed, Console.Out.Encoding) { AutoFlush = true });
            }
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or ArgumentException)
        {
            // It is closed, or open to be read alone: the console's own stream stays, and says so to whoever prints.
        }
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            ReadOnlySpan<byte> part = buffer[..Math.Min(buffer.Length, Together)];
            try
            {
                pipe.Write(part);
                IsUnread = false;
            }
            catch (IOException fault) when (fault.HResult is BrokenPipe or Reset)
            {
                IsUnread = true;
                return;
            }
            catch (IOException)
            {
                console.Write(part); // which waits for room, or says what else it is
            }

            buffer = buffer[part.Length..];
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();
}
