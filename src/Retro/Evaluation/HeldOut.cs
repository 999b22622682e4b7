using Retro.Database;

namespace Retro.Evaluation;

/// <summary>Makes sure that what is measured was not seen.</summary>
internal static class HeldOut
{
    /// <summary>Refuses held-out documents whose text is in the database that is retrieved from.</summary>
    /// <exception cref="DatabaseException">A document is in both.</exception>
    public static void Require(ChunkDatabase heldOut, ChunkDatabase retrieval)
    {
        Dictionary<string, string> known = [];
        foreach (DocumentEntry entry in retrieval.Documents)
        {
            known.TryAdd(entry.ContentHash, entry.Id);
        }

        DocumentEntry[] both = [.. heldOut.Documents.Where(entry => known.ContainsKey(entry.ContentHash))];
        if (both.Length > 0)
        {
            throw new DatabaseException(
                $"{both.Length} of {heldOut.Documents.Count} held-out documents of {heldOut.Folder} stand in the retrieval database {retrieval.Folder} too, the first being \"{both[0].Id}\" (there \"{known[both[0].ContentHash]}\"); a measurement would read its own answer. Build the database without them.");
        }
    }
}
