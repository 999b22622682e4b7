using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Retro.Search;

/// <summary>
/// The arrays of a <see cref="Bm25Index"/>, the same in memory and on disk (little-endian, every array aligned to 8 bytes):
/// <code>
/// header (128 bytes): magic, version, documents N, terms T, postings P, tokens L, k1, b, SHA-256 of all the rest
/// terms       int32 [T]      ascending; a term's place here is its rank
/// postingsAt  int64 [T + 1]  where the postings of a rank begin
/// tokensAt    int64 [N + 1]  where the tokens of a document begin
/// tokens      int32 [L]      ranks, ascending within a document, repeated as they occur
/// documents   int32 [P]      postings: documents of a rank, ascending
/// impacts     byte  [P]      f / (f + k1 (...)) rounded up to a 255th: a bound, never the score
/// peaks       byte  [T]      the greatest impact of a rank
/// </code>
/// </summary>
internal sealed unsafe class Bm25Image : IDisposable
{
    private const int Version = 1;
    private const int HeaderSize = 128;
    private const int HashAt = 64;
    private static ReadOnlySpan<byte> Magic => "RETROBM1"u8;

    private readonly MappedFile memory;
    private readonly long documents;
    private readonly long terms;
    private readonly long postings;
    private readonly long tokens;
    private readonly long[] sections;

    private Bm25Image(MappedFile memory, long documents, long terms, long postings, long tokens, Bm25Options options)
    {
        this.memory = memory;
        this.documents = documents;
        this.terms = terms;
        this.postings = postings;
        this.tokens = tokens;
        sections = Sections(documents, terms, postings, tokens);
        Options = options;
        MeanLength = tokens > 0 ? (double)tokens / documents : 1;
    }

    public Bm25Options Options { get; }

    /// <summary>Tokens of a document on average; 1 where there are none at all.</summary>
    public double MeanLength { get; }

    public int Documents => (int)documents;

    public int Terms => (int)terms;

    private ReadOnlySpan<int> TermList => new(memory.Pointer + sections[0], Terms);

    private long* PostingsAt => (long*)(memory.Pointer + sections[1]);

    private long* TokensAt => (long*)(memory.Pointer + sections[2]);

