using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Retro.Search;

/// <content>
/// How the arrays are made: one pass that counts, one that fills, each on all threads. A thread has documents that follow one another, and what it fills begins
/// where the documents before leave off, so that the bytes do not depend on the number of threads.
/// </content>
internal sealed unsafe partial class Bm25Image
{
    /// <summary>Documents of a part, at least: fewer are not worth another count of every term.</summary>
    private const int LeastPart = 4096;

    /// <param name="count">N.</param>
    /// <param name="termsOf">The terms of a document; asked for twice, by several threads at once.</param>
    /// <param name="k1">The constant k1.</param>
    /// <param name="b">The constant b.</param>
    /// <param name="part">What it is a part of (<see cref="PartBytes"/>); null: the whole index.</param>
    /// <param name="threads">Threads that work; 0 for one per processor.</param>
    /// <param name="progress">Receives the number of documents done, 2 N in all.</param>
    /// <param name="cancellationToken">Stops between documents.</param>
    public static Bm25Image Build(
        int count,
        TermsOf termsOf,
        double k1,
        double b,
        byte[]? part,
        int threads,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        Part[] parts = new Part[Math.Clamp(count / LeastPart, 1, ParallelLoop.ThreadsOf(threads))];
        long done = 0;
        Lock telling = new();
        void Report(int document)
        {
            if ((document & 0xfff) == 0xfff)
            {
                cancellationToken.ThrowIfCancellationRequested();
                lock (telling)
                {
                    done += 0x1000;
                    progress?.Report(new("index terms", done, 2L * count));
                }
            }
        }

        cancellationToken.ThrowIfCancellationRequested();
        progress?.Report(new("index terms", 0, 2L * count));
        ParallelLoop.For(
            parts.Length,
            i => parts[i] = Part.Count((int)((long)i * count / parts.Length), (int)((i + 1L) * count / parts.Length), termsOf, Report),
            threads,
            cancellationToken);

        int[] list = [.. parts.SelectMany(part => part.Frequency.Keys).Distinct()];
        Array.Sort(list);
        int[] frequencies = Array.ConvertAll(list, term => parts.Sum(part => part.Frequency.GetValueOrDefault(term)));
        bool HasColumn(int frequency) => part is null && IsFrequent(frequency, count);
        long postings = frequencies.Sum(frequency => HasColumn(frequency) ? 0L : frequency), tokens = parts.Sum(part => part.Tokens);
        int columns = frequencies.Count(HasColumn);
        long[] sections = Sections(count, list.Length, postings, tokens, columns);
        Bm25Image image = new(MappedFile.Allocate(sections[^1]), count, list.Length, postings, tokens, columns, k1, b, part is not null);
        try
        {
            frequencies.CopyTo(image.Frequencies);
            image.PlaceColumns();
            image.Fill(list, parts, termsOf, threads, Report, cancellationToken);
            part?.CopyTo(image.Header(PartAt));
            image.WriteHeader();
            progress?.Report(new("index terms", 2L * count, 2L * count));
            return image;
        }
        catch
        {
            image.Dispose();
            throw;
        }
    }

    private static ReadOnlySpan<int> Sorted(ReadOnlySpan<int> terms, ref int[] buffer)
    {
        if (buffer.Length < terms.Length)
        {
            buffer = new int[Math.Max(terms.Length, 2 * buffer.Length)];
        }

        Span<int> sorted = buffer.AsSpan(0, terms.Length);
        terms.CopyTo(sorted);
        sorted.Sort();
        return sorted;
    }

    private void Fill(int[] list, Part[] parts, TermsOf termsOf, int threads, Action<int> report, CancellationToken cancellationToken)
    {
        list.CopyTo(new Span<int>(_memory.Pointer + _sections[0], list.Length));
        Dictionary<int, int> rankOf = new(list.Length);
        long[][] next = [.. parts.Select(_ => new long[list.Length])]; // where a part's next posting of a rank goes; with a column, how many there were
        long[][] end = [.. parts.Select(_ => new long[list.Length])];
        long[] token = new long[parts.Length];
        long at = 0, tokens = 0;
        for (int rank = 0; rank < list.Length; rank++)
        {
            rankOf[list[rank]] = rank;
            PostingsAt[rank] = at;
            for (int i = 0; i < parts.Length; i++)
            {
                int frequency = parts[i].Frequency.GetValueOrDefault(list[rank]);
                next[i][rank] = HasColumn(rank) ? 0 : at;
                end[i][rank] = next[i][rank] + frequency;
                at += HasColumn(rank) ? 0 : frequency;
            }
        }

        PostingsAt[list.Length] = at;
        for (int i = 0; i < parts.Length; i++)
        {
            token[i] = tokens;
            tokens += parts[i].Tokens;
        }

        TokensAt[_documents] = tokens;
        byte[][] peaks = [.. parts.Select(_ => new byte[list.Length])];
        ParallelLoop.For(
            parts.Length,
            i => FillPart(parts[i], rankOf, next[i], end[i], token[i], peaks[i], termsOf, report),
            threads,
            cancellationToken);
        byte* greatest = _memory.Pointer + _sections[6];
        for (int rank = 0; rank < list.Length; rank++)
        {
            greatest[rank] = peaks.Max(part => part[rank]);
        }
    }

