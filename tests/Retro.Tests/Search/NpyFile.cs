using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;

namespace Retro.Tests.Search;

/// <summary>Reads NumPy's .npy files (format 1 to 3, little-endian, C order): https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.</summary>
internal static partial class NpyFile
{
    public static (T[] Values, int[] Shape) Read<T>(string path, string kind)
        where T : unmanaged
    {
        byte[] bytes = File.ReadAllBytes(path);
        Assert.True(bytes.Length > 12 && bytes[0] == 0x93 && bytes.AsSpan(1, 5).SequenceEqual("NUMPY"u8), $"{path} is no .npy file.");
        bool wide = bytes[6] > 1;
        int length = wide ? BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(8)) : BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(8));
        int start = wide ? 12 : 10;
        string header = Encoding.UTF8.GetString(bytes, start, length);
        Assert.Contains($"'descr': '<{kind}'", header, StringComparison.Ordinal);
        Assert.Contains("'fortran_order': False", header, StringComparison.Ordinal);
        int[] shape = Shape().Match(header).Groups[1].Value
            .Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            .Select(size => int.Parse(size, CultureInfo.InvariantCulture))
            .ToArray();
        T[] values = MemoryMarshal.Cast<byte, T>(bytes.AsSpan(start + length)).ToArray();
        Assert.Equal(shape.Aggregate(1, (product, size) => product * size), values.Length);
        return (values, shape);
    }

    [GeneratedRegex(@"'shape': \(([^)]*)\)")]
    private static partial Regex Shape();
}