    public static Bm25Image Build(int count, TermsOf termsOf, Bm25Options options, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
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
        Bm25Image image = new(MappedFile.Allocate(sections[^1]), count, list.Length, postings, tokens, options);
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

    public static Bm25Image Open(string path, bool verify)
    {
        MappedFile memory = MappedFile.Open(path);
        try
        {
            Bm25Image image = FromHeader(memory, path);
            image.CheckTables(path);
            Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
            if (verify)
            {
                image.Hash(hash);
                if (!hash.SequenceEqual(new ReadOnlySpan<byte>(memory.Pointer + HashAt, hash.Length)))
                {
                    throw Damaged(path, "its checksum does not match its content");
                }
            }

            return image;
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    public void Save(string path) => AtomicFile.Write(path, memory.CopyTo, (message, fault) => new DatabaseException(message, fault));

    public int Rank(int term) => TermList.BinarySearch(term);

    public int DocumentFrequency(int rank) => (int)(PostingsAt[rank + 1] - PostingsAt[rank]);

    public double InverseDocumentFrequency(int rank)
    {
        double n = DocumentFrequency(rank);
        return Math.Log(1 + (documents - n + 0.5) / (n + 0.5));
    }

    /// <summary>The documents that hold a term, ascending.</summary>
    public ReadOnlySpan<int> PostingsOf(int rank) => new(memory.Pointer + sections[4] + PostingsAt[rank] * sizeof(int), DocumentFrequency(rank));

    /// <summary>Beside <see cref="PostingsOf"/>: in 255ths, how much of the term's weight it adds at most.</summary>
    public ReadOnlySpan<byte> ImpactsOf(int rank) => new(memory.Pointer + sections[5] + PostingsAt[rank], DocumentFrequency(rank));

    /// <summary>The greatest of <see cref="ImpactsOf"/>.</summary>
    public byte PeakOf(int rank) => memory.Pointer[sections[6] + rank];

    /// <summary>The ranks of a document's terms, ascending, repeated as they occur.</summary>
    public ReadOnlySpan<int> TokensOf(int document)
        => new(memory.Pointer + sections[3] + TokensAt[document] * sizeof(int), (int)(TokensAt[document + 1] - TokensAt[document]));

    /// <summary>k1 · (1 - b + b · length / mean length).</summary>
    public double Norm(int length) => Options.K1 * (1 - Options.B + Options.B * length / MeanLength);

    public void Dispose() => memory.Dispose();

    /// <summary>Where the seven arrays begin, and at the end the size of the whole.</summary>
    private static long[] Sections(long documents, long terms, long postings, long tokens)
    {
        long[] sizes = [terms * 4, (terms + 1) * 8, (documents + 1) * 8, tokens * 4, postings * 4, postings, terms];
        long[] starts = new long[sizes.Length + 1];
        starts[0] = HeaderSize;
        for (int i = 0; i < sizes.Length; i++)
        {
            starts[i + 1] = starts[i] + (sizes[i] + 7) / 8 * 8;
        }

        return starts;
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

    private static Bm25Image FromHeader(MappedFile memory, string path)
    {
        if (memory.Length < HeaderSize)
        {
            throw Damaged(path, $"it has {memory.Length} bytes and its header alone takes {HeaderSize}");
        }

        ReadOnlySpan<byte> header = new(memory.Pointer, HeaderSize);
        if (!header.StartsWith(Magic))
        {
            throw new DatabaseException($"The file {path} is no keyword index: build it again.");
        }

        if (BinaryPrimitives.ReadInt64LittleEndian(header[8..]) is var version and not Version)
        {
            throw new DatabaseException($"The keyword index {path} has version {version}, and this program reads version {Version}: build it again.");
        }

        long documents = BinaryPrimitives.ReadInt64LittleEndian(header[16..]);
        long terms = BinaryPrimitives.ReadInt64LittleEndian(header[24..]);
        long postings = BinaryPrimitives.ReadInt64LittleEndian(header[32..]);
        long tokens = BinaryPrimitives.ReadInt64LittleEndian(header[40..]);
        Bm25Options options = new() { K1 = BinaryPrimitives.ReadDoubleLittleEndian(header[48..]), B = BinaryPrimitives.ReadDoubleLittleEndian(header[56..]) };

        // No count can exceed the file's length, so that the sizes below cannot overflow.
        long length = memory.Length;
        if (documents < 0 || terms < 0 || postings < 0 || tokens < 0 || documents > length || terms > length || postings > length || tokens > length
            || documents >= int.MaxValue || terms >= int.MaxValue)
        {
            throw Damaged(path, "its header gives impossible counts");
        }

        if (Sections(documents, terms, postings, tokens)[^1] is var expected && expected != length)
        {
            throw Damaged(path, $"it should have {expected} bytes and has {length}");
        }

        try
        {
            options.Check();
        }
        catch (ArgumentOutOfRangeException fault)
        {
            throw Damaged(path, fault.Message);
        }

        return new(memory, documents, terms, postings, tokens, options);
    }

    private static DatabaseException Damaged(string path, string how)
        => new($"The keyword index {path} is damaged: {how}. Build it again.");

    private void CheckTables(string path)
    {
        ReadOnlySpan<int> list = TermList;
        for (int i = 1; i < list.Length; i++)
        {
            if (list[i] <= list[i - 1])
            {
                throw Damaged(path, "its terms are not in order");
            }
        }

        CheckOffsets(PostingsAt, terms, postings, documents);
        CheckOffsets(TokensAt, documents, tokens, int.MaxValue);

        void CheckOffsets(long* offsets, long rows, long total, long greatest)
        {
            long last = 0;
            bool ordered = offsets[0] == 0 && offsets[rows] == total;
            for (long i = 1; ordered && i <= rows; i++)
            {
                ordered = offsets[i] >= last && offsets[i] - last <= greatest;
                last = offsets[i];
            }

            if (!ordered)
            {
                throw Damaged(path, "its tables of contents contradict one another");
            }
        }
    }

    private void Fill(int[] list, Dictionary<int, int> frequency, TermsOf termsOf, Action<int> report)
    {
        list.CopyTo(new Span<int>(memory.Pointer + sections[0], list.Length));
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
        int* tokenRanks = (int*)(memory.Pointer + sections[3]);
        int* posted = (int*)(memory.Pointer + sections[4]);
        byte* impacts = memory.Pointer + sections[5];
        byte* peaks = memory.Pointer + sections[6];
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

                if (!rankOf.TryGetValue(sorted[i], out int rank) || next[rank] == PostingsAt[rank + 1] || token + end - i > tokens)
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

        TokensAt[documents] = token;
    }

    private void WriteHeader()
    {
        Span<byte> header = new(memory.Pointer, HeaderSize);
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt64LittleEndian(header[8..], Version);
        BinaryPrimitives.WriteInt64LittleEndian(header[16..], documents);
        BinaryPrimitives.WriteInt64LittleEndian(header[24..], terms);
        BinaryPrimitives.WriteInt64LittleEndian(header[32..], postings);
        BinaryPrimitives.WriteInt64LittleEndian(header[40..], tokens);
        BinaryPrimitives.WriteDoubleLittleEndian(header[48..], Options.K1);
        BinaryPrimitives.WriteDoubleLittleEndian(header[56..], Options.B);
        Hash(header.Slice(HashAt, SHA256.HashSizeInBytes));
    }

    private void Hash(Span<byte> hash)
    {
        using IncrementalHash sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        memory.AppendTo(sha, 0, HashAt);
        memory.AppendTo(sha, HashAt + SHA256.HashSizeInBytes, memory.Length);
        sha.GetHashAndReset(hash);
    }
}
