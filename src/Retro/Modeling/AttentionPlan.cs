using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// What all attention layers of one kind share in one forward pass: mask and positions, made once from the shapes.
/// Its tensors belong to the dispose scope in which the plan was made; layers take it as an argument and do not change it.
/// </summary>
public sealed class AttentionPlan
{
    // Masked logits get this much added. Finite, so that a query without any key left gives finite numbers, which are then multiplied by zero; far beyond any
    // logit, so that the exponential of a masked one is exactly zero.
    private const double Masked = -1e9;

    private readonly Tensor? _mask;

    private AttentionPlan()
    {
    }

    /// <summary>
    /// Which keys may be seen: added to the logits [H, N, A, L], [1, N or 1, A or 1, L]; null: all, or all up to the query where <see cref="IsCausal"/>. In
    /// decoder self-attention with fewer heads of keys than of queries, the queries of the heads that share one stand one after another, and the mask is for
    /// these, [1, 1 or N, H/G·A, L]. That of a sliding window over whole sequences, or of queries behind keys that a cache holds, is made each time it is asked
    /// for: Retro's own attention computes without it.
    /// </summary>
    public Tensor? Mask
    {
        get => _mask ?? MaskOfBand?.Invoke();
        private init => _mask = value;
    }

    /// <summary>Whether a query sees the keys up to its own place alone, and the kernel takes care of it without a mask.</summary>
    public bool IsCausal { get; private init; }

    /// <summary>Whether a query sees the keys up to its own place alone, the last of which are those of the queries, or a window of them.</summary>
    internal bool IsBand => MaskOfBand is not null;

    /// <summary>How many keys a query sees at most, its own included, where <see cref="IsBand"/>; null: all.</summary>
    internal int? Window { get; private init; }

    private Func<Tensor>? MaskOfBand { get; init; }

    /// <summary>Turns the queries; null where positions are not rotary.</summary>
    public RotaryTable? QueryRotation { get; private init; }

    /// <summary>Turns the keys; null where positions are not rotary.</summary>
    public RotaryTable? KeyRotation { get; private init; }

    /// <summary>Sinusoids of the distances, [W, width]; Transformer-XL positions alone.</summary>
    public Tensor? Sinusoids { get; private init; }

    /// <summary>
    /// Row of the position scores for each pair of a single query and a key, [N, L], where rows of the batch differ; null: the pairs are aligned by their
    /// distance.
    /// </summary>
    public Tensor? DistanceRows { get; private init; }

    /// <summary>Queries that have a key at all, [N, A, 1] of zeros and ones; null: all have.</summary>
    public Tensor? HasKey { get; private init; }

    /// <summary>Retrieved tokens that hold something, [N, K, R, 1] of zeros and ones; null: all do. Shifted keys alone read it.</summary>
    public Tensor? ValidTokens { get; private init; }

    /// <summary>
    /// The tokens that are computed alone: what comes in and goes out, [1, V, E], in the encoder; the neighbors of which chunked cross-attention makes keys and
    /// values. Null: all.
    /// </summary>
    internal PackedTokens? Packed { get; private init; }

    /// <summary>
    /// How the queries' last tokens match those before each key, [5, N, A, L], see <see cref="RetrievalConfig.MatchBias"/>; null without it.
    /// </summary>
    public Tensor? Matches { get; private init; }

    /// <summary>Which attention it plans.</summary>
    internal PlanKind Kind { get; private init; }

    /// <summary>The tokens of each sequence, where it plans whole sequences; null: any number.</summary>
    internal long? Tokens { get; private init; }

    /// <summary>C and K of chunked cross-attention over whole sequences; null: it is of another kind, or plans a step.</summary>
    internal (long Chunks, long Neighbors)? Cross { get; private init; }

    /// <summary>The sequences that it tells apart; null: it is the same for any.</summary>
    internal long? Sequences { get; private init; }

    /// <summary>What a pass with a cache does to it; null: there is no cache.</summary>
    internal DecodingPass? Pass { get; private init; }

