using System.Runtime.InteropServices;
using Retro.Corpora;
using Retro.Tokenizers;

namespace Retro.Database;

/// <summary>
/// Adds documents to a database, replaces and removes some, without building it anew: what is new becomes a segment of its own beside what is there, and what
/// is removed is listed. One manifest switches from the state before to the one after, so that a process that ends in between leaves the one or the other.
/// Whoever has the database open keeps seeing it as it was; whoever opens it afterwards sees what it is now, and nothing of what was removed. Keys and indexes
/// are made for the new segment alone: before the switch where that is asked for, so that whoever opens sources over the database always finds theirs, or when
/// a source is next built. An unfinished build that was to replace the database (<see cref="ChunkDatabaseOptions.StartOver"/>) goes with a change, since its
/// text may be what was removed.
/// </summary>
public static class ChunkDatabaseUpdate
{
    private const string CompareStage = "compare documents", CompactStage = "compact the database";

    /// <summary>Changes a database.</summary>
    /// <param name="folder">Its folder.</param>
    /// <param name="add">
    /// The documents to add; one whose id is there takes the place of that document, and one that is there as it is (id, title, text, location and labels)
    /// costs nothing. One without text takes out the document of its id, where that is there (<see cref="CorpusOptions.KeepEmpty"/>). Where the database was
    /// cleaned of exact duplicates (<see cref="CleaningStep.ExactDuplicates"/>), so does one whose text another document has that stays, and that whoever may
    /// see it may see. Enumerated more than once, and the same each time.
    /// </param>
    /// <param name="remove">Ids of the documents to remove.</param>
    /// <param name="tokenizer">The tokenizer that the database was made with.</param>
    /// <param name="cleaning">
    /// The cleaning that <paramref name="add"/> goes through while it is enumerated, if any: it takes out of them the lines that are known to have gone from
    /// what is there (<see cref="DatabaseCleaning"/>), and those that it takes out besides are known with the change.
    /// </param>
    /// <param name="prepare">
    /// Makes what sources need of what is new, before anybody sees it: it is called with the new segment as a database of its own, where there is one, and
    /// builds sources over it, with the options of those over the database, as
    /// <c>segment => KeywordNeighborSource.Build(segment).Dispose()</c>. Nobody else can change the database meanwhile; where it throws, that stays as it was.
    /// Null: the new segment has no index until a source is next built, and opening one fails until then.
    /// </param>
    /// <param name="progress">Receives the number of documents compared and encoded, and in a message that an unfinished build goes.</param>
    /// <param name="cancellationToken">Stops it; the database is then as it was.</param>
    /// <returns>The changed database, and what came of the documents.</returns>
    /// <exception cref="DatabaseException">
    /// There is no such database or no document to remove, nothing would be left, the tokenizer is another, two documents have one id, the documents to add
    /// change while they are read, or the folder cannot be written.
    /// </exception>
    /// <exception cref="CorpusException">The documents to add have no text, and there is nothing to take out.</exception>
    public static DatabaseChange Apply(
        string folder,
        IEnumerable<Document> add,
        IEnumerable<string> remove,
        RetroTokenizer tokenizer,
        CorpusCleaning? cleaning = null,
        Action<ChunkDatabase>? prepare = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        return Apply(folder, add, remove, TokenizerFacts.Of(tokenizer), cleaning, prepare, progress, cancellationToken);
    }

