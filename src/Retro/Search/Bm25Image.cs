using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Retro.Search;

/// <summary>
/// The arrays of a <see cref="Bm25Index"/>, the same in memory and on disk (little-endian, every array aligned to 8 bytes):
/// <code>
/// header (128 bytes): magic, version, documents N, terms T, postings P, tokens L, k1, b, SHA-256 of all the rest, columns C
/// terms       int32 [T]      ascending; a term's place here is its rank
/// postingsAt  int64 [T + 1]  where the postings of a rank begin; a rank with a column has none
/// tokensAt    int64 [N + 1]  where the tokens of a document begin
/// tokens      int32 [L]      ranks, ascending within a document, repeated as they occur
/// documents   int32 [P]      postings: documents of a rank, ascending
/// impacts     byte  [P]      f / (f + k1 (...)) rounded up to a 255th: a bound, never the score
/// peaks       byte  [T]      the greatest impact of a rank
/// frequencies int32 [T]      how many documents hold a rank
/// columns     byte  [C, N]   of each rank that stands in an eighth of the documents or more, ascending: its impact in every document, 0 where it is not
/// </code>
/// A frequent term's column takes about the room of its postings, and is added up many documents at once.
/// <para>A part of an index, of documents that follow one another, is laid out in the same way, and joined with the others to the index of all
/// (<see cref="Merge"/>). What depends on all documents it leaves open: no term has a column, and in place of an impact stands how often the term occurs, 255
/// for so often or more. Its magic is another, and behind the number of columns stand 24 bytes that say what it is a part of.</para>
/// </summary>
internal sealed unsafe partial class Bm25Image : IDisposable
{
    private const int Version = 2;
    private const int HeaderSize = 128;
    private const int HashAt = 64;
    private const int ColumnsAt = 96;
    private const int PartAt = 104;

    // A term that stands in one document of so many, or in more, has a column.
    private const int ColumnShare = 8;

    private static ReadOnlySpan<byte> Magic => "RETROBM1"u8;

    private static ReadOnlySpan<byte> PartMagic => "RETROBP1"u8;

    private readonly MappedFile _memory;
    private readonly long _documents;
    private readonly long _terms;
    private readonly long _postings;
    private readonly long _tokens;
    private readonly long _columnCount;
    private readonly bool _isPart;
    private readonly long[] _sections;

    // The place of a rank's column; -1 where it has none.
    private readonly int[] _columns;

    private Bm25Image(MappedFile memory, long documents, long terms, long postings, long tokens, long columns, double k1, double b, bool isPart)
    {
        _memory = memory;
        _documents = documents;
        _terms = terms;
        _postings = postings;
        _tokens = tokens;
        _columnCount = columns;
        _isPart = isPart;
        _sections = Sections(documents, terms, postings, tokens, columns);
        _columns = new int[terms];
        (K1, B) = (k1, b);
        MeanLength = Mean(tokens, documents);
    }

    public double K1 { get; }

    public double B { get; }

    /// <summary>Tokens of a document on average; 1 where there are none at all.</summary>
    public double MeanLength { get; }

    public int Documents => (int)_documents;

    public int Terms => (int)_terms;

    /// <summary>Tokens of all documents.</summary>
    public long Tokens => _tokens;

    /// <summary>The terms, ascending: a term's place is its rank.</summary>
    public ReadOnlySpan<int> TermList => new(_memory.Pointer + _sections[0], Terms);

    /// <summary>How many documents hold each rank.</summary>
    private Span<int> Frequencies => new(_memory.Pointer + _sections[7], Terms);

    private long* PostingsAt => (long*)(_memory.Pointer + _sections[1]);

    private long* TokensAt => (long*)(_memory.Pointer + _sections[2]);

    /// <summary>Bytes of what says what a part is a part of.</summary>
    public static int PartBytes => HeaderSize - PartAt;

