using Retro.Modeling;
using Retro.Search;

namespace Retro.Readers;

/// <summary>What the readers that write passages in front of the text have in common: one pass of the decoder for every prompt of every chunk.</summary>
internal static class PromptReading
{
    /// <summary>Prompts that are read at once.</summary>
    public const int Together = 8;

    /// <summary>A prompt, and which of the batch's targets are predicted behind which of its tokens.</summary>
    private sealed class Prompt(int row, long[] tokens, double logWeight, int shift, int from)
    {
        public int Row { get; } = row;

        /// <summary>How many tokens later than in the text everything stands.</summary>
        public int Shift { get; } = shift;

        /// <summary>The place in the text from which on it is read.</summary>
        public int From { get; } = from;

        public long[] Tokens { get; } = tokens;

        public double LogWeight { get; } = logWeight;

        public List<(int Place, int At)> Targets { get; } = [];
    }

    /// <summary>The log-likelihood of every target of a batch under the mixture of its prompts.</summary>
    public static double[] LogLikelihoods(PromptReader reader, ReadingBatch batch)
    {
        ReaderChecks.Require(reader, batch);
        reader.Prompt.RequireRoomFor(batch.ChunkLength, reader.Name, reader.CrossAttended > 0);
        double[] result = Array.ConvertAll(batch.Targets, target => target == LogLikelihood.NoTarget ? 0 : double.NegativeInfinity);

        // Prompts of one length stand side by side, so that little is computed for padding.
        foreach (Prompt[] some in Enumerable.Range(0, batch.Rows)
            .SelectMany(row => Prompts(reader, batch, row))
            .OrderByDescending(prompt => prompt.Tokens.Length)
            .Chunk(Together))
        {
            int length = some[0].Tokens.Length;
            ReadingBatch prompts = new(some.Length, length, batch.ChunkLength) { Retrieved = CrossAttended(reader, batch, some) };
            for (int i = 0; i < some.Length; i++)
            {
                some[i].Tokens.CopyTo(prompts.Tokens, i * length);
                foreach ((int place, int at) in some[i].Targets)
                {
                    prompts.Targets[(i * length) + at] = batch.Targets[place];
                }
            }

            double[] likelihoods = ModelReading.LogLikelihoods(reader.Model, prompts, reader.CrossAttended);
            for (int i = 0; i < some.Length; i++)
            {
                foreach ((int place, int at) in some[i].Targets)
                {
                    result[place] = Add(result[place], some[i].LogWeight + likelihoods[(i * length) + at]);
                }
            }
        }

        return result;
    }

    /// <summary>log(exp(a) + exp(b)).</summary>
    public static double Add(double a, double b)
        => Math.Max(a, b) is var most && double.IsInfinity(most) ? most : most + Math.Log(1 + Math.Exp(-Math.Abs(a - b)));

    /// <summary>About how much memory a row takes: its prompts are read few at a time.</summary>
    public static long RowBytes(PromptReader reader, int length)
        => Together * ModelReading.RowBytes(reader.Model, reader.Prompt.LongestFor(length), reader.CrossAttended);

    /// <summary>The neighbors that the model's cross-attention reads in some prompts.</summary>
    private static RetrievedTokens? CrossAttended(PromptReader reader, ReadingBatch batch, Prompt[] prompts)
    {
        int chunkLength = batch.ChunkLength, chunks = prompts[0].Tokens.Length / chunkLength;
        if (reader.CrossAttended == 0 || chunks == 0 || batch.Retrieved is not { } retrieved)
        {
            return null;
        }

        RetrievedTokens found = new(prompts.Length, chunks, reader.CrossAttended, retrieved.Length);
        for (int i = 0; i < prompts.Length; i++)
        {
            Prompt one = prompts[i];
            CopyCrossAttended(reader, retrieved, one.Row, found, i, one.Tokens.Length / chunkLength, one.Shift / chunkLength, one.From / chunkLength);
        }

        return found;
    }

    /// <summary>
    /// Copies to a prompt's chunks what was retrieved for the text's, as far as the cross-attention reads it: to each chunk of the text its own, and to those
    /// in front of it nothing, but to the last one, behind which the text goes on, what was retrieved for the chunk that stands there in the text.
    /// </summary>
    /// <param name="reader">The reader.</param>
    /// <param name="retrieved">What was retrieved.</param>
    /// <param name="row">The text's row of it.</param>
    /// <param name="found">What the prompt reads.</param>
    /// <param name="prompt">The prompt's row of it.</param>
    /// <param name="chunks">Complete chunks of the prompt.</param>
    /// <param name="shift">How many chunks later than in the text everything stands.</param>
    /// <param name="first">The first chunk of the text that is read; those before it are left out.</param>
    public static void CopyCrossAttended(
        PromptReader reader, RetrievedTokens retrieved, int row, RetrievedTokens found, int prompt, int chunks, int shift, int first)
    {
        int end = reader.InContext < retrieved.Neighbors ? Math.Min(retrieved.Chunks, chunks - shift) : 0;
        for (int chunk = Math.Max(0, Math.Max(first - 1, -shift)); chunk < end; chunk++)
        {
            found.Take(prompt, chunk + shift, retrieved, row, chunk, reader.InContext);
        }
    }

    private static List<Prompt> Prompts(PromptReader reader, ReadingBatch batch, int row)
    {
        List<Prompt> prompts = [];
        int start = row * batch.Length, chunkLength = batch.ChunkLength;
        ReadOnlySpan<long> text = batch.Tokens.AsSpan(start, batch.Length);
        Prompt? alone = null;

        // A chunk's last token is the first that sees what was retrieved for the chunk: it predicts the next chunk's first token.
        for (int chunk = (batch.Length / chunkLength) - 1; chunk >= -1; chunk--)
        {
            int first = Math.Max(0, ((chunk + 1) * chunkLength) - 1), windowEnd = ((chunk + 2) * chunkLength) - 1, end = Math.Min(windowEnd, batch.Length);
            int[] places = [.. Enumerable.Range(start + first, end - first).Where(place => batch.Targets[place] != LogLikelihood.NoTarget)];
            if (places.Length == 0)
            {
                continue;
            }

            ReadOnlySpan<long> seen = text[..(first + 1)];
            IReadOnlyList<(long[] Prefix, double LogWeight)> prefixes =
                chunk >= 0 && batch.Retrieved is { } retrieved && chunk < retrieved.Chunks ? reader.Prefixes(retrieved, row, chunk) : [];
            foreach ((long[] passages, double logWeight) in prefixes.Count > 0 ? prefixes : [([], 0)])
            {
                (long[] prefix, int from) = reader.CrossAttended > 0
                    ? reader.Prompt.InWholeChunks(passages, seen, windowEnd, chunkLength)
                    : (passages, reader.Prompt.TextStart(passages.Length, seen, windowEnd));
                Prompt prompt;
                if (prefix.Length == 0 && from == alone?.From)
                {
                    prompt = alone; // the text alone, which a later chunk has in front of it already
                }
                else
                {
                    prompts.Add(prompt = new(row, [.. prefix, .. text[from..end]], logWeight, prefix.Length - from, from));
                    alone = prefix.Length == 0 ? prompt : alone;
                }

                foreach (int place in places)
                {
                    prompt.Targets.Add((place, prefix.Length + place - start - from));
                }
            }
        }

        return prompts;
    }
}
