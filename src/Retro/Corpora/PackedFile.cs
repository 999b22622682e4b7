using ICSharpCode.SharpZipLib;
using ICSharpCode.SharpZipLib.GZip;
using ZstdSharp;
using ZstdSharp.Unsafe;

namespace Retro.Corpora;

/// <summary>Files that may be packed with gzip or Zstandard, by their endings.</summary>
internal static class PackedFile
{
    private const int LongestWindow = 31;

    /// <summary>A file's path without the ending that says how it is packed.</summary>
    public static string WithoutEnding(string file) => IsGzip(file) || IsZstandard(file) ? Path.ChangeExtension(file, null) : file;

    /// <summary>
    /// What a stream of a file holds. Not .NET's own reader of gzip: of a file that was cut short it gives the beginning, and says nothing.
    /// </summary>
    /// <exception cref="CorpusException">At reading: it is gzip with a part that the reader does not know.</exception>
    public static Stream Unpack(string file, Stream stream)
    {
        if (!IsZstandard(file))
        {
            return IsGzip(file) ? new WholeGzip(file, stream) : stream;
        }

        // As far back as the format goes (zstd --long=31); by default the reader refuses more than 128 MiB.
        DecompressionStream unpacked = new(stream);
        unpacked.SetParameter(ZSTD_dParameter.ZSTD_d_windowLogMax, LongestWindow);
        return unpacked;
    }

    /// <summary>The ending of what is packed, by the bytes that it begins with (RFC 1952, RFC 8878); null where they say nothing.</summary>
    public static string? EndingOf(ReadOnlySpan<byte> head)
        => head.StartsWith((ReadOnlySpan<byte>)[0x1F, 0x8B]) ? ".gz" : head.StartsWith((ReadOnlySpan<byte>)[0x28, 0xB5, 0x2F, 0xFD]) ? ".zst" : null;

    /// <summary>Whether an exception says that a packed file is damaged or cut short.</summary>
    public static bool IsDamage(Exception exception) => exception is SharpZipBaseException or ZstdException or EndOfStreamException;

    private static bool IsGzip(string file) => file.EndsWith(".gz", StringComparison.OrdinalIgnoreCase);

    private static bool IsZstandard(string file)
        => file.EndsWith(".zst", StringComparison.OrdinalIgnoreCase) || file.EndsWith(".zstd", StringComparison.OrdinalIgnoreCase);

    /// <summary>
    /// The reader says nothing of what stands behind a whole member and begins none: a damaged one, with all that follow it. Zeros are padding.
    /// </summary>
    private sealed class WholeGzip(string file, Stream packed) : GZipInputStream(packed, 1 << 16)
    {
        private readonly Stream _packed = packed;

        public override int Read(byte[] buffer, int offset, int count)
        {
            int read;
            try
            {
                read = base.Read(buffer, offset, count);
            }
            catch (GZipException exception) when (exception.Message.StartsWith("Header CRC", StringComparison.Ordinal))
            {
                // It takes the two bytes of that checksum (RFC 1952, 2.3.1: FHCRC) in the wrong order.
                throw CorpusException.Broken(
                    $"The file {file} is gzip with a checksum of its header, which is not read.",
                    "Pack it anew (gzip -dc, and gzip), or skip what is broken (CorpusOptions.SkipBroken).",
                    exception);
            }

            if (read == 0 && count > 0)
            {
                RequireZeros(inputBuffer.RawData.AsSpan(inputBuffer.RawLength - inputBuffer.Available, inputBuffer.Available));
                byte[] rest = new byte[1 << 16];
                for (int length; (length = _packed.Read(rest)) > 0;)
                {
                    RequireZeros(rest.AsSpan(0, length));
                }
            }

            return read;
        }

        private static void RequireZeros(ReadOnlySpan<byte> rest)
        {
            if (rest.ContainsAnyExcept((byte)0))
            {
                throw new GZipException("What follows its first part is no gzip");
            }
        }
    }
}
