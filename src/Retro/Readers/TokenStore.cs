using Retro.Database;
using Retro.Modeling;
using Retro.Search;
using Retro.Vectors;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// A decoder's own states at every token of a database, each with the token that followed: what <see cref="NearestNeighborReader"/> looks up. A key is what the
/// last feed-forward branch reads, after its norm, which of all states finds best (arXiv 1911.00172, section 5). D numbers a token: for a small model two
/// hundred times its text. Safe for concurrent use, disposal included.
/// </summary>
public sealed unsafe class TokenStore : IDisposable
{
    /// <summary>Keys that are made and written at once.</summary>
    internal const int BlockRows = 4096;

    /// <summary>Keys that are all compared where no others may come.</summary>
    private const int FewSeen = 1024;

    private const int Together = 8;

    private readonly TokenStoreLayout _layout;
    private readonly MappedFile _memory;
    private readonly VectorIndex _index;
    private readonly long[] _starts;

    private TokenStore(ChunkDatabase database, TokenStoreLayout layout, MappedFile memory, (VectorIndex Index, string Factory) index, long[] starts)
    {
        (Database, _layout, _memory, _index, _starts) = (database, layout, memory, index.Index, starts);
        Settings = [layout.Float16, layout.WindowLength, index.Factory, index.Index.Parameters];
    }

    /// <summary>The database.</summary>
    public ChunkDatabase Database { get; }

    /// <summary>Keys: the tokens of all documents but for their last ones, which nothing follows.</summary>
    public long Count => _layout.Rows;

    /// <summary>D: numbers in a key.</summary>
    public int Width => _layout.Width;

    /// <summary>Bytes of the keys; an index of them takes about as much, or what its factory text says.</summary>
    internal long ByteLength => _layout.Length;

    /// <summary>What the keys are and how they are found, by which what is found differs.</summary>
    internal IReadOnlyList<object> Settings { get; }

    /// <summary>The identity of the model.</summary>
    internal string ModelHash => _layout.ModelHash;

