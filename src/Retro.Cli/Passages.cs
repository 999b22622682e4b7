using Retro.Database;
using Retro.Tokenizers;

namespace Retro.Cli;

/// <summary>Chunks of a database as people read them.</summary>
internal static class Passages
{
    private const int Shown = 160;

    /// <summary>A chunk's text, without the characters that its borders cut.</summary>
    public static string Text(ChunkDatabase database, RetroTokenizer tokenizer, long chunk)
    {
        ReadOnlySpan<int> tokens = database.Tokens(chunk)[..database.TokenCount(chunk)];
        bool begins = database.Documents[database.DocumentOf(chunk)].FirstChunk == chunk;
        return (begins ? tokenizer.Decode(tokens) : tokenizer.DecodeWithin(tokens)).Trim('\ufffd');
    }

    /// <summary>
    /// What to look up for a text that somebody typed: its tokens as they are within a line, where most of a database's text stands. For many tokenizers a word
    /// at the beginning of a line is another token than behind a space; those that begin a text with a space themselves need one token more for another.
    /// </summary>
    /// <param name="database">What is looked into.</param>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="text">The text.</param>
    public static int[] Asked(ChunkDatabase database, RetroTokenizer tokenizer, string text)
    {
        text = database.AsCleaned(text);
        int[] asItIs = tokenizer.Encode(text), within = tokenizer.Encode(" " + text.TrimStart());
        return within.Length <= asItIs.Length ? within : asItIs;
    }

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
        long[] there = new long[2 * database.ChunkLength];
        bool[] valid = new bool[there.Length];
        database.CopyRetrieved(neighbor, there, valid);
        int longest = 0;
        int[] before = new int[tokens.Length + 1], now = new int[tokens.Length + 1]; // lengths of the common runs that end at each token
        for (int i = 0; i < there.Length && valid[i]; i++)
        {
            for (int j = 0; j < tokens.Length; j++)
            {
                now[j + 1] = tokens[j] == there[i] ? before[j] + 1 : 0;
                longest = Math.Max(longest, now[j + 1]);
            }

            (before, now) = (now, before);
        }

        return tokens.Length == 0 ? 0 : (double)longest / tokens.Length;
    }
}
