using TorchSharp;
using TorchSharp.Modules;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>Sizes of an attention branch.</summary>
/// <param name="Width">Width of the states that ask.</param>
/// <param name="KeyWidth">Width of the states that are asked.</param>
/// <param name="Heads">H.</param>
/// <param name="KeyHeads">G, heads of keys and values.</param>
/// <param name="HeadSize">S.</param>
/// <param name="IsRelative">Whether positions are Transformer-XL's.</param>
/// <param name="ShiftedKeys">Whether keys also see the token before.</param>
/// <param name="OutputScale">Deviation of a fresh output projection, as a share of 1/sqrt(fan-in).</param>
/// <param name="Rank">Width between the two factors of each projection; null for full matrices.</param>
/// <param name="OfDecoder">Whether it is the decoder's self-attention, whose norms are where the configuration says.</param>
internal sealed record AttentionShape(
    int Width,
    int KeyWidth,
    int Heads,
    int KeyHeads,
    int HeadSize,
    bool IsRelative,
    bool ShiftedKeys,
    double OutputScale,
    int? Rank = null,
    bool OfDecoder = false);

/// <summary>
/// What every attention branch is made of: norms, projections of queries, keys, values and output, and the position term of Transformer-XL.
/// The parts are registered in the branch itself, so that names are "attn.q.weight" and the like; rows of q, k, v and r are head-major.
/// </summary>
[System.Diagnostics.CodeAnalysis.SuppressMessage("Design", "CA1001", Justification = "The branch, in which the parts are registered, disposes them.")]
internal sealed class AttentionParts
{
    private readonly nn.Module _owner;
    private readonly AttentionShape _shape;
    private readonly Normalization? _norm, _outputNorm;
    private readonly nn.Module<Tensor, Tensor> _q;
    private readonly nn.Module<Tensor, Tensor> _k;
    private readonly nn.Module<Tensor, Tensor>? _shifted;
    private readonly nn.Module<Tensor, Tensor> _v;
    private readonly nn.Module<Tensor, Tensor> _o;
    private readonly Normalization? _queryNorm, _keyNorm;
    private readonly LinearLayer? _r;
    private readonly bool _biases;

    public AttentionParts(nn.Module owner, RetroConfig config, AttentionShape shape, ScalarType dtype, Device? device)
    {
        _owner = owner;
        _shape = shape;
        int inner = shape.Heads * shape.HeadSize, keyInner = shape.KeyHeads * shape.HeadSize;
        if (!shape.OfDecoder || config.NormsBefore)
        {
            owner.register_module("norm", _norm = new(config.Norm, shape.Width, config.NormEpsilon, dtype, device));
        }

        owner.register_module("q", _q = Projection.Create(shape.Width, inner, shape.Rank, config.QueryKeyValueBias, dtype, device));
        owner.register_module("k", _k = Projection.Create(shape.KeyWidth, keyInner, shape.Rank, config.QueryKeyValueBias, dtype, device));
        if (shape.ShiftedKeys)
        {
            owner.register_module("k_shifted", _shifted = Projection.Create(shape.KeyWidth, keyInner, shape.Rank, false, dtype, device));
        }

        owner.register_module("v", _v = Projection.Create(shape.KeyWidth, keyInner, shape.Rank, config.QueryKeyValueBias, dtype, device));
        owner.register_module("o", _o = Projection.Create(inner, shape.Width, shape.Rank, config.AttentionOutputBias, dtype, device, shape.OutputScale));
        if (shape.OfDecoder && config.QueryKeyNorm)
        {
            bool across = config.QueryKeyNormAcrossHeads;
            owner.register_module("q_norm", _queryNorm = new(NormKind.RmsNorm, across ? inner : shape.HeadSize, config.NormEpsilon, dtype, device));
            owner.register_module("k_norm", _keyNorm = new(NormKind.RmsNorm, across ? keyInner : shape.HeadSize, config.NormEpsilon, dtype, device));
        }

        if (shape.OfDecoder && config.NormsAfter)
        {
            owner.register_module("output_norm", _outputNorm = new(config.Norm, shape.Width, config.NormEpsilon, dtype, device));
        }

        if (shape.IsRelative)
        {
            owner.register_module("r", _r = new LinearLayer(shape.Width, inner, false, dtype, device));
            _biases = config.RelativeBiases;
            if (_biases)
            {
                owner.register_parameter("content_bias", Initialization.Constant(0, [shape.Heads, shape.HeadSize], dtype, device));
                owner.register_parameter("position_bias", Initialization.Constant(0, [shape.Heads, shape.HeadSize], dtype, device));
            }
        }
    }

    public int Width => _shape.Width;

    public int KeyWidth => _shape.KeyWidth;

    public int Heads => _shape.Heads;

    public int KeyHeads => _shape.KeyHeads;

    public int HeadSize => _shape.HeadSize;

