using System.Buffers;
using System.Security.Cryptography;

namespace Retro.Database;

/// <summary>Checksums of files.</summary>
internal static class FileHash
{
    private const int BufferBytes = 1 << 20;

    /// <summary>SHA-256 of a file's content, in lower-case hexadecimal digits.</summary>
    /// <exception cref="DatabaseException">The file cannot be read.</exception>
    public static string Sha256(string path, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        try
        {
            FileIdentity.RequireFile(path);
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1, FileOptions.SequentialScan);
            return Sha256(stream, stream.Length, $"check {Path.GetFileName(path)}", progress, cancellationToken);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new DatabaseException($"'{path}' could not be read ({exception.Message}); check that it exists and may be read.", exception);
        }
    }

    /// <summary>SHA-256 of the next bytes of a stream; an <see cref="EndOfStreamException"/> where there are fewer.</summary>
    public static string Sha256(Stream stream, long count, string stage, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            for (long done = 0; done < count;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                int read = stream.Read(buffer, 0, (int)Math.Min(BufferBytes, count - done));
                if (read == 0)
                {
                    throw new EndOfStreamException($"the file ended {count - done} bytes early");
                }

                hash.AppendData(buffer, 0, read);
                done += read;
                progress?.Report(new StageProgress(stage, done, count));
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
