using Retro.Modeling;
using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>
/// Finds the best text of each prompt by beams (<see cref="GenerationOptions.Beams"/>); the beams of all prompts are rows of one batch. Each text that is
/// followed asks for neighbors of its own, and those of the text that is taken are its sources.
/// </summary>
/// <param name="model">The model.</param>
/// <param name="tokenizer">Its tokenizer.</param>
/// <param name="retriever">Finds neighbors; null: none are read.</param>
/// <param name="options">How to go on.</param>
/// <param name="longest">Tokens that a text may have.</param>
internal sealed class BeamSearch(RetroModel model, RetroTokenizer tokenizer, StretchRetriever? retriever, GenerationOptions options, int longest)
{
    /// <summary>Searches.</summary>
    /// <param name="prompts">The prompts, as tokens.</param>
    /// <param name="cancellationToken">Ends it between two tokens, and between two pieces of a prompt.</param>
    /// <returns>The pieces of each prompt's text.</returns>
    /// <exception cref="RetroException">The logits are not numbers.</exception>
    /// <exception cref="RetroOptionsException">What is banned leaves nothing.</exception>
    public IReadOnlyList<GeneratedPiece>[] Run(int[][] prompts, CancellationToken cancellationToken)
    {
        if (prompts.Length == 0)
        {
            return [];
        }

        Beams[] all =
        [
            .. prompts.Select(prompt => new Beams(
                options, new GenerationSequence(tokenizer, retriever, options, prompt, longest), cancellationToken)),
        ];
        using BatchDecoding decoding = new(model);
        for (Beam[] rows = Running(); rows.Length > 0; rows = Running())
        {
            cancellationToken.ThrowIfCancellationRequested();
            GenerationSequence[] texts = [.. rows.Select(beam => beam.Text)];
            if (decoding.Rows == 0)
            {
                decoding.Begin(texts, cancellationToken);
            }
            else
            {
                decoding.Go(texts, [.. rows.Select(beam => beam.From)]);
            }

            int row = 0;
            foreach (Beams beams in all)
            {
                int first = row;
                row += beams.Running.Count;
                beams.Grow(first, cancellationToken);
            }
        }

        return [.. all.Select(beams => beams.Best(cancellationToken))];

        Beam[] Running() => [.. all.SelectMany(beams => beams.Running)];
    }

    /// <summary>A text that is followed.</summary>
    /// <param name="Text">The text.</param>
    /// <param name="Pieces">Its last piece, after the others; null: there is none.</param>
    /// <param name="LogProbability">Its log-probability after the prompt, in nats.</param>
    /// <param name="From">The row of the batch, as it was read last, that it goes on from by one token.</param>
    private sealed record Beam(GenerationSequence Text, PieceChain? Pieces, double LogProbability, int From);

    /// <summary>A piece after others, which texts that went on from one share.</summary>
    private sealed record PieceChain(PieceChain? Before, GeneratedPiece Piece);

    /// <summary>The beams of one prompt.</summary>
    private sealed class Beams
    {
        private readonly GenerationOptions _options;
        private readonly IReadOnlySet<int> _ends;
        private readonly int _looked;
        private Beam? _best;
        private double _bestScore = double.NegativeInfinity;
        private int _ended;

        public Beams(GenerationOptions options, GenerationSequence text, CancellationToken cancellationToken)
        {
            _options = options;
            _ends = text.Ends;
            _looked = (int)Math.Min(int.MaxValue, (1L + _ends.Count) * options.Beams);
            PieceChain? found = text.Begin(whole: true, cancellationToken).Aggregate((PieceChain?)null, (before, piece) => new(before, piece));
            Beam first = new(text, found, 0, 0);
            Running = text.WantsLogits ? [first] : [];
            _best = text.WantsLogits ? null : first;
        }

        /// <summary>The texts that go on.</summary>
        public List<Beam> Running { get; private set; }

        /// <summary>Goes on with the most probable tokens of all beams, whose logits were taken.</summary>
        /// <param name="row">The row of the first in the batch.</param>
        /// <param name="cancellationToken">Stops a search for neighbors.</param>
        public void Grow(int row, CancellationToken cancellationToken)
        {
            if (Running.Count == 0)
            {
                return;
            }

            // Of so many, as many as there are beams go on at least: each beam has each end once. The order of equal ones is that of beams and ids.
            (int Beam, int Token, double LogProbability)[] likeliest =
            [
                .. Running
                    .SelectMany((beam, i) => beam.Text.Likeliest(_looked).Select(next => (i, next.Token, beam.LogProbability + next.LogProbability)))
                    .OrderByDescending(next => next.Item3)
                    .Take(_looked),
            ];
            List<(int Beam, int Token, double LogProbability)> chosen = [];
            for (int rank = 0; rank < likeliest.Length && chosen.Count < _options.Beams; rank++)
            {
                (int of, int token, double probability) = likeliest[rank];
                if (!_ends.Contains(token))
                {
                    chosen.Add(likeliest[rank]);
                }
                else if (rank < _options.Beams)
                {
                    Ended(Running[of].Text.NewTokens + 1, probability, () =>
                    {
                        GenerationSequence text = Running[of].Text.Fork();
                        text.End(token);
                        return Running[of] with { Text = text, LogProbability = probability };
                    });
                }
            }

            List<Beam> going = [];
            for (int i = 0; i < chosen.Count; i++)
            {
                // The last that goes on from a text takes the text itself.
                (int of, int token, double probability) = chosen[i];
                Beam parent = Running[of];
                GenerationSequence text = chosen.Skip(i + 1).Any(later => later.Beam == of) ? parent.Text.Fork() : parent.Text;
                going.Add(new(text, new(parent.Pieces, text.Go(token, cancellationToken)), probability, row + of));
            }

            foreach (Beam beam in going.Where(beam => !beam.Text.WantsLogits))
            {
                Ended(beam.Text.NewTokens, beam.LogProbability, () => beam);
            }

            if (likeliest.Length == 0 && _best is null)
            {
                throw TokenSampler.NoneMayFollow();
            }

            // A log-probability only falls, and no text gets longer than the longest.
            Running = _ended >= _options.Beams
                ? []
                : [.. going.Where(beam => beam.Text.WantsLogits && Score(beam.LogProbability, _options.MaximumNewTokens) > _bestScore)];
        }

        /// <summary>The pieces of the best text.</summary>
        public List<GeneratedPiece> Best(CancellationToken cancellationToken)
        {
            List<GeneratedPiece> pieces = [_best!.Text.Next(cancellationToken)];
            for (PieceChain? last = _best.Pieces; last is not null; last = last.Before)
            {
                pieces.Add(last.Piece);
            }

            pieces.Reverse();
            return pieces;
        }

        private void Ended(int length, double logProbability, Func<Beam> beam)
        {
            _ended++;
            double score = Score(logProbability, length);
            if (_best is null || score > _bestScore)
            {
                (_best, _bestScore) = (beam(), score);
            }
        }

        private double Score(double logProbability, int length) => logProbability / Math.Pow(length, _options.LengthPenalty);
    }
}