    private void FillPart(Part part, Dictionary<int, int> rankOf, long[] next, long[] ends, long token, byte[] peaks, TermsOf termsOf, Action<int> report)
    {
        int* tokenRanks = (int*)(_memory.Pointer + _sections[3]);
        int* posted = (int*)(_memory.Pointer + _sections[4]);
        byte* impacts = _memory.Pointer + _sections[5];
        long last = token + part.Tokens;
        int[] buffer = [];
        for (int document = part.First; document < part.End; document++)
        {
            report(document);
            TokensAt[document] = token;
            ReadOnlySpan<int> sorted = Sorted(termsOf(document), ref buffer);
            for (int i = 0, end; i < sorted.Length; i = end)
            {
                for (end = i + 1; end < sorted.Length && sorted[end] == sorted[i]; end++)
                {
                }

                if (!rankOf.TryGetValue(sorted[i], out int rank) || next[rank] == ends[rank] || token + end - i > last)
                {
                    throw new InvalidOperationException($"The terms of document {document} changed while the index was being built.");
                }

                new Span<int>(tokenRanks + token, end - i).Fill(rank);
                token += end - i;
                byte impact = _isPart ? (byte)Math.Min(end - i, byte.MaxValue) : Impact(end - i, sorted.Length, K1, B, MeanLength);
                if (HasColumn(rank))
                {
                    Column(rank)[document] = impact;
                }
                else
                {
                    posted[next[rank]] = document;
                    impacts[next[rank]] = impact;
                }

                next[rank]++;
                peaks[rank] = Math.Max(peaks[rank], impact);
            }
        }
    }

    private Span<byte> Header(int from) => new(_memory.Pointer + from, HeaderSize - from);

    private void WriteHeader()
    {
        WriteHeader(Header(0), _isPart ? PartMagic : Magic, _documents, _terms, _postings, _tokens, _columnCount, K1, B);
        CheckContents("", Header(HashAt)[..SHA256.HashSizeInBytes], null, CancellationToken.None);
    }

    /// <summary>All of a header but the checksum, and what a part is a part of.</summary>
    private static void WriteHeader(
        Span<byte> header, ReadOnlySpan<byte> magic, long documents, long terms, long postings, long tokens, long columns, double k1, double b)
    {
        magic.CopyTo(header);
        BinaryPrimitives.WriteInt64LittleEndian(header[8..], Version);
        BinaryPrimitives.WriteInt64LittleEndian(header[16..], documents);
        BinaryPrimitives.WriteInt64LittleEndian(header[24..], terms);
        BinaryPrimitives.WriteInt64LittleEndian(header[32..], postings);
        BinaryPrimitives.WriteInt64LittleEndian(header[40..], tokens);
        BinaryPrimitives.WriteDoubleLittleEndian(header[48..], k1);
        BinaryPrimitives.WriteDoubleLittleEndian(header[56..], b);
        BinaryPrimitives.WriteInt64LittleEndian(header[ColumnsAt..], columns);
    }

    /// <summary>Documents that follow one another: in how many of them each term is, and how many tokens they have.</summary>
    private sealed record Part(int First, int End, Dictionary<int, int> Frequency, long Tokens)
    {
        public static Part Count(int first, int end, TermsOf termsOf, Action<int> report)
        {
            Dictionary<int, int> frequency = [];
            long tokens = 0;
            int[] buffer = [];
            for (int document = first; document < end; document++)
            {
                report(document);
                ReadOnlySpan<int> sorted = Sorted(termsOf(document), ref buffer);
                tokens += sorted.Length;
                for (int i = 0; i < sorted.Length; i++)
                {
                    if (i == 0 || sorted[i] != sorted[i - 1])
                    {
                        CollectionsMarshal.GetValueRefOrAddDefault(frequency, sorted[i], out _)++;
                    }
                }
            }

            return new(first, end, frequency, tokens);
        }
    }
}
