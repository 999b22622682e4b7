using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// Chunked cross-attention (section 2.4 of the paper; specification 2.1), norm included and residual excluded. Position p with p ≥ M − 1 asks the encoded
/// neighbors of chunk e = floor((p + 1)/M) − 1, all K·R of their tokens in one softmax; positions before, and those whose chunk has no valid neighbor, get
/// exactly zero. A custom branch derives from it, and registers what parameters it adds; see <see cref="LayerFactory"/>. What changes its output
/// overrides <see cref="forward"/> and <see cref="Step"/> alike; what changes the neighbors before they are read overrides <see cref="KeysAndValues"/> alone,
/// from which both read: a step has no other way to them.
/// </summary>
public class ChunkedCrossAttention : nn.Module<Tensor, Tensor, AttentionPlan, Tensor>
{
    // The logit of looking away, as high as that of a run of one token.
    private const double InitialAway = 2;

    private readonly AttentionParts _parts;
    private readonly RetroConfig _config;
    private readonly RetrievalConfig _retrieval;

    /// <summary>Makes a branch with fresh weights.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="dtype">Type of the parameters.</param>
    /// <param name="device">Device of the parameters; null: the CPU.</param>
    /// <exception cref="RetroOptionsException">The configuration is not valid.</exception>
    public ChunkedCrossAttention(RetroConfig config, ScalarType dtype = ScalarType.Float32, Device? device = null)
        : base(TorchLibrary.Require(nameof(ChunkedCrossAttention)))
    {
        ArgumentNullException.ThrowIfNull(config);
        _config = config.Validate();
        _retrieval = config.RequireRetrieval();
        bool relative = config.EffectiveRetrievalPositions == PositionKind.TransformerXl;
        double scale = _retrieval.ZeroOutput ? 0 : config.InitialOutputScale;
        _parts = new(
            this,
            config,
            new(
                config.Width,
                _retrieval.Encoder.Width,
                config.Heads,
                config.Heads,
                config.HeadSize,
                relative,
                _retrieval.ShiftedKeys,
                scale,
                _retrieval.CrossAttentionRank),
            dtype,
            device);
        if (_retrieval.MatchBias)
        {
            register_parameter("match", Initialization.Rows(config.Heads, MatchFeatures.InitialWeights, dtype, device));
            register_parameter("away", Initialization.Constant(InitialAway, [config.Heads], dtype, device));
        }

        if (_retrieval.Gate)
        {
            register_parameter("gate", Initialization.Constant(0, [1], dtype, device));
        }
    }

    /// <summary>Attends over whole sequences.</summary>
    /// <param name="x">[B, T, D], the states after self-attention.</param>
    /// <param name="encoded">[B, C, K, R, E], the encoded neighbors of the first C chunks, C at most T/M; positions of later chunks get zero.</param>
    /// <param name="plan">From <see cref="AttentionPlan.ChunkedCross"/>.</param>
    /// <returns>[B, T, D].</returns>
    /// <exception cref="ShapeException">An argument has another shape.</exception>
    /// <exception cref="ArgumentException">The plan is of another kind, or was made for other sizes or another type, or without what the configuration
    /// wants.</exception>
    public override Tensor forward(Tensor x, Tensor encoded, AttentionPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        Guard.Shape(x, "[B, T, D]", [null, null, _parts.Width]);
        Guard.Shape(encoded, "[B, C, K, R, E]", [x.shape[0], null, null, _retrieval.RetrievedLength, _parts.KeyWidth]);
        long batch = x.shape[0], tokens = x.shape[1], chunks = encoded.shape[1], neighbors = encoded.shape[2], chunk = _retrieval.ChunkLength;
        if (chunks * chunk > tokens || neighbors == 0)
        {
            throw new ShapeException(
                nameof(encoded), $"[B, C, K, R, E] with C at most {tokens / chunk}, the complete chunks of {tokens} tokens, and K at least 1", encoded.shape);
        }

        AttentionPlan.Require(plan, PlanKind.ChunkedCross, x, (chunks, neighbors));
        if (_retrieval.MatchBias && chunks > 0 && plan.Matches is null)
        {
            throw new ArgumentException(
                $"The layer has a {nameof(RetrievalConfig.MatchBias)}, and the plan does not tell where the neighbors run as the text does; make it by "
                    + $"{nameof(AttentionPlan)}.{nameof(AttentionPlan.ChunkedCross)} of the layer's own configuration.",
                nameof(plan));
        }

        if (chunks == 0)
        {
            return zeros_like(x);
        }

        using DisposeScope scope = NewDisposeScope();
        long first = chunk - 1, count = QueryCount(tokens, chunks, chunk), padding = (chunks * chunk) - count;
        Tensor asking = _parts.ProjectQueries(_parts.Norm(x.narrow(1, first, count))); // [B, count, H·S]
        if (padding > 0)
        {
            asking = nn.functional.pad(asking, [0L, 0, 0, padding]);
        }

        Tensor q = _parts.Split(asking.view(batch * chunks, chunk, -1), _parts.Heads); // [H, B·C, M, S]
        (Tensor k, Tensor v) = CheckedKeysAndValues(encoded.reshape(batch * chunks, neighbors, _retrieval.RetrievedLength, _parts.KeyWidth), plan);
        Tensor attended = Attend(q, k, v, plan, null, neighbors).view(batch, chunks * chunk, -1);
        Tensor output = Gated(_parts.Output(padding > 0 ? attended.narrow(1, 0, count) : attended)); // [B, count, D]
        if (plan.HasKey is not null)
        {
            output = output * plan.HasKey;
        }

        return nn.functional.pad(output, [0L, 0, first, tokens - first - count]).MoveToOuterDisposeScope();
    }

