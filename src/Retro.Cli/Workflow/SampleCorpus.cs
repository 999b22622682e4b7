using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Retro;
using Retro.Corpora;

namespace Retro.Cli.Workflow;

/// <summary>The text of a run: what is trained on and retrieved from, and what is held out.</summary>
/// <param name="Kind">What kind of corpus it came from.</param>
/// <param name="Training">Documents to train on and to retrieve from.</param>
/// <param name="HeldOut">Documents to measure on; none of them, and nothing that nearly repeats them, is in <paramref name="Training"/>.</param>
/// <param name="Cut">How many of <paramref name="HeldOut"/> are the beginning alone of what they were.</param>
internal sealed record SampleCorpus(string Kind, IReadOnlyList<Document> Training, IReadOnlyList<Document> HeldOut, int Cut)
{
    /// <summary>What a report says of the documents that its table was measured on.</summary>
    public const string HeldOutNote = "The documents are neither trained on nor retrieved from.";

    /// <summary>Share of the documents that is held out.</summary>
    private const double HeldOutShare = 0.06;

    /// <summary>Opens the corpus of a run.</summary>
    /// <param name="path">A folder or file of what <see cref="Corpus"/> reads; null: the documentation of the reference packs.</param>
    /// <param name="reading">How it is read.</param>
    /// <exception cref="CorpusException">It is missing, or a pattern of what is read matches nothing.</exception>
    public static Corpus Open(string? path, CorpusOptions reading)
    {
        Corpus corpus = path is null ? Corpus.DotNetReferencePacks() : Corpus.Open(path, reading);
        corpus.RequireMatched();
        return corpus;
    }

    /// <summary>Reads a corpus, takes as many documents as fit the run, and holds some out.</summary>
    /// <param name="path">A folder or file of what <see cref="Corpus"/> reads; null: the documentation of the reference packs.</param>
    /// <param name="mostBytes">Most text to take.</param>
    /// <param name="seed">Chooses the documents.</param>
    /// <param name="reading">How it is read.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <param name="leastHeldOut">Documents to hold out at least, though not more than a quarter of them for its sake.</param>
    /// <param name="measured">
    /// Characters that all held-out documents have together, the longest cut, though none below a number of its own; null: they are whole. The rest of a text
    /// can be what sets it apart: beginnings, too, are kept apart from the text to train on and from each other.
    /// </param>
    /// <returns>The documents.</returns>
    /// <exception cref="CorpusException">The corpus is missing, empty, broken or too small.</exception>
    public static SampleCorpus Read(
        string? path,
        long mostBytes,
        long seed,
        CorpusOptions reading,
        CancellationToken cancellationToken,
        int leastHeldOut = 1,
        (long Characters, int Least)? measured = null)
    {
        Corpus corpus = Open(path, reading);
        List<Document> documents = Stages.Run("read the corpus", progress => Take(corpus, mostBytes, seed, progress, cancellationToken));
        if (documents.Count < 2)
        {
            throw new CorpusException(
                $"The corpus has {Amount.Of(documents.Count, "document")} to use; one has to be held out and one to be trained on, and a hundred would be "
                    + "better. Cut the text into documents, where a line of a text file parts them by naming it (--separator), or raise --megabytes.");
        }

        long bytes = documents.Sum(document => (long)Encoding.UTF8.GetByteCount(document.Text));
        int count = Math.Max(Math.Max(1, Math.Min(leastHeldOut, documents.Count / 4)), (int)Math.Round(HeldOutShare * documents.Count));
        (SampleCorpus read, int repeating) = Stages.Run(
            "hold documents out", progress => Split(corpus.Kind, documents, new() { Count = count, Seed = seed }, measured, progress, cancellationToken));
        Screen.Note($"{corpus.Kind}, {Amount.OfBytes(bytes)}: {Amount.Of(read.Training.Count, "document")} to train on and retrieve from,");
        Screen.Note($"  {read.HeldOut.Count:#,0} held out, {repeating:#,0} that nearly repeat these in neither");
        Screen.ReportUnmatched(corpus);
        Screen.ReportSkipped(corpus);
        return read;
    }

    /// <summary>Takes documents by a hash of their ids until there is enough text, in the corpus's order.</summary>
    public static List<Document> Take(Corpus corpus, long mostBytes, long seed, IProgress<StageProgress> progress, CancellationToken cancellationToken)
    {
        (Func<Document, bool> takes, _) = Choose(corpus, mostBytes, seed, progress, cancellationToken);
        return [.. corpus.Documents().Where(takes)];
    }

