using Retro.Modeling;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>
/// A batch of a step, with what the host has to know of it. That is found of all batches before the first is computed, so that an accelerator is waited for
/// then and at the step's end alone.
/// </summary>
/// <param name="Tokens">[B, T] of int64.</param>
/// <param name="Neighbors">What was retrieved; null: nothing.</param>
/// <param name="Targets">What is to be predicted.</param>
/// <param name="Rows">The rows without padding; null: there is none.</param>
internal sealed record StepBatch(Tensor Tokens, PassNeighbors? Neighbors, BatchTargets Targets, PackedRows? Rows)
{
    /// <summary>Checks a batch and looks at it; what is found is the current dispose scope's.</summary>
    /// <param name="model">Reads it.</param>
    /// <param name="batch">The batch.</param>
    /// <param name="closedBook">Whether neighbors are left out.</param>
    /// <exception cref="TrainingException">What was retrieved does not fit the model.</exception>
    public static StepBatch Of(RetroModel model, TrainingBatch batch, bool closedBook = false)
    {
        RequireFit(model, batch.Neighbors is null ? null : batch.ChunkLength, batch.Neighbors?.shape[^1]);
        (Tensor? neighbors, Tensor? valid) = closedBook ? (null, null) : (batch.Neighbors, batch.Valid);
        model.Check(batch.Tokens, neighbors, valid);
        return new(batch.Tokens, PassNeighbors.Of(neighbors, valid), BatchTargets.Of(batch), PackedRows.Of(batch.Padding));
    }

    /// <summary>Refuses what was retrieved for chunks of another length than the model's, of another length, or for a model that reads nothing.</summary>
    /// <param name="model">Reads it.</param>
    /// <param name="chunk">M of the chunks; null: whoever retrieved answers for it.</param>
    /// <param name="length">R of what was retrieved; null: nothing was.</param>
    /// <exception cref="TrainingException">It does not fit.</exception>
    public static void RequireFit(RetroModel model, int? chunk, long? length)
    {
        if (length is null)
        {
            return;
        }

        if (model.Config.Retrieval is not { } own)
        {
            throw new TrainingException("The batch holds neighbors, and the model does not retrieve; make the data without them.");
        }

        if (chunk is not null && chunk != own.ChunkLength)
        {
            throw new TrainingException(
                $"The batch holds what was retrieved for chunks of {chunk} tokens, the model's have {own.ChunkLength}; train on a database with chunks of the "
                    + "model's length.");
        }

        if (length != own.RetrievedLength)
        {
            throw new TrainingException(
                $"The batch holds neighbors of {length} tokens, the model reads {own.RetrievedLength}; make the data with that RetrievedLength.");
        }
    }
}
