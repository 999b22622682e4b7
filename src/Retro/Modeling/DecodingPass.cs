using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>What one call of prefill or step does to a cache, and which of its keys the queries of a step see: of each row the last ones.</summary>
internal sealed class DecodingPass : IDisposable
{
    private readonly int? _window;
    private DecodingPass? _narrow;
    private Tensor? _written;
    private Tensor? _seen;
    private Tensor? _chunkStates;

    /// <summary>Plans a step.</summary>
    /// <param name="lengths">Each row's tokens after the pass.</param>
    /// <param name="positions">The step's positions, [B] of int64.</param>
    /// <param name="window">Keys that a query sees at most, its own included; null: all before it.</param>
    /// <param name="layout">Where keys and values lie after the pass.</param>
    public DecodingPass(IReadOnlyList<long> lengths, Tensor positions, int? window, CacheLayout layout)
        : this([.. lengths.Select(length => length - 1)], lengths, positions, window, layout)
    {
    }

    /// <summary>Plans the reading of prompts, or a step.</summary>
    /// <param name="before">Each row's tokens before the pass.</param>
    /// <param name="lengths">Each row's tokens after the pass.</param>
    /// <param name="positions">A step's positions, [B] of int64; null: prompts, or pieces of them, are read.</param>
    /// <param name="window">Keys that a query sees at most, its own included; null: all before it.</param>
    /// <param name="layout">Where keys and values lie after the pass.</param>
    public DecodingPass(IReadOnlyList<long> before, IReadOnlyList<long> lengths, Tensor? positions, int? window, CacheLayout layout)
    {
        (Before, Lengths, Positions, Layout, _window) = (before, lengths, positions, layout, window);
        Equal = lengths.All(length => length == lengths[0]);
        if (positions is null)
        {
            Earlier = [.. before.Select(length => CacheLayout.Kept(window, length))];
            EarlierKeys = Earlier.Max();
            IsEven = Reading.All(row => Earlier[row] == EarlierKeys);
        }
        else
        {
            Counts = [.. lengths.Select(length => checked((int)Math.Min(length, window ?? length)))];
            Places = [.. lengths.Select((length, row) => layout.Place(row, length - 1))];
            KeyCount = Counts.Max();
        }
    }

    /// <summary>Each row's tokens before the pass.</summary>
    public IReadOnlyList<long> Before { get; }

    /// <summary>Each row's tokens after the pass.</summary>
    public IReadOnlyList<long> Lengths { get; }

    /// <summary>A step's positions, [B] of int64; null in a prefill.</summary>
    public Tensor? Positions { get; }

    /// <summary>Where keys and values lie after the pass.</summary>
    public CacheLayout Layout { get; }

    /// <summary>Whether all rows are equally long.</summary>
    public bool Equal { get; }

    /// <summary>How many keys before those of a prompt's tokens are seen by one of them, of each row.</summary>
    public IReadOnlyList<long> Earlier { get; } = [];

    /// <summary>The most of <see cref="Earlier"/>: so many stand before the new ones, each row's own behind what stands for those that it lacks.</summary>
    public long EarlierKeys { get; }

    /// <summary>Whether the rows of which a prompt reads something all have so many earlier keys.</summary>
    public bool IsEven { get; } = true;

    /// <summary>How many keys each row's query of a step sees, its own the last one.</summary>
    public IReadOnlyList<int> Counts { get; } = [];

    /// <summary>The most of <see cref="Counts"/>.</summary>
    public int KeyCount { get; }

    /// <summary>The same for layers of which a step's queries see less; it is disposed of with this one.</summary>
    /// <param name="window">The one other number of keys that layers see; null: all.</param>
    public DecodingPass Within(int? window) => window == _window ? this : _narrow ??= new(Lengths, Positions!, window, Layout);

    /// <summary>Whether the queries of all rows see equally many keys.</summary>
    public bool SeesEquallyMany => Counts.All(count => count == KeyCount);

    /// <summary>Where a step's tokens lie.</summary>
    public IReadOnlyList<long> Places { get; } = [];

    /// <summary>Where the first key lies that a row's query of a step sees.</summary>
    public long Begin(int row) => Places[row] + 1 - Counts[row];

    /// <summary>The same as <see cref="Places"/>, [B] of int64.</summary>
    public Tensor WrittenPlaces(Device device) => _written ??= Index(Places, device);

