using System.Collections.Concurrent;
using Retro.Corpora;
using Retro.Database;
using Retro.Tokenizers;

namespace Retro.Search;

/// <summary>Makes sure that what is measured was not seen.</summary>
public static class HeldOut
{
    private const int NamesShown = 5;

    /// <summary>
    /// Refuses held-out documents that are, by id or by text, in the database that is retrieved from. Every measurement with a database begins with this.
    /// </summary>
    /// <param name="heldOut">The held-out documents.</param>
    /// <param name="retrieval">The database that is retrieved from.</param>
    /// <param name="progress">Receives the number of documents compared.</param>
    /// <param name="cancellationToken">Ends it between two documents.</param>
    /// <exception cref="DatabaseException">A document is in both; the first are named.</exception>
    public static void Require(
        ChunkDatabase heldOut, ChunkDatabase retrieval, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(heldOut);
        ArgumentNullException.ThrowIfNull(retrieval);

        // Those that are held out are few, and the others are only passed over.
        ILookup<string, int> byId = Numbers(entry => entry.Id), byText = Numbers(entry => entry.ContentHash);
        SortedDictionary<int, int> both = [];
        int count = retrieval.Documents.Count;
        for (int i = 0; i < count; i++)
        {
            if (i % SameDocuments.ReportEvery == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress?.Report(new(SameDocuments.Stage, i, count));
            }

            DocumentEntry there = retrieval.Documents[i];
            foreach (int document in byId[there.Id].Concat(byText[there.ContentHash]))
            {
                both.TryAdd(document, i);
            }
        }

        progress?.Report(new(SameDocuments.Stage, count, count));
        Refuse(
            heldOut,
            retrieval,
            "by their id or their text",
            both.Count,
            both.Select(pair => $"\"{heldOut.Documents[pair.Key].Id}\" (there \"{retrieval.Documents[pair.Value].Id}\")"));

        ILookup<string, int> Numbers(Func<DocumentEntry, string> key)
            => Enumerable.Range(0, heldOut.Documents.Count).ToLookup(document => key(heldOut.Documents[document]), StringComparer.Ordinal);
    }

    /// <summary>
    /// Refuses held-out documents that are in the database in any form that can be seen: by id, by text, or nearly, by the rule that
    /// <see cref="HeldOutSplit"/> keeps documents apart with (Jaccard similarity of the texts' 13-grams of words, or the share of either's that the other
    /// holds, of at least 0.8). Both databases are decoded for it, which takes a while; once before the first measurement is enough.
    /// </summary>
    /// <param name="heldOut">The held-out documents.</param>
    /// <param name="retrieval">The database that is retrieved from.</param>
    /// <param name="tokenizer">The tokenizer of both.</param>
    /// <param name="options">What is similar; null: the defaults. What does not concern similarity is not used.</param>
    /// <param name="progress">Receives the number of documents of the database done.</param>
    /// <param name="cancellationToken">Ends it between two documents.</param>
    /// <exception cref="DatabaseException">A document is in both, or a database was made with another tokenizer.</exception>
    public static void Require(
        ChunkDatabase heldOut,
        ChunkDatabase retrieval,
        RetroTokenizer tokenizer,
        HeldOutOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        Require(heldOut, retrieval, progress, cancellationToken);
        ArgumentNullException.ThrowIfNull(tokenizer);
        heldOut.RequireTokenizer(tokenizer);
        retrieval.RequireTokenizer(tokenizer);
        options ??= new HeldOutOptions();
        NearDuplicateIndex index = Near(heldOut, tokenizer, options);
        ConcurrentDictionary<int, (int There, string Names)> near = new();
        int count = retrieval.Documents.Count, done = 0;
        Lock telling = new();
        ParallelLoop.For(count, Compare, cancellationToken: cancellationToken);
        Refuse(heldOut, retrieval, "nearly word for word", near.Count, near.Values.OrderBy(found => found.There).Select(found => found.Names));

        void Compare(int i)
        {
            DocumentEntry document = retrieval.Documents[i];
            if (index.Find(Grams(retrieval.TokensOf(document), tokenizer, options)) is { } found)
            {
                string names = $"\"{heldOut.Documents[found.Text].Id}\" (there \"{document.Id}\"";
                string shares = FormattableString.Invariant($"{found.Containment:0.00} of it is there, {found.Excerpt:0.00} of that is here");
                (int, string) one = (i, FormattableString.Invariant($"{names}, similarity {found.Similarity:0.00}; {shares})"));
                near.AddOrUpdate(found.Text, one, (_, other) => other.There < i ? other : one); // the first, whichever thread comes first
            }

            lock (telling)
            {
                done++;
                progress?.Report(new StageProgress("look for held-out documents in the database", done, count));
            }
        }
    }

    /// <summary>
    /// Tells, of documents that are to be added to a database, those that are held out by the same rule: by id, by text, or nearly. A corpus holds the
    /// documents that were held out of it still.
    /// </summary>
    /// <param name="heldOut">The held-out documents; read here alone.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="options">What is similar; null: the defaults.</param>
    /// <returns>Whether a document is one of them. Safe from several threads.</returns>
    /// <exception cref="DatabaseException">The documents were made with another tokenizer.</exception>
    public static Func<Document, bool> Finder(ChunkDatabase heldOut, RetroTokenizer tokenizer, HeldOutOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(heldOut);
        ArgumentNullException.ThrowIfNull(tokenizer);
        heldOut.RequireTokenizer(tokenizer);
        HeldOutOptions similar = options ?? new();
        NearDuplicateIndex index = Near(heldOut, tokenizer, similar);
        HashSet<string> ids = [.. heldOut.Documents.Select(document => document.Id)], texts = [.. heldOut.Documents.Select(document => document.ContentHash)];
        return document => ids.Contains(document.Id)
            || texts.Contains(DocumentEntry.HashOf(document.Text))
            || index.Finds(Grams(tokenizer.Encode(document.Text), tokenizer, similar));
    }

    private static NearDuplicateIndex Near(ChunkDatabase heldOut, RetroTokenizer tokenizer, HeldOutOptions options)
    {
        options.Validate();
        ulong[][] texts = new ulong[heldOut.Documents.Count][];
        ParallelLoop.For(texts.Length, i => texts[i] = Grams(heldOut.TokensOf(heldOut.Documents[i]), tokenizer, options));
        return new([.. texts], options);
    }

    // Of what the tokenizer leaves of a text, on both sides: one that takes accents away, or does not know a word, makes another text of it.
    private static ulong[] Grams(int[] tokens, RetroTokenizer tokenizer, HeldOutOptions options)
        => WordGrams.Of(tokenizer.Decode(tokens), options.GramWords);

    private static void Refuse(ChunkDatabase heldOut, ChunkDatabase retrieval, string how, int count, IEnumerable<string> found)
    {
        if (count > 0)
        {
            throw new DatabaseException(
                $"{count} of {heldOut.Documents.Count} held-out documents of {heldOut.Folder} " +
                $"stand in the retrieval database {retrieval.Folder} too, {how}: " +
                $"{string.Join(", ", found.Take(NamesShown))}{(count > NamesShown ? " and others" : "")}; " +
                "a measurement would read its own answer. Build the database without them.");
        }
    }
}
