using System.IO.Pipes;
using Microsoft.Win32.SafeHandles;
using Retro.Cli;

namespace Retro.Tests.Cli;

/// <summary>What is printed where whoever reads it may end first.</summary>
public sealed class PipedOutputTests : IDisposable
{
    private static readonly byte[] s_text = [.. Enumerable.Range(0, 1300).Select(i => (byte)(i % 251))];

    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    [Fact]
    public void A_text_that_nobody_reads_is_not_written_to_its_end()
    {
        _retro.Build();
        _retro.Done(["train", "--out", "work", "--source", "none", "--steps", "1", "--quiet", .. CliRun.Tiny]);
        Assert.Equal(new(141, "", ""), Unread("generate --model work --tokens 20 --quiet The"));
        Assert.Equal(new(141, "", ""), Unread("ask --model work --tokens 20 --quiet 'How many stones has bridge 5?'"));

        Assert.Equal(new(141, "", ""), Unread("generate --model work --tokens 20 --quiet --json /dev/stdout The"));

        // Whoever asks for a file of it, reads that.
        Assert.Equal(new(0, "", ""), Unread("generate --model work --tokens 20 --quiet --json text.json The"));
        Assert.NotNull(_retro.Json("text.json")["end"]);

        // The pipe's reader has ended before the first word.
        ChildProcess.Outcome Unread(string line) => ChildProcess.Run(CtrlC.Start(
            _retro.Folder, "bash", "-c", $"exec 3> >(:); wait $!; dotnet '{Fixtures.Cli}' {line} >&3"));
    }

    [Fact]
    public void It_is_found_when_a_pipe_is_read_no_more()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has other pipes.");
        using AnonymousPipeServerStream reader = new(PipeDirection.In);
        using FileStream pipe = new(
            new SafeFileHandle(reader.ClientSafePipeHandle.DangerousGetHandle(), ownsHandle: false), FileAccess.Write, bufferSize: 0);
        using PipedOutput output = new(pipe, Stream.Null);
        output.Write(s_text);
        byte[] read = new byte[s_text.Length];
        reader.ReadExactly(read);
        Assert.Equal(s_text, read);
        Assert.False(output.IsUnread);
        reader.Dispose();
        output.Write(s_text);
        Assert.True(output.IsUnread);
        reader.DisposeLocalCopyOfClientHandle();
    }

    /// <summary>So ends a socket with something in it that its reader has not taken.</summary>
    [Fact]
    public void A_connection_that_was_reset_is_read_no_more()
    {
        using MemoryStream console = new();
        using PipedOutput output = new(new ResetSocket(), console);
        output.Write(s_text);
        Assert.True(output.IsUnread);
        Assert.Empty(console.ToArray());
    }

    /// <summary>One that is not waited for refuses what it has no room for.</summary>
    [Fact]
    public void What_a_full_pipe_refuses_the_console_writes_once()
    {
        using MemoryStream written = new();
        using PipedOutput output = new(new FullPipe(written), written);
        output.Write(s_text);
        Assert.Equal(s_text, written.ToArray());
        Assert.False(output.IsUnread);
    }

    private sealed class ResetSocket : MemoryStream
    {
        private const int Reset = 104;

        public override void Write(ReadOnlySpan<byte> buffer) => throw new IOException("The connection was reset.", Reset);
    }

    /// <summary>Refuses every second part.</summary>
    private sealed class FullPipe(Stream pipe) : MemoryStream
    {
        private const int TryAgain = 11;

        private bool _isFull;

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            _isFull = !_isFull;
            if (_isFull)
            {
                throw new IOException("The pipe is full.", TryAgain);
            }

            pipe.Write(buffer);
        }
    }
}
