using ICSharpCode.SharpZipLib;
using ICSharpCode.SharpZipLib.GZip;
using ZstdSharp;

namespace Retro.Corpora;

/// <summary>Files that may be packed with gzip or Zstandard, by their endings.</summary>
internal static class PackedFile
{
    /// <summary>A file's path without the ending that says how it is packed.</summary>
    public static string WithoutEnding(string file) => IsGzip(file) || IsZstandard(file) ? Path.ChangeExtension(file, null) : file;

    /// <summary>
    /// What a stream of a file holds. Not .NET's own reader of gzip: of a file that was cut short it gives the beginning, and says nothing.
    /// </summary>
    public static Stream Unpack(string file, Stream stream)
        => IsGzip(file) ? new GZipInputStream(stream, 1 << 16) : IsZstandard(file) ? new DecompressionStream(stream) : stream;

    /// <summary>Whether an exception says that a packed file is damaged or cut short.</summary>
    public static bool IsDamage(Exception exception) => exception is SharpZipBaseException or ZstdException or EndOfStreamException;

    private static bool IsGzip(string file) => file.EndsWith(".gz", StringComparison.OrdinalIgnoreCase);

    private static bool IsZstandard(string file)
        => file.EndsWith(".zst", StringComparison.OrdinalIgnoreCase) || file.EndsWith(".zstd", StringComparison.OrdinalIgnoreCase);
}
