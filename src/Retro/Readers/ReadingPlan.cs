using Retro.Database;

namespace Retro.Readers;

/// <summary>When a text asks for neighbors, and for how much.</summary>
/// <param name="Neighbors">K: neighbors for each stretch of text.</param>
/// <param name="RetrievedLength">R: tokens read of each neighbor.</param>
/// <param name="Stride">s: tokens of a stretch; whenever one is complete, neighbors are asked for.</param>
/// <param name="QueryLength">Last tokens of the text that are asked with, fewer at its beginning.</param>
internal sealed record ReadingPlan(int Neighbors, int RetrievedLength, int Stride, int QueryLength)
{
    /// <summary>What a reader asks for, and where it takes any, a chunk's tokens: of the text, and of a neighbor two chunks'.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="chunkLength">M: tokens of a chunk of the text.</param>
    /// <param name="passages">The database of the neighbors.</param>
    /// <exception cref="DatabaseException">The reader reads chunks of one length, as a RETRO does, and those of the neighbors have another.</exception>
    public static ReadingPlan Of(IReader reader, int chunkLength, ChunkDatabase passages)
    {
        if (reader.PassageChunkLength is { } own)
        {
            passages.RequireChunkLength(own);
        }

        return new(
            reader.Neighbors,
            passages.RetrievedLength(reader.RetrievedLength),
            reader.ChunkLength ?? chunkLength,
            reader.QueryLength ?? chunkLength);
    }

    /// <summary>The same of a reader of a database's texts, whose windows begin with its chunks.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="texts">The database of the texts.</param>
    /// <param name="passages">The database of the neighbors.</param>
    /// <exception cref="ArgumentException">Stretches do not fill a chunk.</exception>
    /// <exception cref="DatabaseException">The reader reads chunks of one length, and those of the neighbors have another.</exception>
    public static ReadingPlan OfChunks(IReader reader, ChunkDatabase texts, ChunkDatabase passages)
    {
        ReadingPlan plan = Of(reader, texts.ChunkLength, passages);
        return texts.ChunkLength % plan.Stride == 0
            ? plan
            : throw new ArgumentException(
                $"{reader.Name} reads anew every {plan.Stride} tokens, which is no divisor of the chunk length of {texts.Folder}, {texts.ChunkLength}; take a "
                    + "database whose chunks are filled by its stretches.",
                nameof(reader));
    }

    /// <summary>The tokens of a text that are asked with when so many of its stretches are complete.</summary>
    public Range Query(int stretches) => Math.Max(0, (stretches * Stride) - QueryLength)..(stretches * Stride);
}
