namespace Retro.Training;

/// <summary>Where the trainer's batches come from.</summary>
/// <remarks>
/// A batch is a function of its number and of the progress alone; a training that was interrupted goes on exactly by asking for the next number.
/// </remarks>
public interface ITrainingData
{
    /// <summary>What the data are and how they are drawn. A checkpoint is continued only on data with the same identity.</summary>
    string Identity { get; }

    /// <summary>Hash of the tokenizer whose ids the batches hold, see <see cref="Modeling.RetroModel.TokenizerHash"/>; null: not known.</summary>
    string? TokenizerHash => null;

    /// <summary>Makes a batch. The trainer calls it on another thread while it computes, but never twice at the same time.</summary>
    /// <param name="index">Number of the batch, from 0.</param>
    /// <param name="progress">Share of the training that is done, from 0 to 1.</param>
    /// <returns>The batch; not one that was given before with other values in it, since that is still read while this one is made.</returns>
    TokenBatch Batch(long index, double progress);
}