    /// <summary>Refuses a plan of something else: its shapes alone may fit, and another thing would be computed.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="kind">What is computed.</param>
    /// <param name="x">The states that ask, of a sequence in each row.</param>
    /// <param name="cross">C and K, in chunked cross-attention.</param>
    /// <exception cref="ArgumentException">It is one.</exception>
    internal static void Require(AttentionPlan plan, PlanKind kind, Tensor x, (long Chunks, long Neighbors)? cross = null)
    {
        ArgumentNullException.ThrowIfNull(plan);
        (long sequences, long tokens, ScalarType type) = (x.size(0), x.size(1), x.dtype);
        if (plan.Kind == kind && (plan.Tokens ?? tokens) == tokens && plan.Cross == cross && (plan.Sequences ?? sequences) == sequences && plan.Fits(type))
        {
            return;
        }

        string made = plan.Kind == kind ? Said(plan.Tokens, plan.Cross, plan.Sequences, plan.Type)
            : plan.Kind == PlanKind.Other ? "another kind"
            : $"{nameof(AttentionPlan)}.{plan.Kind}";
        throw new ArgumentException(
            $"Expected a plan of {Said(tokens, cross, sequences, type)}, as the states are, got one of {made}; make it by {nameof(AttentionPlan)}.{kind}.",
            nameof(plan));

        static string Said(long? tokens, (long Chunks, long Neighbors)? cross, long? sequences, ScalarType? type) => string.Join(", ", new[]
        {
            sequences is { } b ? Amount.Of(b, "sequence") : null,
            tokens is { } t ? Amount.Of(t, "token") : null,
            cross is var (c, k) ? $"{Amount.Of(c, "chunk")}, {Amount.Of(k, "neighbor")}" : null,
            type is { } of ? $"type {of}" : null,
        }.OfType<string>());
    }

    // What is computed with states and logits has to be of their type; a rotation may be narrower, which rounds itself alone, and not wider, which would widen
    // them.
    private bool Fits(ScalarType states)
        => Computed is { } tensor ? tensor.dtype == states : QueryRotation is not { } rotation || promote_types(rotation.Type, states) == states;

    private Tensor? Computed => _mask ?? Sinusoids ?? HasKey ?? ValidTokens ?? Matches;

    private ScalarType? Type => Computed?.dtype ?? QueryRotation?.Type;

