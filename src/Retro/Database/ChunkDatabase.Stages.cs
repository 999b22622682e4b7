namespace Retro.Database;

public sealed partial class ChunkDatabase
{
    /// <summary>
    /// What keeps files of later stages from being used, a sentence each; empty where all are whole as far as their sizes say, or, where that was verified,
    /// their checksums. A table of neighbors that was deleted is no fault: it counts as not made.
    /// </summary>
    public IReadOnlyList<string> Faults
        =>
        [
            .. _unusable.Values.Select(fault => $"{fault}; make it again with the stage that makes it."),
            .. Inner.SelectMany(one => one.Faults),
        ];

    /// <summary>
    /// The files that the database consists of, those of all its segments among them, and those of all databases where several are opened as one. They are
    /// called by their paths from <see cref="Folder"/>, with '/': in a folder below it lie those of a segment, and all of a database that was compacted.
    /// </summary>
    public IReadOnlyList<DatabaseFile> Files => [.. FilesFrom(Folder)];

    /// <summary>The path of a file that a later stage has registered.</summary>
    /// <param name="name">The file's name.</param>
    /// <returns>Its path in the database's folder.</returns>
    /// <exception cref="DatabaseException">No such file is registered, or it is missing or changed.</exception>
    public string RequireFile(string name) => Manifest.Find(name) is not null ? PathOf(name) : throw Lacks(name);

    /// <summary>Says why a file of a later stage is not there.</summary>
    internal DatabaseException Lacks(string name) => new(_unusable.TryGetValue(name, out string? fault)
        ? $"{fault}; make it again with the stage that makes it. The database itself is whole."
        : $"The database in '{Folder}' has no file '{name}'; run the stage that makes it first. It has "
            + $"{string.Join(", ", Manifest.Files.Select(file => file.Name))}.");

