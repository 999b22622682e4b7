using System.Globalization;

namespace Retro.Database;

/// <summary>What belongs to a database in its folder, and what builds and changes that were stopped, or done, have left beside it.</summary>
internal static class DatabaseFolder
{
    private const string Temporary = AtomicFile.TemporarySuffix;

    /// <summary>Names a folder: paths to one have one name, by links too. Where none is there, the path stands for it.</summary>
    public static string IdentityOf(string folder)
    {
        string path = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        return Directory.Exists(path) ? FileIdentity.Of(path) : path;
    }

    /// <summary>Whether something lies there that no manifest names.</summary>
    public static bool HasLeftOvers(string folder, DatabaseManifest manifest)
        => manifest.Leaving is not null || BuildFolder.IsThere(folder) || File.Exists(CopiedManifest(folder, manifest))
            || Files(folder, manifest).Any() || Segments(folder, manifest).Any();

    /// <summary>
    /// Removes it, once the manifest stands: the folder of a build, tokens and documents of other versions, segments and lists of what was removed of other
    /// changes, and what the manifest says is of no use any more. Whoever does it has the right to write. What somebody has open on a system that does not
    /// delete such files stays: nothing depends on it, its name is not used again, and the next change tries again.
    /// </summary>
    /// <returns>The manifest, as it stands then.</returns>
    public static DatabaseManifest Clean(string folder, DatabaseManifest manifest)
    {
        BuildFolder.TryDelete(folder);
        string[] others = [.. Files(folder, manifest).Select(name => Path.Combine(folder, name)), CopiedManifest(folder, manifest)];
        Array.ForEach(others, AtomicFile.TryDelete);
        manifest = RemoveLeaving(folder, manifest);
        Array.ForEach([.. Segments(folder, manifest)], TryDelete);
        return manifest;
    }

    /// <summary>
    /// The same by the manifest on the disk, after what was to be done is done, or has failed: whether anything could be removed, or the manifest be written
    /// that no longer names it, changes nothing about that.
    /// </summary>
    public static void TryClean(string folder)
    {
        try
        {
            Clean(folder, DatabaseManifest.Load(folder));
        }
        catch (Exception exception) when (exception is DatabaseException or IOException or UnauthorizedAccessException)
        {
            // The next change tries again.
        }
    }

    /// <summary>
    /// <see cref="Clean"/> where nothing is changed. A build that is not finished is nothing that a change has left, and may be going to replace the database:
    /// beside one goes what the manifest says is of no use any more, and nothing else.
    /// </summary>
    /// <returns>The manifest, as it stands then.</returns>
    public static DatabaseManifest CleanBesideBuild(string folder, DatabaseManifest manifest)
        => BuildFolder.IsThere(folder) ? RemoveLeaving(folder, manifest) : Clean(folder, manifest);

    /// <summary>Removes what the manifest says is of no use any more, and, once, what was begun of it. Whoever does it has the right to write.</summary>
    /// <returns>The manifest, as it stands then.</returns>
    public static DatabaseManifest RemoveLeaving(string folder, DatabaseManifest manifest)
    {
        if (manifest.Leaving is null)
        {
            return manifest;
        }

        string[] leaving = [.. manifest.Leaving.Where(path => FileIdentity.LinkTo(folder, path) is null)];
        foreach (string path in leaving.Except(manifest.Remaining ?? [], StringComparer.Ordinal).Select(path => Path.Combine(folder, path)))
        {
            ShareName.Delete(path);
            if (!DatabaseManifest.IsBaseName(Path.GetFileName(path))) // shares of tokens are of a database that is to be
            {
                ShareName.Remove(path);
            }
        }

        // Where somebody has one open on a system that does not delete such files, the next change tries again.
        Array.ForEach(leaving, path => AtomicFile.TryDelete(Path.Combine(folder, path)));
        string[] remaining = [.. leaving.Where(path => File.Exists(Path.Combine(folder, path)))];
        manifest = manifest with { Leaving = remaining.Length == 0 ? null : remaining, Remaining = remaining.Length == 0 ? null : remaining };
        manifest.Save(folder);
        return manifest;
    }

    /// <summary>
    /// The manifest that takes the place of another one and does without its tokens: it says which files that leaves behind, what was begun of later stages and
    /// is not listed among them, whole or in shares.
    /// </summary>
    /// <param name="folder">The database's folder.</param>
    /// <param name="before">The manifest before; null: there is none that can be read.</param>
    /// <param name="after">The one that takes its place.</param>
    public static DatabaseManifest InPlaceOf(string folder, DatabaseManifest? before, DatabaseManifest after)
        => after.After(before is null ? null : before with { Leaving = [.. before.Leaving ?? [], .. Unlisted(folder, before)], Remaining = null });

