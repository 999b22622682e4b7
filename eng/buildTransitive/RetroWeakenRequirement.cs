using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;

/// <summary>
/// Copies an ELF file of 64 bits and marks one version that it needs of another library as weak (VER_FLG_WEAK), so that the loader takes the file where the
/// version is absent; see elf(5), "Verneed". Only where no relocation refers to a symbol of that version, so that nothing can be called that is not there. A
/// file in which that does not hold, or which is damaged, is copied as it is.
/// </summary>
public class RetroWeakenRequirement : Task
{
    private const uint RelocationsWithAddend = 4, Relocations = 9, DynamicSymbols = 11, NeededVersions = 0x6ffffffe, SymbolVersions = 0x6fffffff;
    private const int WeakFlag = 2;

    /// <summary>Bytes of an entry of needed versions, and of one that stands for a library.</summary>
    private const int EntrySize = 16;

    /// <summary>The file as the package has it.</summary>
    public string Source { get; set; }

    /// <summary>Where the copy goes; replaced whole.</summary>
    public string Destination { get; set; }

    /// <summary>Name of the version, such as GLIBCXX_3.4.32.</summary>
    public string Version { get; set; }

    public override bool Execute()
    {
        string beside = Destination + "." + Guid.NewGuid().ToString("N");
        try
        {
            byte[] file = File.ReadAllBytes(Source);
            Weaken(file);

            // Beside it, then renamed: a copy is whole or absent, and where the old one is a link, what it leads to stays as it is.
            Directory.CreateDirectory(Path.GetDirectoryName(Destination));
            File.WriteAllBytes(beside, file);
            File.Delete(Destination);
            File.Move(beside, Destination);
            return true;
        }
        catch (Exception e) when (e is IOException || e is UnauthorizedAccessException)
        {
            Log.LogError("{0} could not be copied to {1}: {2} RetroWeakenTorchRequirement=false does without the copy.", Source, Destination, e.Message);
            File.Delete(beside);
            return false;
        }
    }

    private void Weaken(byte[] file)
    {
        try
        {
            int place = FlagsOf(file, Version);
            if (place >= 0)
            {
                file[place] |= WeakFlag;
                Log.LogMessage(MessageImportance.Low, "{0}: {1} may be absent.", Destination, Version);
            }
        }
        catch (Exception e) when (e is ArgumentException || e is IndexOutOfRangeException || e is OverflowException || e is InvalidDataException)
        {
            Log.LogMessage(MessageImportance.Normal, "{0} is copied as it is: it is no whole ELF file ({1})", Source, e.Message);
        }
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
        int flags = -1, index = 0;
        foreach (Section section in sections.FindAll(s => s.Type == NeededVersions))
        {
            Section names = sections[section.Link];

            // Every entry takes room, so that a damaged chain cannot go on for longer than the section is.
            int room = section.Size / EntrySize;
            for (int i = 0, library = section.Offset; i < section.Info; i++)
            {
                int count = BitConverter.ToUInt16(file, library + 2), entry = checked(library + BitConverter.ToInt32(file, library + 8));
                for (int j = 0; j < count; j++)
                {
                    if (--room < 0 || entry < section.Offset || entry + EntrySize > section.End)
                    {
                        throw new InvalidDataException("its needed versions lie outside their section.");
                    }

                    if (Name(file, names, BitConverter.ToInt32(file, entry + 8)) == version && (BitConverter.ToUInt16(file, entry + 4) & WeakFlag) == 0)
                    {
                        flags = entry + 4;
                        index = BitConverter.ToUInt16(file, entry + 6) & 0x7fff;
                    }

                    entry = checked(entry + BitConverter.ToInt32(file, entry + 12));
                }

                if (--room < 0)
                {
                    throw new InvalidDataException("it counts more needed versions than their section holds.");
                }

                library = checked(library + BitConverter.ToInt32(file, library + 12));
            }
        }

        return flags >= 0 && !IsUsed(file, sections, index) ? flags : -1;
    }

    /// <summary>Whether a relocation refers to a symbol of the version.</summary>
    private static bool IsUsed(byte[] file, List<Section> sections, int version)
    {
        Section versions = sections.Find(section => section.Type == SymbolVersions) ?? throw new InvalidDataException("it has no versions of symbols.");
        foreach (Section section in sections)
        {
            if ((section.Type != RelocationsWithAddend && section.Type != Relocations) || section.Link == 0 || sections[section.Link].Type != DynamicSymbols)
            {
                continue;
            }

            int size = section.Type == RelocationsWithAddend ? 24 : 16;
            for (int at = section.Offset; at + size <= section.End; at += size)
            {
                int symbol = checked((int)(BitConverter.ToUInt64(file, at + 8) >> 32));
                if (symbol >= versions.Size / 2)
                {
                    throw new InvalidDataException("a relocation names a symbol that has no version.");
                }

                if (symbol != 0 && (BitConverter.ToUInt16(file, versions.Offset + (2 * symbol)) & 0x7fff) == version)
                {
                    return true;
                }
            }
        }

        return false;
    }

    private static List<Section> Sections(byte[] file)
    {
        const uint NoBytes = 8;
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
                Link = BitConverter.ToInt32(file, at + 40),
                Info = BitConverter.ToInt32(file, at + 44),
            };
            if (section.Type != NoBytes && section.Offset > file.Length - section.Size)
            {
                throw new InvalidDataException("a section lies beyond its end.");
            }

            sections.Add(section);
        }

        return sections;
    }

    private static string Name(byte[] file, Section names, int offset)
    {
        int begin = checked(names.Offset + offset), end = Array.IndexOf(file, (byte)0, begin);
        return end < 0 ? null : Encoding.ASCII.GetString(file, begin, end - begin);
    }

    private class Section
    {
        public uint Type;
        public int Offset, Size, Link, Info;

        public int End { get { return Offset + Size; } }
    }
}
