using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;

namespace Retro.Search;

/// <summary>A block of memory of any length: allocated, or a file mapped for reading.</summary>
internal sealed unsafe class MemoryImage : IDisposable
{
    private readonly MemoryMappedViewAccessor? view;
    private byte* pointer;

    private MemoryImage(byte* pointer, long length, MemoryMappedViewAccessor? view)
    {
        this.pointer = pointer;
        this.view = view;
        Length = length;
    }

    ~MemoryImage() => Release();

    public long Length { get; }

    public byte* Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(pointer == null, this);
            return pointer;
        }
    }

    /// <summary>Allocates zeroed memory.</summary>
    public static MemoryImage Allocate(long length) => new((byte*)NativeMemory.AllocZeroed((nuint)length), length, null);

    /// <summary>Maps a whole file for reading; the file may be renamed over or deleted meanwhile.</summary>
    /// <exception cref="DatabaseException">The file is missing, empty or cannot be read.</exception>
    public static MemoryImage Map(string path)
    {
        try
        {
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            if (stream.Length == 0)
            {
                throw new DatabaseException($"The file {path} is empty: build it again.");
            }

            using MemoryMappedFile file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            MemoryMappedViewAccessor view = file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
            byte* start = null;
            view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
            return new(start + view.PointerOffset, stream.Length, view);
        }
        catch (Exception fault) when (fault is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new DatabaseException($"The file {path} does not exist: build it first.", fault);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new DatabaseException($"The file {path} cannot be read: {fault.Message}", fault);
        }
    }

    /// <summary>Writes the memory to a stream.</summary>
    public void CopyTo(Stream stream)
    {
        const int Block = 1 << 24;
        for (long start = 0; start < Length; start += Block)
        {
            stream.Write(new ReadOnlySpan<byte>(Pointer + start, (int)Math.Min(Block, Length - start)));
        }
    }

    /// <summary>Feeds bytes <paramref name="start"/> to <paramref name="end"/> to a hash.</summary>
    public void AppendTo(System.Security.Cryptography.IncrementalHash hash, long start, long end)
    {
        const int Block = 1 << 24;
        for (; start < end; start += Block)
        {
            hash.AppendData(new ReadOnlySpan<byte>(Pointer + start, (int)Math.Min(Block, end - start)));
        }
    }

    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    private void Release()
    {
        if (pointer == null)
        {
            return;
        }

        if (view is null)
        {
            NativeMemory.Free(pointer);
        }
        else
        {
            view.SafeMemoryMappedViewHandle.ReleasePointer();
            view.Dispose();
        }

        pointer = null;
    }
}
