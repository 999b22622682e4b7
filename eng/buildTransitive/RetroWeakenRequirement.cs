using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

/// <summary>
/// Copies an ELF file of 64 bits and marks one version that it needs of another library as weak (VER_FLG_WEAK), so that the loader takes the file where the version is absent; see elf(5), "Verneed".
/// Only where no relocation refers to a symbol of that version, so that nothing can be called that is not there. A file in which that does not hold, or which is damaged, is copied as it is.
/// </summary>
public class RetroWeakenRequirement : Task
{
    private const uint DynamicSymbols = 11, RelocationsWithAddend = 4, Relocations = 9, NeededVersions = 0x6ffffffe, SymbolVersions = 0x6fffffff;
    private const int WeakFlag = 2;

    /// <summary>The file as the package has it.</summary>
    public string Source { get; set; }

    /// <summary>Where the copy goes; replaced whole, and only if it differs.</summary>
    public string Destination { get; set; }

    /// <summary>Name of the version, such as GLIBCXX_3.4.32.</summary>
    public string Version { get; set; }

    public override bool Execute()
    {
        byte[] file = File.ReadAllBytes(Source);
        try
        {
            int place = FlagsOf(file, Version);
            if (place >= 0)
            {
                file[place] |= WeakFlag;
                Log.LogMessage(MessageImportance.Low, "{0}: {1} may be absent.", Destination, Version);
            }
        }
        catch (Exception e) when (e is ArgumentException || e is IndexOutOfRangeException || e is OverflowException)
        {
            Log.LogMessage(MessageImportance.Normal, "{0} is left as it is: it is no whole ELF file ({1})", Source, e.Message);
        }

        if (!File.Exists(Destination) || !Same(file, File.ReadAllBytes(Destination)))
        {
            // Beside it, then renamed: another project may be reading it, and a link must never be written through.
            Directory.CreateDirectory(Path.GetDirectoryName(Destination));
            string beside = Destination + "." + Guid.NewGuid().ToString("N");
            File.WriteAllBytes(beside, file);
            File.Delete(Destination);
            File.Move(beside, Destination);
        }

        return true;
    }

    /// <summary>Where the low byte of the version's flags stands, or -1 where nothing is to be changed.</summary>
    private static int FlagsOf(byte[] file, string version)
    {
        // Magic, 64 bits, little-endian.
        if (file.Length < 64 || BitConverter.ToUInt32(file, 0) != 0x464c457f || file[4] != 2 || file[5] != 1)
        {
            return -1;
        }

        List<Section> sections = Sections(file);
        int flags = -1;
        ushort index = 0;
        foreach (Section section in sections)
        {
            if (section.Type != NeededVersions)
            {
                continue;
            }

            Section names = sections[section.Link];
            int library = section.Offset;
            for (int i = 0; i < section.Info; i++)
            {
                int count = BitConverter.ToUInt16(file, library + 2), entry = checked(library + (int)BitConverter.ToUInt32(file, library + 8));
                for (int j = 0; j < count; j++)
                {
                    if (Name(file, names, BitConverter.ToUInt32(file, entry + 8)) == version && (BitConverter.ToUInt16(file, entry + 4) & WeakFlag) == 0)
                    {
                        flags = entry + 4;
                        index = BitConverter.ToUInt16(file, entry + 6);
                    }

                    entry = checked(entry + (int)BitConverter.ToUInt32(file, entry + 12));
                }

                library = checked(library + (int)BitConverter.ToUInt32(file, library + 12));
            }
        }

        return flags >= 0 && !IsUsed(file, sections, index) ? flags : -1;
    }

    /// <summary>Whether a relocation refers to a symbol of the version.</summary>
    private static bool IsUsed(byte[] file, List<Section> sections, ushort version)
    {
        Section versions = sections.Find(section => section.Type == SymbolVersions);
        foreach (Section section in sections)
        {
            if (section.Type != RelocationsWithAddend && section.Type != Relocations || section.Link == 0 || sections[section.Link].Type != DynamicSymbols)
            {
                continue;
            }

            int size = section.Type == RelocationsWithAddend ? 24 : 16;
            for (int at = section.Offset; at + size <= section.Offset + section.Size; at += size)
            {
                int symbol = checked((int)(BitConverter.ToUInt64(file, at + 8) >> 32));
                if (symbol != 0 && (BitConverter.ToUInt16(file, checked(versions.Offset + (2 * symbol))) & 0x7fff) == version)
                {
                    return true;
                }
            }
        }

        return false;
    }

    private static List<Section> Sections(byte[] file)
    {
        int start = checked((int)BitConverter.ToUInt64(file, 40)), size = BitConverter.ToUInt16(file, 58), count = BitConverter.ToUInt16(file, 60);
        List<Section> sections = new List<Section>();
        for (int i = 0; i < count; i++)
        {
            int at = checked(start + (i * size));
            Section section = new Section
            {
                Type = BitConverter.ToUInt32(file, at + 4),
                Offset = checked((int)BitConverter.ToUInt64(file, at + 24)),
                Size = checked((int)BitConverter.ToUInt64(file, at + 32)),
                Link = checked((int)BitConverter.ToUInt32(file, at + 40)),
                Info = checked((int)BitConverter.ToUInt32(file, at + 44)),
            };
            sections.Add(section);
        }

        return sections;
    }

    private static string Name(byte[] file, Section names, uint offset)
    {
        int begin = checked(names.Offset + (int)offset), end = Array.IndexOf(file, (byte)0, begin);
        return end < 0 ? null : Encoding.ASCII.GetString(file, begin, end - begin);
    }

    private static bool Same(byte[] a, byte[] b)
    {
        if (a.Length != b.Length)
        {
            return false;
        }

        for (int i = 0; i < a.Length; i++)
        {
            if (a[i] != b[i])
            {
                return false;
            }
        }

        return true;
    }

    private struct Section
    {
        public uint Type;
        public int Offset, Size, Link, Info;
    }
}
