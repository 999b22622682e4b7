using Retro.Database;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>Finds the neighbors of stretches that a text has completed, as plain numbers for the model and as sources for the user.</summary>
/// <param name="tokenizer">The tokenizer of text and database.</param>
/// <param name="database">The database to read from; null where passages are given.</param>
/// <param name="source">Finds its chunks; null where passages are given.</param>
/// <param name="plan">What is asked for, and when.</param>
/// <param name="excluded">Numbers of the documents that nothing is read of.</param>
/// <param name="options">Which labels may be seen, and what is read after each stretch in place of what would be found.</param>
/// <param name="prompts">The reader whose prompts may have no room for all of it; null: all is read.</param>
internal sealed class StretchRetriever(
    RetroTokenizer tokenizer,
    ChunkDatabase? database,
    INeighborSource? source,
    ReadingPlan plan,
    int[] excluded,
    GenerationOptions options,
    PromptReader? prompts = null)
{
    private readonly int[][] _given = [.. options.Passages.Select(passage => tokenizer.Encode(passage))];

    /// <summary>Tokens of a stretch.</summary>
    public int Stride => plan.Stride;

    /// <summary>What was found for C stretches.</summary>
    /// <param name="Tokens">One row of C stretches.</param>
    /// <param name="PerStretch">One entry per stretch.</param>
    /// <param name="Last">[K]: what is read of the last stretch's, each in its place among the tokens; null: nothing is.</param>
    internal sealed record Found(RetrievedTokens Tokens, IReadOnlyList<RetrievedNeighbors> PerStretch, IReadOnlyList<RetrievedNeighbor?> Last);

    /// <summary>Finds the neighbors of stretches that follow each other.</summary>
    /// <param name="tokens">The text so far.</param>
    /// <param name="first">The first stretch, from 0.</param>
    /// <param name="count">How many stretches, C.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    public Found Find(IReadOnlyList<int> tokens, int first, int count, CancellationToken cancellationToken)
    {
        int neighbors = plan.Neighbors;
        Range[] places = Enumerable.Range(first + 1, count).Select(plan.Query).ToArray();
        int[][] queries = places.Select(place => tokens.Take(place).ToArray()).ToArray();
        if (_given.Length > 0)
        {
            return Give(queries, first, places);
        }

        NeighborQuery[] asked = [.. queries.Select(query => new NeighborQuery(query, excluded) { Labels = options.Labels })];
        (long[] found, float[] scores) = source!.Ask(asked, neighbors, cancellationToken);
        RetrievedTokens retrieved = new(1, count, neighbors, plan.RetrievedLength);
        for (int c = 0; c < count; c++)
        {
            retrieved.Take(0, c, database!, found.AsSpan(c * neighbors, neighbors), scores.AsSpan(c * neighbors, neighbors));
        }

        return Described(retrieved, queries, first, places, (c, neighbor, read) =>
        {
            int at = (c * neighbors) + neighbor;
            return found[at] < 0 ? null : Describe(found[at], scores[at], read);
        });
    }

    /// <summary>A chunk of the database, whole.</summary>
    /// <param name="chunk">Its number.</param>
    public RetrievedNeighbor Describe(long chunk) => Describe(chunk, null, Range.All);

    private Found Give(int[][] queries, int first, Range[] places)
    {
        RetrievedTokens retrieved = new(1, queries.Length, plan.Neighbors, plan.RetrievedLength);

        // The order is all that is known, and the score says it, as that of a GivenNeighborSource.
        (long[] Tokens, float Score)[] passages = [.. _given.Select((passage, k) => (Array.ConvertAll(passage, token => (long)token), (float)-k))];
        for (int c = 0; c < queries.Length; c++)
        {
            retrieved.Take(0, c, passages);
        }

        return Described(retrieved, queries, first, places, (_, neighbor, read) => neighbor >= _given.Length ? null
            : new RetrievedNeighbor(-1, "", "", "", neighbor, Text(_given[neighbor], read), "", null));
    }

    private Found Described(RetrievedTokens retrieved, int[][] queries, int first, Range[] places, Func<int, int, Range, RetrievedNeighbor?> describe)
    {
        RetrievedNeighbor?[] last = [];
        RetrievedNeighbors[] perStretch = new RetrievedNeighbors[queries.Length];
        for (int c = 0; c < perStretch.Length; c++)
        {
            last = new RetrievedNeighbor?[plan.Neighbors];
            foreach ((int neighbor, Range read) in Read(retrieved, c))
            {
                last[neighbor] = describe(c, neighbor, read);
            }

            string query = tokenizer.DecodePart(queries[c], begins: places[c].Start.Value == 0, ends: false);
            perStretch[c] = new(first + c, query, [.. last.OfType<RetrievedNeighbor>()]);
        }

        return new(retrieved, perStretch, last);
    }

    /// <summary>The neighbors of a stretch of which something is read, and the range of their tokens that is: the others are no sources.</summary>
    /// <remarks>What stands in front of the text is that of the last stretch alone.</remarks>
    private IEnumerable<(int Neighbor, Range Tokens)> Read(RetrievedTokens retrieved, int stretch)
        => prompts?.ReadOf(retrieved, 0, stretch).Select((tokens, neighbor) => (neighbor, tokens))
            .Where(one => one.tokens.End.Value > 0 && (stretch == retrieved.Chunks - 1 || one.neighbor >= prompts.InContext))
            ?? Enumerable.Range(0, plan.Neighbors).Select(neighbor => (neighbor, Range.All));

    /// <summary>Tokens that are read of something at most.</summary>
    private int Length(int[] tokens) => Math.Min(tokens.Length, plan.RetrievedLength);

    /// <summary>What is read of a passage.</summary>
    private string Text(int[] passage, Range read)
    {
        (int start, int length) = read.GetOffsetAndLength(Length(passage));
        return tokenizer.DecodePart(passage.AsSpan(start, length), begins: true, ends: start + length == passage.Length);
    }

    private RetrievedNeighbor Describe(long chunk, float? score, Range read)
    {
        DocumentEntry document = database!.Documents[database.DocumentOf(chunk)];
        long[] tokens = new long[Math.Max(plan.RetrievedLength, database.ChunkLength)];
        bool[] valid = new bool[tokens.Length];
        database.CopyRetrieved(chunk, tokens, valid);
        int[] real = tokens.Where((_, i) => valid[i]).Select(token => (int)token).ToArray();
        int own = Math.Min(database.ChunkLength, real.Length);
        long number = chunk - document.FirstChunk;
        (int start, int length) = read.GetOffsetAndLength(Length(real));
        ReadOnlySpan<int> continuation = real.AsSpan(Math.Max(own, start)..Math.Max(own, start + length));
        return new RetrievedNeighbor(
            chunk,
            document.Id,
            document.Title,
            document.Location,
            number,
            database.Text(chunk, tokenizer),
            tokenizer.DecodePart(continuation, begins: false, ends: number + 2 >= document.ChunkCount && start + length == real.Length),
            score);
    }
}
