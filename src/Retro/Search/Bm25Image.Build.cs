using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Retro.Search;

/// <content>How the arrays are made: one pass that counts, one that fills.</content>
internal sealed unsafe partial class Bm25Image
{
    public static Bm25Image Build(int count, TermsOf termsOf, double k1, double b, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        // First pass: which terms there are, in how many documents each, and how long the documents are.
        Dictionary<int, int> frequency = [];
        long tokens = 0, postings = 0;
        int[] buffer = [];
        for (int document = 0; document < count; document++)
        {
            Report(document, 0);
            ReadOnlySpan<int> sorted = Sorted(termsOf(document), ref buffer);
            tokens += sorted.Length;
            for (int i = 0; i < sorted.Length; i++)
            {
                if (i == 0 || sorted[i] != sorted[i - 1])
                {
                    CollectionsMarshal.GetValueRefOrAddDefault(frequency, sorted[i], out _)++;
                    postings++;
                }
            }
        }

        int[] list = [.. frequency.Keys];
        Array.Sort(list);
        long[] sections = Sections(count, list.Length, postings, tokens);
        Bm25Image image = new(MappedFile.Allocate(sections[^1]), count, list.Length, postings, tokens, k1, b);
        try
        {
            image.Fill(list, frequency, termsOf, document => Report(document, count));
            image.WriteHeader();
            progress?.Report(new("index terms", 2L * count, 2L * count));
            return image;
        }
        catch
        {
            image.Dispose();
            throw;
        }

        void Report(int document, long before)
        {
            if ((document & 0xfff) == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress?.Report(new("index terms", before + document, 2L * count));
            }
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

    private void Fill(int[] list, Dictionary<int, int> frequency, TermsOf termsOf, Action<int> report)
    {
        list.CopyTo(new Span<int>(_memory.Pointer + _sections[0], list.Length));
        Dictionary<int, int> rankOf = new(list.Length);
        long[] next = new long[list.Length];
        long at = 0;
        for (int rank = 0; rank < list.Length; rank++)
        {
            rankOf[list[rank]] = rank;
            next[rank] = at;
            PostingsAt[rank] = at;
            at += frequency[list[rank]];
        }

        PostingsAt[list.Length] = at;
        int* tokenRanks = (int*)(_memory.Pointer + _sections[3]);
        int* posted = (int*)(_memory.Pointer + _sections[4]);
        byte* impacts = _memory.Pointer + _sections[5];
        byte* peaks = _memory.Pointer + _sections[6];
        long token = 0;
        int[] buffer = [];
        for (int document = 0; document < Documents; document++)
        {
            report(document);
            TokensAt[document] = token;
            ReadOnlySpan<int> sorted = Sorted(termsOf(document), ref buffer);
            double norm = Norm(sorted.Length);
            for (int i = 0, end; i < sorted.Length; i = end)
            {
                for (end = i + 1; end < sorted.Length && sorted[end] == sorted[i]; end++)
                {
                }

                if (!rankOf.TryGetValue(sorted[i], out int rank) || next[rank] == PostingsAt[rank + 1] || token + end - i > _tokens)
                {
                    throw new InvalidOperationException($"The terms of document {document} changed while the index was being built.");
                }

                new Span<int>(tokenRanks + token, end - i).Fill(rank);
                token += end - i;
                byte impact = (byte)Math.Clamp(Math.Ceiling(255.0 * (end - i) / (end - i + norm)), 1, 255);
                posted[next[rank]] = document;
                impacts[next[rank]++] = impact;
                peaks[rank] = Math.Max(peaks[rank], impact);
            }
        }

        TokensAt[_documents] = token;
    }

    private void WriteHeader()
    {
        Span<byte> header = new(_memory.Pointer, HeaderSize);
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt64LittleEndian(header[8..], Version);
        BinaryPrimitives.WriteInt64LittleEndian(header[16..], _documents);
        BinaryPrimitives.WriteInt64LittleEndian(header[24..], _terms);
        BinaryPrimitives.WriteInt64LittleEndian(header[32..], _postings);
        BinaryPrimitives.WriteInt64LittleEndian(header[40..], _tokens);
        BinaryPrimitives.WriteDoubleLittleEndian(header[48..], K1);
        BinaryPrimitives.WriteDoubleLittleEndian(header[56..], B);
        CheckContents("", header.Slice(HashAt, SHA256.HashSizeInBytes), null, CancellationToken.None);
    }
}