    /// <summary>Takes the right to change the folder: a stage has it from before it touches its file until the manifest knows it.</summary>
    /// <param name="what">What is to be done, for whom it keeps out.</param>
    /// <exception cref="DatabaseException">Somebody else has it, in this process or another; or the database on the disk is no longer the one
    /// opened.</exception>
    internal WriterLock Write(string what)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        RequireFolder(what);
        WriterLock writing = WriterLock.Take(_lockFolder!, what);
        try
        {
            _ = Refresh();
            if (OnDisk(writing) is { Leaving: not null } stopped) // before anything is made under a name that is to go
            {
                DatabaseFolder.CleanBesideBuild(Folder, stopped);
            }

            return writing;
        }
        catch
        {
            writing.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Makes sure that shares of later stages can be made in this database's folder, without the right to change it: what a stopped change has left goes first,
    /// or it would be taken away under the names of the new ones.
    /// </summary>
    /// <param name="what">What is to be done.</param>
    /// <exception cref="DatabaseException">Several databases are opened as one, or the database on the disk is no longer the one opened.</exception>
    internal void RequireShares(string what)
    {
        RequireFolder(what);
        if (Refresh().Leaving is not null && WriterLock.TryTake(_lockFolder!, what) is { } writing)
        {
            using (writing)
            {
                DatabaseFolder.RemoveLeaving(Folder, OnDisk(writing));
            }
        }
    }

    // Those of a changed database are its segments', and its own; those of several that are opened as one each has by itself.
    private IEnumerable<DatabaseFile> FilesFrom(string folder)
    {
        IEnumerable<DatabaseFile> own = !HasFolder ? [] : IsChanged ? Manifest.Stages : Manifest.Files;
        return
        [
            .. Inner.SelectMany(one => one.FilesFrom(folder)),
            .. Manifest.Changes?.Removed is { } removed ? [Called(removed, Path.Combine(Folder, removed.Name))] : Array.Empty<DatabaseFile>(),
            .. own.Select(file => Called(file, PathOf(file.Name))),
        ];

        DatabaseFile Called(DatabaseFile file, string path)
            => file with { Name = Path.GetRelativePath(folder, path).Replace(Path.DirectorySeparatorChar, '/') };
    }

    internal void RequireFolder(string what)
    {
        if (_lockFolder is null)
        {
            throw new DatabaseException(
                $"The database in '{Folder}' is opened as one with others, and together they have no folder to {what} in: open each by itself for that.");
        }
    }

    /// <summary>Registers a file that a later stage has completed at its place (<see cref="PathOf"/>), with its size and checksum.</summary>
    /// <param name="writing">The right to change the folder.</param>
    /// <param name="name">The file's name.</param>
    /// <param name="details">What is to be known of it, such as the embedder's identity or the index factory.</param>
    /// <param name="progress">Progress of the checksum, in bytes.</param>
    /// <param name="cancellationToken">Stops it; the manifest then stays as it was.</param>
    /// <exception cref="DatabaseException">
    /// The file cannot be read, the manifest cannot be written, or the database on the disk is no longer the one opened: the message says which.
    /// </exception>
    internal void Enter(
        WriterLock writing, string name, IReadOnlyDictionary<string, string>? details, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
        => Enter(writing, name, details, FileHash.Sha256(PathOf(name), progress, cancellationToken));

    /// <summary>Whether the manifest has a file, whole or not.</summary>
    internal bool Lists(string name) => Refresh().Find(name) is not null || _unusable.ContainsKey(name);

    /// <summary>Registers a file whose checksum was taken while it was written.</summary>
    internal void Enter(WriterLock writing, string name, IReadOnlyDictionary<string, string>? details, string sha256)
    {
        DatabaseManifest registered = OnDisk(writing);
        foreach (DatabaseFile deleted in registered.Stages.Where(file => IsDeletedTable(registered.HomeIn(Folder), file)).ToArray())
        {
            registered = registered.WithoutFile(deleted.Name);
        }

        registered = registered.WithFile(name, new FileInfo(PathOf(name)).Length, sha256, Manifest.TokensHash, details);
        registered.Save(Folder);
        _changed = [.. _changed.Where(file => file.Name != name)];
        Manifest = Usable(registered);
    }

    /// <summary>Notes what was opened of the folder, to be closed with the database where it is not before.</summary>
    internal T Opened<T>(T one)
        where T : IDisposable
    {
        lock (_opened)
        {
            if (!_disposed)
            {
                _opened.Add(one);
                return one;
            }
        }

        one.Dispose(); // nobody else would close it
        throw new ObjectDisposedException(nameof(ChunkDatabase));
    }

    /// <summary>Forgets what has been closed.</summary>
    internal void Closed(IDisposable one)
    {
        lock (_opened)
        {
            _opened.Remove(one);
        }
    }

    /// <summary>Takes over what other stages, of this process or another, have registered since the database was opened.</summary>
    /// <exception cref="DatabaseException">The database on the disk is no longer the one opened, or its manifest is damaged.</exception>
    internal DatabaseManifest Refresh()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_lockFolder is null)
        {
            return Manifest;
        }

        DatabaseManifest manifest = Usable(LoadSame());
        Manifest = manifest;
        return manifest; // whatever another thread has taken over by now
    }

    /// <summary>Whether the database on the disk is known to be another than the one opened; one that cannot be read is not.</summary>
    internal bool IsReplaced()
    {
        try
        {
            return !IsSame(DatabaseManifest.Load(Folder));
        }
        catch (DatabaseException)
        {
            return false;
        }
    }

    /// <summary>
    /// Takes a file of a later stage out of the manifest, here and on the disk, before it is replaced by one of other settings: were the process killed between
    /// the two, the manifest would say of the new file what was true of the old one.
    /// </summary>
    internal void Forget(WriterLock writing, string name)
    {
        if (OnDisk(writing) is var onDisk && onDisk.Find(name) is not null)
        {
            DatabaseManifest without = onDisk.WithoutFile(name);
            without.Save(Folder);
            Manifest = Usable(without);
        }
    }

    /// <summary>
    /// Whether a file of the manifest is a table of neighbors that was deleted: those of what a database was before stay until somebody does so, and any can be
    /// found again.
    /// </summary>
    private static bool IsDeletedTable(string folder, DatabaseFile file) => StageNames.IsTable(file.Name) && !File.Exists(Path.Combine(folder, file.Name));

