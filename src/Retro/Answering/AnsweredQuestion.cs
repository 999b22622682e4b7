namespace Retro.Answering;

/// <summary>What a reader made of a question.</summary>
/// <param name="Question">The question.</param>
/// <param name="Answer">What it wrote; null where it cannot write.</param>
/// <param name="Bits">Bits of the usual right answer, without its end, which only what was trained to answer expects there.</param>
/// <param name="WasFound">Whether what it read of a passage holds a right answer.</param>
public sealed record AnsweredQuestion(Question Question, string? Answer, double Bits, bool WasFound);
