using System.Buffers.Binary;
using System.Text;
using Retro.Checkpoints;

namespace Retro.Tests;

/// <summary>Offsets beyond 2^31 and 2^32, in sparse files, which take no room on the disk.</summary>
[Trait("Category", "Long")]
public sealed class LargeFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<long> Places => [int.MaxValue - 3L, (1L << 31) + 4, (1L << 32) - 4, (1L << 32) + 8];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Places))]
    public void A_mapped_file_gives_the_values_at_any_place(long place)
    {
        place &= ~3L;
        string path = Path.Combine(_folder.Path, "sparse.bin");
        Write(path, place + 64, (place, [1, 2, 3, 4, 0, 0, 0, 128]));
        using MappedFile file = MappedFile.Open(path);

        Assert.Equal(place + 64, file.Length);
        Assert.Equal([0x04030201, int.MinValue, 0], file.Values<int>(place, 3).ToArray());
        Assert.Equal([0, 0x04030201], file.Values<int>(place - 4, 2).ToArray());
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Values<int>(place + 60, 2).Length);
    }

    [Theory]
    [MemberData(nameof(Places))]
    public void A_safetensors_file_gives_the_bytes_of_a_tensor_that_lies_behind_a_large_one(long place)
    {
        string path = Path.Combine(_folder.Path, "sparse.safetensors");
        string header = "{" + string.Join(',', Entry("large", place, 0), Entry("small", 4, place)) + "}";
        byte[] head = [.. new byte[8], .. Encoding.UTF8.GetBytes(header)];
        BinaryPrimitives.WriteInt64LittleEndian(head, header.Length);
        Write(path, head.Length + place + 4, (0, head), (head.Length + place - 1, [9, 5, 6, 7, 8]));
        using Safetensors file = Safetensors.Open(path);

        Assert.Equal([5, 6, 7, 8], file.Bytes("small").ToArray());
        Assert.Equal([0, 9], file.Bytes("large", place - 2, 2).ToArray());
        Assert.Equal(place, file.Entry("large").ByteLength);
    }

    private static string Entry(string name, long length, long begin)
        => $$$"""
            "{{{name}}}":{"dtype":"U8","shape":[{{{length}}}],"data_offsets":[{{{begin}}},{{{begin + length}}}]}
            """;

    private static void Write(string path, long length, params (long Place, byte[] Bytes)[] parts)
    {
        using FileStream stream = File.Create(path);
        stream.SetLength(length);
        foreach ((long place, byte[] bytes) in parts)
        {
            stream.Position = place;
            stream.Write(bytes);
        }
    }
}
