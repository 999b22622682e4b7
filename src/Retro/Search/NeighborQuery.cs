using Retro.Database;
using Retro.Tokenizers;

namespace Retro.Search;

/// <summary>A chunk to find neighbors of.</summary>
/// <param name="Tokens">Its token ids; a chunk shorter than the database's is one as well, padding must not be among them.</param>
/// <param name="ExcludedDocuments">
/// Documents of the database whose chunks must not come: every document that has a token in the window the chunk stands in (the rule of RETRO's section 2.3,
/// read for windows packed from several documents).
/// </param>
public readonly record struct NeighborQuery(ReadOnlyMemory<int> Tokens, IReadOnlyList<int> ExcludedDocuments)
{
    /// <summary>
    /// The chunk's key where it is known already, made by the function of <see cref="INeighborSource.KeyIdentity"/>; empty by default, and the source makes it.
    /// </summary>
    public ReadOnlyMemory<float> Key { get; init; }

    /// <summary>
    /// The labels that whoever asks may see: a document comes only where every one of its own (<see cref="DocumentEntry.Labels"/>) is among them, and
    /// one without labels always; an empty list finds those alone. Null by default, and all documents come, as in training. A source looks for as many
    /// neighbors among what may be seen as it does otherwise among all. BM25's scores, and so the order among what may be seen, are by the statistics of all
    /// documents: give groups that must not even guess at what the others have databases of their own.
    /// </summary>
    public IReadOnlyList<string>? Labels { get; init; }

    /// <summary>
    /// A query of a text that somebody typed: in the form of the database's own texts (<see cref="ChunkDatabase.AsCleaned"/>), its tokens as they are within a
    /// line, where most of a database's text stands. For many tokenizers a word at the beginning of a line is another token than behind a space; those that
    /// begin a text with a space themselves need one token more for another.
    /// </summary>
    /// <param name="text">The text.</param>
    /// <param name="database">What is looked into.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <returns>The query, which excludes nothing; without tokens where the text has none.</returns>
    /// <exception cref="DatabaseException">The database was made with another tokenizer.</exception>
    public static NeighborQuery Of(string text, ChunkDatabase database, RetroTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(text);
        ArgumentNullException.ThrowIfNull(database);
        database.RequireTokenizer(tokenizer);
        text = database.AsCleaned(text);
        int[] asItIs = tokenizer.Encode(text), within = tokenizer.Encode(" " + text.TrimStart());
        return new(within.Length <= asItIs.Length ? within : asItIs, []);
    }

    /// <summary>
    /// Whether a chunk may come: it stands in no document that is excluded, and the labels show its own. For custom sources; those of the library go by
    /// it, and what another gives in spite of it is refused by whatever asks. Of many chunks, <see cref="Admission"/> tells it without looking up documents and
    /// labels for each.
    /// </summary>
    /// <param name="database">The source's database.</param>
    /// <param name="chunk">The chunk's number in it.</param>
    /// <returns>Whether it may.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such chunk.</exception>
    /// <exception cref="ArgumentException">An excluded document does not exist, or a label is null.</exception>
    public bool Admits(ChunkDatabase database, long chunk) => Admission(database)(chunk);

    /// <summary>What <see cref="Admits"/> says, for many chunks.</summary>
    /// <param name="database">The source's database.</param>
    /// <returns>
    /// Tells of a chunk's number in it whether it may come; throws an <see cref="ArgumentOutOfRangeException"/> where there is no such chunk.
    /// </returns>
    /// <exception cref="ArgumentException">An excluded document does not exist, or a label is null.</exception>
    public Func<long, bool> Admission(ChunkDatabase database)
    {
        ArgumentNullException.ThrowIfNull(database);
        ExcludedChunks excluded = NeighborQueries.Excluded(database, this);
        ChunkSet? visible = NeighborQueries.Visible(database, this);
        return chunk =>
        {
            ArgumentOutOfRangeException.ThrowIfNegative(chunk);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(chunk, database.ChunkCount);
            return excluded.Admits(chunk, visible);
        };
    }
}
