namespace Retro.Database;

public sealed partial class ChunkDatabase
{
    /// <summary>
    /// Opens a database. The manifest and the size of every file are always checked. What later stages made never keeps a database from opening: of their
    /// files, those that do not match are not listed in <see cref="Manifest"/>.
    /// </summary>
    /// <param name="folder">The database's folder.</param>
    /// <param name="verify">Whether to check the content too: the checksum of every file and every token (reads the whole database).</param>
    /// <param name="progress">Progress of verifying, in bytes.</param>
    /// <param name="cancellationToken">Stops verifying.</param>
    /// <returns>The database; dispose it.</returns>
    /// <exception cref="DatabaseException">
    /// It is missing, unfinished or of another format, or its documents or tokens are damaged; the message says which file, and what was expected and found.
    /// </exception>
    public static ChunkDatabase Open(
        string folder, bool verify = false, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        folder = Path.GetFullPath(folder); // later stages are looked for as long as it is open, wherever the process goes meanwhile
        DatabaseManifest manifest = DatabaseManifest.Load(folder);
        while (true)
        {
            try
            {
                return Open(folder, manifest, verify, progress, cancellationToken);
            }
            catch (DatabaseException) when (DatabaseManifest.Load(folder) is var now && !now.IsOf(manifest))
            {
                // Built anew or changed meanwhile: the files looked for were those of the version before.
                manifest = now;
            }
        }
    }

    /// <summary>
    /// Opens several databases as one for reading, as <see cref="Open(string, bool, IProgress{StageProgress}, CancellationToken)"/> opens each: its documents
    /// and chunks are numbered one database after the other. Sources over it use the indexes that each has, that of all its segments where there is one. It has
    /// no folder of its own, so that nothing can be made in it, and a document that stands in several of them comes several times.
    /// </summary>
    /// <param name="folders">The databases' folders.</param>
    /// <param name="verify">Whether to check the content too.</param>
    /// <param name="progress">Progress of verifying, in bytes.</param>
    /// <param name="cancellationToken">Stops verifying.</param>
    /// <returns>The database; dispose it.</returns>
    /// <exception cref="ArgumentException">No folder is named, or one twice.</exception>
    /// <exception cref="DatabaseException">One cannot be opened, or they were made with different tokenizers or chunk lengths, which are named.</exception>
    public static ChunkDatabase Open(
        IReadOnlyList<string> folders, bool verify = false, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(folders);
        if (folders.Count == 0 || folders.Select(DatabaseFolder.IdentityOf).Distinct(StringComparer.Ordinal).Count() < folders.Count)
        {
            throw new ArgumentException(
                $"Name at least one database, and each once, whatever paths lead to it; named are {folders.Count}: '{string.Join("', '", folders)}'.",
                nameof(folders));
        }

        List<ChunkDatabase> parts = [];
        try
        {
            foreach (string folder in folders)
            {
                parts.Add(Open(folder, verify, progress, cancellationToken));
                BuildSettings first = parts[0].Manifest.Settings;
                if (parts[^1].Manifest.Settings.DifferencesTo(first with { Cleaning = parts[^1].Manifest.Cleaning }) is { Count: > 0 } differences)
                {
                    throw new DatabaseException(
                        $"The databases in '{folder}' and '{folders[0]}' cannot be opened as one ({string.Join("; ", differences)}): build them with one "
                            + "tokenizer and chunk length.");
                }
            }

            return parts.Count == 1
                ? parts[0]
                : new(
                    parts[0].Folder,
                    null,
                    DatabaseManifest.Joint([.. parts.Select(part => part.Manifest with { CorpusHash = part.CorpusHash })]),
                    [.. parts.SelectMany(part => part.Segments)],
                    [.. parts.SelectMany(part => part.Removed)],
                    parts);
        }
        catch
        {
            parts.ForEach(part => part.Dispose());
            throw;
        }
    }

