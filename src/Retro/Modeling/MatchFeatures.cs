using TorchSharp;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// How well the text's last tokens match those before each retrieved token: what aligns a place of the text with the place of a neighbor whose token comes
/// next, if the two run alike.
/// </summary>
/// <remarks>
/// For a query after token x_p and retrieved token c_j: the run m is the largest number with x_(p−u) = c_(j−1−u) for every u below it, at most
/// <see cref="LongestRun"/>, and f the number of u below <see cref="Compared"/> for which it holds at all. The features are m, whether m is at least 1, 2
/// and 4, and f.
/// </remarks>
internal static class MatchFeatures
{
    /// <summary>Features of a pair.</summary>
    public const int Count = 5;

    /// <summary>Last tokens that are compared; a query needs as many of the text, its own among them.</summary>
    public const int Compared = 16;

    /// <summary>A run that is longer counts as one so long.</summary>
    public const int LongestRun = 12;

    /// <summary>Weights of the features in a fresh model: what follows a run is looked at first.</summary>
    public static readonly float[] InitialWeights = [1, 1, 0.5f, 0.5f, 0.1f];

    /// <summary>Stands for a token before the text; equal to none.</summary>
    public const long NoText = -1;

    // Equal to no token either.
    private const long NoNeighbor = -2;

    /// <summary>The features of queries in a row.</summary>
    /// <param name="text">[N, <see cref="Compared"/> − 1 + A] of int64: the tokens up to each of A places; <see cref="NoText"/> before the text.</param>
    /// <param name="retrieved">[N, K, R] of int64.</param>
    /// <param name="valid">[N, K, R] of bool; null: all.</param>
    /// <param name="dtype">Type of the features.</param>
    /// <returns>[<see cref="Count"/>, N, A, K·R]; no gradient is recorded.</returns>
    public static Tensor Of(Tensor text, Tensor retrieved, Tensor? valid, ScalarType dtype)
    {
        using IDisposable noGradients = no_grad();
        using DisposeScope scope = NewDisposeScope();
        long rows = retrieved.shape[0], neighbors = retrieved.shape[1], length = retrieved.shape[2];
        if (text.shape[1] == Compared && text.device_type == DeviceType.CPU)
        {
            return OfLast(text, retrieved, valid).view(Count, rows, 1, neighbors * length).to_type(dtype).MoveToOuterDisposeScope();
        }

        Tensor known = valid is null ? retrieved : retrieved.FilledWhere(valid.logical_not(), NoNeighbor);
        Tensor before = Later(known, 1, NoNeighbor); // the token before each retrieved one
        (Tensor m, Tensor f) = text.device_type == DeviceType.CPU ? Diagonally(text, before) : ByShifts(text, before); // [N, A, K, R]
        return stack([m.to_type(dtype), m.AtLeast(1).to_type(dtype), m.AtLeast(2).to_type(dtype), m.AtLeast(4).to_type(dtype), f.to_type(dtype)], 0)
            .view(Count, rows, -1, neighbors * length)
            .MoveToOuterDisposeScope();
    }

    /// <summary>The features of whole sequences: the queries of the first C chunks, those beyond the text's end too.</summary>
    /// <param name="tokens">[B, T] of int64.</param>
    /// <param name="retrieved">[B, C, K, R] of int64.</param>
    /// <param name="valid">[B, C, K, R] of bool; null: all.</param>
    /// <param name="chunkLength">M.</param>
    /// <param name="dtype">Type of the features.</param>
    /// <param name="lead">How many of the tokens stand before the first chunk.</param>
    /// <returns>[<see cref="Count"/>, B·C, M, K·R].</returns>
    public static Tensor OfChunks(Tensor tokens, Tensor retrieved, Tensor? valid, long chunkLength, ScalarType dtype, long lead = 0)
    {
        using DisposeScope scope = NewDisposeScope();
        long batch = tokens.shape[0], chunks = retrieved.shape[1], length = tokens.shape[1], neighbors = retrieved.shape[2];
        // The queries of chunk u begin with its last token, and see so many before it.
        long first = lead + chunkLength - Compared, end = lead + ((chunks + 1) * chunkLength) - 1, before = Math.Max(0, -first);
        Tensor padded = nn.functional.pad(tokens, [before, Math.Max(0, end - length)], value: NoText);
        Tensor text = padded.narrow(1, first + before, (chunks * chunkLength) + Compared - 1).unfold(1, chunkLength + Compared - 1, chunkLength);
        return Of(
                text.reshape(batch * chunks, -1),
                retrieved.reshape(batch * chunks, neighbors, -1),
                valid?.reshape(batch * chunks, neighbors, -1),
                dtype)
            .MoveToOuterDisposeScope();
    }