    /// <summary>The documents of a corpus, while a stage reads them.</summary>
    /// <param name="corpus">The corpus.</param>
    /// <param name="progress">Receives the number of documents read.</param>
    /// <param name="cancellationToken">Ends the reading before the next one.</param>
    public static IEnumerable<Document> Documents(Corpus corpus, IProgress<StageProgress> progress, CancellationToken cancellationToken)
    {
        long read = 0;
        foreach (Document document in corpus.Documents())
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (++read % 100 == 0)
            {
                progress.Report(new StageProgress("", read, 0));
            }

            yield return document;
        }
    }

    /// <summary>Chooses documents by a hash of their ids until there is enough text.</summary>
    /// <param name="corpus">The corpus, which is read once.</param>
    /// <param name="mostBytes">Most text to take; one document in any case.</param>
    /// <param name="seed">Chooses.</param>
    /// <param name="progress">Receives the number of documents read.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <returns>Whether a document is taken, and how many are.</returns>
    public static (Func<Document, bool> Takes, long Count) Choose(
        Corpus corpus, double mostBytes, long seed, IProgress<StageProgress> progress, CancellationToken cancellationToken)
    {
        // Those of the smallest draws, the greatest of them first to go; one more than fits, until the end, since the next may be smaller.
        PriorityQueue<long, ulong> kept = new(Comparer<ulong>.Create((a, b) => b.CompareTo(a)));
        long bytes = 0;
        foreach (Document document in Documents(corpus, progress, cancellationToken))
        {
            long size = Encoding.UTF8.GetByteCount(document.Text);
            kept.Enqueue(size, Draw(document.Id, seed));
            bytes += size;
            while (bytes - kept.Peek() > mostBytes)
            {
                bytes -= kept.Dequeue();
            }
        }

        if (kept.Count > 1 && bytes > mostBytes)
        {
            kept.Dequeue();
        }

        ulong last = kept.TryPeek(out _, out ulong draw) ? draw : 0;
        return (document => Draw(document.Id, seed) <= last, kept.Count);
    }

    /// <summary>Holds documents out, and cuts them.</summary>
    /// <returns>Both parts, and how many documents are in neither.</returns>
    private static (SampleCorpus Parts, int Repeating) Split(
        string kind,
        List<Document> documents,
        HeldOutOptions options,
        (long Characters, int Least)? measured,
        IProgress<StageProgress> progress,
        CancellationToken cancellationToken)
    {
        HeldOutSplit split = HeldOutSplit.Create(documents, options, progress, cancellationToken);
        int repeating = split.Removed.Count;
        HashSet<string> cut = [];
        if (measured is { } budget)
        {
            Document[] whole = [.. split.HeldOut(documents)];
            int most = Longest(whole, budget.Characters, budget.Least);
            cut = [.. whole.Where(document => document.Text.Length > most).Select(document => document.Id)];

            // Once more, of what is measured: documents that differ as a whole can begin alike. The first time is needed all the same: of documents that
            // repeat each other one alone is measured and has a share of the characters, and what is trained on repeats nothing of the rest of any, as in a
            // run that cuts nothing. Both take two seconds together of six megabytes. The same hash chooses the same documents again.
            HashSet<string> removed = [.. split.Removed.Select(document => document.Id)];
            documents = [.. documents.Where(document => !removed.Contains(document.Id))
                .Select(document => cut.Contains(document.Id) ? Beginning(document, most) : document)];
            split = HeldOutSplit.Create(documents, options with { Count = whole.Length }, progress, cancellationToken);
            repeating += split.Removed.Count;
        }

        Document[] heldOut = [.. split.HeldOut(documents)];
        return (new(kind, [.. split.Training(documents)], heldOut, heldOut.Count(document => cut.Contains(document.Id))), repeating);
    }

    /// <summary>The length that the longest documents are cut to, so that all have so many characters together; none below a number of its own.</summary>
    private static int Longest(Document[] documents, long characters, int least)
    {
        // From the shortest on, each takes what it needs of what is left; what is then left over is shared equally by those that need more.
        int[] lengths = [.. documents.Select(document => document.Text.Length).Order()];
        long left = characters;
        for (int i = 0; i < lengths.Length; left -= lengths[i++])
        {
            if (left / (lengths.Length - i) < lengths[i])
            {
                return (int)Math.Max(least, left / (lengths.Length - i));
            }
        }

        return lengths[^1];
    }

    // Not within a surrogate pair, and without white space at the end, as documents are.
    private static Document Beginning(Document document, int length)
        => document with { Text = document.Text[..(char.IsHighSurrogate(document.Text[length - 1]) ? length - 1 : length)].TrimEnd() };

    private static ulong Draw(string id, long seed)
        => BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes($"{seed}:{id}")));
}
