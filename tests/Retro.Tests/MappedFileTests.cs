using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Retro.Tests;

public sealed class MappedFileTests
{
    private static DatabaseException Fault(string message, Exception? inner) => new(message, inner);

    [Fact]
    public void A_file_s_values_are_read_in_place_until_it_is_disposed()
    {
        using TemporaryFolder folder = new();
        int[] values = [3, 1, 4, 1, 5];
        string path = folder.File("values.bin", MemoryMarshal.AsBytes<int>(values).ToArray());
        MappedFile file = MappedFile.Open(path, 8, Fault);
        Assert.Equal((path, 20L), (file.Path, file.Length));
        Assert.Equal([1, 4], file.Values<int>(4, 2).ToArray());
        Assert.Equal(0, file.Values<int>(20, 0).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Values<int>(4, 5).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Values<int>(-4, 1).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Values<long>(24, 0).Length);

        // Its name may go meanwhile.
        File.Delete(path);
        Assert.Equal(values, file.Values<int>(0, 5).ToArray());
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Values<int>(0, 1).Length);
        Assert.Throws<ObjectDisposedException>(() => Address(file));
    }

    [Fact]
    public void Memory_without_a_file_is_zero_and_is_written_out_as_it_lies()
    {
        MappedFile memory = MappedFile.Allocate(40);
        Assert.Equal(new byte[40], memory.Values<byte>(0, 40).ToArray());
        Fill(memory);
        using MemoryStream stream = new();
        memory.CopyTo(stream);
        Assert.Equal([.. Enumerable.Range(0, 40).Select(i => (byte)i)], stream.ToArray());
        Assert.Equal(SHA256.HashData(stream.ToArray().AsSpan(8)), memory.Sha256((8, 40)));
        Assert.Equal(SHA256.HashData([.. stream.ToArray()[30..40], .. stream.ToArray()[..5]]), memory.Sha256((30, 40), (0, 5)));
        memory.Dispose();
        Assert.Throws<ObjectDisposedException>(() => memory.Values<byte>(0, 1).Length);
    }

    /// <summary>A finalizer that gave the memory back would end the process here.</summary>
    [Fact]
    public void A_span_is_valid_although_nobody_holds_its_file_any_more()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("values.bin", [.. Enumerable.Range(0, 1 << 16).Select(i => (byte)(i * 7))]);
        ReadOnlySpan<byte> span = Forgotten(path);
        for (int i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        for (int i = 0; i < span.Length; i += 4096)
        {
            Assert.Equal((byte)(i * 7), span[i]);
        }
    }

    /// <summary>What gave the memory back at once would end the process here.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_is_held_is_there_until_the_last_lets_go_and_nobody_holds_it_anew(bool mapped)
    {
        using TemporaryFolder folder = new();
        byte[] values = [.. Enumerable.Range(0, 1 << 22).Select(i => (byte)(i * 7))];
        MappedFile file = mapped ? MappedFile.Open(folder.File("values.bin", values), 1, Fault) : MappedFile.Allocate(values.Length);
        SharedHandle.Held first = file.Hold(), second = file.Hold();
        first.Dispose();
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Hold());
        Assert.Throws<ObjectDisposedException>(() => file.Values<byte>(0, 1).Length);
        for (int i = 0; i < values.Length; i += 4096)
        {
            Assert.Equal(mapped ? values[i] : 0, Marshal.ReadByte(second.Address, i));
        }

        second.Dispose();
    }

    [Fact]
    public void What_cannot_be_mapped_is_named()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("short.bin", [1, 2, 3]);
        Assert.Contains(
            $"'{path}' has 3 bytes, but at least 8", Assert.Throws<DatabaseException>(() => MappedFile.Open(path, 8, Fault)).Message, StringComparison.Ordinal);
        string empty = folder.File("empty.bin", "");
        Assert.Contains("has 0 bytes", Assert.Throws<DatabaseException>(() => MappedFile.Open(empty, 0, Fault)).Message, StringComparison.Ordinal);
        string missing = Path.Combine(folder.Path, "none", "missing.bin");
        Assert.Contains(
            $"'{missing}' does not exist", Assert.Throws<DatabaseException>(() => MappedFile.Open(missing, 1, Fault)).Message, StringComparison.Ordinal);
        Assert.Contains("could not be read", Assert.Throws<DatabaseException>(() => MappedFile.Open(folder.Path, 1, Fault)).Message, StringComparison.Ordinal);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static ReadOnlySpan<byte> Forgotten(string path) => MappedFile.Open(path, 1, Fault).Values<byte>(0, 1 << 16);

    private static unsafe long Address(MappedFile file) => (long)file.Pointer;

    private static unsafe void Fill(MappedFile memory)
    {
        for (int i = 0; i < memory.Length; i++)
        {
            memory.Pointer[i] = (byte)i;
        }
    }
}