    /// <summary>How many positions ask: from M − 1 to the end, or to the end of the last given chunk's span.</summary>
    internal static long QueryCount(long tokens, long chunks, long chunkLength) => Math.Min(tokens - (chunkLength - 1), chunks * chunkLength);

    /// <summary>
    /// Makes keys and values of neighbors: in <see cref="forward"/> of every chunk's, and for <see cref="Step"/> once per chunk, when it is complete. A branch
    /// that reads other neighbors than it is given, such as adapted ones, changes <paramref name="encoded"/> or the result here.
    /// </summary>
    /// <param name="encoded">[N, K, R, E], the encoded neighbors of N chunks of any rows.</param>
    /// <param name="plan">Its <see cref="AttentionPlan.KeyRotation"/> and <see cref="AttentionPlan.ValidTokens"/> are theirs; for a step, it has no
    /// more.</param>
    /// <returns>Each [H, N, K·R, S], keys rotated where positions are rotary. Of tokens that hold nothing any finite numbers: nobody reads them.</returns>
    public virtual (Tensor Keys, Tensor Values) KeysAndValues(Tensor encoded, AttentionPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        (Tensor keys, Tensor values) = _parts.OfNeighbors(encoded, plan.ValidTokens, plan.Packed);
        return (plan.KeyRotation is null ? keys : plan.KeyRotation.Rotate(keys), values);
    }

    /// <summary>The same, of the shape that everything after it counts on.</summary>
    /// <exception cref="ShapeException">A custom branch gives another.</exception>
    internal (Tensor Keys, Tensor Values) CheckedKeysAndValues(Tensor encoded, AttentionPlan plan)
    {
        (Tensor keys, Tensor values) = KeysAndValues(encoded, plan);
        long?[] sizes = [_parts.Heads, encoded.shape[0], encoded.shape[1] * encoded.shape[2], _parts.HeadSize];
        Guard.Shape(keys, "[H, N, K·R, S]", sizes);
        Guard.Shape(values, "[H, N, K·R, S]", sizes);
        return (keys, values);
    }

    /// <summary>Attends with one new token per row, to the keys and values of each row's last complete chunk.</summary>
    /// <param name="x">[B, 1, D], the states after self-attention.</param>
    /// <param name="cache">Keys and values of the rows.</param>
    /// <param name="plan">What the step's positions and missing neighbors make of it.</param>
    /// <returns>[B, 1, D]: what <see cref="forward"/> gives at that position.</returns>
    public virtual Tensor Step(Tensor x, CrossAttentionCache cache, AttentionPlan plan)
    {
        ArgumentNullException.ThrowIfNull(cache);
        ArgumentNullException.ThrowIfNull(plan);
        using DisposeScope scope = NewDisposeScope();
        using FewRows? few = _parts.Few(x, ofKeys: false);
        Tensor output = Gated(few is null ? _parts.Output(AttendStep(x, cache, plan)) : OfFewRows(x, cache, plan, few));
        return (plan.HasKey is null ? output : output * plan.HasKey).MoveToOuterDisposeScope();
    }

