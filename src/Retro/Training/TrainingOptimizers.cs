using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>Makes what a training moves the parameters with.</summary>
internal static class TrainingOptimizers
{
    /// <summary>
    /// Retro's own; the model is cast first where the options ask for another type, and what that rounds away stays in the optimizer's copies.
    /// </summary>
    public static RetroOptimizer Own(RetroModel model, TrainingOptions options, IGradientExchange? exchange = null)
    {
        using DisposeScope scope = NewDisposeScope();
        Dictionary<string, Tensor>? exact = null;
        if (options.Dtype is { } dtype && dtype != model.Dtype)
        {
            exact = model.named_parameters()
                .Where(pair => pair.parameter.requires_grad)
                .ToDictionary(pair => pair.name, pair => pair.parameter.detach().clone());
            model.to(dtype);
        }

        RequireOneType(model);
        IEnumerable<nn.Module> branches = model.Layers.Select(layer => layer.CrossAttention)
            .OfType<nn.Module>()
            .Concat(model.Encoder is null ? [] : [model.Encoder]);
        HashSet<nint> retrieval = [.. branches.SelectMany(branch => branch.parameters()).Select(parameter => parameter.Handle)];
        RetroOptimizer optimizer = new(ParameterKinds.Of(model), options.Optimizer, exact, exchange, options.ShardOptimizer);
        optimizer.SetRateShare(parameter => retrieval.Contains(parameter.Handle), options.RetrievalRate);
        return optimizer;
    }

    /// <summary>One of TorchSharp, over what is not frozen; the model is cast first where the options ask for another type.</summary>
    /// <param name="model">The model.</param>
    /// <param name="options">Settings.</param>
    /// <param name="make">Makes the optimizer.</param>
    /// <param name="scheduled">Whether the trainer sets its rates, and not a scheduler.</param>
    /// <param name="exchange">The processes that train together; null: this one trains alone.</param>
    public static TorchOptimizer OfTorch(
        RetroModel model,
        TrainingOptions options,
        Func<IReadOnlyList<(string name, Parameter parameter)>, optim.Optimizer> make,
        bool scheduled,
        IGradientExchange? exchange)
    {
        if (options.RetrievalRate != 1)
        {
            throw new ArgumentException(
                $"{nameof(options.RetrievalRate)} is for Retro's optimizer; make one of TorchSharp over groups of parameters that have rates of their own.",
                nameof(options));
        }

        if (options.ShardOptimizer)
        {
            throw new ArgumentException(
                $"{nameof(options.ShardOptimizer)} is for Retro's optimizer, whose memory is known parameter by parameter; leave it off.", nameof(options));
        }

        if (options.Dtype is { } dtype && dtype != model.Dtype)
        {
            model.to(dtype);
        }

        RequireOneType(model);
        HashSet<nint> seen = [];
        (string name, Parameter parameter)[] trained = [.. model.named_parameters()
            .Where(pair => pair.parameter.requires_grad && seen.Add(pair.parameter.Handle))];
        if (trained.Length == 0)
        {
            throw new TrainingException("Every parameter is frozen, so there is nothing to train; set requires_grad on those to be trained.");
        }

        optim.Optimizer optimizer = make(trained) ?? throw new ArgumentException("The factory made no optimizer.", nameof(make));
        try
        {
            return new(optimizer, trained, scheduled ? options.LearningRate : null, options.Optimizer.ClipNorm, exchange);
        }
        catch
        {
            optimizer.Dispose();
            throw;
        }
    }

    /// <summary>Refuses a model whose parts cannot be computed with each other, or not be trained; what is not Retro's may cast by itself.</summary>
    /// <exception cref="TrainingException">It is such a model.</exception>
    private static void RequireOneType(RetroModel model)
    {
        ScalarType type = model.Dtype;
        TrainedParameters.RequireType("The model", type);
        (string Name, ScalarType Type)[] others = [.. OwnParameters(model, "").Where(one => one.Type != type)];
        if (others.Length > 0)
        {
            throw new TrainingException(
                $"The model is of type {type}, and {others.Length} of its parameters are not, the first of them {others[0].Name}, of {others[0].Type}: nothing "
                    + $"casts between them. Cast all of it, by model.to(ScalarType.{type}).");
        }
    }

    // But for those of custom modules, and of those around which hooks run.
    private static IEnumerable<(string Name, ScalarType Type)> OwnParameters(nn.Module module, string prefix) => FinalizerGate.IsCustom(module)
        ? []
        : module.named_parameters(recurse: false).Select(one => (prefix + one.name, one.parameter.dtype))
            .Concat(module.named_children().SelectMany(child => OwnParameters(child.module, $"{prefix}{child.name}.")));
}