    /// <summary>Refuses to write over a file that has the name of one of a database's from somebody else.</summary>
    /// <param name="folder">The database's folder.</param>
    /// <param name="name">The file that is to be written.</param>
    /// <exception cref="DatabaseException">There is such a file.</exception>
    public static void RequireFree(string folder, string name)
    {
        string path = Path.Combine(folder, name);
        if (Path.Exists(path) && !IsOwn(path))
        {
            throw new DatabaseException($"'{path}' is no file of a database's, and one would take its place: choose another folder, or move it away.");
        }
    }

    // Beside the manifest: where its files lie elsewhere, that place goes as a whole. Of what is whole and not listed, the name alone does not say whose it is.
    private static IEnumerable<string> Unlisted(string folder, DatabaseManifest manifest)
        => Directory.EnumerateFiles(folder)
            .Select(path => ShareName.WholeOf(Path.GetFileName(path)))
            .Distinct(StringComparer.Ordinal)
            .Except(manifest.Paths, StringComparer.Ordinal)
            .Where(name => StageNames.IsOne(name) && Path.Combine(folder, name) is var path && (!Path.Exists(path) || IsOwn(path)));

    // The lock goes last, when nothing else is left: by it the next change knows whose the folder is.
    private static void TryDelete(string segment)
    {
        try
        {
            Array.ForEach([.. Directory.GetFiles(segment).Where(path => Path.GetFileName(path) != WriterLock.FileName)], AtomicFile.TryDelete);
            foreach (string path in Directory.GetDirectories(segment))
            {
                Directory.Delete(path, recursive: true);
            }

            if (Directory.GetFileSystemEntries(segment).All(path => Path.GetFileName(path) == WriterLock.FileName))
            {
                Directory.Delete(segment, recursive: true);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // A folder in it, or itself; as with its files.
        }
    }

    // A segment was built as a database of its own; the manifest beside the segments counts.
    private static string CopiedManifest(string folder, DatabaseManifest manifest)
        => Path.Combine(folder, DatabaseChanges.FolderOf(manifest.Home), DatabaseManifest.FileName);

    private static IEnumerable<string> Kept(DatabaseManifest manifest)
        => (manifest.Home == 0 ? manifest.Files.Select(file => file.Name) : []).Concat(manifest.Changes?.Removed is { } removed ? [removed.Name] : []);

    private static IEnumerable<string> Files(string folder, DatabaseManifest manifest)
        => Directory.EnumerateFiles(folder)
            .Select(path => Path.GetFileName(path))
            .Where(name => DatabaseManifest.IsBaseName(name.EndsWith(Temporary, StringComparison.Ordinal) ? name[..^Temporary.Length] : name))
            .Except(Kept(manifest), StringComparer.Ordinal)
            .Where(name => IsOwn(Path.Combine(folder, name)));

    /// <summary>
    /// Whether a file begins as those of a database do, and those of its stages but for vector indexes: what only has the name of one is not ours to remove.
    /// </summary>
    private static bool IsOwn(string path)
    {
        try
        {
            FileIdentity.RequireFile(path);
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1);
            Span<byte> start = stackalloc byte["RETRO"u8.Length];
            return file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false) == start.Length && start.SequenceEqual("RETRO"u8);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static IEnumerable<string> Segments(string folder, DatabaseManifest manifest)
    {
        string path = Path.Combine(folder, DatabaseChanges.SegmentsFolder);
        string[] kept = [.. (manifest.Changes?.Segments.Select(segment => segment.Number) ?? []).Append(manifest.Home).Select(
            number => number.ToString(CultureInfo.InvariantCulture))];
        return Directory.Exists(path) && !FileIdentity.IsLink(path)
            ? Directory.EnumerateDirectories(path).Where(segment => IsBuilt(segment) && !kept.Contains(Path.GetFileName(segment)))
            : [];

        // A folder that has its name from somebody else, or leads elsewhere, is not ours to remove: whoever builds a segment locks it first.
        static bool IsBuilt(string segment) => Path.GetFileName(segment).All(char.IsAsciiDigit) && !FileIdentity.IsLink(segment)
            && (File.Exists(Path.Combine(segment, WriterLock.FileName)) || !Directory.EnumerateFileSystemEntries(segment).Any());
    }
}