    /// <summary>The last tokens of some texts, [n, <see cref="Compared"/>] of int64, <see cref="NoText"/> where a text is shorter.</summary>
    /// <param name="tokens">[n, T] of int64.</param>
    /// <param name="lengths">Tokens of each.</param>
    public static Tensor Last(Tensor tokens, IReadOnlyList<long> lengths)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor padded = nn.functional.pad(tokens, [Compared, 0L], value: NoText);
        return stack([.. lengths.Select((length, row) => padded.select(0, row).narrow(0, length, Compared))]).MoveToOuterDisposeScope();
    }

    /// <summary>The bias that features are to each head's logits, where a query of few rows is computed with plain numbers.</summary>
    /// <param name="few">The rows.</param>
    /// <param name="weights">[H, <see cref="Count"/>].</param>
    /// <param name="features">[<see cref="Count"/>, N, 1, K·R].</param>
    /// <param name="others">What else is added to the logits, [H, N, K·R]; empty: nothing.</param>
    /// <returns>[H, N, K·R], both.</returns>
    public static Memory<float> Weighted(FewRows few, Tensor weights, Tensor features, ReadOnlyMemory<float> others)
    {
        ReadOnlySpan<float> each = few.Read(weights).Span, of = few.Read(features).Span;
        int heads = each.Length / Count, width = of.Length / Count;
        Memory<float> bias = few.Take(heads * width);
        bias.Span.Clear();
        others.CopyTo(bias);
        for (int i = 0; i < each.Length; i++)
        {
            Span<float> sum = bias.Span.Slice(i / Count * width, width);
            TensorPrimitives.MultiplyAdd(of.Slice(i % Count * width, width), each[i], sum, sum);
        }

        return bias;
    }

    // Of one query a row, which decoding has for every token: counted here, where operators for each of the compared places take longer than all the rest.
    private static Tensor OfLast(Tensor text, Tensor retrieved, Tensor? valid)
    {
        ReadOnlySpan<long> last = text.contiguous().data<long>().ToArray(), known = retrieved.contiguous().data<long>().ToArray();
        ReadOnlySpan<bool> holds = valid is null ? [] : valid.contiguous().data<bool>().ToArray();
        int length = (int)retrieved.shape[2], ofRow = (int)retrieved.shape[1] * length, all = known.Length;
        float[] features = new float[Count * all];
        for (int place = 0; place < all; place++)
        {
            ReadOnlySpan<long> asking = last.Slice(place / ofRow * Compared, Compared);
            int run = 0, equal = 0, before = Math.Min(Compared, place % length);
            for (int back = 1; back <= before; back++)
            {
                if (asking[Compared - back] == known[place - back] && (holds.IsEmpty || holds[place - back]))
                {
                    equal++;
                    run += run == back - 1 ? 1 : 0;
                }
            }

            run = Math.Min(run, LongestRun);
            ReadOnlySpan<float> of = [run, run >= 1 ? 1 : 0, run >= 2 ? 1 : 0, run >= 4 ? 1 : 0, equal];
            for (int i = 0; i < Count; i++)
            {
                features[(i * all) + place] = of[i];
            }
        }

        return tensor(features, device: CPU);
    }

    /// <summary>
    /// Lengths of runs and counts of equal tokens, [N, A, K, R]: one place on in the text is one on in the neighbor, so both counts move along the diagonal,
    /// and each pair is compared once. Least work, in many small steps.
    /// </summary>
    internal static (Tensor Run, Tensor Equal) Diagonally(Tensor text, Tensor before)
    {
        Tensor run = zeros_like(before, ScalarType.Int32), equal = run;
        List<Tensor> hits = [], runs = [], equals = [];
        for (int place = 0; place < text.shape[1]; place++)
        {
            Tensor hit = before.eq(text.narrow(1, place, 1).unsqueeze(-1)).to_type(ScalarType.Int32); // [N, K, R]
            hits.Add(hit);
            run = Later(run, 1, 0).Plus(1L).mul(hit);
            equal = Later(equal, 1, 0).Plus(hit);
            if (place >= Compared)
            {
                equal = equal.sub(Later(hits[place - Compared], Compared, 0));
            }

            if (place >= Compared - 1)
            {
                runs.Add(run);
                equals.Add(equal);
            }
        }

        using Scalar longest = LongestRun.ToScalar();
        return (stack(runs, 1).clamp_max(longest), stack(equals, 1));
    }

    /// <summary>
    /// The same by comparing everything once for each token that is looked back: sixteen times the work in a tenth of the steps, for accelerators, whose steps
    /// cost more than their work.
    /// </summary>
    internal static (Tensor Run, Tensor Equal) ByShifts(Tensor text, Tensor before)
    {
        long queries = text.shape[1] - Compared + 1;
        Tensor? alive = null, runs = null, equals = null;
        for (int back = 0; back < Compared; back++)
        {
            Tensor hit = text.narrow(1, Compared - 1 - back, queries).unsqueeze(-1).unsqueeze(-1).eq(Later(before, back, NoNeighbor).unsqueeze(1));
            alive = alive?.logical_and_(hit) ?? hit.clone();
            runs = runs is null ? alive.to_type(ScalarType.Int32) : back < LongestRun ? runs.AddInPlace(alive) : runs;
            equals = equals?.AddInPlace(hit) ?? hit.to_type(ScalarType.Int32);
        }

        return (runs!, equals!);
    }

    // Moves what stands along the last dimension so many places on.
    private static Tensor Later(Tensor x, long places, long filling)
    {
        long kept = Math.Max(0, x.shape[^1] - places);
        return nn.functional.pad(x.narrow(-1, 0, kept), [x.shape[^1] - kept, 0L], value: filling);
    }
}