    /// <summary>Opens an index, or a part of one.</summary>
    /// <param name="path">The file.</param>
    /// <param name="verify">Whether to compare the checksum and everything that is named.</param>
    /// <param name="part">What it has to be a part of; null: an index.</param>
    /// <param name="progress">Receives the number of bytes checked.</param>
    /// <param name="cancellationToken">Stops the checking.</param>
    /// <exception cref="DatabaseException">It is damaged, no index, or a part of something else.</exception>
    public static Bm25Image Open(string path, bool verify, byte[]? part, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        MappedFile memory = MappedFile.Open(path);
        try
        {
            Bm25Image image = FromHeader(memory, path, part);
            if (!image.PlaceColumns() || !image.TablesAgree())
            {
                throw Damaged(path, "its tables of contents contradict one another");
            }

            Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
            if (verify)
            {
                image.CheckContents(path, hash, progress, cancellationToken);
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

    /// <summary>Whether a file is a part of another index.</summary>
    /// <param name="path">The file.</param>
    /// <param name="part">What it should be a part of.</param>
    public static bool IsOfAnother(string path, byte[] part)
    {
        FileIdentity.RequireFile(path);
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1);
        byte[] header = new byte[HeaderSize];
        return file.ReadAtLeast(header, HeaderSize, throwOnEndOfStream: false) == HeaderSize
            && header.AsSpan().StartsWith(PartMagic)
            && !header.AsSpan(PartAt).SequenceEqual(part);
    }

    /// <summary>Whether a term that stands in so many of the documents has a column.</summary>
    public static bool IsFrequent(long frequency, long documents) => frequency > 0 && frequency * ColumnShare >= documents;

    public void CopyTo(Stream stream) => _memory.CopyTo(stream);

    public void Save(string path) => AtomicFile.Write(path, _memory.CopyTo, DatabaseException.Of);

    public int Rank(int term) => TermList.BinarySearch(term);

    /// <summary>The term of a rank that a document's tokens name.</summary>
    /// <exception cref="DatabaseException">The index holds no such rank: it is damaged, and was opened without comparing its checksum.</exception>
    public int Term(int rank) => (uint)rank < (uint)Terms ? TermList[rank] : throw NamesWhatIsNotThere();

    public int DocumentFrequency(int rank) => Frequencies[rank];

    /// <summary>Whether a term has <see cref="ColumnOf"/>, and not <see cref="PostingsOf"/> and <see cref="ImpactsOf"/>.</summary>
    public bool HasColumn(int rank) => _columns[rank] >= 0;

    /// <summary>The documents that hold a term, ascending.</summary>
    public ReadOnlySpan<int> PostingsOf(int rank) => new(_memory.Pointer + _sections[4] + PostingsAt[rank] * sizeof(int), Postings(rank));

    /// <summary>Beside <see cref="PostingsOf"/>: in 255ths, how much of the term's weight it adds at most.</summary>
    public ReadOnlySpan<byte> ImpactsOf(int rank) => new(_memory.Pointer + _sections[5] + PostingsAt[rank], Postings(rank));

    /// <summary>The same of a frequent term for every document; 0 for those that do not hold it.</summary>
    public ReadOnlySpan<byte> ColumnOf(int rank) => new(Column(rank), Documents);

    /// <summary>The greatest of a term's impacts.</summary>
    public byte PeakOf(int rank) => _memory.Pointer[_sections[6] + rank];

    /// <summary>The ranks of a document's terms, ascending, repeated as they occur.</summary>
    public ReadOnlySpan<int> TokensOf(int document)
        => new(_memory.Pointer + _sections[3] + TokensAt[document] * sizeof(int), (int)(TokensAt[document + 1] - TokensAt[document]));

    public static double Mean(long tokens, long documents) => tokens > 0 ? (double)tokens / documents : 1;

    /// <summary>A bound of what a term adds that occurs so often in a document of a length: f / (f + k1 · (1 - b + b · length / mean length)).</summary>
    private static byte Impact(int occurrences, int length, double k1, double b, double meanLength)
    {
        double norm = k1 * (1 - b + b * length / meanLength);
        return (byte)Math.Clamp(Math.Ceiling(255.0 * occurrences / (occurrences + norm)), 1, 255);
    }

    /// <summary>What of a document's terms is not as it is here; null: all is.</summary>
    public string? FaultOf(int document, ReadOnlySpan<int> terms)
    {
        int[] buffer = [];
        ReadOnlySpan<int> sorted = Sorted(terms, ref buffer), ranks = TokensOf(document);
        if (sorted.Length != ranks.Length)
        {
            return $"it has {sorted.Length} terms, and {ranks.Length} in the index";
        }

        for (int i = 0; i < ranks.Length; i++)
        {
            if (Term(ranks[i]) is var term && term != sorted[i])
            {
                return $"it has the term {sorted[i]}, and {term} in its place in the index";
            }

            if (HasColumn(ranks[i]) ? ColumnOf(ranks[i])[document] == 0 : PostingsOf(ranks[i]).BinarySearch(document) < 0)
            {
                return $"it is not in the list of its term {sorted[i]}";
            }
        }

        return null;
    }

    /// <summary>Keeps the arrays there while they are read.</summary>
    /// <exception cref="ObjectDisposedException">It was disposed.</exception>
    public SharedHandle.Held Hold() => _memory.Hold();

    public void Dispose() => _memory.Dispose();

    private int Postings(int rank) => (int)(PostingsAt[rank + 1] - PostingsAt[rank]);

    private byte* Column(int rank) => _memory.Pointer + _sections[8] + _columns[rank] * _documents;

    /// <summary>Gives the frequent ranks their columns; false: there are more or fewer than the header says.</summary>
    private bool PlaceColumns()
    {
        int count = 0;
        for (int rank = 0; rank < Terms; rank++)
        {
            _columns[rank] = !_isPart && IsFrequent(Frequencies[rank], _documents) ? count++ : -1;
        }

        return count == _columnCount;
    }

    /// <summary>Where the nine arrays begin, and at the end the size of the whole.</summary>
    private static long[] Sections(long documents, long terms, long postings, long tokens, long columns)
    {
        long[] sizes = [terms * 4, (terms + 1) * 8, (documents + 1) * 8, tokens * 4, postings * 4, postings, terms, terms * 4, columns * documents];
        long[] starts = new long[sizes.Length + 1];
        starts[0] = HeaderSize;
        for (int i = 0; i < sizes.Length; i++)
        {
            starts[i + 1] = starts[i] + (sizes[i] + 7) / 8 * 8;
        }

        return starts;
    }

    private static Bm25Image FromHeader(MappedFile memory, string path, byte[]? part)
    {
        if (memory.Length < HeaderSize)
        {
            throw Damaged(path, $"it has {memory.Length} bytes and its header alone takes {HeaderSize}");
        }

        ReadOnlySpan<byte> header = new(memory.Pointer, HeaderSize);
        if (!header.StartsWith(part is null ? Magic : PartMagic))
        {
            throw new DatabaseException($"The file {path} is no {(part is null ? "keyword index" : "share of a keyword index")}: build it again.");
        }

        if (BinaryPrimitives.ReadInt64LittleEndian(header[8..]) is var version and not Version)
        {
            throw new DatabaseException($"The keyword index {path} has version {version}, and this program reads version {Version}: build it again.");
        }

        if (part is not null && !header[PartAt..].SequenceEqual(part))
        {
            throw new DatabaseException(
                $"The share {path} was made of other chunks than the database has now, or is another share than its name says: make it again, or delete it.");
        }

        long documents = BinaryPrimitives.ReadInt64LittleEndian(header[16..]);
        long terms = BinaryPrimitives.ReadInt64LittleEndian(header[24..]);
        long postings = BinaryPrimitives.ReadInt64LittleEndian(header[32..]);
        long tokens = BinaryPrimitives.ReadInt64LittleEndian(header[40..]);
        long columns = BinaryPrimitives.ReadInt64LittleEndian(header[ColumnsAt..]);
        double k1 = BinaryPrimitives.ReadDoubleLittleEndian(header[48..]), b = BinaryPrimitives.ReadDoubleLittleEndian(header[56..]);

        // No count can exceed the file's length, and columns and documents are below 2³¹, so that the sizes below cannot overflow.
        long length = memory.Length;
        if (documents < 0 || terms < 0 || postings < 0 || tokens < 0 || documents > length || terms > length || postings > length || tokens > length
            || documents >= int.MaxValue || terms >= int.MaxValue || columns < 0 || columns > terms)
        {
            throw Damaged(path, "its header gives impossible counts");
        }

        if (Sections(documents, terms, postings, tokens, columns)[^1] is var expected && expected != length)
        {
            throw Damaged(path, $"it should have {expected} bytes and has {length}");
        }

        try
        {
            new KeywordNeighborOptions { K1 = k1, B = b }.Validate();
        }
        catch (RetroOptionsException fault)
        {
            throw Damaged(path, fault.Message);
        }

        return new(memory, documents, terms, postings, tokens, columns, k1, b, part is not null);
    }

    /// <summary>What is said where only a search meets what the content names and does not hold: of a file whose checksum was not compared.</summary>
    public DatabaseException NamesWhatIsNotThere() => Damaged(_memory.Path, "it names a term or a document that it does not hold");

    private static DatabaseException Damaged(string path, string how)
        => new($"The keyword index {path} is damaged: {how}. Build it again.");

    private bool TablesAgree()
    {
        ReadOnlySpan<int> list = TermList;
        for (int rank = 0; rank < list.Length; rank++)
        {
            if ((rank > 0 && list[rank] <= list[rank - 1])
                || Frequencies[rank] < 0
                || Frequencies[rank] > _documents
                || PostingsAt[rank + 1] - PostingsAt[rank] != (HasColumn(rank) ? 0 : Frequencies[rank]))
            {
                return false;
            }
        }

        return Ordered(PostingsAt, _terms, _postings) && Ordered(TokensAt, _documents, _tokens);

        static bool Ordered(long* offsets, long rows, long total)
        {
            bool ordered = offsets[0] == 0 && offsets[rows] == total;
            for (long i = 1; ordered && i <= rows; i++)
            {
                ordered = offsets[i] >= offsets[i - 1] && offsets[i] - offsets[i - 1] <= int.MaxValue;
            }

            return ordered;
        }
    }

    /// <summary>Takes the checksum, and checks in the same pass that every rank and every document that is named is there, in its order.</summary>
    private void CheckContents(string path, Span<byte> hash, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        const long Block = 1 << 24;
        using IncrementalHash sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        _memory.AppendTo(sha, 0, HashAt);
        long done = HashAt + SHA256.HashSizeInBytes;
        for (int document = 0; document < Documents; document++)
        {
            Require(TokensOf(document), Terms, repeated: true);
            Reached(_sections[3] + TokensAt[document + 1] * sizeof(int));
        }

        for (int rank = 0; rank < Terms; rank++)
        {
            Require(PostingsOf(rank), Documents, repeated: false);
            Reached(_sections[4] + PostingsAt[rank + 1] * sizeof(int));
        }

        for (int rank = 0; rank < Terms; rank++)
        {
            if (HasColumn(rank) && Documents - ColumnOf(rank).Count((byte)0) != DocumentFrequency(rank))
            {
                throw Damaged(path, "a term stands in more or fewer documents than it says");
            }

            Reached(HasColumn(rank) ? _sections[8] + (_columns[rank] + 1) * _documents : done);
        }

        while (done < _memory.Length)
        {
            Reached(Math.Min(_memory.Length, done + Block), last: true);
        }

        sha.GetHashAndReset(hash);

        void Reached(long place, bool last = false)
        {
            if (place - done >= Block || last)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress?.Report(new("check keyword index", done, _memory.Length));
                _memory.AppendTo(sha, done, place);
                done = place;
            }
        }

        void Require(ReadOnlySpan<int> numbers, int below, bool repeated)
        {
            int least = 0;
            foreach (int number in numbers)
            {
                if (number < least || number >= below)
                {
                    throw Damaged(path, $"it names {number}, out of order or beyond the {below} that there are");
                }

                least = repeated ? number : number + 1;
            }
        }
    }
}
