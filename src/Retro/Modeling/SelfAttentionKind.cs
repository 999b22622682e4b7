namespace Retro.Modeling;

/// <summary>What decoder layers may differ in: layers whose kind is equal share what a pass plans for their self-attention.</summary>
/// <param name="Window">How many tokens it sees at most, the token itself included; null: all before it.</param>
/// <param name="Frequencies">Base and change of the rotary frequencies; null: it does not rotate.</param>
internal sealed record SelfAttentionKind(int? Window, (double Base, RotaryScaling? Scaling)? Frequencies);