    private Tensor AttendStep(Tensor x, CrossAttentionCache cache, AttentionPlan plan) => Attend(
        _parts.Split(_parts.ProjectQueries(_parts.Norm(x)), _parts.Heads), // [H, B, 1, S]
        cache.Keys!,
        cache.Values!,
        plan,
        cache.Distances(_parts, x.dtype, x.device),
        cache.Keys!.shape[2] / _retrieval.RetrievedLength);

    // The same, without tensors in between.
    private Tensor OfFewRows(Tensor x, CrossAttentionCache cache, AttentionPlan plan, FewRows few)
    {
        Memory<float> queries = _parts.Queries(x, few);
        plan.QueryRotation?.Rotate(few, _parts.HeadSize, queries);
        Tensor? distances = plan.DistanceRows is null ? null : cache.Distances(_parts, x.dtype, x.device);
        ReadOnlyMemory<float> bias = _parts.PositionTermOfRows(queries, plan, distances, few), away = default;
        ReadOnlyMemory<float> mask = plan.Mask is null ? default : few.Read(plan.Mask);
        if (_retrieval.MatchBias)
        {
            bias = MatchFeatures.Weighted(few, get_parameter("match")!, plan.Matches!, bias);
            away = few.Read(get_parameter("away")!);
        }

        return _parts.Output(few.Attend(queries, cache.Keys!, cache.Values!, null, new(mask, bias, away)), few);
    }

    internal CrossAttentionCache NewCache() => new(_config);

    // Parameters are asked for by their names: casting a model makes new ones.
    private Tensor Gated(Tensor output) => _retrieval.Gate ? output * get_parameter("gate")!.tanh() : output;

    private Tensor Attend(Tensor q, Tensor k, Tensor v, AttentionPlan plan, Tensor? distances, long neighbors)
    {
        Tensor rotated = plan.QueryRotation is null ? q : plan.QueryRotation.Rotate(q);
        long queries = q.shape[2], length = _retrieval.RetrievedLength;
        Tensor? positions;
        long[]? shape;
        if (plan.DistanceRows is not null)
        {
            positions = _parts.PositionTerm(rotated, plan, distances, queries, neighbors * length);
            shape = positions?.shape;
        }
        else
        {
            // Every neighbor of a chunk gets the same position term.
            positions = _parts.PositionTerm(rotated, plan, null, queries, length)?.unsqueeze(2); // [H·B·C, M, 1, R]
            shape = positions is null ? null : [positions.shape[0], queries, neighbors, length];
        }

        if (!_retrieval.MatchBias)
        {
            return _parts.Attend(rotated, k, v, plan.Mask, positions, shape);
        }

        // One more key, of zeros, whose logit is the query's wish to look away.
        long heads = q.shape[0], rows = q.shape[1], keys = k.shape[2];
        Tensor bias = get_parameter("match")!.mm(plan.Matches!.view(MatchFeatures.Count, -1)).view(heads, rows, queries, keys);
        bias = positions is null ? bias : bias.Plus(positions.expand(shape!).reshape(heads, rows, queries, keys));
        bias = cat([bias, get_parameter("away")!.view(heads, 1, 1, 1).expand(heads, rows, queries, 1)], -1);
        Tensor? mask = plan.Mask is null ? null : nn.functional.pad(plan.Mask, [0L, 1]);
        return _parts.Attend(rotated, nn.functional.pad(k, [0L, 0, 0, 1]), nn.functional.pad(v, [0L, 0, 0, 1]), mask, bias, bias.shape);
    }

    /// <summary>
    /// Registers the modules, parameters and tensors that derived types keep in fields, by the fields' names. It is called where the branch becomes a part of a
    /// model, and need not be before; Retro's own parts are registered by their names in the constructor.
    /// </summary>
    protected override void RegisterComponents() => DerivedParts.Register(this, typeof(ChunkedCrossAttention));
}
