using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>What the readers over a <see cref="RetroModel"/> have in common.</summary>
internal static class ModelReading
{
    /// <summary>Most logits made at once, in bytes: a vocabulary can be large enough for those of a whole batch to take more than everything else.</summary>
    public const long HeadBytes = 32L << 20;

    /// <summary>The log-likelihood of every target, given the first K neighbors of every chunk.</summary>
    public static double[] LogLikelihoods(RetroModel model, ReadingBatch batch, int neighbors)
    {
        ArgumentNullException.ThrowIfNull(batch);
        double[] result = new double[batch.Targets.Length];
        long[] places = batch.TargetPlaces();
        if (places.Length == 0)
        {
            return result;
        }

        model.Evaluate();
        using FinalizerGate.Hold gate = FinalizerGate.Close(FinalizerGate.IsNeededFor(model));
        using DisposeScope scope = NewDisposeScope();
        using IDisposable inference = inference_mode();
        (Tensor? retrieved, Tensor? valid) = neighbors > 0 ? batch.Retrieved?.ToTensors(model.Device) ?? default : default;
        if (retrieved is not null && retrieved.shape[2] > neighbors)
        {
            (retrieved, valid) = (retrieved.narrow(2, 0, neighbors), valid!.narrow(2, 0, neighbors));
        }

        Tensor tokens = tensor(batch.Tokens, [batch.Rows, batch.Length], device: model.Device);
        Tensor targets = batch.TargetsAt(places, model.Device);
        double[] likelihoods = model.LogLikelihoodsAt(tokens, tensor(places, device: model.Device), targets, retrieved, valid, HeadBytes).Doubles();
        for (int i = 0; i < places.Length; i++)
        {
            result[places[i]] = likelihoods[i];
        }

        return result;
    }

    /// <summary>
    /// An estimate from above of what a row takes: the widest states, attention scores of one layer as if they were all kept, and everything of the encoder.
    /// </summary>
    public static long RowBytes(RetroModel model, int length, int neighbors)
    {
        RetroConfig config = model.Config;
        long inner = (long)config.Heads * config.HeadSize;
        long numbers = length * ((6L * config.Width) + (4 * inner) + (3L * config.FeedForwardSize) + (2L * config.Heads * length));
        if (neighbors > 0)
        {
            RetrievalConfig retrieval = config.Retrieval!;
            EncoderConfig encoder = retrieval.Encoder;
            long perNeighbor = retrieval.RetrievedLength, all = length / retrieval.ChunkLength * neighbors * perNeighbor,
                encoderInner = (long)encoder.Heads * encoder.HeadSize;
            numbers += all * ((6L * encoder.Width) + (4 * encoderInner) + (3L * encoder.FeedForwardSize) + (2 * encoder.Heads * perNeighbor) + (2 * inner));
            numbers += 2L * length * config.Heads * neighbors * perNeighbor;
        }

        return numbers * model.Dtype.ElementSize();
    }
}
