using Retro.Database;

namespace Retro.Cli;

/// <summary>Chunks of a database as people read them.</summary>
internal static class Passages
{
    private const int Shown = 160;

    /// <summary>What a document is called.</summary>
    public static string Name(string title, string id) => title.Length > 0 ? title : id;

    /// <summary>A text as one line, cut where it is long.</summary>
    public static string Shorten(string text, int most = Shown)
    {
        string line = string.Join(' ', text.Trim('\ufffd').Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        return line.Length <= most ? line : line[..(char.IsHighSurrogate(line[most - 1]) ? most - 1 : most)] + "...";
    }

    /// <summary>
    /// How much of a chunk stands, as one run of tokens, in a neighbor or in what follows it there: s/m of the paper's section 2.6, as
    /// <see cref="Evaluation.LeakageCurve"/> has it.
    /// </summary>
    /// <param name="tokens">The chunk's tokens.</param>
    /// <param name="database">The neighbor's database.</param>
    /// <param name="neighbor">The neighbor.</param>
    /// <returns>From 0 to 1.</returns>
    public static double Overlap(ReadOnlySpan<int> tokens, ChunkDatabase database, long neighbor)
    {
        long[] there = new long[database.RetrievedLength()];
        bool[] valid = new bool[there.Length];
        database.CopyRetrieved(neighbor, there, valid);
        int[] runs = CommonRuns(tokens, [.. there.TakeWhile((_, i) => valid[i]).Select(token => (int)token)]);
        return runs.Length == 0 ? 0 : (double)runs.Max() / runs.Length;
    }

    /// <summary>How many tokens, up to each of a text, stand in another text too, as one run.</summary>
    public static int[] CommonRuns(ReadOnlySpan<int> tokens, ReadOnlySpan<int> other)
    {
        int[] runs = new int[tokens.Length];
        int[] before = new int[other.Length + 1], now = new int[other.Length + 1]; // lengths of the common runs that end at each of the other's tokens
        for (int i = 0; i < tokens.Length; i++)
        {
            for (int j = 0; j < other.Length; j++)
            {
                now[j + 1] = tokens[i] == other[j] ? before[j] + 1 : 0;
                runs[i] = Math.Max(runs[i], now[j + 1]);
            }

            (before, now) = (now, before);
        }

        return runs;
    }
}
