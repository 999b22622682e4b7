using Retro.Search;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// What could be copied at each of some places: the tokens of the neighbors that follow a run of the text's last tokens, with how well they match. In plain
/// memory, [P, N]: P places, N candidates at most, the rest empty.
/// </summary>
internal sealed class CopyCandidates
{
    /// <summary>Last tokens that are compared one by one: how many of them equal says more than the run alone where a text differs in a word.</summary>
    public const int ComparedTokens = 16;

    /// <summary>
    /// Most candidates of a place. A frequent token can stand a thousand times in what was retrieved; the longest runs are kept, of those with the most equal
    /// tokens, and of these the best neighbors'.
    /// </summary>
    public const int MostCandidates = 256;

    private const int MostPlaces = 64, PlacesOfShorter = 16;

    private CopyCandidates(int places, int width)
    {
        Width = width;
        int size = places * width;
        (Tokens, Runs, Equal, Ranks, Exists) = (new long[size], new long[size], new long[size], new long[size], new bool[size]);
        Places = new int[size];
    }

    /// <summary>N, at least 1.</summary>
    public int Width { get; }

    /// <summary>The tokens.</summary>
    public long[] Tokens { get; }

    /// <summary>m: how many tokens before a candidate equal the text's last, without a gap; 1 to <see cref="PointerRule.LongestRun"/>.</summary>
    public long[] Runs { get; }

    /// <summary>f: how many of the <see cref="ComparedTokens"/> tokens before a candidate equal the text's at the same distance.</summary>
    public long[] Equal { get; }

    /// <summary>Which of the neighbors it stands in, the best 0.</summary>
    public long[] Ranks { get; }

    /// <summary>The position of each in the index that it was found in; -1: it stands in a neighbor.</summary>
    public int[] Places { get; }

    /// <summary>Which are candidates at all.</summary>
    public bool[] Exists { get; }

    /// <summary>Finds the candidates of places.</summary>
    /// <param name="batch">Texts and what was retrieved; the neighbors of the stretch before a place's next token are looked into.</param>
    /// <param name="neighbors">K: neighbors that are read at most; what the index finds ranks behind them.</param>
    /// <param name="places">Places in the B·T tokens, ascending: the token after each is predicted.</param>
    /// <param name="index">Where to look for the last tokens besides; null: in the neighbors alone.</param>
    /// <param name="excluded">Documents of the index that are not looked into, for each row; null: none.</param>
    public static CopyCandidates Find(
        ReadingBatch batch,
        int neighbors,
        ReadOnlySpan<long> places,
        TokenIndex? index = null,
        IReadOnlyList<IReadOnlySet<int>>? excluded = null)
    {
        List<Candidate>?[] found = new List<Candidate>?[places.Length];
        if (batch.Retrieved is { } retrieved)
        {
            int next = 0;
            while (next < places.Length)
            {
                int row = (int)(places[next] / batch.Length), end = next;
                while (end < places.Length && places[end] / batch.Length == row)
                {
                    end++;
                }

                FindRow(batch, retrieved, neighbors, row, places[next..end], found.AsSpan(next, end - next));
                next = end;
            }
        }

        if (index is not null)
        {
            for (int i = 0; i < places.Length; i++)
            {
                int row = (int)(places[i] / batch.Length);
                ReadOnlySpan<long> text = batch.Tokens.AsSpan(row * batch.Length, (int)(places[i] % batch.Length) + 1);
                AddFrom(index, text, excluded?[row], neighbors, found[i] ??= []);
            }
        }

        return Of(found);
    }

