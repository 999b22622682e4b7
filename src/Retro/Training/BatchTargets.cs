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
    public static BatchTargets Of(TrainingBatch batch)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor targets = LogLikelihood.Targets(batch.Tokens, batch.LossMask).view(-1); // [B·T]
        Tensor places = targets.ne(KeptScalars.NoTarget).nonzero().view(-1);
        return new(places.MoveToOuterDisposeScope(), targets.index_select(0, places).MoveToOuterDisposeScope());
    }
}
