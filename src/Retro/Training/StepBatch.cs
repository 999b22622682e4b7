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
    /// <exception cref="TrainingException">What was retrieved is for chunks of another length than the model's.</exception>
    public static StepBatch Of(RetroModel model, TrainingBatch batch, bool closedBook = false)
    {
        RequireChunks(model, batch.Neighbors is null ? null : batch.ChunkLength);
        (Tensor? neighbors, Tensor? valid) = closedBook ? (null, null) : (batch.Neighbors, batch.Valid);
        model.Check(batch.Tokens, neighbors, valid);
        return new(batch.Tokens, PassNeighbors.Of(neighbors, valid), BatchTargets.Of(batch), PackedRows.Of(batch.Padding));
    }

    /// <summary>Refuses what was retrieved for chunks of another length than the model's.</summary>
    /// <param name="model">Reads it.</param>
    /// <param name="given">The length; null: nothing was retrieved, or whoever did answers for it.</param>
    /// <exception cref="TrainingException">It is another.</exception>
    public static void RequireChunks(RetroModel model, int? given)
    {
        if (given is not null && model.Config.Retrieval is { ChunkLength: int chunk } && given != chunk)
        {
            throw new TrainingException(
                $"The batch holds what was retrieved for chunks of {given} tokens, the model's have {chunk}; train on a database with chunks of the model's "
                    + "length.");
        }
    }
}
