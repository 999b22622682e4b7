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

    /// <summary>Plans it.</summary>
    /// <param name="lengths">Each row's tokens after the pass.</param>
    /// <param name="positions">A step's positions, [B] of int64; null: whole prompts are read.</param>
    /// <param name="window">Keys that a query sees at most, its own included; null: all before it.</param>
    /// <param name="layout">Where keys and values lie after the pass.</param>
    public DecodingPass(IReadOnlyList<long> lengths, Tensor? positions, int? window, CacheLayout layout)
    {
        (Lengths, Positions, Layout, _window) = (lengths, positions, layout, window);
        Equal = lengths.All(length => length == lengths[0]);
        if (positions is not null)
        {
            Counts = [.. lengths.Select(length => checked((int)Math.Min(length, window ?? length)))];
            Places = [.. lengths.Select((length, row) => layout.Place(row, length - 1))];
            KeyCount = Counts.Max();
        }
    }

    /// <summary>Each row's tokens after the pass.</summary>
    public IReadOnlyList<long> Lengths { get; }

    /// <summary>A step's positions, [B] of int64; null in a prefill.</summary>
    public Tensor? Positions { get; }

    /// <summary>Where keys and values lie after the pass.</summary>
    public CacheLayout Layout { get; }

    /// <summary>Whether all rows are equally long.</summary>
    public bool Equal { get; }

    /// <summary>How many keys each row's query of a step sees, its own the last one.</summary>
    public IReadOnlyList<int> Counts { get; } = [];

    /// <summary>The most of <see cref="Counts"/>.</summary>
    public int KeyCount { get; }

    /// <summary>The same for layers that see less; it is disposed of with this one.</summary>
    /// <param name="window">The one other number of keys that layers see; null: all.</param>
    public DecodingPass Within(int? window) => window == _window ? this : _narrow ??= new(Lengths, Positions, window, Layout);

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

    /// <summary>Frees what was looked up.</summary>
    public void Dispose()
    {
        _written?.Dispose();
        _seen?.Dispose();
        _narrow?.Dispose();
        _written = _seen = null;
    }

    // For all layers, whose scopes it outlives.
    private static Tensor Index(IReadOnlyList<long> places, Device device) => tensor((long[])[.. places], device: device).DetachFromDisposeScope();
}
