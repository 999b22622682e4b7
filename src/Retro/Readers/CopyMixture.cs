using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// The weights of <see cref="CopyReader"/>: how candidates are scored, and how much of the probability goes to copying. Some five thousand numbers; language
/// model and candidates come as they are and take no gradient.
/// </summary>
/// <remarks>
/// <para>A candidate c with a run of m equal tokens before it, f equal ones among the last 16, in the neighbor of rank r, scores s = w[m] + a[m]·log p(c) +
/// u[f] + b[r], p being the language model's distribution. α = softmax of the scores of a place, and copying gives a token the α of its candidates
/// together.</para>
/// <para>The gate is σ(z), z = logsumexp(s) − θ[M] − v·h + g·gelu(G φ + H h + i): M is the longest run, h the model's last normed state, φ 39 features of both
/// distributions (<see cref="Features"/>). The mixture is σ(−z)·p + σ(z)·copy, and p where there is no candidate: a distribution in any case.</para>
/// <para>Pointer networks (arXiv 1506.03134), kNN-LM (arXiv 1911.00172) and pointer-generators (arXiv 1704.04368) are its relatives.</para>
/// </remarks>
internal sealed class CopyMixture : nn.Module
{
    private const int Runs = PointerRule.LongestRun + 1, EqualCounts = CopyCandidates.ComparedTokens + 1, FeatureCount = 13 + (2 * Runs), Hidden = 32;
    private const double Nothing = -1e9;

    private readonly Parameter _run, _plausibility, _equal, _rank, _threshold, _state, _features, _featuresState, _featuresBias, _correction;

    /// <summary>Creates fresh weights: at first a long run is trusted, and what the model finds plausible.</summary>
    /// <param name="width">D: the model's width.</param>
    /// <param name="neighbors">K.</param>
    /// <param name="seed">Decides them, on every device alike; TorchSharp's own generators are left alone.</param>
    /// <param name="device">Where the weights lie.</param>
    public CopyMixture(int width, int neighbors, long seed = 0, Device? device = null)
        : base(TorchLibrary.Require(nameof(CopyMixture)))
    {
        Tensor Fill(double value, params long[] shape)
        {
            using Scalar kept = value.ToScalar();
            return full(shape, kept, ScalarType.Float32, device);
        }

        using Generator generator = new(unchecked((ulong)seed), CPU);
        Tensor Normal(double deviation, params long[] shape) => randn(shape, ScalarType.Float32, CPU, generator: generator).Times(deviation).to(device ?? CPU);

        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        register_parameter("run", _run = new(tensor(Enumerable.Range(0, Runs).Select(run => (0.7f * run) - 1).ToArray(), device: device)));
        register_parameter("plausibility", _plausibility = new(Fill(0.5, Runs)));
        register_parameter("equal", _equal = new(Fill(0, EqualCounts)));
        register_parameter("rank", _rank = new(Fill(0, neighbors)));
        register_parameter("threshold", _threshold = new(Fill(4, Runs)));
        register_parameter("state", _state = new(Fill(0, width)));
        register_parameter("features", _features = new(Normal(1 / Math.Sqrt(FeatureCount), FeatureCount, Hidden)));
        register_parameter("features_state", _featuresState = new(Normal(0.3 / Math.Sqrt(width), width, Hidden)));
        register_parameter("features_bias", _featuresBias = new(Fill(0, Hidden)));
        register_parameter("correction", _correction = new(Fill(0, Hidden)));
        foreach (Parameter parameter in parameters())
        {
            scope.Detach(parameter);
        }
    }

    /// <summary>The log-likelihood of targets under the mixture.</summary>
    /// <param name="logits">[P, V], the language model's.</param>
    /// <param name="states">[P, D], the model's last states, normed.</param>
    /// <param name="candidates">Of all places.</param>
    /// <param name="start">The first of these P places among the candidates'.</param>
    /// <param name="targets">[P] of int64.</param>
    /// <returns>[P].</returns>
    public Tensor LogLikelihoods(Tensor logits, Tensor states, CopyCandidates candidates, int start, Tensor targets)
    {
        using DisposeScope scope = NewDisposeScope();
        (Tensor logP, Tensor tokens, Tensor exists, Tensor shares, Tensor gate) = Mix(logits, states, candidates, start);
        Tensor plain = logP.gather(1, targets.unsqueeze(1)).squeeze(1); // [P]
        Tensor copied = shares.mul(tokens.eq(targets.unsqueeze(1)).logical_and(exists)).sum(1); // [P]
        Tensor hit = copied.gt(KeptScalars.Zero), any = exists.any(1);
        Tensor kept = plain.Plus(nn.functional.logsigmoid(gate.neg()));
        Tensor with = kept.logaddexp(where(hit, copied, ones_like(copied)).log().Plus(nn.functional.logsigmoid(gate)));
        return where(any, where(hit, with, kept), plain).MoveToOuterDisposeScope();
    }

