using Retro.Database;
using Retro.Search;

namespace Retro.Evaluation;

/// <summary>Makes sure that what is measured was not seen.</summary>
internal static class HeldOut
{
    /// <summary>Refuses held-out documents that are, by id or by text, in the database that is retrieved from.</summary>
    /// <exception cref="DatabaseException">A document is in both.</exception>
    public static void Require(ChunkDatabase heldOut, ChunkDatabase retrieval)
    {
        SameDocuments same = new(heldOut, retrieval);
        (DocumentEntry Entry, int There)[] both = [.. heldOut.Documents.SelectMany((entry, document) => same.Of(document).Take(1).Select(there => (entry, there)))];
        if (both.Length > 0)
        {
            throw new DatabaseException(
                $"{both.Length} of {heldOut.Documents.Count} held-out documents of {heldOut.Folder} stand in the retrieval database {retrieval.Folder} too, by their id or their text, the first being \"{both[0].Entry.Id}\" (there \"{retrieval.Documents[both[0].There].Id}\"); a measurement would read its own answer. Build the database without them.");
        }
    }
}
