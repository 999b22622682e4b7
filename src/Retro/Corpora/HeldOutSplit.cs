using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Retro.Corpora;

/// <summary>
/// Splits a corpus into a training part (which also fills the retrieval database) and a held-out part for evaluation, by a hash of each document's id:
/// the same document falls on the same side in whatever order the corpus is, and, by share, whatever else it holds. Documents of the training part that equal
/// or closely resemble a held-out one are removed: Jaccard similarity of 13-grams of words of at least 0.8, the paper's section 2.1 (which
/// estimates by MinHash what is computed exactly here). So are those that hold most of a held-out one among much else, which similarity does not see.
/// Of documents that would be held out and resemble each other in this way one is, and the others are removed: measured, they would count as if each said
/// something of its own.
/// </summary>
public sealed class HeldOutSplit
{
    private readonly HashSet<string> _heldOut;
    private readonly HashSet<string> _removed;

    private readonly UInt128 _compared;

    private HeldOutSplit(HashSet<string> heldOut, List<SimilarDocument> removed, long documents, UInt128 compared)
    {
        _compared = compared;
        _heldOut = heldOut;
        _removed = removed.Select(document => document.Id).ToHashSet(StringComparer.Ordinal);
        Removed = removed;
        TrainingCount = documents - heldOut.Count - _removed.Count;
    }

    /// <summary>How many documents are held out.</summary>
    public int HeldOutCount => _heldOut.Count;

    /// <summary>How many documents remain for training.</summary>
    public long TrainingCount { get; }

    /// <summary>The documents in neither part, in the order of the corpus, with what each resembles.</summary>
    public IReadOnlyList<SimilarDocument> Removed { get; }

    /// <summary>Splits a corpus.</summary>
    /// <param name="documents">The documents, each with an id of its own; enumerated twice.</param>
    /// <param name="options">How many to hold out; the defaults where null.</param>
    /// <param name="progress">Stages "choose held-out documents" and "look for near-duplicates", in documents.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <returns>The split.</returns>
    /// <exception cref="CorpusException">Two documents have one id, or one of the parts would be empty.</exception>
    /// <exception cref="RetroOptionsException">An option makes no sense.</exception>
    public static HeldOutSplit Create(
        IEnumerable<Document> documents,
        HeldOutOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(documents);
        options ??= new HeldOutOptions();
        options.Validate();
        (List<Document> heldOut, long count) = Choose(documents, options, progress, cancellationToken);
        if (heldOut.Count == 0)
        {
            throw new CorpusException(FormattableString.Invariant(
                $"None of the {count} documents fell into the held-out part with a fraction of {options.Fraction}; raise it, or give a count of documents."));
        }

        heldOut = Keep(heldOut, options, cancellationToken);
        (List<SimilarDocument> removed, UInt128 compared) = FindSimilar(documents, heldOut, count, options, progress, cancellationToken);
        HeldOutSplit split = new(heldOut.Select(document => document.Id).ToHashSet(StringComparer.Ordinal), removed, count, compared);
        return split.TrainingCount > 0
            ? split
            : throw new CorpusException(
                $"No document is left for training: of {count} documents {split.HeldOutCount} are held out and {removed.Count} resemble one of these; hold "
                    + "out fewer, or give more documents, or, where all of them are copies of one form, leave out only what resembles these more "
                    + "(HeldOutOptions.Similarity).");
    }

    /// <summary>Whether a document is held out.</summary>
    /// <param name="id">Its id.</param>
    /// <returns>Whether it belongs to the held-out part.</returns>
    public bool IsHeldOut(string id) => _heldOut.Contains(id);

    /// <summary>The training part, in the order of the corpus.</summary>
    /// <param name="documents">The corpus that was split.</param>
    /// <returns>
    /// Its documents that are neither held out nor removed; as often enumerable as the corpus. Behind the last a <see cref="CorpusException"/> is thrown where
    /// they are others than those that were compared with the held-out ones, or come in another order: the corpus has changed since.
    /// </returns>
    public IEnumerable<Document> Training(IEnumerable<Document> documents)
        => AsCompared(documents).Where(document => !IsHeldOut(document.Id) && !_removed.Contains(document.Id));

    /// <summary>The held-out part, in the order of the corpus.</summary>
    /// <param name="documents">The corpus that was split.</param>
    /// <returns>Its held-out documents; as often enumerable as the corpus, with the same fault where that has changed.</returns>
    public IEnumerable<Document> HeldOut(IEnumerable<Document> documents) => AsCompared(documents).Where(document => IsHeldOut(document.Id));

    // A document that came in between was compared with nothing. One number for all of them is small, however many there are.
    private IEnumerable<Document> AsCompared(IEnumerable<Document> documents)
    {
        UInt128 seen = 0;
        foreach (Document document in documents)
        {
            seen = With(seen, document);
            yield return document;
        }

        if (seen != _compared)
        {
            throw new CorpusException(
                "The corpus changed while it was read: its documents are not those that were compared with the held-out ones. Run it again when nothing "
                    + "changes them.");
        }
    }

