using Retro.Modeling;
using Retro.Readers;
using Retro.Tokenizers;
using static TorchSharp.torch;

namespace Retro.Tests.Answering;

/// <summary>Finds an answer as likely as a function says of the prompt, the texts of the passages and the answer. No distribution.</summary>
internal sealed class TextsReader(RetroTokenizer tokenizer, int neighbors, Func<string, string[], string, double> likelihood) : IReader
{
    public string Name => "texts";

    public int Neighbors => neighbors;

    public int? ChunkLength => null;

    public int? RetrievedLength => null;

    public Device Device => CPU;

    public long RowBytes(int length) => length;

    public double[] LogLikelihoods(ReadingBatch batch)
    {
        double[] result = new double[batch.Targets.Length];
        for (int row = 0; row < batch.Rows; row++)
        {
            int begin = row * batch.Length;
            int[] targets = [.. Enumerable.Range(begin, batch.Length).Where(at => batch.Targets[at] != LogLikelihood.NoTarget)];
            int end = targets[0] + 1, chunk = ((end - begin) / batch.ChunkLength) - 1;
            string[] passages =
            [
                .. Enumerable.Range(0, neighbors).Select(k => batch.Retrieved!.Passage(row, chunk, k)).Where(passage => passage.Length > 0)
                    .Select(passage => Text(passage)),
            ];
            string answer = Text(targets.Select(at => batch.Targets[at])).Trim();
            result[targets[0]] = likelihood(Text(batch.Tokens[begin..end]), passages, answer);
        }

        return result;
    }

    private string Text(IEnumerable<long> tokens)
        => tokenizer.Decode([.. tokens.Where(token => token != tokenizer.BeginOfText && token != tokenizer.EndOfText).Select(token => (int)token)]);
}
