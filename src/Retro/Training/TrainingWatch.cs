namespace Retro.Training;

/// <summary>What a model makes of text that it is not trained on, while it is trained: mean cross entropy in nats per token.</summary>
/// <param name="Off">With retrieval off.</param>
/// <param name="On">With retrieval on; null: the model does not retrieve.</param>
public readonly record struct TrainingWatch(double Off, double? On);
