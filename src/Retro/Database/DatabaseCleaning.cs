using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Retro.Corpora;

namespace Retro.Database;

/// <summary>
/// Which lines the cleaning took out of a database's documents because many had them (<see cref="CleaningStep.RepeatedLines"/>): of documents that are added
/// later, those go that many had of what is there, and not those alone that many have of what is added. In lines.bin, beside the tokens of each segment: 8
/// bytes "RETROLIN", int32 version, int32 lines, then half a SHA-256 of each, ascending; all little-endian.
/// </summary>
public static class DatabaseCleaning
{
    private const int Version = 1, HeadBytes = 16;

    private static ReadOnlySpan<byte> Magic => "RETROLIN"u8;

    /// <summary>
    /// Keeps the lines that a cleaning took out with the database that it was done for, once that is built; a change keeps its own
    /// (<see cref="ChunkDatabaseUpdate"/>).
    /// </summary>
    /// <param name="database">The database.</param>
    /// <param name="cleaning">The cleaning.</param>
    /// <exception cref="DatabaseException">The file cannot be written, or what is there is damaged; or several databases are opened as one.</exception>
    public static void Save(ChunkDatabase database, CorpusCleaning cleaning)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(cleaning);
        database.RequireFolder("keep lines");
        Write(database, Gone(cleaning));
    }

    /// <summary>
    /// Keeps the lines that the cleaning of a change took out, and those of the segments that the change leaves out, where the others do not have them: with
    /// the segment that it adds, or else with the first, which stays. Before the change is made, so that no moment knows fewer.
    /// </summary>
    /// <param name="writing">The right to change the database.</param>
    /// <param name="database">The database, as it is before the change.</param>
    /// <param name="cleaning">The cleaning of what is added; null: none.</param>
    /// <param name="leaving">The segments that it leaves out.</param>
    /// <param name="made">The segment that it adds; null: none.</param>
    /// <exception cref="DatabaseException">The lines cannot be written, or what is there is damaged or lost.</exception>
    internal static void Keep(
        WriterLock writing, ChunkDatabase database, CorpusCleaning? cleaning, IReadOnlyList<ChunkDatabase> leaving, ChunkDatabase? made)
    {
        HashSet<UInt128> lines = [.. cleaning is null ? [] : Gone(cleaning), .. Read(leaving)];
        if (lines.Count == 0)
        {
            return; // what stays need not be read
        }

        HashSet<UInt128> known = Read(database.Segments.Except(leaving));
        if (!lines.IsSubsetOf(known))
        {
            Write(writing, made ?? database.Segments[0], [.. known, .. lines]);
        }
    }

    /// <summary>Makes a cleaning take out of documents that are to be added to a database the lines that are kept with it.</summary>
    /// <param name="database">The database.</param>
    /// <param name="cleaning">The cleaning.</param>
    /// <exception cref="DatabaseException">The lines are damaged.</exception>
    internal static void Load(ChunkDatabase database, CorpusCleaning cleaning)
    {
        HashSet<UInt128> lines = Read(database.Segments);
        foreach (RepeatedLineStep step in cleaning.LineSteps)
        {
            step.Known = lines;
        }
    }

    /// <summary>Takes over the lines of a database that has the same documents.</summary>
    internal static void Copy(ChunkDatabase from, ChunkDatabase to) => Write(to, Read(from.Segments));

    private static HashSet<UInt128> Gone(CorpusCleaning cleaning) => [.. cleaning.LineSteps.SelectMany(step => step.Gone)];

    private static void Write(ChunkDatabase database, HashSet<UInt128> lines)
    {
        HashSet<UInt128> known = Read(database.Segments);
        if (!lines.IsSubsetOf(known))
        {
            ChunkDatabase segment = database.Segments[^1];
            using WriterLock writing = segment.Write("keep lines");
            Write(writing, segment, [.. known, .. lines]);
        }
    }

    // The lines of a change lie in its segment, which has those of before, too: the files of another one stay as they are.
    private static void Write(WriterLock writing, ChunkDatabase segment, HashSet<UInt128> lines)
    {
        segment.Forget(writing, StageNames.Lines);
        AtomicFile.Write(
            segment.PathOf(StageNames.Lines),
            stream =>
            {
                Span<byte> head = stackalloc byte[HeadBytes];
                Magic.CopyTo(head);
                BinaryPrimitives.WriteInt32LittleEndian(head[8..], Version);
                BinaryPrimitives.WriteInt32LittleEndian(head[12..], lines.Count);
                stream.Write(head);
                stream.Write(MemoryMarshal.AsBytes<UInt128>(lines.Order().ToArray()));
            },
            DatabaseException.Of);
        segment.Enter(writing, StageNames.Lines, null, null, CancellationToken.None);
    }

    private static HashSet<UInt128> Read(IEnumerable<ChunkDatabase> segments)
    {
        HashSet<UInt128> lines = [];
        foreach (ChunkDatabase segment in segments)
        {
            // Nothing makes it again, as it does other stages: what lies there is read whether the manifest has it by now or not, and one that is lost is said.
            string path = segment.PathOf(StageNames.Lines);
            if (!File.Exists(path))
            {
                if (segment.Lists(StageNames.Lines))
                {
                    throw new DatabaseException($"'{path}', the lines that the cleaning took out, is missing: put it back, or build the database again.");
                }

                continue;
            }

            using MappedFile file = MappedFile.Open(path);
            ReadOnlySpan<byte> head = file.Length < HeadBytes ? [] : file.Values<byte>(0, HeadBytes);
            int count = head.StartsWith(Magic) && BinaryPrimitives.ReadInt32LittleEndian(head[8..]) == Version
                ? BinaryPrimitives.ReadInt32LittleEndian(head[12..])
                : -1;
            if (count < 0 || file.Length != HeadBytes + ((long)count * HeadBytes))
            {
                throw new DatabaseException($"'{path}' holds no lines of a cleaning: it is damaged; build the database again.");
            }

            foreach (UInt128 line in file.Values<UInt128>(HeadBytes, count))
            {
                lines.Add(line);
            }
        }

        return lines;
    }
}
