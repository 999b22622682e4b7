using System.Security.Cryptography;
using Retro.Corpora;
using Retro.Tokenizers;

namespace Retro.Database;

/// <summary>
/// Builds a database of chunks from documents. It is written in blocks, so that a build stopped or killed at any moment goes on from the last
/// whole block when it is run again over the same documents, and ends with the same bytes as one that was never stopped. Where it replaces a database, that one
/// is used until the new one is whole. Several machines on one storage can encode a share of the documents each
/// (<see cref="BuildShare(string, IEnumerable{Document}, RetroTokenizer, WorkShare, ChunkDatabaseOptions, IProgress{StageProgress}, CancellationToken)"/>).
/// </summary>
public static class ChunkDatabaseBuilder
{
    /// <summary>What encoding is called in reports.</summary>
    internal const string EncodeStage = "encode documents";

    /// <summary>
    /// Builds a database, goes on with an unfinished one, or opens the one that is there if it was made of the same documents with the same settings.
    /// </summary>
    /// <param name="folder">The database's folder; created where it is missing.</param>
    /// <param name="documents">The documents, each with an id of its own; enumerated more than once, and the same each time.</param>
    /// <param name="tokenizer">Makes the tokens; used by several threads at once.</param>
    /// <param name="options">Chunk length and more; the defaults where null.</param>
    /// <param name="progress">Stage "encode documents" in documents (their total is not known), then the checks in bytes.</param>
    /// <param name="cancellationToken">Stops it; what was done stays for the next run.</param>
    /// <returns>The database, open; dispose it.</returns>
    /// <exception cref="DatabaseException">The folder holds a database of other settings or another corpus, two documents have one id, or the disk is full or
    /// not writable.</exception>
    /// <exception cref="CorpusException">The documents have too little text for one chunk.</exception>
    /// <exception cref="RetroOptionsException">An option makes no sense.</exception>
    public static ChunkDatabase Build(
        string folder,
        IEnumerable<Document> documents,
        RetroTokenizer tokenizer,
        ChunkDatabaseOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        return Build(folder, documents, TokenizerFacts.Of(tokenizer), options, progress, cancellationToken);
    }

