namespace Retro.Generation;

/// <summary>A token of a text that was scored (<see cref="RetroGenerator.ScoreAsync"/>).</summary>
/// <param name="Token">Its id.</param>
/// <param name="Text">
/// Its text: whole characters only, so that it is empty where a token did not complete one. The texts of all tokens, one after the other, are the text.
/// </param>
/// <param name="LogProbability">Its log-probability in nats, as the model has it; null where it begins the text, which nothing predicts.</param>
/// <param name="Alternatives">The most probable tokens in its place, the most probable first (<see cref="GenerationOptions.Alternatives"/>).</param>
public sealed record ScoredToken(int Token, string Text, double? LogProbability, IReadOnlyList<TokenAlternative> Alternatives);
