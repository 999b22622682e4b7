using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Optimization;

/// <summary>A parameter in the optimizer, with what the optimizer remembers of it.</summary>
internal sealed class OptimizerSlot : IDisposable
{
    private readonly Tensor? _first;

    public OptimizerSlot(string name, Parameter parameter, ParameterKind kind, bool muon, Tensor? master, bool isOwn = true)
    {
        Name = name;
        IsMuon = muon;
        IsOwn = isOwn;
        Decays = kind is ParameterKind.Matrix or ParameterKind.Embedding;
        Parameter = parameter;
        SumsApart = parameter.dtype == ScalarType.BFloat16;
        if (muon)
        {
            Tall = parameter.shape[0] > parameter.shape[1];
            Shape = Tall ? (parameter.shape[1], parameter.shape[0]) : (parameter.shape[0], parameter.shape[1]);
        }

        if (!isOwn)
        {
            return;
        }

        // Contiguous, as processes exchange them, however the parameter lies.
        using IDisposable noGradients = no_grad();
        using DisposeScope scope = NewDisposeScope();
        if (SumsApart)
        {
            Master = (master ?? parameter).detach().to_type(ScalarType.Float32, copy: true).contiguous().DetachFromDisposeScope();
        }

        _first = zeros(parameter.shape, Target.dtype, Target.device).DetachFromDisposeScope();
        Second = muon ? null : zeros(parameter.shape, Target.dtype, Target.device).DetachFromDisposeScope();
    }

    /// <summary>Its name in the state dictionary.</summary>
    public string Name { get; }

    /// <summary>
    /// Whether AdamW lets it decay: matrices and tables, but no norm and no bias, of whatever shape (those of Transformer-XL are [heads, size]).
    /// </summary>
    public bool Decays { get; }

    /// <summary>The parameter.</summary>
    public Parameter Parameter { get; }

    /// <summary>Whether this process moves it; what is remembered of it is nowhere else.</summary>
    public bool IsOwn { get; }

    /// <summary>Whether Muon moves it, and not AdamW.</summary>
    public bool IsMuon { get; }

    /// <summary>Whether its gradients are summed in float32, apart from it: it is bfloat16.</summary>
    public bool SumsApart { get; }

    /// <summary>The float32 copy of a bfloat16 parameter; null where the parameter is exact enough itself, or another process moves it.</summary>
    public Tensor? Master { get; }

    /// <summary>What the step moves.</summary>
    public Tensor Target => Master ?? Parameter;

    /// <summary>The sum of gradients in float32; null where there is none, or no copy.</summary>
    public Tensor? Sum { get; private set; }

    /// <summary>The averaged gradient.</summary>
    public Tensor First => _first ?? throw new InvalidOperationException($"Another process moves {Name}.");

    /// <summary>The averaged squared gradient; null where Muon or another process moves the parameter.</summary>
    public Tensor? Second { get; }

    /// <summary>Muon: whether it has more rows than columns.</summary>
    public bool Tall { get; }

    /// <summary>Muon: its sides, the shorter first.</summary>
    public (long Short, long Long) Shape { get; }

    /// <summary>How often it was moved.</summary>
    public long Steps { get; set; }

    /// <summary>Its part of the learning rate.</summary>
    public double RateShare { get; set; } = 1;

    /// <summary>What it is moved by: the float32 sum where there is one, or its own gradient; null where it has none.</summary>
    public Tensor? Gradient => Sum ?? Parameter.grad;

    /// <summary>Forgets the gradient.</summary>
    public void ClearGradient()
    {
        Parameter.grad = null;
        Sum?.Dispose();
        Sum = null;
    }

    /// <summary>Adds to the float32 sum.</summary>
    public void Add(Tensor gradient)
    {
        if (Sum is null)
        {
            Sum = gradient.to_type(ScalarType.Float32).DetachFromDisposeScope();
        }
        else
        {
            Sum.add_(gradient, KeptScalars.One);
        }
    }

    /// <summary>Takes the parameter's gradient over into the float32 sum.</summary>
    public void Accumulate()
    {
        if (Parameter.grad is { } gradient)
        {
            Add(gradient);
            Parameter.grad = null;
        }
    }

    /// <summary>Makes the parameter its float32 copy rounded.</summary>
    public void Round()
    {
        if (Master is not null)
        {
            Parameter.copy_(Master);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _first?.Dispose();
        Second?.Dispose();
        Master?.Dispose();
        Sum?.Dispose();
    }
}
