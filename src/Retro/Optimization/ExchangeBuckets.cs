using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>Exchanges many tensors as few: those of one owner and type are laid one after the other into a bucket, and back when it has come.</summary>
/// <param name="exchange">The processes.</param>
internal sealed class ExchangeBuckets(IGradientExchange exchange)
{
    /// <summary>Bytes of a bucket; a tensor of more is one by itself. Measured in tests/Retro.Benchmarks/results/distributed.md.</summary>
    private const long BucketBytes = 4 << 20;

    /// <summary>Sums tensors over the processes, in float32 at least.</summary>
    /// <param name="tensors">The tensors, with the one process that needs the sum; null: all do.</param>
    public void Sum(IEnumerable<(Tensor Tensor, int? Owner)> tensors)
        => Each(
            tensors,
            type => type == ScalarType.Float64 ? type : ScalarType.Float32,
            exchange.Sum,
            _ => true,
            owner => owner is null || owner == exchange.Rank);

    /// <summary>Replaces tensors by those of their owners.</summary>
    public void Broadcast(IEnumerable<(Tensor Tensor, int? Owner)> tensors)
        => Each(
            tensors,
            type => type,
            (flat, owner) => exchange.Broadcast(flat, owner!.Value),
            owner => owner == exchange.Rank,
            owner => owner != exchange.Rank);

    private static void Each(
        IEnumerable<(Tensor Tensor, int? Owner)> tensors,
        Func<ScalarType, ScalarType> typeOf,
        Action<Tensor, int?> exchanged,
        Predicate<int?> reads,
        Predicate<int?> changes)
    {
        using IDisposable noGradients = no_grad();
        foreach (IGrouping<(int? Owner, ScalarType Type), Tensor> group in tensors
            .GroupBy(pair => (pair.Owner, typeOf(pair.Tensor.dtype)), pair => pair.Tensor))
        {
            foreach (List<Tensor> bucket in Buckets(group))
            {
                using DisposeScope scope = NewDisposeScope();
                Tensor only = bucket[0];
                if (bucket.Count == 1 && only.dtype == group.Key.Type && only.is_contiguous())
                {
                    exchanged(only.detach().view(-1), group.Key.Owner); // in place
                    continue;
                }

                Tensor flat = reads(group.Key.Owner)
                    ? cat([.. bucket.Select(tensor => tensor.detach().reshape(-1).to_type(group.Key.Type))])
                    : empty([bucket.Sum(tensor => tensor.numel())], group.Key.Type, only.device);
                exchanged(flat, group.Key.Owner);
                long start = 0;
                foreach (Tensor tensor in bucket)
                {
                    if (changes(group.Key.Owner))
                    {
                        tensor.copy_(flat.narrow(0, start, tensor.numel()).view(tensor.shape));
                    }

                    start += tensor.numel();
                }
            }
        }
    }

    private static IEnumerable<List<Tensor>> Buckets(IEnumerable<Tensor> tensors)
    {
        List<Tensor> bucket = [];
        long bytes = 0;
        foreach (Tensor tensor in tensors)
        {
            long more = tensor.numel() * tensor.element_size();
            if (bucket.Count > 0 && bytes + more > BucketBytes)
            {
                yield return bucket;
                (bucket, bytes) = ([], 0);
            }

            bucket.Add(tensor);
            bytes += more;
        }

        if (bucket.Count > 0)
        {
            yield return bucket;
        }
    }
}