    /// <summary>Few rows that ask, where what they become can be computed so; null where it cannot. See <see cref="FewRows"/>.</summary>
    /// <param name="x">[N, 1, D], one query each.</param>
    /// <param name="ofKeys">Whether keys and values are made of them, too.</param>
    public FewRows? Few(Tensor x, bool ofKeys) => x.dim() == 3 && x.size(1) == 1
        && IsPlain(_queryNorm, x.dtype) && IsPlain(_keyNorm, x.dtype) && IsPlain(_outputNorm, x.dtype)
        ? FewRows.Of(x, _norm, _q, ofKeys ? _k : null, ofKeys ? _v : null, _o)
        : null;

    private static bool IsPlain(Normalization? norm, ScalarType dtype) => norm?.IsPlain(dtype, norm.Width) != false;

    /// <summary>Queries [N, H·S] of few rows, normalized.</summary>
    public Memory<float> Queries(Tensor x, FewRows few) => few.Product(few.Normalized(x, _norm), (LinearLayer)_q);

    /// <summary>Queries [N, H·S], keys and values [N, G·S] of few rows, normalized, and the heads of queries and keys where they are.</summary>
    public Memory<float>[] States(Tensor x, FewRows few)
    {
        Memory<float>[] states = few.Products(few.Normalized(x, _norm), ((LinearLayer)_q).Weights, ((LinearLayer)_k).Weights, ((LinearLayer)_v).Weights);
        few.Normalize(states[0], _queryNorm);
        few.Normalize(states[1], _keyNorm);
        return states;
    }

    /// <summary>
    /// The position term of few rows' queries, [H, N, L]; empty where positions are not Transformer-XL's. The queries become what attends to the keys'
    /// content.
    /// </summary>
    /// <param name="queries">[N, H·S].</param>
    /// <param name="plan">Names the keys' distances.</param>
    /// <param name="distances">Projected distances [H, S, W]; null where positions are not Transformer-XL's.</param>
    /// <param name="few">The rows.</param>
    public ReadOnlyMemory<float> PositionTermOfRows(Memory<float> queries, AttentionPlan plan, Tensor? distances, FewRows few)
    {
        if (distances is null)
        {
            return default;
        }

        Memory<float> asking = few.Take(queries.Length);
        queries.CopyTo(asking);
        if (_biases)
        {
            Add(asking.Span, few.Read(Bias("position_bias")).Span);
            Add(queries.Span, few.Read(Bias("content_bias")).Span);
        }

        TensorPrimitives.Multiply(asking.Span, (float)(1 / Math.Sqrt(_shape.HeadSize)), asking.Span);
        return few.PositionTerm(asking, distances, plan.DistanceRows!);

        static void Add(Span<float> rows, ReadOnlySpan<float> bias)
        {
            for (int row = 0; row < rows.Length; row += bias.Length)
            {
                TensorPrimitives.Add(rows.Slice(row, bias.Length), bias, rows.Slice(row, bias.Length));
            }
        }
    }

    /// <summary>[N, H·S] of few rows to [N, 1, D].</summary>
    public Tensor Output(Memory<float> attended, FewRows few)
    {
        Memory<float> output = few.Product(attended, (LinearLayer)_o);
        few.Normalize(output, _outputNorm);
        return few.ToTensor(output.Span, few.Count, 1, _shape.Width);
    }

    /// <summary>Normalizes what asks, where it is. [.., D] to [.., D], in either case a tensor of its own.</summary>
    public Tensor Norm(Tensor x) => _norm?.call(x) ?? x.alias();

    /// <summary>[N, A, D] to queries [N, A, H·S]; from packed tokens [1, V, D], those of all.</summary>
    public Tensor ProjectQueries(Tensor x, PackedTokens? packed = null) => Unpacked(_q.call(x), packed);

    /// <summary>[N, A, H·S] to queries [H, N, A, S], normalized where they are.</summary>
    public Tensor SplitQueries(Tensor projected) => Split(Normalized(projected, _queryNorm), _shape.Heads);

    /// <summary>[N, L, G·S] to keys [G, N, L, S], normalized where they are.</summary>
    public Tensor SplitKeys(Tensor projected) => Split(Normalized(projected, _keyNorm), _shape.KeyHeads);

    /// <summary>[N, L, D'] to [N, L, G·S], what keys are made of; from packed tokens [1, V, D'], those of all.</summary>
    public Tensor ProjectKeys(Tensor x, PackedTokens? packed = null) => Unpacked(_k.call(x), packed);

    /// <summary>
    /// Keys and values [G, N, K·R, S] of neighbors [N, K, R, D'], of which only the packed ones are read where there are any. With shifted keys each token sees
    /// the one before it; those of <paramref name="valid"/> zero give nothing to the one after.
    /// </summary>
    public (Tensor Keys, Tensor Values) OfNeighbors(Tensor x, Tensor? valid, PackedTokens? packed)
    {
        Tensor read = packed is null ? x : packed.Pack(x);
        Tensor keys = Unpacked(_k.call(read), packed);
        if (_shifted is not null)
        {
            Tensor before = Unpacked(_shifted.call(read), packed).view(x.shape[0], x.shape[1], x.shape[2], -1);
            if (valid is not null && packed is null)
            {
                before = before * valid;
            }

            keys = keys.view(before.shape).Plus(nn.functional.pad(before.narrow(2, 0, before.shape[2] - 1), [0L, 0, 1, 0]));
        }

        return (OfRows(keys), OfRows(Unpacked(_v.call(read), packed)));

        Tensor OfRows(Tensor projected) => Split(projected.view(x.shape[0], x.shape[1] * x.shape[2], -1), _shape.KeyHeads);
    }

