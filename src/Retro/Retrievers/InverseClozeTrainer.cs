using System.Globalization;
using Retro.Corpora;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Retro.Retrievers;

/// <summary>Trains a small text encoder on nothing but a corpus, by the inverse cloze task with in-batch negatives, and with hard ones by option.</summary>
/// <remarks>
/// A pair is a span and the text around it (Lee et al., arXiv 1906.00300, section 4), or two parts that follow each other in a document. Each is to find its
/// partner among all of the batch, both ways (InfoNCE: the cross entropy of cosines divided by a temperature). Pairs of one document that overlap, or between
/// which less than a window lies, are no negatives to each other. A text that stands in several documents is one.
/// </remarks>
public static class InverseClozeTrainer
{
    private const double WarmUp = 0.05;
    private const double GradientNorm = 1.0;

    /// <summary>Trains an encoder and freezes it.</summary>
    /// <param name="documents">The corpus; its texts stay in memory while training, up to <see cref="InverseClozeOptions.MostCharacters"/>, and only those
    /// that are drawn get tokenized.</param>
    /// <param name="tokenizer">The tokenizer; a decoder's own will do.</param>
    /// <param name="config">The encoder's sizes; <see cref="TextEncoderConfig.Small"/> by default. Its vectors are scaled to length 1 whatever
    /// <see cref="TextEncoderConfig.Normalize"/> says: it learns by cosines, which keys that are compared by distance or inner product then rank by.</param>
    /// <param name="options">How to train; some minutes by default.</param>
    /// <param name="device">Where the encoder is trained and stays; the processor by default.</param>
    /// <param name="progress">Told after each step: steps done, or milliseconds where there is a time budget.</param>
    /// <param name="cancellationToken">Stops between steps.</param>
    /// <returns>The embedder.</returns>
    /// <exception cref="CorpusException">The corpus holds fewer than two different texts that are long enough to make a pair of, and none of four windows; or
    /// nearly all of it is one text of fewer, so that no pair has another to be told from.</exception>
    /// <exception cref="RetroOptionsException">The options or the sizes contradict themselves.</exception>
    /// <exception cref="CheckpointException">The encoder's sizes are of another vocabulary than the tokenizer's, or the tokenizer is WordPiece, and its
    /// template puts neither one token on each side of a text nor none.</exception>
    /// <exception cref="TrainingException">The loss is no longer a number.</exception>
    /// <exception cref="OperationCanceledException">Training was canceled.</exception>
    public static TextEmbedder Train(
        IEnumerable<Document> documents,
        RetroTokenizer tokenizer,
        TextEncoderConfig? config = null,
        InverseClozeOptions? options = null,
        Device? device = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(documents);
        ArgumentNullException.ThrowIfNull(tokenizer);
        options = (options ?? new InverseClozeOptions()).Validate();
        config = ((config ?? TextEncoderConfig.Small(tokenizer.VocabularySize)) with { Normalize = true }).Validate();
        PaddedVocabulary.Require(tokenizer, config.VocabularySize, "the encoder");
        TorchLibrary.Require();
        InverseClozePairs pairs = new(documents, tokenizer, config.MaximumLength, options, cancellationToken);
        TextEncoder encoder = new(config, options.Seed, device: device);
        try
        {
            Start(encoder, pairs);
            Train(encoder, pairs, options, progress, cancellationToken);
            return new TextEmbedder(encoder, tokenizer);
        }
        catch
        {
            encoder.Dispose();
            throw;
        }
    }

    /// <summary>The loss of a batch: how badly each row of one side finds its partner on the other, both ways.</summary>
    /// <param name="left">Vectors, [B, D].</param>
    /// <param name="right">Their partners, [B, D].</param>
    /// <param name="forbidden">True where two rows are no negatives to each other, bool [B, B], never on the diagonal; null for none.</param>
    /// <param name="temperature">Divides the cosines.</param>
    /// <param name="hard">More vectors that are nobody's partner, [N, D], which the left side has to tell from its own; null for none.</param>
    /// <param name="hardForbidden">True where one of them is no negative to a row, bool [B, N]; null for none.</param>
    /// <returns>The mean cross entropy, a scalar in nats.</returns>
    internal static Tensor Loss(
        Tensor left, Tensor right, Tensor? forbidden, double temperature, Tensor? hard = null, Tensor? hardForbidden = null)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor lines = F.normalize(left, dim: -1), cosines = Cosines(right, forbidden); // [B, B]
        Tensor all = hard is null ? cosines : cat([cosines, Cosines(hard, hardForbidden)], 1); // [B, B + N]
        Tensor partner = KeptScalars.Range(left.shape[0], ScalarType.Int64, left.device);
        return F.cross_entropy(all, partner).Plus(F.cross_entropy(cosines.transpose(0, 1), partner)).Over(2).MoveToOuterDisposeScope();

