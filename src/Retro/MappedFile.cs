using System.IO.MemoryMappedFiles;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Retro;

/// <summary>
/// A file read through the memory of the process, where its values are read as they lie, without copies; or memory of any length that is laid out as such a
/// file before there is one. Its owner disposes it: there is no finalizer, so that no span or pointer into it becomes invalid before. Every access is checked
/// against disposal, and <see cref="Values"/> against the length. Where others may read while the owner disposes it, they hold it
/// (<see cref="SharedHandle.Hold"/>).
/// </summary>
internal sealed unsafe class MappedFile : SharedHandle
{
    // Spans count in 32 bits.
    private const int Block = 1 << 24;

    private readonly MemoryMappedViewAccessor? _view;

#pragma warning disable CA1816 // not in Dispose: whoever owns it and does not dispose it may have handed out spans
    private MappedFile(string path, long length, byte* start, MemoryMappedViewAccessor? view)
    {
        Path = path;
        Length = length;
        _view = view;
        SetHandle((nint)start);
        GC.SuppressFinalize(this);
    }
#pragma warning restore CA1816

    /// <summary>The file's path; empty for memory without a file.</summary>
    public string Path { get; }

    /// <summary>The length in bytes.</summary>
    public long Length { get; }

    /// <summary>The first byte; valid until disposal, and for who holds it until then. Whoever computes with it checks the length.</summary>
    /// <exception cref="ObjectDisposedException">The file was disposed.</exception>
    public byte* Pointer => IsDisposed ? throw Closed() : (byte*)handle;

    protected override ObjectDisposedException Closed() => new(
        Path.Length == 0 ? nameof(MappedFile) : Path, "What reads from it, such as a database or an index, was disposed; dispose it after its last use.");

    /// <summary>Zeroed memory that may be written to.</summary>
    /// <param name="length">Its length in bytes.</param>
    public static MappedFile Allocate(long length) => new("", length, (byte*)NativeMemory.AllocZeroed((nuint)length), null);

    /// <summary>Maps a file for reading; it may be renamed over or deleted meanwhile.</summary>
    /// <param name="path">The file.</param>
    /// <param name="minimumLength">The fewest bytes it can have, at least 1.</param>
    /// <param name="fault">Makes the caller's exception of a sentence and the fault behind it, if any; null: a <see cref="DatabaseException"/>.</param>
    public static MappedFile Open(string path, long minimumLength = 1, Func<string, Exception?, RetroException>? fault = null)
    {
        fault ??= DatabaseException.Of;
        if (!BitConverter.IsLittleEndian)
        {
            throw fault($"'{path}' is little-endian and is read in place, which this big-endian machine cannot do; use a little-endian machine.", null);
        }

        try
        {
            FileIdentity.RequireFile(path);
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1);
            long length = stream.Length;
            if (length < Math.Max(1, minimumLength))
            {
                throw fault($"'{path}' has {length} bytes, but at least {Math.Max(1, minimumLength)} were expected: it is truncated; build it again.", null);
            }

            // The view keeps the mapping; the file's handles are not needed any more.
            using MemoryMappedFile file = MemoryMappedFile.CreateFromFile(
                stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            MemoryMappedViewAccessor view = file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
            byte* start = null;
            view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
            return new MappedFile(path, length, start + view.PointerOffset, view);
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            throw fault($"'{path}' does not exist; build it first, or name where it lies.", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw fault($"'{path}' could not be read ({exception.Message}); check that it exists and may be read.", exception);
        }
    }

    /// <summary>Values of the file, in place.</summary>
    /// <param name="offset">The first byte; a multiple of the size of a value.</param>
    /// <param name="count">How many values.</param>
    /// <exception cref="ArgumentOutOfRangeException">The range does not lie in the file.</exception>
    /// <exception cref="ObjectDisposedException">The file was disposed.</exception>
    public ReadOnlySpan<T> Values<T>(long offset, int count)
        where T : unmanaged
    {
        byte* start = Pointer;
        if (offset < 0 || count < 0 || offset > Length || count > (Length - offset) / Unsafe.SizeOf<T>())
        {
            throw new ArgumentOutOfRangeException(nameof(offset), $"{count} values at byte {offset} do not lie in '{Path}' of {Length} bytes.");
        }

        return new ReadOnlySpan<T>(start + offset, count);
    }

    /// <summary>Writes the whole to a stream.</summary>
    /// <param name="stream">The stream.</param>
    public void CopyTo(Stream stream)
    {
        for (long start = 0; start < Length; start += Block)
        {
            stream.Write(Values<byte>(start, (int)Math.Min(Block, Length - start)));
        }
    }

    /// <summary>Feeds bytes to a hash.</summary>
    /// <param name="hash">The hash.</param>
    /// <param name="start">The first byte.</param>
    /// <param name="end">The byte after the last.</param>
    public void AppendTo(IncrementalHash hash, long start, long end)
    {
        for (; start < end; start += Block)
        {
            hash.AppendData(Values<byte>(start, (int)Math.Min(Block, end - start)));
        }
    }

    /// <summary>SHA-256 of some of the bytes.</summary>
    /// <param name="parts">Their first bytes and the bytes after their last, in the order in which they count.</param>
    public byte[] Sha256(params ReadOnlySpan<(long Start, long End)> parts)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((long start, long end) in parts)
        {
            AppendTo(hash, start, end);
        }

        return hash.GetHashAndReset();
    }

    protected override bool ReleaseHandle()
    {
        if (_view is null)
        {
            NativeMemory.Free((void*)handle);
        }
        else
        {
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
        }

        return true;
    }
}
