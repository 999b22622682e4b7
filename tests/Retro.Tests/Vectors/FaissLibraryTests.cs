using System.Buffers.Binary;
using System.Text;

namespace Retro.Tests.Vectors;

public class FaissLibraryTests
{
    /// <summary>The C library's loader, which thread-local storage needs, is part of it.</summary>
    private static readonly string[] s_allowed = ["libc.so.6", "libm.so.6", "libstdc++.so.6", "libgomp.so.1", "ld-linux-x86-64.so.2"];

    [Fact]
    public void The_library_needs_nothing_but_the_runtimes_of_C_and_OpenMP()
    {
        string path = Path.Combine(AppContext.BaseDirectory, "libfaiss_c.so");
        Assert.SkipUnless(File.Exists(path), "There is no libfaiss_c.so beside the tests.");
        string[] needed = Needed(File.ReadAllBytes(path));

        Assert.Contains("libgomp.so.1", needed);
        Assert.Empty(needed.Except(s_allowed));
    }

    /// <summary>
    /// The entries DT_NEEDED (1) of a 64-bit little-endian ELF file's dynamic section (type 6), whose names stand in the section it links to.
    /// </summary>
    private static string[] Needed(ReadOnlySpan<byte> file)
    {
        const int SectionSize = 64, EntrySize = 16, Dynamic = 6;
        int sections = (int)BinaryPrimitives.ReadInt64LittleEndian(file[0x28..]), count = BinaryPrimitives.ReadUInt16LittleEndian(file[0x3c..]);
        List<string> names = [];
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> section = file.Slice(sections + i * SectionSize, SectionSize);
            if (BinaryPrimitives.ReadInt32LittleEndian(section[4..]) != Dynamic)
            {
                continue;
            }

            ReadOnlySpan<byte> text = Content(file, sections + BinaryPrimitives.ReadInt32LittleEndian(section[0x28..]) * SectionSize);
            for (ReadOnlySpan<byte> entries = Content(file, sections + i * SectionSize); entries.Length >= EntrySize; entries = entries[EntrySize..])
            {
                if (BinaryPrimitives.ReadInt64LittleEndian(entries) == 1)
                {
                    ReadOnlySpan<byte> name = text[(int)BinaryPrimitives.ReadInt64LittleEndian(entries[8..])..];
                    names.Add(Encoding.ASCII.GetString(name[..name.IndexOf((byte)0)]));
                }
            }
        }

        return [.. names];

        static ReadOnlySpan<byte> Content(ReadOnlySpan<byte> file, int section)
            => file.Slice(
                (int)BinaryPrimitives.ReadInt64LittleEndian(file[(section + 0x18)..]), (int)BinaryPrimitives.ReadInt64LittleEndian(file[(section + 0x20)..]));
    }
}
