using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Generation;

public sealed partial class RetroGenerator
{
    /// <summary>
    /// Tells how probable each token of a text is, read as a text that is generated is: with what is retrieved for the stretches before the token, and never
    /// with what follows. A model reads the text in one pass, as does a <see cref="CopyReader"/>; where another reader generates, or neighbors are found anew
    /// within a chunk, it is read token by token.
    /// </summary>
    /// <param name="text">Its ids. The token that begins a text is put before them, as before those of a prompt.</param>
    /// <param name="options">
    /// How many alternatives are named, and what is read; what says how tokens are drawn, and where a text ends, says nothing here.
    /// </param>
    /// <param name="cancellationToken">Ends the work between two stretches that are retrieved for, two layers of the pass, or two tokens.</param>
    /// <returns>One for each id that is given.</returns>
    /// <exception cref="RetroOptionsException">The options contradict themselves, or ask for more neighbors than the reader reads.</exception>
    /// <exception cref="ArgumentException">The text is longer than the model's positions reach.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside the vocabulary.</exception>
    /// <exception cref="RetroException">The model's logits are not numbers.</exception>
    /// <exception cref="OperationCanceledException">The work was canceled.</exception>
    public async Task<IReadOnlyList<ScoredToken>> ScoreAsync(
        ReadOnlyMemory<int> text, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        options = Check(options) with { MaximumNewTokens = int.MaxValue, MinimumNewTokens = 0, Stop = [], BannedStrings = [] };
        int[] tokens = Begun(text, (int)Math.Min(int.MaxValue, Longest(options) + 1L)); // the last one is not read
        (StretchRetriever? retriever, HashSet<int>? unread) = await Retriever(options, cancellationToken).ConfigureAwait(false);
        List<(double LogProbability, TokenAlternative[] Alternatives)> scores = tokens.Length < 2 ? [] : await Task.Run(
            () => _reader is null or CopyReader && !Refreshes(options) ? ScoreAtOnce() : ScoreInTurn(), cancellationToken).ConfigureAwait(false);
        TokenTextStream stream = new(_tokenizer, atBeginning: true);
        List<ScoredToken> scored = new(text.Length);
        for (int i = tokens.Length - text.Length; i < tokens.Length; i++)
        {
            string own = stream.Add(tokens[i]) + (i == tokens.Length - 1 ? stream.Flush() : "");
            scored.Add(i == 0 ? new(tokens[i], own, null, []) : new(tokens[i], own, scores[i - 1].LogProbability, scores[i - 1].Alternatives));
        }

        return scored;

        List<(double LogProbability, TokenAlternative[] Alternatives)> ScoreAtOnce()
        {
            // The last token predicts nothing that is wanted.
            GenerationSequence sequence = new(_tokenizer, retriever, options, tokens[..^1], int.MaxValue);
            sequence.Begin(whole: true, cancellationToken);
            using FinalizerGate.Hold gate = FinalizerGate.Close(FinalizerGate.IsNeededFor(_model));
            using DisposeScope scope = NewDisposeScope();
            using IDisposable inference = inference_mode();
            RetrievedTokens? found = sequence.Found?.Tokens;
            CopyReader? copying = Copying(options);
            (Tensor? neighbors, Tensor? valid) = copying is not null ? copying.CrossAttended(found) : found?.ToTensors(_model.Device) ?? default;
            long[] read = [.. tokens[..^1].Select(token => (long)token)];
            CopyCandidates? candidates = copying?.Candidates(read, found, unread);
            Tensor states = _model.StatesAt(
                tensor(read, [1, read.Length], device: _model.Device),
                tensor((long[])[.. Enumerable.Range(0, read.Length).Select(place => (long)place)], device: _model.Device),
                neighbors,
                valid,
                cancellationToken: cancellationToken); // [T, D]
            List<(double LogProbability, TokenAlternative[] Alternatives)> all = new(read.Length);
            int slice = (int)Math.Min(read.Length, _model.HeadSlice(ModelReading.HeadBytes)), vocabulary = _model.Config.VocabularySize;
            float[] room = [];
            for (int start = 0; start < read.Length; start += slice)
            {
                using DisposeScope inner = NewDisposeScope();
                int count = Math.Min(slice, read.Length - start);
                Tensor some = states.narrow(0, start, count); // [P, D]
                Memory<float> logits = (copying is null ? _model.Head(some) : copying.Logits(some, candidates!, start).Logits).Floats(ref room);
                for (int i = 0; i < count; i++)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    sequence.Take(logits.Slice(i * vocabulary, vocabulary));
                    all.Add(sequence.Judge(tokens[start + i + 1]));
                }
            }

            return all;
        }

        List<(double LogProbability, TokenAlternative[] Alternatives)> ScoreInTurn()
        {
            GenerationSequence sequence = new(_tokenizer, retriever, options, tokens[..1], int.MaxValue);
            using IDecoding decoding = Decoding(Math.Max(64, tokens.Length), retriever, unread, options);
            bool gated = FinalizerGate.IsNeededFor(_model);
            float[] room = [];
            sequence.Begin(_reader?.ReadsEarlierNeighbors ?? true, cancellationToken);
            List<(double LogProbability, TokenAlternative[] Alternatives)> all = new(tokens.Length - 1);
            foreach (int token in tokens.AsSpan(1))
            {
                cancellationToken.ThrowIfCancellationRequested();
                using (FinalizerGate.Close(gated, lingers: true))
                {
                    using DisposeScope scope = NewDisposeScope();
                    sequence.Take(decoding.Read(sequence.Tokens, sequence.Found, cancellationToken).Floats(ref room));
                }

                all.Add(sequence.Judge(token));
                sequence.Go(token, cancellationToken);
            }

            return all;
        }
    }
}