    /// <summary>A number of all documents so far, in their order, with one more.</summary>
    private static UInt128 With(UInt128 before, Document document)
    {
        const uint Odd = 0x9E3779B1;
        return unchecked((((before * Odd) + TextHash.Of(document.Id)) * Odd) + TextHash.Of(document.Text));
    }

    /// <summary>The chosen documents, by their hashes.</summary>
    private static (List<Document> HeldOut, long Count) Choose(
        IEnumerable<Document> documents, HeldOutOptions options, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        List<(Document Document, ulong Hash)> chosen = [];

        // For a count: the smallest hashes so far, the greatest of them first to go; equal ones by id.
        PriorityQueue<Document, (ulong Hash, string Id)> smallest = new(Comparer<(ulong Hash, string Id)>.Create((a, b)
            => a.Hash != b.Hash ? b.Hash.CompareTo(a.Hash) : string.CompareOrdinal(b.Id, a.Id)));
        double bound = options.Fraction * Math.Pow(2, 64);
        long count = 0;
        DocumentIds ids = new(documents);
        foreach (Document document in documents)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (ids.Enter(document) is { } fault)
            {
                throw new CorpusException(fault);
            }

            ulong hash = Hash(document.Id, options.Seed);
            if (options.Count is { } wanted)
            {
                smallest.Enqueue(document, (hash, document.Id));
                if (smallest.Count > wanted)
                {
                    smallest.Dequeue();
                }
            }
            else if (hash < bound)
            {
                chosen.Add((document, hash));
            }

            if (++count % Blocks.Count == 0)
            {
                progress?.Report(new StageProgress("choose held-out documents", count, 0));
            }
        }

        chosen.AddRange(smallest.UnorderedItems.Select(item => (item.Element, item.Priority.Hash)));
        return ([.. chosen.OrderBy(one => one.Hash).ThenBy(one => one.Document.Id, StringComparer.Ordinal).Select(one => one.Document)], count);
    }

    /// <summary>The chosen documents that resemble none of those before them that are kept.</summary>
    private static List<Document> Keep(List<Document> chosen, HeldOutOptions options, CancellationToken cancellationToken)
    {
        NearDuplicateIndex index = IndexOf(chosen, options);
        bool[] isKept = new bool[chosen.Count];
        HashSet<string> texts = new(StringComparer.Ordinal);
        for (int number = 0; number < chosen.Count; number++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            string text = chosen[number].Text;

            // What is not reached yet is not kept, the document itself among it.
            isKept[number] = !texts.Contains(text) && !index.Finds(WordGrams.Of(text, options.GramWords), other => isKept[other]);
            if (isKept[number])
            {
                texts.Add(text);
            }
        }

        return [.. chosen.Where((_, number) => isKept[number])];
    }

    private static NearDuplicateIndex IndexOf(List<Document> documents, HeldOutOptions options)
        => new(documents.ConvertAll(document => WordGrams.Of(document.Text, options.GramWords)), options);

    private static ulong Hash(string id, long seed)
    {
        byte[] input = new byte[8 + Encoding.UTF8.GetByteCount(id)];
        BinaryPrimitives.WriteInt64LittleEndian(input, seed);
        Encoding.UTF8.GetBytes(id, input.AsSpan(8));
        return BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(input));
    }

    private static (List<SimilarDocument> Similar, UInt128 Compared) FindSimilar(
        IEnumerable<Document> documents,
        List<Document> heldOut,
        long count,
        HeldOutOptions options,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        NearDuplicateIndex index = IndexOf(heldOut, options); // of these alone: each that is not kept would be looked at for every document of its form
        HashSet<string> ids = heldOut.Select(document => document.Id).ToHashSet(StringComparer.Ordinal);
        Dictionary<string, string> texts = heldOut.ToDictionary(document => document.Text, document => document.Id, StringComparer.Ordinal);
        List<SimilarDocument> similar = [];
        UInt128 compared = 0;
        long done = 0;
        foreach (Document[] block in Blocks.Of(documents, document => document.Text?.Length ?? 0))
        {
            SimilarDocument?[] found = new SimilarDocument?[block.Length];
            ParallelLoop.For(block.Length, Compare, cancellationToken: cancellationToken);
            similar.AddRange(found.OfType<SimilarDocument>());
            compared = block.Aggregate(compared, With);
            done += block.Length;
            progress?.Report(new StageProgress("look for near-duplicates", done, count));

            void Compare(int number)
            {
                Document document = block[number];
                if (ids.Contains(document.Id))
                {
                    return;
                }

                if (texts.TryGetValue(document.Text, out string? same))
                {
                    found[number] = new SimilarDocument(document.Id, same, 1, 1, 1, Exact: true);
                    return;
                }

                if (index.Find(WordGrams.Of(document.Text, options.GramWords)) is { } near)
                {
                    found[number] = new SimilarDocument(document.Id, heldOut[near.Text].Id, near.Similarity, near.Containment, near.Excerpt, Exact: false);
                }
            }
        }

        return (similar, compared);
    }
}
