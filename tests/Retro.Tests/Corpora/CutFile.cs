using System.IO.Compression;
using System.Text;

namespace Retro.Tests.Corpora;

/// <summary>Packed files of which the end is missing, as a download that was stopped leaves them.</summary>
internal static class CutFile
{
    /// <summary>Texts of thirteen lines each that packing makes no shorter than by half.</summary>
    public static string[] Stories(int count)
    {
        Random random = new(5);
        return [.. Enumerable.Range(0, count).Select(i => $"Story {i}.\n{string.Join('\n', Enumerable.Range(0, 12).Select(_ => Line()))}")];

        string Line()
        {
            byte[] bytes = new byte[16];
            random.NextBytes(bytes);
            return Convert.ToHexString(bytes);
        }
    }

    /// <summary>A text packed with gzip, as far as a share of its bytes goes.</summary>
    public static byte[] Of(string text, double share)
    {
        using MemoryStream packed = new();
        using (GZipStream stream = new(packed, CompressionMode.Compress))
        {
            stream.Write(Encoding.UTF8.GetBytes(text));
        }

        byte[] whole = packed.ToArray();
        return whole[..(int)(share * whole.Length)];
    }
}
