using Retro.Corpora;

namespace Retro.Database;

/// <summary>
/// All shares of a corpus's tokens, for the build that joins them: it reads the documents once more, and takes their tokens from here in place of encoding
/// them. A text that is not the one that was encoded is a fault.
/// </summary>
internal sealed class TokenShares : IDisposable
{
    private readonly TokenShare[] _shares;
    private long _next;

    private TokenShares(TokenShare[] shares) => _shares = shares;

    /// <summary>Opens all shares in a database's folder; null where there is none.</summary>
    /// <exception cref="DatabaseException">One is missing or unfinished, or was made with other settings.</exception>
    public static TokenShares? Open(string folder, BuildSettings settings)
    {
        string path = PathIn(folder);
        List<TokenShare> shares = [];
        try
        {
            foreach (WorkShare share in ShareName.Finished(path))
            {
                shares.Add(TokenShare.Open(ShareName.PathOf(path, share), settings, share));
            }

            return shares.Count == 0 ? null : new([.. shares]);
        }
        catch
        {
            shares.ForEach(share => share.Dispose());
            throw;
        }
    }

    /// <summary>Removes the shares in a database's folder, once nothing needs them any more.</summary>
    public static void Remove(string folder) => ShareName.Remove(PathIn(folder));

    /// <summary>The names of the shares in a database's folder.</summary>
    public static string[] Names(string folder)
        => [.. ShareName.Near(PathIn(folder)).Select(share => Path.GetFileName(ShareName.PathOf(PathIn(folder), share)))];

    /// <summary>Bytes that shares take in a folder, whole or not.</summary>
    public static long BytesIn(string folder)
        => Names(folder).SelectMany(name => (string[])[name, name + ShareName.PartSuffix])
            .Select(name => new FileInfo(Path.Combine(folder, name)))
            .Where(file => file.Exists)
            .Sum(file => file.Length);

    /// <summary>Encodes a share of a corpus, where it is not there and whole.</summary>
    /// <param name="folder">The folder of the database that is to be.</param>
    /// <param name="documents">The whole corpus; enumerated more than once.</param>
    /// <param name="settings">Those of the database.</param>
    /// <param name="share">The share.</param>
    /// <param name="options">How much is written at once.</param>
    /// <param name="prepare">Hashes documents, and encodes them where that is asked for.</param>
    /// <param name="progress">Receives the number of documents of the share done.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run goes on there.</param>
    /// <exception cref="DatabaseException">Another process makes the same share, or it cannot be written.</exception>
    public static void Make(
        string folder,
        IEnumerable<Document> documents,
        BuildSettings settings,
        WorkShare share,
        ChunkDatabaseOptions options,
        Func<List<Document>, bool, PreparedDocument[]> prepare,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        string path = ShareName.PathOf(PathIn(folder), share), part = path + ShareName.PartSuffix;
        IEnumerable<Document> own = Own(documents, share);
        using FileStream held = ShareName.Hold(path);
        using (BlockReader reader = new(own, options))
        {
            if (GoOver(path, settings, share, reader, prepare, progress, cancellationToken) is { IsAll: true })
            {
                return;
            }
        }

        using (BlockReader reader = new(own, options))
        {
            (long end, List<Document> pending, _) = GoOver(part, settings, share, reader, prepare, progress, cancellationToken);
            using FileStream stream = Open(part, end == 0 ? TokenShare.Header(settings, share) : null, end);
            for (List<Document> block = pending.Count > 0 ? pending : reader.Next(null); block.Count > 0; block = reader.Next(null))
            {
                cancellationToken.ThrowIfCancellationRequested();
                Append(stream, prepare(block, true));
                progress?.Report(new StageProgress(ChunkDatabaseBuilder.EncodeStage, reader.Count, 0));
            }

            Append(stream, []);
        }

        AtomicFile.Guard(path, DatabaseException.Of, () => AtomicFile.Move(part, path));
    }

