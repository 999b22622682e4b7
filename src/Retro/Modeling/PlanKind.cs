namespace Retro.Modeling;

/// <summary>Which attention an <see cref="AttentionPlan"/> plans; but for the first, named as what makes such a plan.</summary>
internal enum PlanKind
{
    /// <summary>Any that nobody gives a plan to from outside.</summary>
    Other,

    /// <summary>The decoder's self-attention.</summary>
    Causal,

    /// <summary>The encoder's self-attention.</summary>
    Encoder,

    /// <summary>Chunked cross-attention.</summary>
    ChunkedCross,
}
