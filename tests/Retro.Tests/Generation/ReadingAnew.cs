using Retro.Generation;
using Retro.Readers;
using Retro.Tokenizers;
using static Retro.Tests.Generation.Pieces;

namespace Retro.Tests.Generation;

/// <summary>What a generator writes with what it keeps from token to token, against reading everything anew for every token.</summary>
/// <param name="tokenizer">The tokenizer.</param>
/// <param name="best">The most probable next token of a text, and its log-likelihood, with nothing kept from before.</param>
/// <param name="batch">A text with what is retrieved for it.</param>
internal sealed class ReadingAnew(RetroTokenizer tokenizer, Func<List<int>, (int Token, double LogP)> best, Func<List<int>, ReadingBatch> batch)
{
    /// <summary>Expects the same tokens after beginnings of a text.</summary>
    /// <param name="generator">The generator.</param>
    /// <param name="reader">Its reader, which in one pass has to give what the tokens were chosen by.</param>
    /// <param name="text">The text.</param>
    /// <param name="lengths">Tokens of the beginnings.</param>
    /// <param name="most">Tokens that are written after each, at most.</param>
    /// <param name="tolerance">How far the one pass may be from what the tokens were chosen by.</param>
    /// <returns>How many tokens were written.</returns>
    public async Task<int> WritesTheSame(RetroGenerator generator, IReader reader, string text, IEnumerable<int> lengths, int most, double tolerance)
    {
        int[] ids = tokenizer.Encode(text);
        int all = 0;
        foreach (int length in lengths)
        {
            string prompt = tokenizer.Decode(ids.AsSpan(0, length));

            List<GeneratedPiece> pieces = await Collect(generator, prompt, new() { Temperature = 0, MaximumNewTokens = most });

            List<int> tokens = [tokenizer.BeginOfText, .. tokenizer.Encode(prompt)];
            int begin = tokens.Count;
            List<double> expected = [];
            while (tokens.Count - begin < most)
            {
                (int next, double logP) = best(tokens);
                if (next == tokenizer.EndOfText)
                {
                    break;
                }

                tokens.Add(next);
                expected.Add(logP);
            }

            Assert.Equal(tokens.Skip(begin), pieces.Where(piece => piece.Token is not null).Select(piece => piece.Token!.Value));

            // What evaluation gives these tokens, all of them in one pass, is what they were chosen by.
            ReadingBatch whole = batch(tokens);
            for (int place = begin - 1; place < tokens.Count - 1; place++)
            {
                whole.Targets[place] = tokens[place + 1];
            }

            double[] likelihoods = reader.LogLikelihoods(whole);
            Assert.All(expected, (logP, i) => Assert.Equal(logP, likelihoods[begin - 1 + i], tolerance));
            all += expected.Count;
        }

        return all;
    }
}