    /// <summary>What keeps a file of the manifest from being used, as far as its size tells; null where nothing does.</summary>
    private static string? FaultOf(string folder, DatabaseFile file)
    {
        FileInfo info = new(Path.Combine(folder, file.Name));
        if (!info.Exists)
        {
            return $"'{info.FullName}' is missing, though the manifest lists it";
        }

        return info.Length == file.Bytes ? null : $"'{info.FullName}' has {info.Length} bytes, but the manifest says {file.Bytes}: it is truncated or changed";
    }

    /// <summary>A manifest as this database sees it: without the files of later stages that cannot be used.</summary>
    private DatabaseManifest Usable(DatabaseManifest onDisk)
    {
        DatabaseManifest manifest = Seen(onDisk);
        Dictionary<string, string> unusable = new(StringComparer.Ordinal);
        DatabaseFile[] own =
        [
            .. manifest.Stages
                // The others belong to the first segment alone, or to all together.
                .Where(file => onDisk.Changes is null || file.MadeFrom == manifest.TokensHash)
                .Where(file => !IsDeletedTable(manifest.HomeIn(Folder), file)),
        ];
        foreach (DatabaseFile file in own)
        {
            string? fault = _changed.Contains((file.Name, file.Sha256))
                ? $"The content of '{Path.Combine(manifest.HomeIn(Folder), file.Name)}' does not have the checksum that the manifest says, {file.Sha256}"
                : file.MadeFrom != manifest.TokensHash
                    ? $"'{file.Name}' in '{Folder}' was made from tokens with checksum {file.MadeFrom ?? "(none)"}, but the database's tokens have "
                        + $"{manifest.TokensHash}"
                : FaultOf(manifest.HomeIn(Folder), file);
            if (fault is not null)
            {
                unusable[file.Name] = fault;
            }
        }

        _unusable = unusable;
        return manifest with { Files = [.. manifest.Files.Except(manifest.Stages), .. own.Where(file => !unusable.ContainsKey(file.Name))] };
    }

    /// <summary>A segment sees nothing of the changes; a database of several counts what was not removed from any.</summary>
    private DatabaseManifest Seen(DatabaseManifest onDisk)
        => _live is null
            ? onDisk with { Changes = null }
            : onDisk with
            {
                DocumentCount = _live.Count,
                ChunkCount = _live.ChunkCount,
                TokenCount = _live.TokenCount,
                ByteCount = _live.ByteCount,
                EmptyDocuments = Segments.Sum(segment => segment.Manifest.EmptyDocuments),
            };

    // The manifest to be changed: nobody else changes it while the right to is held.
    private DatabaseManifest OnDisk(WriterLock writing)
    {
        ArgumentNullException.ThrowIfNull(writing);
        ObjectDisposedException.ThrowIf(_disposed, this);
        return LoadSame();
    }

    private bool IsSame(DatabaseManifest onDisk) => Seen(onDisk).HasDocumentsOf(Manifest);

    private DatabaseManifest LoadSame()
    {
        if (_lockFolder is { } whole && whole != Folder && !File.Exists(Path.Combine(Folder, DatabaseManifest.FileName)))
        {
            _ = DatabaseManifest.Load(whole); // or it is that which is missing
            throw new DatabaseException(
                $"The database in '{whole}' was built anew or changed since it was opened, and its segment in '{Folder}' is no more; open it again.");
        }

        DatabaseManifest onDisk = DatabaseManifest.Load(Folder);
        if (IsSame(onDisk))
        {
            return onDisk;
        }

        string tokens = Seen(onDisk).TokensHash;
        throw new DatabaseException(
            $"The database in '{Folder}' was opened with tokens of checksum {Manifest.TokensHash}, and was built anew or changed since and has "
                + $"{(tokens == Manifest.TokensHash ? "the same of other documents, or in other files" : tokens)}; open it again.");
    }
}