    /// <summary>Plans decoder self-attention over whole sequences.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="tokens">T.</param>
    /// <param name="dtype">Type of the states.</param>
    /// <param name="device">Device of the states.</param>
    /// <param name="layer">The layer that it is for, from 1. Layers differ where <see cref="RetroConfig.WindowLayers"/> or
    /// <see cref="RetroConfig.UnrotatedLayers"/> say so; else one plan is for all.</param>
    public static AttentionPlan Causal(RetroConfig config, long tokens, ScalarType dtype, Device device, int layer = 1)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layer);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(layer, config.Layers);
        return CausalPass(config, config.KindOf(layer), tokens, null, dtype, device);
    }

    /// <summary>The same for layers of a kind; with a pass, for prompts whose keys and values go to a cache.</summary>
    internal static AttentionPlan CausalPass(
        RetroConfig config, SelfAttentionKind kind, long tokens, DecodingPass? pass, ScalarType dtype, Device device)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(tokens);
        long earlier = pass?.EarlierKeys ?? 0, keys = earlier + tokens;
        RotaryTable? rotation = null;
        if (kind.Frequencies is not null)
        {
            using Tensor positions = pass is null ? KeptScalars.Range(tokens, ScalarType.Float64, device) : pass.PromptPositions(tokens, device);
            rotation = DecoderRotation(config, kind, positions, dtype);
        }

        // What a query does not see is skipped where nothing else is to be added to the logits.
        int groups = config.SelfAttentionKeyValueHeads;
        int? window = kind.Window < keys ? kind.Window : null;
        bool skips = config.Positions != PositionKind.TransformerXl && pass?.IsEven != false, isBand = skips && (window is not null || earlier > 0);
        Tensor MaskOfAll() => PromptMask(tokens, window, pass, config.Heads / groups, dtype, device);
        return new()
        {
            Kind = PlanKind.Causal,
            Tokens = tokens,
            Pass = pass,
            IsCausal = skips && !isBand,
            Window = isBand ? window : null,
            MaskOfBand = isBand ? MaskOfAll : null,
            Mask = skips ? null : MaskOfAll(),
            QueryRotation = rotation,
            KeyRotation = rotation,
            Sinusoids = config.Positions == PositionKind.TransformerXl
                ? RelativePositions.Sinusoids(keys - 1, RelativePositions.Count(tokens, keys, causal: true), config.Width, dtype, device) : null,
        };
    }

    /// <summary>Plans decoder self-attention of one new token per row, whose keys are the row's earlier tokens and itself.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="kind">Of the layers.</param>
    /// <param name="pass">Positions of the new tokens, on the device of the states, and how many keys there are with them.</param>
    /// <param name="tables">Positions that earlier steps have looked up.</param>
    /// <param name="dtype">Type of the states.</param>
    internal static AttentionPlan CausalStep(RetroConfig config, SelfAttentionKind kind, DecodingPass pass, DecodingTables tables, ScalarType dtype)
    {
        Tensor positions = pass.Positions!;
        using DisposeScope scope = NewDisposeScope();
        Tensor? mask = null, rows = null;
        RotaryTable? rotation = null;
        if (!pass.SeesEquallyMany || config.Positions == PositionKind.TransformerXl)
        {
            // A row's last key is its query's own; what stands behind it is not seen.
            Tensor last = tensor((long[])[.. pass.Counts.Select(count => count - 1L)], [pass.Counts.Count, 1], device: positions.device);
            Tensor distances = last - KeptScalars.Range(pass.KeyCount, ScalarType.Int64, positions.device); // [B, L]
            mask = pass.SeesEquallyMany ? null : Additive(distances.Below(0), dtype).view(1, -1, 1, pass.KeyCount).MoveToOuterDisposeScope();
            rows = config.Positions == PositionKind.TransformerXl ? distances.clamp_min(KeptScalars.Zero).MoveToOuterDisposeScope() : null;
        }

        if (kind.Frequencies is not null)
        {
            rotation = pass.Equal ? tables.Causal(pass.Lengths[0] - 1, kind, dtype, positions.device)
                : DecoderRotation(config, kind, positions.unsqueeze(-1), dtype);
            rotation.MoveToOuterDisposeScope();
        }

        return new() { Kind = PlanKind.Causal, Pass = pass, Mask = mask, QueryRotation = rotation, KeyRotation = rotation, DistanceRows = rows };
    }

    /// <summary>Plans attention to keys without positions.</summary>
    /// <param name="valid">Which keys of each block of queries hold something, [N, L] of bool.</param>
    /// <param name="dtype">Type of the states.</param>
    internal static AttentionPlan Over(Tensor valid, ScalarType dtype) => WithMask(Hidden(valid.view(1, valid.shape[0], 1, valid.shape[1]), dtype));

    /// <summary>The same of a mask that is there already.</summary>
    internal static AttentionPlan WithMask(Tensor mask) => new() { Mask = mask };

    /// <summary>Plans the encoder's self-attention.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="valid">Which retrieved tokens hold something, [N, R] of bool; null: all.</param>
    /// <param name="dtype">Type of the states.</param>
    /// <param name="device">Device of the states.</param>
    /// <exception cref="RetroOptionsException">The configuration has no <see cref="RetroConfig.Retrieval"/>.</exception>
    /// <exception cref="ShapeException"><paramref name="valid"/> has another shape.</exception>
    /// <exception cref="ArgumentException"><paramref name="valid"/> has another type.</exception>
    public static AttentionPlan Encoder(RetroConfig config, Tensor? valid, ScalarType dtype, Device device)
    {
        ArgumentNullException.ThrowIfNull(config);
        if (valid is not null)
        {
            Guard.Shape(valid, "[N, R]", [null, config.RequireRetrieval().RetrievedLength]);
            Guard.Type(valid, nameof(valid), ScalarType.Bool);
        }

        return EncoderPass(config, valid, null, dtype, device);
    }

    /// <summary>The same for states of some tokens alone.</summary>
    internal static AttentionPlan EncoderPass(RetroConfig config, Tensor? valid, PackedTokens? packed, ScalarType dtype, Device device)
    {
        ArgumentNullException.ThrowIfNull(config);
        RetrievalConfig retrieval = config.RequireRetrieval();
        int length = retrieval.RetrievedLength;
        RotaryTable? rotation = null;
        if (config.EffectiveRetrievalPositions == PositionKind.Rotary)
        {
            using Tensor positions = KeptScalars.Range(length, ScalarType.Float64, device);
            rotation = RetrievalRotation(config, positions, retrieval.Encoder.HeadSize, dtype);
        }

        return new()
        {
            Kind = PlanKind.Encoder,
            Tokens = packed is null ? length : null,
            Sequences = packed is null ? valid?.shape[0] : null,
            Packed = packed,
            Mask = valid is null ? null : Hidden(valid.reshape(1, -1, 1, length), dtype),
            QueryRotation = rotation,
            KeyRotation = rotation,
            Sinusoids = config.EffectiveRetrievalPositions == PositionKind.TransformerXl
                ? RelativePositions.Sinusoids(
                    length - 1, RelativePositions.Count(length, length, causal: false), retrieval.Encoder.Width, dtype, device) : null,
        };
    }

    /// <summary>Plans the encoder's cross-attention to the states of the query chunk.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="neighbors">K: neighbors of a chunk in this pass.</param>
    /// <param name="dtype">Type of the states.</param>
    /// <param name="device">Device of the states.</param>
    /// <param name="packed">The tokens that there are states of; null: all.</param>
    internal static AttentionPlan EncoderCross(RetroConfig config, long neighbors, ScalarType dtype, Device device, PackedTokens? packed = null)
    {
        ArgumentNullException.ThrowIfNull(config);
        RetrievalConfig retrieval = config.RequireRetrieval();
        int length = retrieval.RetrievedLength;
        RotaryTable? queries = null, keys = null;
        if (config.EffectiveRetrievalPositions == PositionKind.Rotary)
        {
            using Tensor retrieved = KeptScalars.Range(length, ScalarType.Float64, device);
            using Tensor chunk = KeptScalars.Range(retrieval.ChunkLength, ScalarType.Float64, device);
            queries = RetrievalRotation(config, retrieved, retrieval.Encoder.HeadSize, dtype).Repeat(neighbors);
            keys = RetrievalRotation(config, chunk, retrieval.Encoder.HeadSize, dtype);
        }

        return new()
        {
            Packed = packed,
            QueryRotation = queries,
            KeyRotation = keys,
            Sinusoids = config.EffectiveRetrievalPositions == PositionKind.TransformerXl
                ? RelativePositions.Sinusoids(
                    length - 1,
                    RelativePositions.Count(length, retrieval.ChunkLength, causal: false),
                    retrieval.Encoder.Width,
                    dtype,
                    device) : null,
        };
    }

    /// <summary>Plans chunked cross-attention over whole sequences.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="tokens">T.</param>
    /// <param name="chunks">C, at most T/M.</param>
    /// <param name="neighbors">K.</param>
    /// <param name="valid">Which retrieved tokens hold something, [B, C, K, R] of bool; null: all.</param>
    /// <param name="dtype">Type of the states.</param>
    /// <param name="device">Device of the states.</param>
    /// <param name="text">The sequences, [B, T] of int64; read, and required, where the configuration has a <see cref="RetrievalConfig.MatchBias"/>.</param>
    /// <param name="retrieved">The neighbors, [B, C, K, R] of int64; likewise.</param>
    /// <exception cref="RetroOptionsException">The configuration has no <see cref="RetroConfig.Retrieval"/>.</exception>
    /// <exception cref="ShapeException"><paramref name="valid"/>, or <paramref name="text"/> or <paramref name="retrieved"/> where they are read, has another
    /// shape.</exception>
    /// <exception cref="ArgumentException">One of these has another type or is missing where it is required; or a number is out of range.</exception>
    public static AttentionPlan ChunkedCross(
        RetroConfig config,
        long tokens,
        long chunks,
        long neighbors,
        Tensor? valid,
        ScalarType dtype,
        Device device,
        Tensor? text = null,
        Tensor? retrieved = null)
    {
        ArgumentNullException.ThrowIfNull(config);
        RetrievalConfig retrieval = config.RequireRetrieval();
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(tokens);
        ArgumentOutOfRangeException.ThrowIfNegative(chunks);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(chunks, tokens / retrieval.ChunkLength); // chunks that are complete
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(neighbors);
        if (valid is not null)
        {
            Guard.Shape(valid, "[B, C, K, R]", [null, chunks, neighbors, retrieval.RetrievedLength]);
            Guard.Type(valid, nameof(valid), ScalarType.Bool);
        }

        if (retrieval.MatchBias && chunks > 0)
        {
            // Of a longer text each query would be told the token that it is to predict.
            ArgumentNullException.ThrowIfNull(text);
            ArgumentNullException.ThrowIfNull(retrieved);
            Guard.Shape(text, "[B, T]", [valid?.shape[0], tokens]);
            Guard.Type(text, nameof(text), ScalarType.Int64);
            Guard.Shape(retrieved, "[B, C, K, R]", [text.shape[0], chunks, neighbors, retrieval.RetrievedLength]);
            Guard.Type(retrieved, nameof(retrieved), ScalarType.Int64);
        }

        using Tensor? asking = PassNeighbors.AskingChunks(valid);
        return ChunkedCrossPass(config, tokens, chunks, neighbors, valid, asking, dtype, device, text, retrieved);
    }

    /// <summary>
    /// The same, with the chunks that have a neighbor; null: all. A text that is longer than the sequences begins with what stands before them.
    /// </summary>
    internal static AttentionPlan ChunkedCrossPass(
        RetroConfig config,
        long tokens,
        long chunks,
        long neighbors,
        Tensor? valid,
        Tensor? asking,
        ScalarType dtype,
        Device device,
        Tensor? text,
        Tensor? retrieved)
    {
        ArgumentNullException.ThrowIfNull(config);
        using DisposeScope scope = NewDisposeScope();
        RetrievalConfig retrieval = config.RequireRetrieval();
        long length = retrieval.RetrievedLength, chunk = retrieval.ChunkLength;
        Tensor? matches = null;
        if (retrieval.MatchBias && chunks > 0)
        {
            matches = MatchFeatures.OfChunks(text!, retrieved!, valid, chunk, dtype, text!.shape[1] - tokens).MoveToOuterDisposeScope();
        }

        Tensor? mask = null, hasKey = null, validTokens = null;
        PackedTokens? packed = null;
        if (valid is not null && chunks > 0)
        {
            long batch = valid.shape[0];
            packed = PackedTokens.Of(valid);
            packed?.Places.MoveToOuterDisposeScope();
            mask = Hidden(valid.reshape(1, batch * chunks, 1, neighbors * length), dtype).MoveToOuterDisposeScope();
            validTokens = OfShiftedKeys(config, valid, dtype)?.MoveToOuterDisposeScope();
            if (asking is not null)
            {
                Tensor any = valid.reshape(batch, chunks, neighbors * length).any(-1, keepdim: true); // [B, C, 1]
                hasKey = any.to_type(dtype).expand(batch, chunks, chunk).reshape(batch, chunks * chunk, 1)
                    .narrow(1, 0, ChunkedCrossAttention.QueryCount(tokens, chunks, chunk)).MoveToOuterDisposeScope();
            }
        }

        RotaryTable? queries = null, keys = null;
        if (config.EffectiveRetrievalPositions == PositionKind.Rotary)
        {
            queries = CrossQueryRotation(config, dtype, device);
            keys = CrossKeyRotation(config, neighbors, dtype, device)!;
            queries.MoveToOuterDisposeScope();
            keys.MoveToOuterDisposeScope();
        }

        return new()
        {
            Kind = PlanKind.ChunkedCross,
            Tokens = tokens,
            Cross = (chunks, neighbors),
            Sequences = valid?.shape[0] ?? (matches is null ? null : text!.shape[0]),
            Mask = mask,
            HasKey = hasKey,
            ValidTokens = validTokens,
            Packed = packed,
            Matches = matches,
            QueryRotation = queries,
            KeyRotation = keys,
            Sinusoids = CrossSinusoids(config, dtype, device)?.MoveToOuterDisposeScope()
        };
    }

    /// <summary>Plans chunked cross-attention of one new token per row, whose keys are its last complete chunk's neighbors.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="positions">Each row's position of the new token, [B] of int64.</param>
    /// <param name="neighbors">K of the cached keys.</param>
    /// <param name="tables">Positions that earlier steps have looked up.</param>
    /// <param name="mask">Which cached keys hold something, see <see cref="DecodingMask"/>.</param>
    /// <param name="matches">How the rows' last tokens match those before each cached key; null without <see cref="RetrievalConfig.MatchBias"/>.</param>
    /// <param name="dtype">Type of the states.</param>
    internal static AttentionPlan ChunkedCrossStep(
        RetroConfig config, Tensor positions, long neighbors, DecodingTables tables, DecodingMask mask, Tensor? matches, ScalarType dtype)
    {
        using DisposeScope scope = NewDisposeScope();
        RetrievalConfig retrieval = config.RequireRetrieval();
        long length = retrieval.RetrievedLength, chunk = retrieval.ChunkLength;
        Tensor query = positions.Plus(1).Modulo(chunk); // [B]: place in the block
        RotaryTable? rotation = null;
        Tensor? rows = null;
        if (config.EffectiveRetrievalPositions == PositionKind.Rotary)
        {
            rotation = tables.ChunkedCross(query, dtype);
            rotation.MoveToOuterDisposeScope();
        }
        else if (config.EffectiveRetrievalPositions == PositionKind.TransformerXl)
        {
            // Sinusoids fall from distance 2M − 2, so the row of distance a − b + M − 1 is M − 1 − a + b.
            rows = (KeptScalars.Range(length, ScalarType.Int64, positions.device).Plus(chunk - 1)
                - query.unsqueeze(-1)).repeat(1, neighbors).MoveToOuterDisposeScope();
        }

        return new()
        {
            Kind = PlanKind.ChunkedCross,
            Mask = mask.Additive,
            HasKey = mask.HasKey,
            Matches = matches, // in its caller's scope already
            QueryRotation = rotation,
            DistanceRows = rows,
        };
    }

    /// <summary>Plans the keys and values of encoded neighbors that a cache keeps; it belongs to the current dispose scope.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="neighbors">K.</param>
    /// <param name="valid">Which retrieved tokens hold something, [N, K, R] of bool; null: all.</param>
    /// <param name="dtype">Type of the states.</param>
    /// <param name="device">Device of the states.</param>
    internal static AttentionPlan CrossKeys(RetroConfig config, long neighbors, Tensor? valid, ScalarType dtype, Device device) => new()
    {
        KeyRotation = CrossKeyRotation(config, neighbors, dtype, device),
        ValidTokens = valid is null ? null : OfShiftedKeys(config, valid, dtype),
    };

    // [.., K, R] of bool to [N, K, R, 1] of zeros and ones.
    private static Tensor? OfShiftedKeys(RetroConfig config, Tensor valid, ScalarType dtype)
        => config.Retrieval!.ShiftedKeys ? valid.to_type(dtype).reshape(-1, valid.shape[^2], valid.shape[^1], 1) : null;

    // Null where positions are not rotary.
    private static RotaryTable? CrossKeyRotation(RetroConfig config, long neighbors, ScalarType dtype, Device device)
    {
        if (config.EffectiveRetrievalPositions != PositionKind.Rotary)
        {
            return null;
        }

        using Tensor positions = KeptScalars.Range(config.Retrieval!.RetrievedLength, ScalarType.Float64, device);
        return RetrievalRotation(config, positions, config.HeadSize, dtype).Repeat(neighbors);
    }

    /// <summary>The rotation of chunked cross-attention's queries, at every place of a block.</summary>
    internal static RotaryTable CrossQueryRotation(RetroConfig config, ScalarType dtype, Device device)
    {
        long chunk = config.Retrieval!.ChunkLength;
        using Tensor positions = KeptScalars.Range(chunk - 1, (2 * chunk) - 1, 1, ScalarType.Float64, device);
        return RetrievalRotation(config, positions, config.HeadSize, dtype);
    }

    /// <summary>Sinusoids of chunked cross-attention's distances 2M − 2 down to M − 1 − R; null where positions are not Transformer-XL's.</summary>
    internal static Tensor? CrossSinusoids(RetroConfig config, ScalarType dtype, Device device)
        => config.EffectiveRetrievalPositions != PositionKind.TransformerXl ? null
            : RelativePositions.Sinusoids(
                (2L * config.Retrieval!.ChunkLength) - 2,
                RelativePositions.Count(config.Retrieval!.ChunkLength, config.Retrieval!.RetrievedLength, causal: false),
                config.Width,
                dtype,
                device);

    /// <summary>
    /// The mask of some queries one after another, the keys before them that are given, and their own, [1, 1, queries, before + queries]: each sees the
    /// <paramref name="window"/> keys up to its own place.
    /// </summary>
    internal static Tensor BandMask(long queries, long before, long? window, ScalarType dtype, Device device)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor positions = KeptScalars.Range(-before, queries, 1, ScalarType.Int64, device);
        Tensor distances = positions.narrow(0, before, queries).unsqueeze(-1) - positions, hidden = distances.Below(0);
        return Additive(window is null ? hidden : hidden.logical_or(distances.AtLeast(window.Value)), dtype).view(1, 1, queries, -1).MoveToOuterDisposeScope();
    }

    // Queries of the heads that share a key head stand one after another, so their mask is repeated.
    private static Tensor PromptMask(long tokens, long? window, DecodingPass? pass, long repeats, ScalarType dtype, Device device)
    {
        using DisposeScope scope = NewDisposeScope();
        long earlier = pass?.EarlierKeys ?? 0;
        Tensor mask = BandMask(tokens, earlier, window, dtype, device);
        if (pass?.IsEven == false)
        {
            // Of a row that has fewer keys before its own, others stand in their place.
            Tensor first = tensor((long[])[.. pass.Earlier.Select(own => earlier - own)], [pass.Earlier.Count, 1], device: device);
            Tensor valid = KeptScalars.Range(earlier + tokens, ScalarType.Int64, device).ge(first); // [B, L]
            mask = mask.Plus(Hidden(valid.view(1, -1, 1, earlier + tokens), dtype));
        }

        return (repeats == 1 ? mask : mask.repeat(1, 1, repeats, 1)).MoveToOuterDisposeScope();
    }

    /// <summary>What is added to the logits of keys, zero where they are valid.</summary>
    internal static Tensor Hidden(Tensor valid, ScalarType dtype)
    {
        using Tensor hidden = valid.logical_not();
        return Additive(hidden, dtype);
    }

    /// <summary>Hands the tensors to the scope around the current one.</summary>
    internal void MoveToOuterDisposeScope()
    {
        _mask?.MoveToOuterDisposeScope();
        Sinusoids?.MoveToOuterDisposeScope();
        DistanceRows?.MoveToOuterDisposeScope();
        HasKey?.MoveToOuterDisposeScope();
        ValidTokens?.MoveToOuterDisposeScope();
        Matches?.MoveToOuterDisposeScope();
        Packed?.Places.MoveToOuterDisposeScope();
        QueryRotation?.MoveToOuterDisposeScope();
        if (KeyRotation != QueryRotation)
        {
            KeyRotation?.MoveToOuterDisposeScope();
        }
    }

    private static Tensor Additive(Tensor hidden, ScalarType dtype)
    {
        using Tensor ones = hidden.to_type(dtype);
        return ones.Times(Masked);
    }

    /// <summary>The rotation of decoder self-attention of a kind that rotates, at some positions, as float64 or int64.</summary>
    internal static RotaryTable DecoderRotation(RetroConfig config, SelfAttentionKind kind, Tensor positions, ScalarType dtype)
    {
        (double rotaryBase, RotaryScaling? scaling) = kind.Frequencies!.Value;
        return RotaryTable.Create(positions, RotaryTable.Frequencies(config.RotarySize, rotaryBase, scaling), dtype, scaling?.AttentionFactor ?? 1);
    }

    private static RotaryTable RetrievalRotation(RetroConfig config, Tensor positions, int headSize, ScalarType dtype)
        => RotaryTable.Create(positions, RotaryTable.Frequencies(headSize, config.RotaryBase), dtype);
}
