using System.Buffers.Binary;
using System.Text;

namespace Retro.Tests.Build;

/// <summary>
/// An ELF file of a few hundred bytes with all that the build step reads: symbols, their versions, needed versions, a relocation. Its section headers come
/// first, so that a cut file still has them.
/// </summary>
internal sealed class SmallElf
{
    private const int Header = 64, SectionSize = 64, Sections = 6;
    private readonly byte[] _bytes;

    /// <summary>Makes a file whose relocation refers to a symbol of the version, or to another.</summary>
    public SmallElf(bool versionIsUsed)
    {
        byte[] names = Encoding.ASCII.GetBytes("\0libstdc++.so.6\0GLIBCXX_3.4.30\0" + TorchPackage.Version + "\0");
        int symbols = Header
            + (Sections * SectionSize), versions = symbols + (3 * 24), needed = versions + 8, relocations = needed + (3 * 16), strings = relocations + 24;
        _bytes = new byte[strings + names.Length];
        "\u007fELF\u0002\u0001\u0001"u8.CopyTo(_bytes);
        Put(16, 2, 3); // shared object
        Put(18, 2, 62);
        Put(40, 8, Header);
        Put(58, 2, SectionSize);
        Put(60, 2, Sections);
        Section(1, type: 11, symbols, 3 * 24, link: 5, info: 1);
        Section(2, type: 0x6fffffff, versions, 6, link: 1, info: 0);
        Section(NeededSection, type: 0x6ffffffe, needed, 3 * 16, link: 5, info: 1);
        Section(4, type: 4, relocations, 24, link: 1, info: 0);
        Section(5, type: 3, strings, names.Length, link: 0, info: 0);
        Put(versions + 2, 2, 2);
        Put(versions + 4, 2, 3);

        // One library with two versions.
        Put(needed, 2, 1);
        Put(needed + 2, 2, 2);
        Put(needed + 4, 4, 1);
        Put(needed + 8, 4, 16);
        Version(needed + 16, index: 2, name: 16, next: 16);
        Version(needed + 32, index: 3, name: 31, next: 0);
        Flags = needed + 32 + 4;
        Put(relocations + 8, 8, ((versionIsUsed ? 2UL : 1UL) << 32) | 6);
        names.CopyTo(_bytes, strings);
    }

    /// <summary>Number of the section of needed versions.</summary>
    public const int NeededSection = 3;

    /// <summary>Where the version's flags stand.</summary>
    public int Flags { get; }

    /// <summary>Where the needed library stands.</summary>
    public int Library => Flags - 36;

    /// <summary>Where a section's header stands.</summary>
    public static int SectionAt(int number) => Header + (number * SectionSize);

    /// <summary>The file.</summary>
    public byte[] Bytes() => [.. _bytes];

    /// <summary>The file with a field of it changed.</summary>
    public byte[] With(int place, int size, ulong value)
    {
        byte[] bytes = Bytes();
        Put(bytes, place, size, value);
        return bytes;
    }

    private void Version(int at, ulong index, ulong name, ulong next)
    {
        Put(at + 6, 2, index);
        Put(at + 8, 4, name);
        Put(at + 12, 4, next);
    }

    private void Section(int number, ulong type, int offset, int size, ulong link, ulong info)
    {
        int at = SectionAt(number);
        Put(at + 4, 4, type);
        Put(at + 24, 8, (ulong)offset);
        Put(at + 32, 8, (ulong)size);
        Put(at + 40, 4, link);
        Put(at + 44, 4, info);
    }

    private void Put(int place, int size, ulong value) => Put(_bytes, place, size, value);

    private static void Put(byte[] bytes, int place, int size, ulong value)
    {
        Span<byte> all = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(all, value);
        all[..size].CopyTo(bytes.AsSpan(place));
    }
}