    internal static DatabaseChange Apply(
        string folder,
        IEnumerable<Document> add,
        IEnumerable<string> remove,
        TokenizerFacts tokenizer,
        CorpusCleaning? cleaning = null,
        Action<ChunkDatabase>? prepare = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(add);
        ArgumentNullException.ThrowIfNull(remove);
        folder = Path.GetFullPath(folder);
        DatabaseManifest.Load(folder); // before a lock is left where there is no database
        using WriterLock writing = WriterLock.Take(folder, "add and remove documents");
        DatabaseManifest manifest = DatabaseManifest.Load(folder);
        UpdateCounts counts;
        bool changes;
        using (ChunkDatabase database = ChunkDatabase.Open(folder, cancellationToken: cancellationToken))
        {
            tokenizer = tokenizer.KnownAs(manifest.TokenizerHash);
            database.RequireTokenizer(tokenizer.Kind, tokenizer.Hash, tokenizer.VocabularySize);
            if (cleaning is not null)
            {
                DatabaseCleaning.Load(database, cleaning);
            }

            // Of what the change names hashes are kept, and nothing of what else there is.
            Dictionary<UInt128, AddedDocument> named = [];
            foreach (Document document in add)
            {
                cancellationToken.ThrowIfCancellationRequested();
                BlockReader.RequireText(document, named.Count + 1);
                if (!named.TryAdd(TextHash.Of(document.Id), new(PreparedDocument.Of(document, null, null), document.Text.Length == 0)))
                {
                    throw new DatabaseException(
                        $"Two documents to add have the id '{document.Id}', the second from {document.Location}; give each an id of its own.");
                }

                progress?.Report(new StageProgress(CompareStage, named.Count, 0));
            }

            string[] removed = [.. remove];
            HashSet<string> missing = new(removed, StringComparer.Ordinal);
            bool isNothingTwice = manifest.Cleaning.Split(", ").Contains(ExactDuplicateStep.Called);
            ILookup<UInt128, AddedDocument> byText = (isNothingTwice ? named.Values : Enumerable.Empty<AddedDocument>()).ToLookup(document => document.Text);
            SortedSet<int> gone = [];
            for (int number = 0; number < database.Documents.Count; number++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                DocumentEntry entry = database.Documents[number];
                bool isRemoved = missing.Remove(entry.Id);
                AddedDocument? next = named.GetValueOrDefault(TextHash.Of(entry.Id));
                next?.Meet(entry, isRemoved);
                if (isRemoved || next is { IsSame: false })
                {
                    gone.Add(number);
                    continue;
                }

                if (byText.Count == 0)
                {
                    continue; // no text need be read of millions of entries
                }

                foreach (AddedDocument copy in byText[AddedDocument.Half(Convert.FromHexString(entry.ContentHash))])
                {
                    copy.RepeatOf ??= copy != next && entry.Labels.All(copy.Labels.Contains) ? entry.Id : null;
                }
            }

            if (Array.Find(removed, missing.Contains) is { } unknown)
            {
                throw new DatabaseException($"The database in '{folder}' has no document with the id '{unknown}' to remove; name one that it has.");
            }

            long seen = named.Count, empty = named.Values.Count(document => document.IsEmpty), added = named.Values.Count(document => document.IsAdded);
            long replaced = named.Values.Count(document => document.IsAdded && document.IsThere), unchanged = named.Values.Count(document => document.IsSame);
            counts = new(added - replaced, replaced, unchanged, seen - empty - added - unchanged, gone.Count - replaced)
            {
                RepeatOf = named.Values.FirstOrDefault(document => document is { IsEmpty: false, IsSame: false, RepeatOf: not null })?.RepeatOf,
            };
            if (added == 0)
            {
                RequireText();
            }

            changes = added > 0 || gone.Count > 0;
            if (changes)
            {
                TellOfUnfinished(folder, CompareStage, progress);
                manifest = DatabaseFolder.Clean(folder, manifest);
                try
                {
                    Change(folder, manifest, database, gone, added == 0 ? null : Added(), RequireText);
                }
                catch
                {
                    DatabaseFolder.TryClean(folder);
                    throw;
                }
            }
            else
            {
                DatabaseFolder.CleanBesideBuild(folder, manifest);
                DatabaseCleaning.Keep(writing, database, cleaning, [], null); // the lines that it lost are all that comes of what was to be added
            }

            // Where nothing is written: what is there must not be nothing, and what was to be added not all in vain.
            void RequireText()
            {
                if (seen > 0 && empty + added == seen && gone.Count == 0)
                {
                    throw new CorpusException(
                        $"Of the {seen} documents to add none has text, as what was taken out of them has none, and the database in '{folder}' has none of "
                            + "their ids; give documents with text.");
                }

                if (gone.Count == database.Documents.Count)
                {
                    throw new DatabaseException($"Nothing would be left of the database in '{folder}'; leave a document in it, or delete the folder.");
                }
            }

            // What was compared is what is written: another document would stand there twice, and one that went would be gone from the database.
            IEnumerable<Document> Added()
            {
                long left = added;
                foreach (Document document in add)
                {
                    AddedDocument known = named.GetValueOrDefault(TextHash.Of(document.Id))
                        ?? throw Changed($"'{document.Id}' from {document.Location} has come");
                    if (known.IsAdded)
                    {
                        left -= document.Text.Length > 0 ? 1 : 0;
                        yield return document;
                    }
                }

                if (left != 0)
                {
                    throw Changed($"{left} of {added} have gone");
                }
            }

            static DatabaseException Changed(string how)
                => new($"The documents to add changed while they were read: {how}. The database is as it was; run it again when nothing changes them.");
        }

        if (changes)
        {
            DatabaseFolder.TryClean(folder);
        }

        return new(ChunkDatabase.Open(folder, cancellationToken: cancellationToken), counts);

        void Change(
            string root, DatabaseManifest before, ChunkDatabase database, SortedSet<int> gone, IEnumerable<Document>? documents, Action requireText)
        {
            int number = NextNumber(before);
            List<DatabaseSegment> segments = [.. before.Changes?.Segments ?? []];
            SortedSet<int>[] removed = [.. database.Removed.Select(local => new SortedSet<int>(local))];
            foreach (int document in gone)
            {
                (int segment, int local) = database.SegmentOf(document);
                removed[segment].Add(local);
            }

            // A segment of which nothing is left is left out; the first has the manifest's own files and stays until the database is compacted.
            bool[] stays = [.. removed.Select((local, segment) => segment == 0 || local.Count < database.Segments[segment].Documents.Count)];
            List<int[]> left = [.. removed.Where((_, segment) => stays[segment]).Select(local => local.ToArray())];
            segments = [.. segments.Where((_, i) => stays[i + 1])];
            string path = Path.Combine(root, DatabaseChanges.FolderOf(number));
            ChunkDatabaseOptions options = new() { ChunkLength = before.ChunkLength, Cleaning = before.Cleaning, StartOver = true };
            using ChunkDatabase? made = documents is null
                ? null
                : ChunkDatabaseBuilder.BuildSegment(path, documents, tokenizer, options, progress, cancellationToken);
            if (documents is not null && made is null)
            {
                requireText(); // the tokenizer takes all of their text away, as some do with what cannot be seen
            }

            cancellationToken.ThrowIfCancellationRequested();
            DatabaseCleaning.Keep(writing, database, cleaning, [.. database.Segments.Where((_, segment) => !stays[segment])], made);
            if (made is not null)
            {
                made.ToJoin = database;
                prepare?.Invoke(made);
                AtomicFile.FlushFolder(Path.GetDirectoryName(path)!);
                AtomicFile.FlushFolder(root);
                segments.Add(new(number, made.Manifest.TokensHash));
                left.Add([]);
                cancellationToken.ThrowIfCancellationRequested();
            }
            else if (gone.Count == 0)
            {
                return;
            }

            before = DatabaseManifest.Load(root); // with the lines that the first segment may have now

            // Tables of neighbors of a changed database are of no use to the next.
            string own = (before with { Changes = null }).TokensHash;
            DatabaseManifest after = (before with
            {
                Files = [.. before.Files.Where(file => file.MadeFrom is null || file.MadeFrom == own)],
                Changes = new()
                {
                    Number = number,
                    Segments = segments,
                    Removed = left.Exists(documents => documents.Length > 0) ? RemovedDocuments.Write(root, number, left) : null,
                },
            }).After(before);
            after.Save(root);
        }
    }