    /// <summary>The whole mixture.</summary>
    /// <param name="logits">[P, V], the language model's.</param>
    /// <param name="states">[P, D], the model's last states, normed.</param>
    /// <param name="candidates">Of all places.</param>
    /// <param name="start">The first of these P places among the candidates'.</param>
    /// <returns>
    /// [P, V]: log-probabilities, minus infinity nowhere that the language model's are not; and [P, N]: the probability that each candidate gives its token.
    /// </returns>
    public (Tensor LogP, Tensor Copied) LogDistribution(Tensor logits, Tensor states, CopyCandidates candidates, int start)
    {
        using DisposeScope scope = NewDisposeScope();
        (Tensor logP, Tensor tokens, Tensor exists, Tensor shares, Tensor gate) = Mix(logits, states, candidates, start);
        Tensor given = shares.mul(exists), copied = zeros_like(logP).scatter_add(1, tokens, given); // [P, N], [P, V]
        Tensor kept = logP.Plus(nn.functional.logsigmoid(gate.neg()).unsqueeze(1)), gated = nn.functional.logsigmoid(gate).unsqueeze(1);
        Tensor with = kept.logaddexp(copied.log().Plus(gated));
        return (
            where(exists.any(1, keepdim: true), with, logP).MoveToOuterDisposeScope(),
            given.mul(gated.exp()).MoveToOuterDisposeScope());
    }

    private (Tensor LogP, Tensor Tokens, Tensor Exists, Tensor Shares, Tensor Gate) Mix(
        Tensor logits, Tensor states, CopyCandidates candidates, int start)
    {
        int count = (int)logits.shape[0];
        Device device = logits.device;
        Tensor logP = nn.functional.log_softmax(logits.detach().to_type(ScalarType.Float32), 1), h = states.detach().to_type(ScalarType.Float32);
        Tensor tokens = candidates.Slice(candidates.Tokens, start, count, device), exists = candidates.ExistsSlice(start, count, device); // [P, N]
        Tensor runs = candidates.Slice(candidates.Runs, start, count, device), equal = candidates.Slice(candidates.Equal, start, count, device);
        Tensor ranks = candidates.Slice(candidates.Ranks, start, count, device), missing = exists.logical_not();
        Tensor candidateLogP = logP.gather(1, tokens);
        using Scalar nothing = Nothing.ToScalar();
        Tensor scores = At(_run, runs)
            .Plus(At(_plausibility, runs).mul(candidateLogP))
            .Plus(At(_equal, equal))
            .Plus(At(_rank, ranks))
            .masked_fill(missing, nothing);
        Tensor shares = scores.softmax(1), all = scores.logsumexp(1); // [P, N], [P]
        Tensor longest = runs.max(1).values;
        Tensor features = Features(logP, tokens, exists, runs, equal, longest, candidateLogP, scores.detach(), shares.detach(), all.detach());
        Tensor hidden = nn.functional.gelu(features.mm(_features).Plus(h.mm(_featuresState)).Plus(_featuresBias));
        Tensor gate = all.sub(_threshold.index_select(0, longest)).sub(h.mv(_state)).Plus(hidden.mv(_correction)); // [P]
        // Where there is no candidate the gate is not read; what stands there must only be finite.
        return (logP, tokens, exists, shares, where(exists.any(1), gate, zeros_like(gate)));
    }

    /// <summary>φ: what tells how far the copy can be trusted.</summary>
    /// <returns>[P, 39].</returns>
    private static Tensor Features(
        Tensor logP, Tensor tokens, Tensor exists, Tensor runs, Tensor equal, Tensor longest, Tensor candidateLogP, Tensor scores, Tensor shares, Tensor all)
    {
        using IDisposable noGradients = no_grad();
        using DisposeScope scope = NewDisposeScope();
        using Scalar least = 1e-4.ToScalar(), low = (-20.0).ToScalar(), high = 40.0.ToScalar();
        Tensor best = scores.argmax(1, keepdim: true); // [P, 1]
        Tensor bestToken = tokens.gather(1, best), same = tokens.eq(bestToken).logical_and(exists);
        Tensor bestRun = runs.gather(1, best).squeeze(1), bestEqual = equal.gather(1, best).squeeze(1).to_type(ScalarType.Float32);
        Tensor share = shares.mul(same).sum(1), bestLogP = candidateLogP.gather(1, best).squeeze(1);
        Tensor probabilities = logP.exp(), candidateP = candidateLogP.exp();
        Tensor atLongest = runs.eq(longest.unsqueeze(1)).logical_and(exists).sum(1).to_type(ScalarType.Float32);
        Tensor entropy = probabilities.mul(logP.clamp_min(low)).sum(1).neg();
        (Tensor largest, Tensor likely) = logP.max(1);
        Tensor evidence = runs.mul(same).sum(1).to_type(ScalarType.Float32);
        Tensor[] numbers =
        [
            bestEqual.Over(8).Plus(-1.0),
            share.Times(2).Plus(-1.0),
            share.add(least, KeptScalars.One).log().Over(3),
            bestLogP.Over(4).Plus(1.0),
            bestLogP.exp().Times(2).Plus(-1.0),
            atLongest.log1p().Over(3),
            shares.mul(candidateP).mul(exists).sum(1).Times(4).Plus(-1.0),
            shares.mul(shares).sum(1).Times(2).Plus(-1.0),
            all.clamp(low, high).Over(5),
            entropy.Over(3).Plus(-1.0),
            largest.exp().Times(2).Plus(-1.0),
            likely.eq(bestToken.squeeze(1)).to_type(ScalarType.Float32),
            evidence.log1p().Over(3),
        ];
        return cat(
            [
                nn.functional.one_hot(bestRun, Runs).to_type(ScalarType.Float32), nn.functional.one_hot(longest, Runs).to_type(ScalarType.Float32),
                stack(numbers, 1)
            ],
            1)
            .MoveToOuterDisposeScope();
    }

    private static Tensor At(Tensor table, Tensor places) => table.index_select(0, places.reshape(-1)).view(places.shape);
}
