using System.Text;

namespace Retro;

/// <summary>Reads files that are held in memory whole: configurations, indexes of other files, vocabularies.</summary>
internal static class SmallFile
{
    /// <summary>The most bytes of a configuration.</summary>
    public const int Configuration = 1 << 24;

    /// <summary>The most bytes of any other.</summary>
    public const int Any = 1 << 28;

    /// <summary>Reads a file. Its length is not asked beforehand: some files have none.</summary>
    /// <param name="path">The file.</param>
    /// <param name="most">The most bytes that it may have.</param>
    /// <exception cref="IOException">It is longer, no file, a pointer of Git LFS, or cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static byte[] Read(string path, int most = Any)
    {
        FileIdentity.RequireFile(path);
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, 1);
        using MemoryStream content = new();
        byte[] buffer = new byte[1 << 16];
        for (int read; (read = stream.Read(buffer)) > 0;)
        {
            if (read > most - content.Length)
            {
                throw new IOException($"It is longer than the {most} bytes that such a file may have.");
            }

            content.Write(buffer, 0, read);
        }

        byte[] bytes = content.ToArray();
        return LfsPointer.Is(bytes) ? throw new IOException($"It is {LfsPointer.Said}.") : bytes;
    }

    /// <summary>Reads a file of UTF-8; a byte order mark before the text, as some editors write, is no part of it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="most">The most bytes that it may have.</param>
    /// <exception cref="IOException">It is longer, no file, a pointer of Git LFS, or cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static string ReadText(string path, int most = Any) => Encoding.UTF8.GetString(Read(path, most)).TrimStart('\uFEFF');
}
