namespace Retro.Search;

/// <summary>The two constants of BM25.</summary>
public sealed record Bm25Options
{
    /// <summary>How fast more occurrences of a term stop adding to the score; 1.2 by default, not negative.</summary>
    public double K1 { get; init; } = 1.2;

    /// <summary>How far long documents are held back: 0 not at all, 1 in proportion; 0.75 by default.</summary>
    public double B { get; init; } = 0.75;

    internal void Check()
    {
        if (!double.IsFinite(K1) || K1 < 0)
        {
            throw new ArgumentOutOfRangeException(nameof(K1), K1, "K1 of BM25 has to be a number that is not negative.");
        }

        if (!(B >= 0 && B <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(B), B, "B of BM25 has to lie between 0 and 1.");
        }
    }
}
