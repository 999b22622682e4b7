namespace Retro;

/// <summary>Chunks that follow one another, as those of a document do.</summary>
/// <param name="First">The first chunk's number.</param>
/// <param name="Count">How many there are.</param>
internal readonly record struct ChunkRange(long First, long Count)
{
    /// <summary>The number after the last chunk.</summary>
    public long End => First + Count;
}
