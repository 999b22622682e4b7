using Retro.Answering;
using Retro.Modeling;
using Retro.Readers;
using static TorchSharp.torch;

namespace Retro.Tests.Answering;

/// <summary>Finds everything as likely, and counts where among so many passages the right one stands.</summary>
internal sealed class PlacesReader(Towns towns, int passages) : IReader
{
    private readonly Dictionary<string, int> _places = [];

    public string Name => "places";

    public int Neighbors => 5;

    public int? ChunkLength => null;

    public int? RetrievedLength => null;

    public Device Device => CPU;

    /// <summary>How many questions have the right passage in each place.</summary>
    public Dictionary<int, int> Places => _places.Values.CountBy(place => place).ToDictionary();

    public long RowBytes(int length) => length;

    public double[] LogLikelihoods(ReadingBatch batch)
    {
        for (int row = 0; row < batch.Rows; row++)
        {
            int begin = row * batch.Length;
            string text = towns.Tokenizer.Decode(
                [.. batch.Tokens[begin..(begin + batch.Length)].Select(token => (int)token).SkipWhile(token => token == towns.Tokenizer.BeginOfText)]);
            Question? question = towns.Set.Questions.FirstOrDefault(one => text.StartsWith(one.Prompt, StringComparison.Ordinal));
            int last = Enumerable.Range(begin, batch.Length).First(at => batch.Targets[at] != LogLikelihood.NoTarget) - begin;
            long[][] read = batch.Retrieved is null ? []
                : [.. Enumerable.Range(0, Neighbors).Select(k => batch.Retrieved.Passage(row, ((last + 1) / batch.ChunkLength) - 1, k))
                    .Where(passage => passage.Length > 0)];
            if (question is null || read.Length != passages)
            {
                continue;
            }

            long[] right = towns.Passages.Tokens(towns.Passages.Oracle(question), 2 * Towns.M);
            lock (_places)
            {
                _places[question.Id] = Array.FindIndex(read, passage => passage.AsSpan().SequenceEqual(right));
            }
        }

        return Array.ConvertAll(batch.Targets, target => target == LogLikelihood.NoTarget ? 0 : -1.0);
    }
}