    /// <summary>Makes the keys of a database, or opens the file that holds them.</summary>
    /// <param name="model">The decoder; its retrieval, if any, is off. It stays the caller's; reading puts it into evaluation mode.</param>
    /// <param name="database">The database; it stays the caller's.</param>
    /// <param name="path">
    /// The file of the keys, which are read where they lie; its index is written beside it. A file of the same model, database and settings is opened, another
    /// one is made anew, and the indexes of its keys are deleted; a run that was stopped is taken up. Null: everything is kept in memory.
    /// </param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="progress">Receives the number of tokens done.</param>
    /// <param name="cancellationToken">Stops between two blocks.</param>
    /// <returns>The store; dispose it.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range.</exception>
    /// <exception cref="DatabaseException">The file cannot be written.</exception>
    /// <exception cref="FaissException">The factory text is not known, or FAISS is missing.</exception>
    public static TokenStore Build(
        RetroModel model,
        ChunkDatabase database,
        string? path = null,
        TokenStoreOptions? options = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(database);
        model.RequireTokenizer(database.Manifest.TokenizerHash);
        options = (options ?? new()).Validate();
        long[] starts = new long[database.Documents.Count + 1];
        for (int document = 0; document < database.Documents.Count; document++)
        {
            starts[document + 1] = starts[document] + Math.Max(0, database.TokenCountOf(document) - 1);
        }

        TokenStoreLayout layout = new(
            starts[^1], model.Config.Width, options.Float16, options.WindowLength, database.Manifest.TokensHash, WeightsHash.Exact(model, cancellationToken));
        MappedFile memory = path is null
            ? Fill(model, database, starts, layout, progress, cancellationToken)
            : TokenStoreLayout.TryOpen(path, layout, progress, cancellationToken) ?? Write(path, model, database, starts, layout, progress, cancellationToken);
        try
        {
            return new TokenStore(database, layout, memory, TokenStoreIndex.Open(path, layout, memory, options, progress, cancellationToken), starts);
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    /// <summary>The keys that are of none of some documents; null: all are.</summary>
    internal ChunkSet? Without(IReadOnlySet<int> documents)
    {
        int[] without = [.. documents.Where(document => CountOf(document) > 0).Order()];
        return without.Length == 0 ? null : new(Count, Between());

        IEnumerable<(long First, long Count)> Between()
        {
            long first = 0;
            foreach (int document in without)
            {
                yield return (first, _starts[document] - first);
                first = _starts[document + 1];
            }

            yield return (first, Count - first);
        }
    }

    /// <summary>The nearest keys of some states.</summary>
    /// <param name="states">[n, D].</param>
    /// <param name="count">How many are wanted of each.</param>
    /// <param name="keys">[n, count]: their numbers, -1 where there are no more.</param>
    /// <param name="distances">[n, count]: squared distances to the stored keys; not a number beside -1.</param>
    /// <param name="among">The keys that may come; null: all.</param>
    internal void Find(ReadOnlySpan<double> states, int count, Span<long> keys, Span<double> distances, ChunkSet? among = null)
    {
        using SharedHandle.Held held = _memory.Hold();
        if (among?.Count <= FewSeen)
        {
            CompareAll(states, count, keys, distances, among);
            return;
        }

        float[] queries = new float[states.Length];
        for (int i = 0; i < queries.Length; i++)
        {
            queries[i] = (float)states[i];
        }

        if (among is null || _index.SearchesAmong)
        {
            FindInLists(queries, count, keys, among);
        }
        else
        {
            FindAmong(queries, count, keys, among);
        }

        // The index may keep less than the keys: it finds, and they measure.
        float[] key = new float[Width];
        for (int i = 0; i < keys.Length; i++)
        {
            if (keys[i] < 0)
            {
                distances[i] = double.NaN;
                continue;
            }

            _index.Require(keys[i]);
            _layout.Read(_memory, keys[i], key);
            distances[i] = Distance(states.Slice(i / count * Width, Width), key);
        }
    }

    private static double Distance(ReadOnlySpan<double> state, ReadOnlySpan<float> key)
    {
        double sum = 0;
        for (int j = 0; j < key.Length; j++)
        {
            double difference = state[j] - key[j];
            sum += difference * difference;
        }

        return sum;
    }

    /// <summary>Compares with all keys that may come, each of which is read once.</summary>
    private void CompareAll(ReadOnlySpan<double> states, int count, Span<long> keys, Span<double> distances, ChunkSet among)
    {
        int rows = states.Length / Width;
        int[] held = new int[rows];
        float[] key = new float[Width];
        foreach (long number in among.Members())
        {
            _layout.Read(_memory, number, key);
            for (int row = 0; row < rows; row++)
            {
                Ranking best = Of(row, keys, distances);
                best.Offer(number, -Distance(states.Slice(row * Width, Width), key));
                held[row] = best.Count;
            }
        }

        for (int row = 0; row < rows; row++)
        {
            int found = Of(row, keys, distances).Sort();
            keys.Slice(row * count, count)[found..].Fill(-1);
            distances.Slice(row * count, count)[found..].Fill(double.NaN);
        }

        for (int i = 0; i < distances.Length; i++)
        {
            distances[i] = -distances[i];
        }

        Ranking Of(int row, Span<long> items, Span<double> scores) => new(items.Slice(row * count, count), scores.Slice(row * count, count), held[row]);
    }

    /// <summary>
    /// Asks an index for all rows at once, and for those that came short looks into more and more of its lists, where it has any. Of a part of the keys the
    /// nearest lie as many times farther off as there are more keys.
    /// </summary>
    private void FindInLists(float[] queries, int count, Span<long> keys, ChunkSet? among)
    {
        long lists = _index.ListCount, seen = among?.Count ?? Count;
        long probed = seen == 0 ? lists : Math.Min(lists, (long)(_index.ProbedLists * ((double)Count / seen)));
        _index.Search(queries, count, keys, new float[keys.Length], lists > 0 ? probed : null, among);
        for (int row = 0; row * Width < queries.Length; row++)
        {
            Span<long> found = keys.Slice(row * count, count);
            for (long more = probed; more < lists && found[..(int)Math.Min(count, seen)].Contains(-1);)
            {
                more = Math.Min(lists, 2 * more);
                _index.Search(queries.AsSpan(row * Width, Width), count, found, new float[count], more, among);
            }
        }
    }

    /// <summary>Asks an index that cannot search among some of its keys for ever more of them, until as many are there as are wanted.</summary>
    private void FindAmong(float[] queries, int count, Span<long> keys, ChunkSet among)
    {
        keys.Fill(-1);
        for (int row = 0; row * Width < queries.Length && among.Count > 0; row++)
        {
            Span<long> found = keys.Slice(row * count, count);
            int kept = 0, most = (int)Math.Min(Count, Array.MaxLength);
            for (int wide = Math.Min(count, most); kept < Math.Min(count, among.Count); wide = (int)Math.Min(2L * wide, most))
            {
                long[] some = new long[wide];
                _index.Search(queries.AsSpan(row * Width, Width), wide, some, new float[wide]);
                kept = 0;
                foreach (long key in some)
                {
                    if (key >= 0 && kept < count && among.Contains(key))
                    {
                        found[kept++] = key;
                    }
                }

                if (wide == most || some.Contains(-1))
                {
                    break;
                }
            }
        }
    }

    /// <summary>Reads a key.</summary>
    internal void Key(long number, Span<float> key)
    {
        using SharedHandle.Held held = _memory.Hold();
        _layout.Read(_memory, number, key);
    }

    /// <summary>The document of a key: not one of one token, which has none and begins where the next one does.</summary>
    internal int DocumentOf(long number) => Ascending.LastAtMost(_starts, number);

    /// <summary>How many keys a document has.</summary>
    internal long CountOf(int document) => _starts[document + 1] - _starts[document];

    /// <summary>The token that followed where a key was made.</summary>
    internal int Next(long number)
    {
        int document = DocumentOf(number);
        return Token(Database, document, number - _starts[document] + 1);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _index.Dispose();
        _memory.Dispose();
    }

    private static int Token(ChunkDatabase database, int document, long place)
        => database.TokenAt((database.ChunksOf(document).First * database.ChunkLength) + place);

    private static MappedFile Fill(
        RetroModel model,
        ChunkDatabase database,
        long[] starts,
        TokenStoreLayout layout,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        MappedFile memory = MappedFile.Allocate(layout.Length);
        try
        {
            for (long first = 0; first < layout.Rows; first += BlockRows)
            {
                byte[] block = Block(model, database, starts, layout, first, progress, cancellationToken);
                block.CopyTo(new Span<byte>(memory.Pointer + layout.Offset(first), block.Length));
            }

            return memory;
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    private static MappedFile Write(
        string path,
        RetroModel model,
        ChunkDatabase database,
        long[] starts,
        TokenStoreLayout layout,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        byte[] header = layout.Header();
        using (ResumableFile file = ResumableFile.Open(path, Convert.ToHexStringLower(header), header, layout.RowBytes, BlockRows, layout.Rows))
        {
            for (long first = file.Rows; first < layout.Rows; first += BlockRows)
            {
                file.Append(
                    Block(model, database, starts, layout, first, progress, cancellationToken), Math.Min(BlockRows, layout.Rows - first));
            }

            file.CompleteSealed(header);
        }

        TokenStoreIndex.DeleteAll(path); // what was indexed are other keys
        return TokenStoreLayout.TryOpen(path, layout, progress, cancellationToken)
            ?? throw new DatabaseException($"The states in {path} were written and cannot be read again: make them again, on another disk.");
    }

    /// <summary>The keys of a block, from windows of the documents that have some in it.</summary>
    private static byte[] Block(
        RetroModel model,
        ChunkDatabase database,
        long[] starts,
        TokenStoreLayout layout,
        long first,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        progress?.Report(new StageProgress("read the database", first, layout.Rows));
        long end = Math.Min(layout.Rows, first + BlockRows);
        List<(int Document, int Start, int From, int Tokens)> windows = [];
        int stride = Math.Max(1, layout.WindowLength / 2);
        for (int document = Math.Max(0, Ascending.LastAtMost(starts, first)); document + 1 < starts.Length && starts[document] < end; document++)
        {
            int count = (int)(starts[document + 1] - starts[document]);
            for (int from = 0, start = 0; from < count; start += stride)
            {
                // Places up to the one before have their keys from windows in front of this one.
                int until = Math.Min(start + layout.WindowLength, count);
                if (starts[document] + until > first && starts[document] + from < end)
                {
                    windows.Add((document, start, from, until - start));
                }

                from = until;
            }
        }

        byte[] block = new byte[(end - first) * layout.RowBytes];
        (int Document, int Start, int From, int Tokens)[][] batches = [.. windows.OrderByDescending(window => window.Tokens).Chunk(Together)];
        TorchThreads.Run(batches.Length, model.Device, i => Compute(batches[i]), cancellationToken: cancellationToken);
        return block;

        void Compute((int Document, int Start, int From, int Tokens)[] batch)
        {
            int length = batch[0].Tokens;
            long[] tokens = new long[batch.Length * length];
            List<long> places = [];
            List<long> rows = [];
            for (int row = 0; row < batch.Length; row++)
            {
                (int document, int start, int from, int count) = batch[row];
                for (int i = 0; i < count; i++)
                {
                    tokens[(row * length) + i] = Token(database, document, start + i);
                    long number = starts[document] + start + i;
                    if (start + i >= from && number >= first && number < end)
                    {
                        places.Add((row * length) + i);
                        rows.Add(number - first);
                    }
                }
            }

            using DisposeScope scope = NewDisposeScope();
            float[] keys = KeysAndStates(model, tokens, batch.Length, length, [.. places]).Keys.Floats();
            for (int i = 0; i < rows.Count; i++)
            {
                layout.Store(keys.AsSpan(i * layout.Width, layout.Width), block.AsSpan((int)(rows[i] * layout.RowBytes), (int)layout.RowBytes));
            }
        }
    }

    /// <summary>What a model asks with and its last states, normed, at some places.</summary>
    /// <returns>Each [N, D].</returns>
    internal static (Tensor Keys, Tensor States) KeysAndStates(RetroModel model, long[] tokens, int rows, int length, long[] places)
    {
        model.Evaluate();
        using FinalizerGate.Hold gate = FinalizerGate.Close(FinalizerGate.IsNeededFor(model));
        using IDisposable inference = inference_mode();
        return model.KeysAndStatesAt(tensor(tokens, [rows, length], device: model.Device), tensor(places, device: model.Device));
    }
}
