namespace Retro.Vectors;

/// <summary>Who keeps and compares the vectors of an index.</summary>
public enum VectorEngine
{
    /// <summary>
    /// FAISS where its library <c>libfaiss_c</c> can be loaded, and the exact managed index where it cannot. An index that is there is always one of the two
    /// others.
    /// </summary>
    Auto = 0,

    /// <summary>FAISS: every kind of index that it has a factory text for.</summary>
    Faiss = 1,

    /// <summary>The managed index: every query is compared with every vector, on any platform, and nothing native is needed.</summary>
    Exact = 2,
}
