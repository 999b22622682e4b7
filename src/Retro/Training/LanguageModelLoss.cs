using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>The loss of a language model.</summary>
public static class LanguageModelLoss
{
    private const long Ignored = -100;

    /// <summary>Mean cross entropy, in nats, of each token given those before it.</summary>
    /// <param name="logits">[B, T, V]; row p predicts token p + 1.</param>
    /// <param name="tokens">Token ids, int64 [B, T].</param>
    /// <param name="mask">Which tokens count as targets, bool [B, T]; null: all. The first token of a row never is one.</param>
    /// <returns>A scalar, in float32 where the logits are narrower; not a number where no token counts.</returns>
    public static Tensor Mean(Tensor logits, Tensor tokens, Tensor? mask = null)
    {
        ArgumentNullException.ThrowIfNull(logits);
        using DisposeScope scope = NewDisposeScope();
        Tensor targets = Targets(tokens, mask);
        // The last row of the logits gets a target that is ignored: to cut it off would copy all others.
        return nn.functional.cross_entropy(Precision.AtLeastFloat32(logits.view(-1, logits.shape[2])), targets, ignore_index: Ignored).MoveToOuterDisposeScope();
    }

    private static Tensor Targets(Tensor tokens, Tensor? mask)
    {
        Tensor counted = mask is null ? tokens : tokens.FilledWhere(mask.logical_not(), Ignored);
        Tensor none = KeptScalars.Filled([tokens.shape[0], 1], Ignored, ScalarType.Int64, tokens.device);
        return cat([counted.narrow(1, 1, tokens.shape[1] - 1), none], 1).view(-1);
    }
}
