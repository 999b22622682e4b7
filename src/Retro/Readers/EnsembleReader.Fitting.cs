using Retro.Database;
using Retro.Modeling;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Readers;

public sealed partial class EnsembleReader
{
    /// <summary>
    /// Fits the temperature on documents: the one under which they are most likely, among 25 from a 64th of the scores' usual spread to 64 times it, and
    /// infinity, which it is where they tell nothing.
    /// </summary>
    /// <param name="model">The decoder.</param>
    /// <param name="tokenizer">The tokenizer that it was trained with.</param>
    /// <param name="validation">Documents to fit on, other ones than those that are evaluated on; of each at most a window from its beginning is read.</param>
    /// <param name="source">Finds neighbors; those of a document's own text, and of its copies, are left out.</param>
    /// <param name="options">How each passage is written in front of the text; null takes the defaults.</param>
    /// <param name="name">The name in reports; null: made of the settings.</param>
    /// <param name="progress">Receives the number of documents read.</param>
    /// <param name="cancellationToken">Ends the fitting between two documents.</param>
    /// <returns>The reader.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range, or does not fit template and model.</exception>
    /// <exception cref="ArgumentException">The source has no database.</exception>
    /// <exception cref="RetroException">A log-likelihood is not a number, or a database has chunks of another tokenizer.</exception>
    public static EnsembleReader Fit(
        RetroModel model,
        RetroTokenizer tokenizer,
        ChunkDatabase validation,
        INeighborSource source,
        InContextOptions? options = null,
        string? name = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(validation);
        ArgumentNullException.ThrowIfNull(source);
        validation.RequireTokenizer(tokenizer);
        EnsembleReader equal = new(model, tokenizer, options, double.PositiveInfinity, name);
        return new EnsembleReader(
            model, equal.Prompt, equal.Options, equal.BestTemperature(validation, source, progress, cancellationToken), name);
    }

    /// <summary>The best temperature, see <see cref="Fit"/>.</summary>
    internal double BestTemperature(
        ChunkDatabase validation, INeighborSource source, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ChunkDatabase retrieval = ReaderTraining.RequireDatabase(source, validation, "read");
        SameDocuments same = new(validation, retrieval);
        List<(double[] LogP, double[] Scores)> places = [];
        for (int number = 0; number < validation.Documents.Count; number++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new StageProgress("fit the temperature", number, validation.Documents.Count));
            DocumentEntry document = validation.Documents[number];
            int length = Math.Min(Options.WindowLength, document.TokenCount - 1);
            if (length > validation.ChunkLength)
            {
                Read(validation, document, length, source, same.Of(number), retrieval, places, cancellationToken);
            }
        }

        progress?.Report(new StageProgress("fit the temperature", validation.Documents.Count, validation.Documents.Count));
        double[] spreads = [.. places.Select(place => place.Scores.Max() - place.Scores.Min()).Where(spread => spread > 0 && double.IsFinite(spread)).Order()];
        double usual = spreads.Length == 0 ? 1 : spreads[spreads.Length / 2];
        return Enumerable.Range(-12, 25).Select(half => usual * Math.Pow(2, half / 2.0)).Prepend(double.PositiveInfinity)
            .MaxBy(temperature => places.Sum(place => Mixed(place.LogP, place.Scores, temperature)));
    }

    /// <summary>Adds the places of a document that have passages: the target's log-likelihood behind each, and their scores.</summary>
    private void Read(
        ChunkDatabase validation,
        DocumentEntry document,
        int length,
        INeighborSource source,
        IReadOnlyList<int> own,
        ChunkDatabase retrieval,
        List<(double[] LogP, double[] Scores)> places,
        CancellationToken cancellationToken)
    {
        int chunkLength = validation.ChunkLength;
        RetrievedTokens? retrieved = StrideRetrieval.Of(
            validation,
            [(document.FirstChunk, length, chunkLength)],
            ReadingPlan.Of(this, chunkLength, retrieval),
            source,
            _ => own,
            cancellationToken);
        if (retrieved is null)
        {
            return;
        }

        ReadingBatch batch = new(1, length, chunkLength);
        batch.Put(0, validation, document.FirstChunk * chunkLength, length, chunkLength, length + 1);

        // Each passage by itself, in front of the same text.
        InContextOptions alone = Options with { Neighbors = 1 };
        double[][] likelihoods = new double[Neighbors][];
        for (int neighbor = 0; neighbor < Neighbors; neighbor++)
        {
            RetrievedTokens one = new(1, retrieved.Chunks, 1, retrieved.Length);
            for (int chunk = 0; chunk < retrieved.Chunks; chunk++)
            {
                one.Take(0, chunk, retrieved, 0, chunk, neighbor);
            }

            batch.Retrieved = one;
            likelihoods[neighbor] = ReaderChecks.LogLikelihoods(new InContextReader(Model, Prompt, alone), batch);
        }

        for (int place = chunkLength - 1; place < length; place++)
        {
            int chunk = Math.Min(((place + 1) / chunkLength) - 1, retrieved.Chunks - 1);
            int[] there = There(retrieved, 0, chunk);
            if (there.Length > 1)
            {
                places.Add((
                    [.. there.Select(k => likelihoods[k][place])],
                    [.. there.Select(k => (double)retrieved.ScoreOf(0, chunk, k))]));
            }
        }
    }

    private double Mixed(double[] logP, double[] scores, double temperature)
    {
        double[] weights = LogSoftmax([.. scores.Select(score => Scaled(score, temperature))], Name);
        return logP.Zip(weights, (one, weight) => one + weight).Aggregate(PromptReading.Add);
    }
}