    /// <summary>Takes candidates that were found.</summary>
    /// <param name="found">Those of each place, in the order of the neighbors; null: none. Lists that are too long are cut.</param>
    public static CopyCandidates Of(List<Candidate>?[] found)
    {
        int width = 1;
        foreach (List<Candidate>? one in found)
        {
            if (one is { Count: > MostCandidates })
            {
                // Stable among equals, which are in the order of the neighbors.
                Candidate[] kept = [.. one.OrderByDescending(candidate => candidate.Run).ThenByDescending(candidate => candidate.Equal).Take(MostCandidates)];
                one.Clear();
                one.AddRange(kept);
            }

            width = Math.Max(width, one?.Count ?? 0);
        }

        CopyCandidates candidates = new(found.Length, width);
        for (int place = 0; place < found.Length; place++)
        {
            for (int i = 0; i < (found[place]?.Count ?? 0); i++)
            {
                int at = (place * width) + i;
                Candidate one = found[place]![i];
                (candidates.Tokens[at], candidates.Runs[at], candidates.Equal[at]) = (one.Token, one.Run, one.Equal);
                (candidates.Ranks[at], candidates.Exists[at], candidates.Places[at]) = (one.Rank, true, one.Place);
            }
        }

        return candidates;
    }

    /// <summary>One of the arrays as a tensor, for places from <paramref name="start"/> on.</summary>
    public Tensor Slice(long[] values, int start, int count, Device device)
        => tensor(values.AsSpan(start * Width, count * Width).ToArray(), [count, Width], device: device);

    /// <summary>Which are candidates, as a tensor, for places from <paramref name="start"/> on.</summary>
    public Tensor ExistsSlice(int start, int count, Device device)
        => tensor(Exists.AsSpan(start * Width, count * Width).ToArray(), [count, Width], device: device);

    private static void FindRow(
        ReadingBatch batch, RetrievedTokens retrieved, int neighbors, int row, ReadOnlySpan<long> places, Span<List<Candidate>?> found)
    {
        ReadOnlySpan<long> tokens = batch.Tokens.AsSpan(row * batch.Length, batch.Length);
        int next = 0;
        PointerMatch match = new(Math.Min(neighbors, retrieved.Neighbors), retrieved.Length);
        foreach (int place in match.Walk(batch, retrieved, row))
        {
            while (next < places.Length && places[next] < ((long)row * batch.Length) + place)
            {
                next++;
            }

            if (next < places.Length && places[next] == ((long)row * batch.Length) + place)
            {
                found[next] = match.Candidates(tokens[..(place + 1)]);
            }
        }
    }

    /// <summary>
    /// What follows the last tokens anywhere in a database: some places of the longest run that something allowed follows, and fewer of each shorter one.
    /// </summary>
    internal static void AddFrom(TokenIndex index, ReadOnlySpan<long> text, IReadOnlySet<int>? excluded, int rank, List<Candidate> found)
    {
        Span<int> last = stackalloc int[Math.Min(TokenIndex.LongestRun, text.Length)];
        for (int i = 0; i < last.Length; i++)
        {
            last[i] = (int)text[text.Length - last.Length + i];
        }

        (int longest, int first, int end) = index.Find(last);
        HashSet<int> taken = [];
        for (int length = longest; length > 0 && taken.Count < MostPlaces; length--)
        {
            (first, end) = length == longest ? (first, end) : index.Range(last[^length..]);
            // In training the longest run of all is most often the text's own, of which none is allowed.
            int wanted = Math.Min(end - first, taken.Count == 0 ? MostPlaces : PlacesOfShorter);
            for (int i = 0; i < wanted && taken.Count < MostPlaces; i++)
            {
                int position = index.Spread((first, end), i, wanted) + length;
                long token = index.Token(position);
                if (token < 0 || excluded?.Contains(index.DocumentOf(position)) == true || !taken.Add(position))
                {
                    continue;
                }

                int run = 0, equal = 0, compared = Math.Min(ComparedTokens, text.Length);
                for (int back = 0; back < compared && index.Token(position - 1 - back) is >= 0 and var earlier; back++)
                {
                    if (earlier == text[^(back + 1)])
                    {
                        equal++;
                        run += run == back ? 1 : 0;
                    }
                }

                found.Add(new(token, Math.Min(run, PointerRule.LongestRun), equal, rank, position));
            }
        }
    }

    /// <summary>A token that may be copied.</summary>
    internal readonly record struct Candidate(long Token, int Run, int Equal, int Rank, int Place = -1);
}
