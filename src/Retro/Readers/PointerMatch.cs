using Retro.Search;

namespace Retro.Readers;

/// <summary>
/// Where the last tokens of a text occur in the neighbors of one chunk, kept up to date token by token: a token costs K·R comparisons, whatever the length of
/// the runs, and nothing is remembered but one number for each retrieved token.
/// </summary>
internal sealed class PointerMatch
{
    private readonly int _length;
    private readonly long[] _tokens;
    private readonly int[] _runs;

    /// <param name="neighbors">K.</param>
    /// <param name="length">R.</param>
    public PointerMatch(int neighbors, int length)
    {
        _length = length;
        _tokens = new long[neighbors * length];
        _runs = new int[_tokens.Length];
    }

    /// <summary>The longest run of last tokens that ends anywhere in the neighbors, at most <see cref="PointerRule.LongestRun"/>.</summary>
    public int Longest => _runs.Max();

    /// <summary>Goes along a row of a batch, from place to place that sees something that was retrieved, with each match at it.</summary>
    /// <param name="batch">The batch.</param>
    /// <param name="retrieved">Its neighbors, of which the first K are taken.</param>
    /// <param name="row">The row.</param>
    /// <returns>The places in the row.</returns>
    public IEnumerable<int> Walk(ReadingBatch batch, RetrievedTokens retrieved, int row)
    {
        int end = Math.Min(batch.Length, ((retrieved.Chunks + 1) * batch.ChunkLength) - 1), first = row * batch.Length;
        for (int place = batch.ChunkLength - 1; place < end; place++)
        {
            // The last token of a chunk is the first that sees the chunk's neighbors: it predicts the next chunk's first token.
            (int chunk, int within) = Math.DivRem(place + 1, batch.ChunkLength);
            if (within == 0)
            {
                int start = retrieved.Offset(row, chunk - 1, 0);
                Begin(
                    retrieved.Tokens.AsSpan(start, _tokens.Length),
                    retrieved.Valid.AsSpan(start, _tokens.Length),
                    batch.Tokens.AsSpan(first, place + 1));
            }
            else
            {
                Append(batch.Tokens[first + place]);
            }

            yield return place;
        }
    }

    /// <summary>Takes other neighbors.</summary>
    /// <param name="tokens">[K, R].</param>
    /// <param name="valid">[K, R]: which hold something.</param>
    /// <param name="context">The text so far; its last tokens are enough.</param>
    public void Begin(ReadOnlySpan<long> tokens, ReadOnlySpan<bool> valid, ReadOnlySpan<long> context)
    {
        for (int i = 0; i < _tokens.Length; i++)
        {
            // No token of a text is negative, so what holds nothing equals none.
            _tokens[i] = valid[i] ? tokens[i] : -1;
        }

        Array.Clear(_runs);
        foreach (long token in context[Math.Max(0, context.Length - PointerRule.LongestRun)..])
        {
            Append(token);
        }
    }

    /// <summary>The text goes on with a token.</summary>
    public void Append(long token)
    {
        for (int start = 0; start < _runs.Length; start += _length)
        {
            int before = 0;
            for (int i = start; i < start + _length; i++)
            {
                int old = _runs[i];
                _runs[i] = _tokens[i] == token ? Math.Min(before + 1, PointerRule.LongestRun) : 0;
                before = old;
            }
        }
    }

    /// <summary>What followed the longest of the runs that something follows.</summary>
    /// <param name="target">A token.</param>
    /// <returns>The length of these runs, 0 where there are none; and the share of them that the target followed.</returns>
    public (int Length, double Share) Look(long target)
    {
        int longest = 0, all = 0, hits = 0;
        for (int start = 0; start < _runs.Length; start += _length)
        {
            for (int i = start; i < start + _length - 1; i++)
            {
                int run = _runs[i];
                if (run == 0 || run < longest || _tokens[i + 1] < 0)
                {
                    continue;
                }

                if (run > longest)
                {
                    (longest, all, hits) = (run, 0, 0);
                }

                all++;
                hits += _tokens[i + 1] == target ? 1 : 0;
            }
        }

        return (longest, all == 0 ? 0 : (double)hits / all);
    }

    /// <summary>Every token that follows a run of last tokens, in the order of the neighbors.</summary>
    /// <param name="text">The text so far.</param>
    public List<CopyCandidates.Candidate> Candidates(ReadOnlySpan<long> text)
    {
        List<CopyCandidates.Candidate> found = [];
        for (int start = 0; start < _runs.Length; start += _length)
        {
            for (int i = start; i < start + _length - 1; i++)
            {
                if (_runs[i] > 0 && _tokens[i + 1] >= 0)
                {
                    int equal = 0, compared = Math.Min(Math.Min(CopyCandidates.ComparedTokens, i - start + 1), text.Length);
                    for (int back = 0; back < compared; back++)
                    {
                        equal += _tokens[i - back] == text[^(back + 1)] ? 1 : 0;
                    }

                    found.Add(new(_tokens[i + 1], _runs[i], equal, start / _length));
                }
            }
        }

        return found;
    }
}