    /// <summary>Passes over the documents before a number.</summary>
    public void SkipTo(long number)
    {
        for (; _next < number; _next++)
        {
            _shares[_next % _shares.Length].Next();
        }
    }

    /// <summary>The tokens of the next document.</summary>
    /// <exception cref="DatabaseException">The share that has it was made of another text, or is damaged.</exception>
    public PreparedDocument Take(PreparedDocument document)
    {
        TokenShare share = _shares[_next % _shares.Length];
        (byte[] contentHash, int[] ids) = share.Next();
        if (!contentHash.AsSpan().SequenceEqual(document.ContentHash))
        {
            string checksum = Convert.ToHexStringLower(document.ContentHash);
            throw Other(share, $"document {_next} of this one, '{document.Document.Id}', has a text of checksum {checksum}, "
                + (contentHash.Length == 0 ? "and the share ends before it" : $"and that of the share {Convert.ToHexStringLower(contentHash)}"));
        }

        _next++;
        return document with { Ids = ids };
    }

    /// <summary>Makes sure that the shares have no documents beyond those that were taken.</summary>
    /// <exception cref="DatabaseException">One has.</exception>
    public void End()
    {
        foreach (TokenShare share in _shares)
        {
            if (share.Next().ContentHash.Length > 0)
            {
                throw Other(share, $"this one ends after {_next} documents, and the share goes on");
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Array.ForEach(_shares, share => share.Dispose());

    private static DatabaseException Other(TokenShare share, string how)
        => new($"The share '{share.Path}' was made of another corpus: {how}. Make it again of this corpus, or delete it together with the others.");

    private static FileStream Open(string path, byte[]? header, long end)
    {
        FileStream? stream = null;
        AtomicFile.Guard(path, DatabaseException.Of, () =>
        {
            stream = new(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1 << 20);
            stream.SetLength(end);
            stream.Position = end;
            stream.Write(header);
        });
        return stream!;
    }

    private static void Append(FileStream stream, PreparedDocument[] block) => AtomicFile.Guard(stream.Name, DatabaseException.Of, () =>
    {
        TokenShare.WriteBlock(stream, block);
        stream.Flush(flushToDisk: true);
    });

    private static string PathIn(string folder) => Path.Combine(folder, DatabaseManifest.TokensFileOf(0));

    private static IEnumerable<Document> Own(IEnumerable<Document> documents, WorkShare share)
    {
        long number = 0;
        foreach (Document document in documents)
        {
            if (number++ % share.Count == share.Index - 1)
            {
                yield return document;
            }
        }
    }

    /// <summary>
    /// Compares what a file has with the documents: where its last block that is theirs ends, those of the next one that were read already, and whether it is
    /// all of them.
    /// </summary>
    private static (long End, List<Document> Pending, bool IsAll) GoOver(
        string path,
        BuildSettings settings,
        WorkShare share,
        BlockReader reader,
        Func<List<Document>, bool, PreparedDocument[]> prepare,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        if (!File.Exists(path) || FileIdentity.IsLink(path))
        {
            File.Delete(path); // a link: what it leads to is not ours to write
            return (0, [], false);
        }

        TokenShare there;
        try
        {
            there = TokenShare.Open(path, settings, share);
        }
        catch (DatabaseException)
        {
            return (0, [], false); // made with other settings, or nothing of ours: making it replaces it
        }

        using (there)
        {
            long end = there.End;
            while (there.NextBlock() is { } count)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (count == 0)
                {
                    List<Document> more = reader.Next(null);
                    return (end, more, more.Count == 0);
                }

                List<Document> block = reader.Next((int)Math.Min(count, int.MaxValue));
                if (block.Count < count || !prepare(block, false).All(document => there.Next().ContentHash.AsSpan().SequenceEqual(document.ContentHash)))
                {
                    return (end, block, false);
                }

                end = there.End;
                progress?.Report(new StageProgress(ChunkDatabaseBuilder.EncodeStage, reader.Count, 0));
            }

            return (end, [], false);
        }
    }
}
