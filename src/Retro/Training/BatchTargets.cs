using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>What a batch has to predict.</summary>
/// <param name="Places">Places in the B·T tokens after which a target stands, [N] of int64.</param>
/// <param name="Tokens">The targets, [N] of int64.</param>
internal sealed record BatchTargets(Tensor Places, Tensor Tokens)
{
    /// <summary>How many there are.</summary>
    public long Count => Places.shape[0];

    /// <summary>Finds them, in the current dispose scope. An accelerator is waited for.</summary>
    /// <exception cref="ShapeException">Mask or padding is of another shape than the tokens.</exception>
    public static BatchTargets Of(TrainingBatch batch)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor targets = LogLikelihood.Targets(batch.Tokens, batch.LossMask), counts = targets.ne(KeptScalars.NoTarget); // [B, T]
        if (batch.Padding is { } padding)
        {
            Guard.Shape(padding, "the shape of tokens", [batch.Tokens.shape[0], batch.Tokens.shape[1]], nameof(batch.Padding));
            // Neither is padding predicted, nor anything from it.
            counts = counts.logical_and(padding.logical_or(padding.roll(-1, 1)).logical_not());
        }

        Tensor places = counts.view(-1).nonzero().view(-1);
        targets = targets.view(-1);
        return new(places.MoveToOuterDisposeScope(), targets.index_select(0, places).MoveToOuterDisposeScope());
    }
}