        Tensor Cosines(Tensor others, Tensor? without)
        {
            Tensor found = lines.matmul(F.normalize(others, dim: -1).transpose(0, 1)).Over(temperature);
            return without is null ? found : found.FilledWhere(without, double.NegativeInfinity);
        }
    }

    // From a good bag of words a minute of training gets much further than from random vectors. It is made with the last norm's bias, which ModernBERT lacks.
    private static void Start(TextEncoder encoder, InverseClozePairs pairs)
    {
        if (encoder.Config.Pooling != TextPooling.Mean || encoder.Config.Modern is not null)
        {
            return;
        }

        SmoothInverseFrequency.Weigh(encoder, pairs.CountTokens(encoder.Config.VocabularySize));
        using IDisposable guard = no_grad();
        using DisposeScope scope = NewDisposeScope();
        TextBatch side = pairs.Next().Right;
        Device device = encoder.parameters().First().device;
        SmoothInverseFrequency.Center(encoder, MeanStates(encoder, side, device));
    }

    private static void Train(
        TextEncoder encoder, InverseClozePairs pairs, InverseClozeOptions options, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        encoder.train();
        using RetroOptimizer optimizer = new(encoder, new() { Beta2 = 0.999, WeightDecay = options.WeightDecay, ClipNorm = GradientNorm });
        long started = options.Time.GetTimestamp();
        double budget = options.TimeBudget?.TotalMilliseconds ?? 0;
        HardNegatives? hard = null;
        for (long step = 0; ; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            double done = options.TimeBudget is null ? (double)step / options.Steps : options.Time.GetElapsedTime(started).TotalMilliseconds / budget;
            if (done >= 1)
            {
                break;
            }

            if (options.HardNegatives > 0 && step % options.HardNegativeSteps == 0)
            {
                hard = HardNegatives.Draw(encoder, pairs, options.HardNegativePool);
            }

            double loss = Step(encoder, optimizer, options.LearningRate * Rate(done, step), pairs, options, hard);
            if (!double.IsFinite(loss))
            {
                throw new TrainingException(string.Create(
                    CultureInfo.InvariantCulture,
                    $"The loss of step {step} is {loss}; train with a lower LearningRate than {options.LearningRate} or a higher Temperature than "
                        + $"{options.Temperature}."));
            }

            (long now, long end) = options.TimeBudget is null
                ? (step + 1, options.Steps)
                : ((long)Math.Min(budget, options.Time.GetElapsedTime(started).TotalMilliseconds), (long)budget);
            progress?.Report(new StageProgress("train embedder", now, end) { Loss = loss });
        }
    }

    private static double Step(
        TextEncoder encoder, RetroOptimizer optimizer, double rate, InverseClozePairs pairs, InverseClozeOptions options, HardNegatives? hard)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable recorded = Gradients.Recorded();
        Device device = encoder.parameters().First().device;
        InverseClozePairs.Batch batch = pairs.Next();
        Tensor left = Encode(encoder, batch.Left, device);
        Tensor right = Encode(encoder, batch.Right, device);
        Tensor? forbidden = batch.Barred is null ? null : torch.tensor(batch.Barred, [left.shape[0], left.shape[0]], ScalarType.Bool, device);
        (int[] chosen, bool[] same) = hard?.Choose(left, batch.Documents, options.HardNegatives) ?? ([], []);
        Tensor? more = chosen.Length == 0 ? null : Encode(encoder, pairs.Batched([.. chosen.Select(hard!.Framed)]), device);
        Tensor? moreForbidden = more is null ? null : torch.tensor(same, [left.shape[0], chosen.Length], ScalarType.Bool, device);
        Tensor loss = Loss(left, right, forbidden, options.Temperature, more, moreForbidden);
        loss.backward();
        return optimizer.StepWith(rate, null, loss).Loss;
    }

    internal static Tensor Encode(TextEncoder encoder, TextBatch side, Device device)
    {
        (Tensor tokens, Tensor? mask) = side.ToTensors(device);
        return encoder.Pool(encoder.forward(tokens, mask), mask); // [B, D]
    }

    private static Tensor MeanStates(TextEncoder encoder, TextBatch side, Device device)
    {
        (Tensor tokens, Tensor? mask) = side.ToTensors(device);
        return TextEncoder.Mean(encoder.forward(tokens, mask), mask); // [B, D]
    }

    /// <summary>What share of the highest rate a step has.</summary>
    /// <param name="done">Share of the training that is done before it.</param>
    /// <param name="step">
    /// Number of the step, from 0; the first are counted too, since with a budget of time alone it is not known before what share of it a step takes.
    /// </param>
    internal static double Rate(double done, long step)
        => Math.Min(
            Math.Min(1, (step + 1) / 10.0), done < WarmUp ? Math.Max(done, 0.01) / WarmUp : 0.5 + 0.5 * Math.Cos(Math.PI * (done - WarmUp) / (1 - WarmUp)));
}