    /// <summary>
    /// Writes what a database holds as one segment, without the bytes of what was removed, and switches to it when it is whole; then deletes what was there
    /// before. A database that was not changed stays as it is.
    /// </summary>
    /// <param name="folder">The database's folder.</param>
    /// <param name="carry">
    /// Takes over what later stages have made, from the database to the copy that is to take its place, and makes of that what there is to be.
    /// </param>
    /// <param name="progress">Told of the documents copied.</param>
    /// <param name="cancellationToken">Stops it; the database is then as it was.</param>
    /// <returns>The database, open; dispose it.</returns>
    /// <exception cref="DatabaseException">There is none, it is damaged, or its folder cannot be written.</exception>
    internal static ChunkDatabase Compact(
        string folder,
        Action<ChunkDatabase, ChunkDatabase> carry,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        folder = Path.GetFullPath(folder);
        DatabaseManifest.Load(folder);
        using WriterLock writing = WriterLock.Take(folder, CompactStage);
        DatabaseManifest before = DatabaseManifest.Load(folder);
        TellOfUnfinished(folder, CompactStage, progress);
        DatabaseFolder.Clean(folder, before);
        if (before.Changes is not null)
        {
            try
            {
                Copy();
            }
            catch
            {
                DatabaseFolder.TryClean(folder);
                throw;
            }

            if (TokenShares.Names(folder) is { Length: > 0 } shares)
            {
                string hold = "hold text of before, for a build that is to replace the database; delete them if nobody makes one";
                progress?.Report(new(CompactStage, 1, 1, $"{string.Join(", ", shares)} in '{folder}' {hold}"));
            }
        }

        DatabaseFolder.TryClean(folder);
        if (DatabaseFolder.HasLeftOvers(folder, DatabaseManifest.Load(folder)))
        {
            string later = $"files of before in '{folder}' cannot be deleted yet; compact again when nobody has them open";
            progress?.Report(new(CompactStage, 1, 1, later));
        }

        return ChunkDatabase.Open(folder, cancellationToken: cancellationToken);

        void Copy()
        {
            int number = NextNumber(before);
            string path = Path.Combine(folder, DatabaseChanges.FolderOf(number));
            using (ChunkDatabase database = ChunkDatabase.Open(folder, cancellationToken: cancellationToken))
            {
                database.RequireWhole(progress, cancellationToken);
                using ChunkDatabase copy = ChunkDatabaseBuilder.Copy(path, database, progress, cancellationToken);
                carry(database, copy);
            }

            AtomicFile.FlushFolder(Path.GetDirectoryName(path)!);
            AtomicFile.FlushFolder(folder);
            cancellationToken.ThrowIfCancellationRequested();
            DatabaseFolder.InPlaceOf(folder, before, DatabaseManifest.Load(path) with { Home = number }).Save(folder);
        }
    }

