using System.IO.MemoryMappedFiles;
using System.Runtime.CompilerServices;

namespace Retro;

/// <summary>
/// A file read through the memory of the process: values are read where they lie, without copies. Every access is checked
/// against the length and against disposal; a span already taken must not be used after disposal.
/// </summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private byte* _start;

    private MappedFile(string path, long length, MemoryMappedFile file)
    {
        Path = path;
        Length = length;
        _file = file;
        _view = file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
        byte* start = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        _start = start + _view.PointerOffset;
    }

    /// <summary>The file's path.</summary>
    public string Path { get; }

    /// <summary>The file's length in bytes.</summary>
    public long Length { get; }

    /// <summary>Maps a file for reading.</summary>
    /// <param name="path">The file.</param>
    /// <param name="minimumLength">The fewest bytes it can have, at least 1.</param>
    /// <param name="fault">Makes the caller's exception of a sentence and the fault behind it, if any.</param>
    public static MappedFile Open(string path, long minimumLength, Func<string, Exception?, RetroException> fault)
    {
        if (!BitConverter.IsLittleEndian)
        {
            throw fault($"'{path}' is little-endian and is read in place, which this big-endian machine cannot do; use a little-endian machine.", null);
        }

        try
        {
            FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1);
            try
            {
                long length = stream.Length;
                if (length < Math.Max(1, minimumLength))
                {
                    throw fault($"'{path}' has {length} bytes, but at least {Math.Max(1, minimumLength)} were expected: it is truncated; build it again.", null);
                }

                MemoryMappedFile file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
                try
                {
                    return new MappedFile(path, length, file);
                }
                catch
                {
                    file.Dispose();
                    throw;
                }
            }
            catch
            {
                stream.Dispose();
                throw;
            }
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
        byte* start = _start;
        ObjectDisposedException.ThrowIf(start is null, this);
        if (offset < 0 || count < 0 || offset > Length || count > (Length - offset) / Unsafe.SizeOf<T>())
        {
            throw new ArgumentOutOfRangeException(nameof(offset), $"{count} values at byte {offset} do not lie in '{Path}' of {Length} bytes.");
        }

        return new ReadOnlySpan<T>(start + offset, count);
    }

    /// <summary>Releases the file; later reads throw.</summary>
    public void Dispose()
    {
        if (_start is null)
        {
            return;
        }

        _start = null;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _file.Dispose();
    }
}
