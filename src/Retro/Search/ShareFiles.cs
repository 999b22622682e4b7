using System.Buffers.Binary;
using System.Security.Cryptography;
using Retro.Database;

namespace Retro.Search;

/// <summary>
/// The shares of a stage's file of rows that several machines make, each a file beside it: <c>keys.3-of-8.bin</c> for <c>keys.bin</c>. A share holds whole
/// blocks, so that every block is made in one go whoever makes it. Its header (256 bytes, little-endian) says what it is a share of:
/// <code>
/// magic, version int64, index int64, count int64, first row int64, rows int64, bytes of a row int64, rows of a block int64, zeros
/// at 96: SHA-256 of the header of the whole file, which says what the rows are made of; zeros
/// </code>
/// Rows and checksums follow as <see cref="RowBlocks"/> says.
/// </summary>
internal sealed class ShareFiles : IDisposable
{
    private const int HeaderSize = 256;
    private const int Version = 1;

    private readonly RowBlocks _whole;
    private readonly string _stage;
    private readonly IProgress<StageProgress>? _progress;
    private readonly List<(MappedFile File, RowBlocks Part, long FirstBlock)> _shares = [];
    private (MappedFile? File, long Block) _held; // the last that had its checksum: pieces of a block are asked for one after the other

    private ShareFiles(RowBlocks whole, string stage, IProgress<StageProgress>? progress) => (_whole, _stage, _progress) = (whole, stage, progress);

    private static ReadOnlySpan<byte> Magic => "RETROSHR"u8;

    /// <summary>Makes a share where it is not there and whole; for who has the right to write it.</summary>
    /// <param name="own">The share's file.</param>
    /// <param name="whole">What the whole file consists of.</param>
    /// <param name="share">The share.</param>
    /// <param name="stage">What the rows are made for, in reports.</param>
    /// <param name="make">Makes the rows of a block of the whole file, or of a piece of one.</param>
    /// <param name="progress">Receives the number of rows of the share done.</param>
    /// <param name="cancellationToken">Stops between blocks, or pieces; the next run goes on there.</param>
    /// <param name="pieceRows">Rows of a block that are made at once; null: all of them.</param>
    /// <exception cref="DatabaseException">It cannot be written.</exception>
    public static void Make(
        string own,
        RowBlocks whole,
        WorkShare share,
        string stage,
        MakeRows make,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken,
        int? pieceRows = null)
    {
        (long first, long end) = share.Of(whole.Count);
        if (first == end)
        {
            return; // there are fewer blocks than shares
        }

        RowBlocks part = PartOf(whole, share);
        if (!IsWhole(own, part))
        {
            part.Write(own, NoteOf(part), stage, (row, rows) => make(first * whole.BlockRows + row, rows), progress, cancellationToken, pieceRows);
        }
    }

    /// <summary>Opens the finished shares of a file, however many there were to be. Those that do not fit are not used, which a message says.</summary>
    public static ShareFiles Open(string path, RowBlocks whole, string stage, IProgress<StageProgress>? progress)
    {
        ShareFiles files = new(whole, stage, progress);
        foreach (WorkShare share in ShareName.Near(path))
        {
            string own = ShareName.PathOf(path, share);
            if (!File.Exists(own))
            {
                continue; // begun and not finished
            }

            RowBlocks part = PartOf(whole, share);
            if (TryMap(own, part) is { } file)
            {
                files._shares.Add((file, part, share.Of(whole.Count).First));
            }
            else
            {
                files.Tell($"The share {own} is not used: it is damaged, or was made of other chunks or with other settings. Make it again, or delete it.");
            }
        }

        return files;
    }

    /// <summary>Takes rows of one block from a share that holds the block whole.</summary>
    /// <param name="first">The number of the first row.</param>
    /// <param name="rows">The rows to fill.</param>
    /// <returns>Whether there is such a share.</returns>
    public bool TryRead(long first, Span<byte> rows)
    {
        long block = first / _whole.BlockRows;
        foreach ((MappedFile file, RowBlocks part, long firstBlock) in _shares)
        {
            long own = block - firstBlock;
            if (own < 0 || own >= part.Count)
            {
                continue;
            }

            if (_held == (file, own) || part.HoldsBlock(file, own))
            {
                _held = (file, own);
                part.Block(file, own).Slice(checked((int)(first % _whole.BlockRows * _whole.RowBytes)), rows.Length).CopyTo(rows);
                return true;
            }

            if (first % _whole.BlockRows == 0)
            {
                Tell($"The share {file.Path} is damaged: the rows from {first} on do not have their checksum, and are made again.");
            }
        }

        return false;
    }

    /// <summary>
    /// Removes the shares of a file that is whole, and what was begun of them: those made of the same things; and not those that a process is making.
    /// </summary>
    public static void Remove(string path, RowBlocks whole)
    {
        foreach (WorkShare share in ShareName.Near(path))
        {
            string own = ShareName.PathOf(path, share);
            RowBlocks part = PartOf(whole, share);
            try
            {
                using FileStream held = ShareName.Hold(own);
                ResumableFile.Discard(own, NoteOf(part));
                if (HasHeader(own, part))
                {
                    File.Delete(own);
                }
            }
            catch (Exception exception) when (exception is DatabaseException or IOException or UnauthorizedAccessException)
            {
                // Somebody's, who has it still; nothing depends on it.
            }
        }
    }

    public void Dispose() => _shares.ForEach(share => share.File.Dispose());

    private static RowBlocks PartOf(RowBlocks whole, WorkShare share)
    {
        (long firstBlock, long end) = share.Of(whole.Count);
        long first = firstBlock * whole.BlockRows, rows = Math.Min(end * whole.BlockRows, whole.Rows) - first;
        byte[] header = new byte[HeaderSize];
        Magic.CopyTo(header);
        long[] values = [Version, share.Index, share.Count, first, rows, whole.RowBytes, whole.BlockRows];
        for (int i = 0; i < values.Length; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(8 * (i + 1)), values[i]);
        }

        SHA256.HashData(whole.Header, header.AsSpan(96));
        return new(header, rows, whole.RowBytes, whole.BlockRows);
    }

    private static string NoteOf(RowBlocks part) => Convert.ToHexStringLower(part.Header);

    private static bool IsWhole(string path, RowBlocks part)
    {
        using MappedFile? file = File.Exists(path) ? TryMap(path, part) : null;
        if (file is null)
        {
            return false;
        }

        for (long block = 0; block < part.Count; block++)
        {
            if (!part.HoldsBlock(file, block))
            {
                return false;
            }
        }

        return true;
    }

    private static bool HasHeader(string path, RowBlocks part)
    {
        if (!File.Exists(path))
        {
            return false;
        }

        using FileStream file = File.OpenRead(path);
        byte[] header = new byte[HeaderSize];
        return file.ReadAtLeast(header, HeaderSize, throwOnEndOfStream: false) == HeaderSize && part.Header.SequenceEqual(header);
    }

    private static MappedFile? TryMap(string path, RowBlocks part)
    {
        MappedFile? file = null;
        try
        {
            file = MappedFile.Open(path);
            if (part.Fits(file))
            {
                return file;
            }
        }
        catch (DatabaseException)
        {
            // Empty, or no file: as little a share as one that does not fit.
        }

        file?.Dispose();
        return null;
    }

    private void Tell(string message) => _progress?.Report(new(_stage, 0, _whole.Rows, message));
}