    /// <summary>Says that an unfinished build goes, which may have taken hours.</summary>
    private static void TellOfUnfinished(string folder, string stage, IProgress<StageProgress>? progress)
    {
        if (BuildFolder.IsThere(folder))
        {
            progress?.Report(new(stage, 1, 1, $"the unfinished build in '{folder}' that was to replace the database is deleted: run again, it starts over"));
        }
    }

    private static int NextNumber(DatabaseManifest manifest)
        => 1 + Math.Max(manifest.Home, Math.Max(manifest.Changes?.Number ?? 0, manifest.Changes?.Segments.Max(segment => (int?)segment.Number) ?? 0));

    /// <summary>What is kept of a document to add, by its id, until it is written.</summary>
    private sealed class AddedDocument(PreparedDocument document, bool isEmpty)
    {
        private readonly UInt128 _whole = Half(document.Hash);

        public UInt128 Text { get; } = Half(document.ContentHash);

        public IReadOnlyList<string> Labels { get; } = document.Document.Labels;

        public bool IsEmpty { get; } = isEmpty;

        public bool IsThere { get; private set; }

        public bool IsSame { get; private set; }

        /// <summary>The id of another that stays and has its text; null: none has.</summary>
        public string? RepeatOf { get; set; }

        public bool IsAdded => !IsEmpty && !IsSame && RepeatOf is null;

        public static UInt128 Half(ReadOnlySpan<byte> hash) => MemoryMarshal.Read<UInt128>(hash);

        /// <summary>Compares it with the document that has its id.</summary>
        public void Meet(DocumentEntry there, bool isRemoved)
        {
            Document document = new(there.Id, there.Title, "", there.Location) { Labels = there.Labels };
            byte[] hash = PreparedDocument.Of(document, Convert.FromHexString(there.ContentHash), there.ByteCount, []).Hash;
            (IsThere, IsSame) = (true, !IsEmpty && !isRemoved && Half(hash) == _whole);
        }
    }
}