    /// <summary>[N, L, D'] to values [G, N, L, S]; from packed tokens [1, V, D'], those of all.</summary>
    public Tensor Values(Tensor x, PackedTokens? packed = null) => Split(Unpacked(_v.call(x), packed), _shape.KeyHeads);

    /// <summary>[N, A, heads·S] to [heads, N, A, S], contiguous.</summary>
    public Tensor Split(Tensor x, long heads)
    {
        long rows = x.shape[0], queries = x.shape[1];
        return rows * queries == 1 ? x.view(heads, 1, 1, _shape.HeadSize) : x.view(rows, queries, heads, _shape.HeadSize).permute(2, 0, 1, 3).contiguous();
    }

    /// <summary>Projects sinusoids of distances, [W, D], to [H, S, W].</summary>
    public Tensor ProjectDistances(Tensor sinusoids)
        => _r!.call(sinusoids).view(-1, _shape.Heads, _shape.HeadSize).permute(1, 2, 0);

    /// <summary>
    /// The position term (q + v) · W_R s(distance) / sqrt(S) of queries at consecutive places.
    /// </summary>
    /// <param name="q">[H, N, A, S].</param>
    /// <param name="plan">Names the distances.</param>
    /// <param name="distances">Projected distances [H, S, W]; null: those of the plan.</param>
    /// <param name="queries">Queries of a block; A is a multiple.</param>
    /// <param name="keys">Keys of a block.</param>
    /// <returns>[H·N·A/queries, queries, keys]; null where positions are not Transformer-XL's.</returns>
    public Tensor? PositionTerm(Tensor q, AttentionPlan plan, Tensor? distances, long queries, long keys)
    {
        if (_r is null)
        {
            return null;
        }

        distances ??= ProjectDistances(plan.Sinusoids!);
        Tensor asking = (_biases ? q.Plus(Bias("position_bias")) : q).Times(1 / Math.Sqrt(_shape.HeadSize));
        Tensor scores = asking.view(_shape.Heads, -1, _shape.HeadSize).bmm(distances); // [H, N·A, W]
        long width = scores.shape[2];
        if (plan.DistanceRows is not null)
        {
            long batch = q.shape[1];
            Tensor rows = plan.DistanceRows.view(1, batch, keys).expand(_shape.Heads, batch, keys);
            return scores.gather(2, rows).view(_shape.Heads * batch, 1, keys);
        }

        return RelativePositions.Align(scores.view(-1, queries, width), keys);
    }

    /// <summary>Attends and projects. See <see cref="AttentionKernel.Attend"/>; returns [N, A, H·S] before the output projection.</summary>
    public Tensor Attend(Tensor q, Tensor k, Tensor v, AttentionPlan plan, Tensor? positions, long[]? positionShape) => plan.IsBand
        ? AttentionKernel.Attend(q, k, v, null, true, null, null, plan.Window)
        : Attend(q, k, v, plan.Mask, positions, positionShape, plan.IsCausal);

    /// <summary>The same with a mask that is not the plan's.</summary>
    public Tensor Attend(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? positions, long[]? positionShape, bool causal = false)
        => AttentionKernel.Attend(OfContent(q), k, v, mask, causal, positions, positionShape);

    /// <summary>The same with one query a row, and the keys and values of a cache's places, [G, P, S]; see <see cref="TokenAttention"/>.</summary>
    public Tensor AttendStep(Tensor q, Tensor k, Tensor v, DecodingPass pass, Tensor? positions)
        => TokenAttention.Attend(OfContent(q), k, v, null, positions, pass);

    /// <summary>[N, A, H·S] to [N, A, D], or to packed tokens [1, V, D].</summary>
    public Tensor Output(Tensor x, PackedTokens? packed = null)
    {
        Tensor output = _o.call(packed is null ? x : packed.Pack(x));
        return _outputNorm?.call(output) ?? output;
    }

    // Heads one by one, or all of a token at once, as long as the norm is.
    private static Tensor Normalized(Tensor projected, Normalization? norm)
        => norm is null ? projected : norm.call(projected.reshape(projected.shape[0], projected.shape[1], -1, norm.Width)).view(projected.shape);

    private static Tensor Unpacked(Tensor x, PackedTokens? packed) => packed is null ? x : packed.Unpack(x);

    private Tensor OfContent(Tensor q) => _biases ? q.Plus(Bias("content_bias")) : q;

    private Tensor Bias(string name) => _owner.get_parameter(name)!.view(_shape.Heads, 1, 1, _shape.HeadSize);
}
