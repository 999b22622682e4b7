using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Retro.Search;

/// <content>
/// How parts are joined to the index of all their documents: array after array, each read from the parts and written from front to end, so that nothing is
/// held but what there is of each term. The bytes are those of the index that is built at once.
/// </content>
internal sealed unsafe partial class Bm25Image
{
    /// <param name="output">Where the index is written; it can seek.</param>
    /// <param name="parts">The parts, in the order of their documents.</param>
    /// <param name="k1">The constant k1.</param>
    /// <param name="b">The constant b.</param>
    /// <param name="progress">Receives the number of bytes written.</param>
    /// <param name="cancellationToken">Stops between blocks.</param>
    public static void Merge(
        Stream output, IReadOnlyList<Bm25Image> parts, double k1, double b, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
        => new Merger(output, parts, k1, b, progress, cancellationToken).Run();

    /// <summary>How often a term of a part occurs in a document that holds it.</summary>
    private int Occurrences(int rank, int document, byte stored)
    {
        if (stored < byte.MaxValue)
        {
            return stored;
        }

        int count = 0;
        foreach (int other in TokensOf(document))
        {
            count += other == rank ? 1 : 0;
        }

        return count;
    }

    private sealed class Merger
    {
        private const int Block = 1 << 16;

        private readonly Stream _output;
        private readonly IReadOnlyList<Bm25Image> _parts;
        private readonly IProgress<StageProgress>? _progress;
        private readonly CancellationToken _cancellationToken;
        private readonly (double K1, double B) _constants;
        private readonly long _documents;
        private readonly long _tokens;
        private readonly double _meanLength;
        private readonly int[] _terms;
        private readonly int[] _frequencies;
        private readonly byte[] _peaks;
        private readonly long[] _sections;
        private readonly byte[] _header = new byte[HeaderSize];
        private readonly byte[] _bytes = new byte[Block];
        private readonly int[] _numbers = new int[Block];
        private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private readonly byte[] _buffer = new byte[1 << 20];
        private int _buffered;
        private long _written;

        public Merger(
            Stream output, IReadOnlyList<Bm25Image> parts, double k1, double b, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
        {
            (_output, _parts, _constants, _progress, _cancellationToken) = (output, parts, (k1, b), progress, cancellationToken);
            _documents = parts.Sum(part => part._documents);
            _tokens = parts.Sum(part => part._tokens);
            _meanLength = Mean(_tokens, _documents);
            HashSet<int> terms = [];
            foreach (Bm25Image part in parts)
            {
                foreach (int term in part.TermList)
                {
                    terms.Add(term);
                }
            }

            _terms = [.. terms];
            Array.Sort(_terms);
            (_frequencies, _peaks) = (new int[_terms.Length], new byte[_terms.Length]);
            foreach (Bm25Image part in parts)
            {
                int[] ranks = RanksOf(part);
                for (int rank = 0; rank < ranks.Length; rank++)
                {
                    _frequencies[ranks[rank]] += part.DocumentFrequency(rank);
                }
            }

            long postings = _frequencies.Sum(frequency => IsFrequent(frequency, _documents) ? 0L : frequency);
            int columns = _frequencies.Count(frequency => IsFrequent(frequency, _documents));
            _sections = Sections(_documents, _terms.Length, postings, _tokens, columns);
            WriteHeader(_header, Magic, _documents, _terms.Length, postings, _tokens, columns, k1, b);
        }

        public void Run()
        {
            _hash.AppendData(_header, 0, HashAt);
            _hash.AppendData(_header, HashAt + SHA256.HashSizeInBytes, HeaderSize - HashAt - SHA256.HashSizeInBytes);
            _output.Write(_header);
            _written = HeaderSize;

            Section(0);
            Write(MemoryMarshal.AsBytes<int>(_terms));
            Section(1);
            long at = 0;
            for (int rank = 0; rank <= _terms.Length; rank++)
            {
                WriteOffset(at);
                at += rank < _terms.Length && !HasColumn(rank) ? _frequencies[rank] : 0;
            }

            Section(2);
            at = 0;
            foreach (Bm25Image part in _parts)
            {
                for (int document = 0; document < part.Documents; document++)
                {
                    WriteOffset(at + part.TokensAt[document]);
                }

                at += part.Tokens;
            }

            WriteOffset(at);
            Section(3);
            foreach (Bm25Image part in _parts)
            {
                WriteTokens(part, RanksOf(part));
            }

            Section(4);
            long before = 0;
            ForEachRank(rank => before = 0, (part, own, rank) =>
            {
                if (own >= 0 && !HasColumn(rank))
                {
                    WritePostings(part.PostingsOf(own), (int)before);
                }

                before += part.Documents;
            });
            Section(5);
            ForEachRank(null, (part, own, rank) =>
            {
                if (own >= 0)
                {
                    Impacts(part, own, rank, write: !HasColumn(rank));
                }
            });
            Section(6);
            Write(_peaks);
            Section(7);
            Write(MemoryMarshal.AsBytes<int>(_frequencies));
            Section(8);
            ForEachRank(null, (part, own, rank) =>
            {
                if (HasColumn(rank))
                {
                    WriteColumn(part, own);
                }
            });
            Section(9);
            Flush();
            _output.Position = HashAt;
            _output.Write(_hash.GetHashAndReset());
            _hash.Dispose();
            _output.Position = _written;
        }

        private bool HasColumn(int rank) => IsFrequent(_frequencies[rank], _documents);

        /// <summary>The ranks that a part's terms have among all.</summary>
        private int[] RanksOf(Bm25Image part)
        {
            ReadOnlySpan<int> terms = part.TermList;
            int[] ranks = new int[terms.Length];
            for (int own = 0, rank = 0; own < terms.Length; own++, rank++)
            {
                while (_terms[rank] != terms[own])
                {
                    rank++;
                }

                ranks[own] = rank;
            }

            return ranks;
        }

        /// <summary>Every term, and for each of them every part with the term's rank there, -1 where it has none.</summary>
        private void ForEachRank(Action<int>? begin, Action<Bm25Image, int, int> visit)
        {
            int[] next = new int[_parts.Count];
            for (int rank = 0; rank < _terms.Length; rank++)
            {
                begin?.Invoke(rank);
                for (int i = 0; i < next.Length; i++)
                {
                    bool has = next[i] < _parts[i].Terms && _parts[i].TermList[next[i]] == _terms[rank];
                    visit(_parts[i], has ? next[i]++ : -1, rank);
                }
            }
        }

        private void WriteTokens(Bm25Image part, int[] ranks)
        {
            int* tokens = (int*)(part._memory.Pointer + part._sections[3]);
            for (long first = 0; first < part.Tokens; first += Block)
            {
                int count = (int)Math.Min(Block, part.Tokens - first);
                for (int i = 0; i < count; i++)
                {
                    _numbers[i] = ranks[tokens[first + i]];
                }

                Write(MemoryMarshal.AsBytes(_numbers.AsSpan(0, count)));
            }
        }

        private void WritePostings(ReadOnlySpan<int> documents, int before)
        {
            for (; !documents.IsEmpty; documents = documents[Math.Min(Block, documents.Length)..])
            {
                int count = Math.Min(Block, documents.Length);
                for (int i = 0; i < count; i++)
                {
                    _numbers[i] = before + documents[i];
                }

                Write(MemoryMarshal.AsBytes(_numbers.AsSpan(0, count)));
            }
        }

        private byte ImpactOf(Bm25Image part, int own, int document, byte stored)
            => Impact(
                part.Occurrences(own, document, stored),
                (int)(part.TokensAt[document + 1] - part.TokensAt[document]),
                _constants.K1,
                _constants.B,
                _meanLength);

        private void Impacts(Bm25Image part, int own, int rank, bool write)
        {
            ReadOnlySpan<int> documents = part.PostingsOf(own);
            ReadOnlySpan<byte> stored = part.ImpactsOf(own);
            for (int first = 0; first < documents.Length; first += Block)
            {
                int count = Math.Min(Block, documents.Length - first);
                for (int i = 0; i < count; i++)
                {
                    byte impact = ImpactOf(part, own, documents[first + i], stored[first + i]);
                    _bytes[i] = impact;
                    _peaks[rank] = Math.Max(_peaks[rank], impact);
                }

                if (write)
                {
                    Write(_bytes.AsSpan(0, count));
                }
            }
        }

        private void WriteColumn(Bm25Image part, int own)
        {
            ReadOnlySpan<int> documents = own < 0 ? [] : part.PostingsOf(own);
            ReadOnlySpan<byte> stored = own < 0 ? [] : part.ImpactsOf(own);
            for (int first = 0, next = 0; first < part.Documents; first += Block)
            {
                Span<byte> column = _bytes.AsSpan(0, Math.Min(Block, part.Documents - first));
                column.Clear();
                for (; next < documents.Length && documents[next] < first + column.Length; next++)
                {
                    column[documents[next] - first] = ImpactOf(part, own, documents[next], stored[next]);
                }

                Write(column);
            }
        }

        /// <summary>Fills up to where an array begins.</summary>
        private void Section(int number)
        {
            if (_written > _sections[number] || _sections[number] - _written >= 8)
            {
                throw new InvalidOperationException($"The arrays of a keyword index end at {_written}, and the next begins at {_sections[number]}.");
            }

            Write(stackalloc byte[(int)(_sections[number] - _written)]);
        }

        private void WriteOffset(long offset) => Write(MemoryMarshal.AsBytes(new ReadOnlySpan<long>(in offset)));

        private void Write(ReadOnlySpan<byte> bytes)
        {
            while (!bytes.IsEmpty)
            {
                if (_buffered == _buffer.Length)
                {
                    Flush();
                }

                int count = Math.Min(bytes.Length, _buffer.Length - _buffered);
                bytes[..count].CopyTo(_buffer.AsSpan(_buffered));
                bytes = bytes[count..];
                _buffered += count;
                _written += count;
            }
        }

        private void Flush()
        {
            _cancellationToken.ThrowIfCancellationRequested();
            _output.Write(_buffer, 0, _buffered);
            _hash.AppendData(_buffer, 0, _buffered);
            _buffered = 0;
            _progress?.Report(new("join the keyword index", _written, _sections[^1]));
        }
    }
}