    private static ChunkDatabase Open(
        string folder, DatabaseManifest manifest, bool verify, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        List<ChunkDatabase> segments = [];
        try
        {
            segments.Add(OpenSegment(folder, folder, manifest));
            foreach (DatabaseSegment segment in manifest.Changes?.Segments ?? [])
            {
                string path = Path.Combine(folder, DatabaseChanges.FolderOf(segment.Number));
                DatabaseManifest own = DatabaseManifest.Load(path);
                if (own.TokensHash != segment.TokensHash || own.Settings.DifferencesTo(manifest.Settings) is { Count: > 0 })
                {
                    throw new DatabaseException(
                        $"The segment in '{path}' has tokens of checksum {own.TokensHash}, but the database's manifest says {segment.TokensHash}: it is "
                            + "damaged or belongs to another database; build the database again.");
                }

                segments.Add(OpenSegment(path, folder, own));
            }

            ChunkDatabase database = manifest.Changes is null
                ? segments[0]
                : new(folder, folder, manifest, segments, RemovedDocuments.Read(folder, manifest.Changes.Removed, segments));
            if (verify)
            {
                database.Verify(progress, cancellationToken);
            }

            return database;
        }
        catch
        {
            segments.ForEach(segment => segment.Dispose());
            throw;
        }
    }

    private static ChunkDatabase OpenSegment(string folder, string lockFolder, DatabaseManifest manifest)
    {
        foreach (DatabaseFile file in manifest.Files.Except(manifest.Stages))
        {
            if (FaultOf(manifest.HomeIn(folder), file) is { } fault)
            {
                throw new DatabaseException($"{fault}; build the database again.");
            }
        }

        MappedFile tokens = TokenFile.Open(folder, manifest);
        DocumentTable? documents = null;
        try
        {
            documents = DocumentTable.Open(folder, manifest);
            return new(folder, lockFolder, manifest, tokens, documents);
        }
        catch
        {
            documents?.Dispose();
            tokens.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Makes sure that tokens and documents have their checksums. Whoever writes them anew asks first: what was damaged would have a checksum of its own then.
    /// </summary>
    /// <exception cref="DatabaseException">One has another.</exception>
    internal void RequireWhole(IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        foreach (ChunkDatabase segment in Segments)
        {
            foreach (DatabaseFile file in segment.Manifest.Files.Except(segment.Manifest.Stages))
            {
                string path = segment.PathOf(file.Name);
                if (FileHash.Sha256(path, progress, cancellationToken) is var found && found != file.Sha256)
                {
                    throw new DatabaseException(
                        $"'{path}' has checksum {found}, but the manifest says {file.Sha256}: it was changed; build the database again.");
                }
            }
        }
    }

    private void Verify(IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        if (_live is not null)
        {
            foreach (ChunkDatabase segment in Segments)
            {
                segment.Verify(progress, cancellationToken);
            }
        }
        else
        {
            RequireWhole(progress, cancellationToken);
        }

        foreach (DatabaseFile file in Manifest.Stages)
        {
            string? found = null;
            try
            {
                found = FileHash.Sha256(PathOf(file.Name), progress, cancellationToken);
            }
            catch (DatabaseException)
            {
                // One that cannot be read costs its stage, as a changed one does.
            }

            if (found != file.Sha256)
            {
                _changed.Add((file.Name, file.Sha256));
            }
        }

        _ = Refresh(); // of the disk's manifest: what opening left out of ours is a fault still
        if (_live is not null)
        {
            return;
        }

        // The checksums hold, so the database is as it was built; this finds a tokenizer that gave ids beyond its own vocabulary.
        using SharedHandle.Held held = HoldTokens();
        for (long chunk = 0; chunk < ChunkCount; chunk++)
        {
            if ((chunk & 0xfff) == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress?.Report(new StageProgress("check tokens", chunk, ChunkCount));
            }

            // Reading a chunk checks it.
            _ = Row(chunk, ChunkLength);
        }

        for (int document = 0; document < _documents!.Count; document++)
        {
            // Decoding an entry checks it.
            _ = _documents[document];
        }
    }
}