    internal static ChunkDatabase Build(
        string folder,
        IEnumerable<Document> documents,
        TokenizerFacts tokenizer,
        ChunkDatabaseOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
        => Build(folder, documents, tokenizer, options, isSegment: false, progress, cancellationToken)!;

    /// <summary>Builds a segment of a database, which may be as short as it likes; null where none of the documents has a token.</summary>
    internal static ChunkDatabase? BuildSegment(
        string folder,
        IEnumerable<Document> documents,
        TokenizerFacts tokenizer,
        ChunkDatabaseOptions options,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
        => Build(folder, documents, tokenizer, options, isSegment: true, progress, cancellationToken);

    private static ChunkDatabase? Build(
        string folder,
        IEnumerable<Document> documents,
        TokenizerFacts tokenizer,
        ChunkDatabaseOptions? options,
        bool isSegment,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(documents);
        folder = Path.GetFullPath(folder);
        options ??= new ChunkDatabaseOptions();
        options.Validate();
        BuildSettings settings = BuildSettings.Of(tokenizer, options);
        while (true)
        {
            byte[]? seen = DatabaseManifest.Read(folder);
            DatabaseManifest? there = null;
            if (seen is not null)
            {
                (ChunkDatabase? finished, there) = OpenFinished(folder, documents, settings, options, progress, cancellationToken);
                if (finished is not null)
                {
                    return finished;
                }
            }

            using WriterLock writing = WriterLock.Take(folder, "build the database");
            if (!seen.AsSpan().SequenceEqual(DatabaseManifest.Read(folder)))
            {
                continue; // another has built here between the question and the right to write
            }

            int version = there is null ? 0 : there.Version + 1;
            using (BuildFolder work = BuildFolder.Open(folder, version, settings, options.StartOver, progress, cancellationToken))
            using (EarlierTokens? earlier = EarlierTokens.Open(folder, there, settings, progress, cancellationToken))
            {
                string corpusHash;
                Lazy<TokenShares?> shares = new(() => TokenShares.Open(folder, settings));
                try
                {
                    corpusHash = EncodeAll(folder, work, documents, tokenizer, shares, earlier, options, progress, cancellationToken);
                }
                finally
                {
                    (shares.IsValueCreated ? shares.Value : null)?.Dispose();
                }

                TokenShares.Remove(folder); // what they hold is in the unfinished database, block by block
                if (isSegment && work.Blocks.All(block => block.Tokens == 0))
                {
                    work.Dispose();
                    BuildFolder.TryDelete(folder);
                    return null;
                }

                Save(folder, work.Finish(corpusHash, isSegment ? 1 : settings.ChunkLength, progress, cancellationToken), there, progress);
            }

            DatabaseFolder.TryClean(folder);
            return ChunkDatabase.Open(folder, cancellationToken: cancellationToken);
        }
    }

    /// <summary>
    /// Encodes a share of the documents of a database that is to be, for several machines or processes at once on one storage: a file of its own in the
    /// folder (<c>tokens.3-of-8.bin</c>), in blocks, resumable. Each goes through the whole corpus, which has to be the same for all, and encodes every n-th
    /// document. When all shares are there, a build of the same documents takes the tokens from them in place of encoding the documents, and removes them; its
    /// files are those of a build without shares, byte for byte.
    /// </summary>
    /// <param name="folder">The database's folder; created where it is missing.</param>
    /// <param name="documents">All documents of the database, those of the other shares among them; enumerated more than once, and the same each time.</param>
    /// <param name="tokenizer">Makes the tokens; the same for all shares, and for the build that joins them.</param>
    /// <param name="share">The share.</param>
    /// <param name="options">The same for all shares, and for the build that joins them; the defaults where null.</param>
    /// <param name="progress">Stage "encode documents" in documents of the share.</param>
    /// <param name="cancellationToken">Stops between blocks; the next run goes on there.</param>
    /// <exception cref="DatabaseException">Another process makes the same share, its file cannot be written, or the folder holds a database of other settings
    /// or another corpus, which is not to be replaced. A share that is missing when they are joined, is damaged, or was made with another tokenizer, other
    /// settings or of other texts, is a fault of that build, which names it.</exception>
    /// <exception cref="RetroOptionsException">An option makes no sense.</exception>
    public static void BuildShare(
        string folder,
        IEnumerable<Document> documents,
        RetroTokenizer tokenizer,
        WorkShare share,
        ChunkDatabaseOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        BuildShare(folder, documents, TokenizerFacts.Of(tokenizer), share, options, progress, cancellationToken);
    }

    internal static void BuildShare(
        string folder,
        IEnumerable<Document> documents,
        TokenizerFacts tokenizer,
        WorkShare share,
        ChunkDatabaseOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(documents);
        folder = Path.GetFullPath(folder);
        options ??= new ChunkDatabaseOptions();
        options.Validate();
        BuildSettings settings = BuildSettings.Of(tokenizer, options);
        if (DatabaseManifest.Read(folder) is not null)
        {
            (ChunkDatabase? finished, _) = OpenFinished(folder, documents, settings, options, progress, cancellationToken);
            if (finished is not null)
            {
                finished.Dispose();
                return; // it is built already
            }
        }

        TokenShares.Make(
            folder,
            documents,
            settings,
            share,
            options,
            (block, encode) => Prepare(block, encode ? tokenizer : null, null, options, cancellationToken),
            progress,
            cancellationToken);
    }

    /// <summary>
    /// Writes what a database holds, and nothing of what was removed from it, as a database of one segment: the same bytes as if it were built.
    /// </summary>
    /// <param name="folder">The folder to write it into.</param>
    /// <param name="from">The database.</param>
    /// <param name="progress">Told of the documents copied.</param>
    /// <param name="cancellationToken">Stops it.</param>
    internal static ChunkDatabase Copy(string folder, ChunkDatabase from, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
        => Copy(
            folder,
            from.Manifest.Settings,
            Enumerable.Range(0, from.Documents.Count).Select(number => PreparedDocument.Of(from, number)),
            from.Documents.Count,
            progress,
            cancellationToken);

    /// <summary>Writes documents that are encoded already as a database of one segment: the same bytes as if it were built of their texts.</summary>
    internal static ChunkDatabase Copy(
        string folder,
        BuildSettings settings,
        IEnumerable<PreparedDocument> documents,
        long total,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        using WriterLock writing = WriterLock.Take(folder, "copy the database");
        using (BuildFolder work = BuildFolder.Open(folder, 0, settings, startOver: true, progress, cancellationToken))
        using (IncrementalHash corpus = IncrementalHash.CreateHash(HashAlgorithmName.SHA256))
        {
            work.Rewind(0); // what another copy has left may be of another state
            long done = 0;
            foreach (PreparedDocument[] block in Blocks.Of(documents, document => 2L * document.Ids.Length))
            {
                cancellationToken.ThrowIfCancellationRequested();
                Array.ForEach(block, document => corpus.AppendData(document.Hash));
                work.Append(block);
                done += block.Length;
                progress?.Report(new StageProgress("copy documents", done, total));
            }

            string corpusHash = Convert.ToHexStringLower(corpus.GetHashAndReset());
            Save(folder, work.Finish(corpusHash, leastTokens: 1, progress, cancellationToken), null, progress);
        }

        DatabaseFolder.TryClean(folder);
        return ChunkDatabase.Open(folder, cancellationToken: cancellationToken);
    }

    // The finished database if it is the one asked for; else, where it may be replaced, its manifest, null where that cannot be read.
    private static (ChunkDatabase? Database, DatabaseManifest? Manifest) OpenFinished(
        string folder,
        IEnumerable<Document> documents,
        BuildSettings settings,
        ChunkDatabaseOptions options,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        DatabaseManifest? manifest = null;
        DatabaseException? damage = null;
        string differences = "";
        DatabaseDifference kind = DatabaseDifference.None;
        try
        {
            manifest = DatabaseManifest.Load(folder);
        }
        catch (DatabaseException exception)
        {
            damage = exception;
        }

        if (manifest is not null)
        {
            differences = string.Join("; ", manifest.Settings.DifferencesTo(settings));
            kind = manifest.Settings.DiffersInTokenizerAlone(settings) ? DatabaseDifference.Tokenizer : DatabaseDifference.Settings;
            if (differences.Length == 0 && manifest.Changes is { } changes)
            {
                kind = DatabaseDifference.Changes;
                differences = $"documents were added or removed since it was built, last by change {changes.Number}";
            }

            if (differences.Length == 0 && HashAll(documents, options, progress, cancellationToken) is var corpusHash && corpusHash != manifest.CorpusHash)
            {
                kind = DatabaseDifference.Documents;
                differences = $"corpus with hash {manifest.CorpusHash} there, {corpusHash} asked";
            }
        }

        if (damage is null && differences.Length == 0)
        {
            try
            {
                ChunkDatabase database = ChunkDatabase.Open(folder, cancellationToken: cancellationToken);
                if (DatabaseFolder.HasLeftOvers(folder, manifest!) && WriterLock.TryTake(folder, "remove what a build has left") is { } writing)
                {
                    using (writing)
                    {
                        DatabaseFolder.TryClean(folder);
                    }
                }

                return (database, manifest);
            }
            catch (DatabaseException exception)
            {
                damage = exception;
            }
        }

        if (options.StartOver)
        {
            return (null, manifest);
        }

        throw damage is not null
            ? new DatabaseException($"{damage.Message} To replace the whole database, start over.", damage)
            : new DatabaseException($"'{folder}' holds another database ({differences}); build with those, choose another folder, or start over.")
            {
                Difference = kind,
            };
    }

    private static string EncodeAll(
        string folder,
        BuildFolder work,
        IEnumerable<Document> documents,
        TokenizerFacts tokenizer,
        Lazy<TokenShares?> shares,
        EarlierTokens? earlier,
        ChunkDatabaseOptions options,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        using BlockReader reader = new(documents, options);
        using IncrementalHash corpus = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (int number = 0; ; number++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            BuildBlock? done = number < work.Blocks.Count ? work.Blocks[number] : null;
            List<Document> block = reader.Next(done?.Read);
            if (done is not null)
            {
                PreparedDocument[] hashed = Prepare(block, null, null, options, cancellationToken);
                string found = PreparedDocument.HashOf(hashed);
                if (found == done.Corpus)
                {
                    Array.ForEach(hashed, document => corpus.AppendData(document.Hash));
                    progress?.Report(new StageProgress(EncodeStage, reader.Count, 0));
                    continue;
                }

                if (!options.StartOver)
                {
                    throw new DatabaseException(
                        $"'{folder}' holds an unfinished database of another corpus (block {number} of {done.Read} documents with hash {done.Corpus} "
                            + $"there, {block.Count} documents with hash {found} asked); build with that corpus, choose another folder, or start over.");
                }

                work.Rewind(number);
            }

            if (block.Count == 0)
            {
                (shares.IsValueCreated ? shares.Value : null)?.End();
                return Convert.ToHexStringLower(corpus.GetHashAndReset());
            }

            PreparedDocument[] prepared = Prepare(block, shares.Value is null ? tokenizer : null, earlier, options, cancellationToken);
            if (shares.Value is { } encoded)
            {
                encoded.SkipTo(reader.Count - block.Count);
                prepared = Array.ConvertAll(prepared, encoded.Take);
            }

            Array.ForEach(prepared, document => corpus.AppendData(document.Hash));
            work.Append(prepared);
            progress?.Report(new StageProgress(EncodeStage, reader.Count, 0));
        }
    }

    private static string HashAll(
        IEnumerable<Document> documents, ChunkDatabaseOptions options, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        using BlockReader reader = new(documents, options);
        using IncrementalHash corpus = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        while (reader.Next(null) is { Count: > 0 } block)
        {
            Array.ForEach(Prepare(block, null, null, options, cancellationToken), document => corpus.AppendData(document.Hash));
            progress?.Report(new StageProgress("compare documents", reader.Count, 0));
        }

        return Convert.ToHexStringLower(corpus.GetHashAndReset());
    }

    // Hashes, and encodes where a tokenizer is given, on all threads; the order of the results is that of the documents.
    private static PreparedDocument[] Prepare(
        List<Document> documents, TokenizerFacts? tokenizer, EarlierTokens? earlier, ChunkDatabaseOptions options, CancellationToken cancellationToken)
    {
        PreparedDocument[] prepared = new PreparedDocument[documents.Count];
        ParallelLoop.For(
            documents.Count, index => prepared[index] = PreparedDocument.Of(documents[index], tokenizer, earlier), options.Threads, cancellationToken);
        return prepared;
    }

    /// <summary>Makes what was built the folder's database, with what later stages made of the one before where that is as good for it.</summary>
    private static void Save(string folder, DatabaseManifest manifest, DatabaseManifest? before, IProgress<StageProgress>? progress)
    {
        manifest = before is not null && KeepsStages(folder, manifest, before)
            ? (manifest with { Files = [.. manifest.Files, .. before.Stages.Where(file => file.MadeFrom == manifest.TokensHash)] }).After(before)
            : DatabaseFolder.InPlaceOf(folder, before, manifest);
        manifest.Save(folder);
        progress?.Report(new StageProgress("write manifest", 1, 1));
    }

    // What later stages made depends on the tokens and on which documents are the same as others: where neither changed, it is as good as before.
    private static bool KeepsStages(string folder, DatabaseManifest manifest, DatabaseManifest before)
    {
        if (before.Home != 0
            || before.TokensHash != manifest.TokensHash
            || before.DocumentCount != manifest.DocumentCount
            || before.ChunkLength != manifest.ChunkLength)
        {
            return false;
        }

        try
        {
            using DocumentTable old = DocumentTable.Open(folder, before);
            using DocumentTable made = DocumentTable.Open(folder, manifest);
            return old.Zip(made)
                .All(pair =>
                    (pair.First.Id, pair.First.ContentHash, pair.First.TokenCount) == (pair.Second.Id, pair.Second.ContentHash, pair.Second.TokenCount));
        }
        catch (DatabaseException)
        {
            // The documents that are replaced are damaged, perhaps that is why they are.
            return false;
        }
    }
}