    /// <summary>
    /// The keys or values that a step's queries see, each row's from the first one on. Behind those of a row that sees fewer than others stand some that it
    /// does not see.
    /// </summary>
    /// <param name="states">Of all places, [G, P, S].</param>
    /// <returns>[G, B, L, S]; a view where the rows lie as far from one another.</returns>
    public Tensor Seen(Tensor states)
    {
        int rows = Counts.Count;
        long apart = rows == 1 ? KeyCount : Begin(1) - Begin(0);
        if (Enumerable.Range(0, rows).All(row => Begin(row) == Begin(0) + (row * apart) && KeyCount - Counts[row] <= Layout.Left(row, Lengths[row])))
        {
            return states.as_strided(
                [states.size(0), rows, KeyCount, states.size(2)],
                [states.stride(0), apart * states.stride(1), states.stride(1), states.stride(2)],
                states.storage_offset() + (Begin(0) * states.stride(1)));
        }

        _seen ??= Index(
            [.. Enumerable.Range(0, rows).SelectMany(row => Enumerable.Range(0, KeyCount).Select(key => Begin(row) + Math.Min(key, Counts[row] - 1)))],
            states.device);
        return states.index_select(1, _seen).view(states.size(0), rows, KeyCount, states.size(2));
    }

    /// <summary>The positions of a prompt's tokens, [A] of int64, or [B, A] where rows differ.</summary>
    /// <param name="tokens">A, padding included.</param>
    /// <param name="device">Where they are wanted.</param>
    public Tensor PromptPositions(long tokens, Device device)
    {
        long[] starts = [.. Reading.Select(row => Before[row]).Distinct()];
        if (starts.Length <= 1)
        {
            long start = starts.FirstOrDefault();
            return KeptScalars.Range(start, start + tokens, 1, ScalarType.Int64, device);
        }

        using Tensor first = tensor((long[])[.. Before], [Before.Count, 1], device: device), places = KeptScalars.Range(tokens, ScalarType.Int64, device);
        return first.Plus(places);
    }

    /// <summary>The keys or values before a prompt's tokens, [G, B, <see cref="EarlierKeys"/>, S].</summary>
    /// <param name="states">Of all places, [G, P, S].</param>
    /// <param name="layout">Where they lie.</param>
    public Tensor EarlierOf(Tensor states, CacheLayout layout) => Last(states, layout, Before, Earlier, EarlierKeys);

    /// <summary>The same with those of the prompt's tokens behind them, which are stored already, where every row reads as many.</summary>
    /// <param name="states">Of all places, [G, P, S].</param>
    /// <param name="tokens">A.</param>
    public Tensor WithEarlier(Tensor states, long tokens)
        => Last(states, Layout, Lengths, [.. Earlier.Select(own => own + tokens)], EarlierKeys + tokens);

    /// <summary>Holds the states of the rows' chunks that are unfinished after a prompt, [B, M, D] outside of every scope, until it ends.</summary>
    public void KeepChunkStates(Tensor states) => _chunkStates = states;

    /// <summary>Gives them away; null: there are none.</summary>
    public Tensor? TakeChunkStates()
    {
        Tensor? states = _chunkStates;
        _chunkStates = null;
        return states;
    }

    /// <summary>Frees what was looked up.</summary>
    public void Dispose()
    {
        _written?.Dispose();
        _seen?.Dispose();
        _narrow?.Dispose();
        _chunkStates?.Dispose();
        _written = _seen = _chunkStates = null;
    }

    // The rows of which a prompt reads something.
    private IEnumerable<int> Reading => Enumerable.Range(0, Lengths.Count).Where(row => Lengths[row] > Before[row]);

    // The states of each row up to a position, of which a row has its own last ones; the first of these stands for those before. A view where the rows lie as
    // far from one another.
    private static Tensor Last(Tensor states, CacheLayout layout, IReadOnlyList<long> ends, IReadOnlyList<long> own, long count)
    {
        int rows = ends.Count;
        long[] firsts = [.. ends.Select((end, row) => layout.Place(row, end - own[row]))];
        long[] begins = [.. firsts.Select((first, row) => first + own[row] - count)];
        long apart = rows == 1 ? count : begins[1] - begins[0];
        if (begins.Index().All(begin => begin.Item == begins[0] + (begin.Index * apart) && begin.Item >= firsts[begin.Index]))
        {
            return states.as_strided(
                [states.size(0), rows, count, states.size(2)],
                [states.stride(0), apart * states.stride(1), states.stride(1), states.stride(2)],
                states.storage_offset() + (begins[0] * states.stride(1)));
        }

        long[] places = [.. begins.SelectMany((begin, row) => Enumerable.Range(0, (int)count).Select(key => Math.Max(begin + key, firsts[row])))];
        using Tensor index = tensor(places, device: states.device);
        return states.index_select(1, index).view(states.size(0), rows, count, states.size(2));
    }

    // For all layers, whose scopes it outlives.
    private static Tensor Index(IReadOnlyList<long> places, Device device) => tensor((long[])[.. places], device: device).DetachFromDisposeScope();
}
