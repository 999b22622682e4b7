namespace Retro.Modeling;

/// <summary>
/// Where the keys and values of a batch's rows lie in a cache: those of a row side by side, each row's behind those of the one before, with room for more. A
/// row takes what it has use for, whatever the others do: of a sliding window that all layers have, what the next token sees.
/// </summary>
internal sealed class CacheLayout
{
    private readonly long[] _begins; // the place of the first token that is kept,
    private readonly long[] _first;  // its position in the row,
    private readonly long[] _kept;   // and how many are kept with it when the layout is made
    private readonly long[] _rooms;

    /// <summary>Lays rows out.</summary>
    /// <param name="config">Says what is kept of a row.</param>
    /// <param name="read">Tokens of each row so far.</param>
    /// <param name="more">How many more to have room for, of each; not more than can come.</param>
    /// <param name="needed">How many more have to find room; null: none.</param>
    public CacheLayout(RetroConfig config, IReadOnlyList<long> read, IReadOnlyList<long> more, IReadOnlyList<long>? needed = null)
    {
        _kept = [.. read.Select(tokens => Kept(config.WidestWindow, tokens))];
        _first = [.. read.Zip(_kept, (tokens, kept) => tokens - kept)];
        _rooms = new long[read.Count];
        _begins = new long[read.Count];
        for (int row = 0; row < read.Count; row++)
        {
            long most = Math.Min((config.MaximumLength ?? long.MaxValue) - _first[row], 2L * config.WidestWindow ?? long.MaxValue);
            _rooms[row] = Math.Max(Math.Min(_kept[row] + more[row], most), _kept[row] + (needed?[row] ?? 0));
            _begins[row] = Places;
            Places += _rooms[row];
        }
    }

    /// <summary>How many rows.</summary>
    public int Rows => _rooms.Length;

    /// <summary>Places of all rows.</summary>
    public long Places { get; }

    /// <summary>Places of the row that has the most.</summary>
    public long LongestRoom => _rooms.Max();

    /// <summary>How many of a row's tokens, up to the last one, the next one sees.</summary>
    public static long Kept(int? window, long tokens) => Math.Min(tokens, (window ?? long.MaxValue) - 1);

    /// <summary>The position of a row's first token that is kept.</summary>
    public long First(int row) => _first[row];

    /// <summary>How many of a row's tokens are kept when the layout is made.</summary>
    public long Kept(int row) => _kept[row];

    /// <summary>The place of a row's token.</summary>
    public long Place(int row, long position) => _begins[row] + position - _first[row];

    /// <summary>For how many more a row has room behind so many tokens.</summary>
    public long Left(int row, long tokens) => _first[row] + _rooms[row] - tokens;
}
