using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Generation;

/// <summary>A model that writes what it is told to, since its next token is decided by the last one alone.</summary>
internal static class ChainModel
{
    /// <summary>Makes a model write some tokens, each of them once, behind any other one, and then end.</summary>
    /// <param name="model">The model, whose embeddings are not tied; whatever it was, it reads nothing any more.</param>
    /// <param name="end">What ends its texts.</param>
    /// <param name="tokens">The tokens.</param>
    public static void Write(RetroModel model, int end, params int[] tokens)
    {
        using IDisposable none = no_grad();
        using DisposeScope scope = NewDisposeScope();
        Dictionary<string, Parameter> weights = model.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter);
        foreach ((string name, Parameter parameter) in weights)
        {
            parameter.fill_(name.Contains("norm", StringComparison.Ordinal) ? 1 : 0);
        }

        // One number for what comes next, which the embedding says and the head reads.
        for (int state = 0; state <= tokens.Length; state++)
        {
            Tensor before = state == 0 ? weights["embedding.weight"] : weights["embedding.weight"][tokens[state - 1]].fill_(0);
            before.select(-1, state).fill_(1);
            weights["head.weight"][state == tokens.Length ? end : tokens[state], state] = 1;
        }
    }
}
