using Retro.Search;

namespace Retro.Generation;

/// <summary>
/// What was retrieved for a completed chunk; the model reads it from the chunk's last token on. Where a copying reader generates, its stretches are the chunks.
/// </summary>
/// <param name="Chunk">The chunk's place in the text, prompt and end-of-text token before it included, in chunks from 0.</param>
/// <param name="Query">What was searched with: the chunk's own text; a copying reader's: the text's last tokens, which can begin before the stretch.</param>
/// <param name="Neighbors">The neighbors, best first; fewer than asked for where the source found no more, or a prompt has no room for more.</param>
public sealed record RetrievedNeighbors(int Chunk, string Query, IReadOnlyList<RetrievedNeighbor> Neighbors);
