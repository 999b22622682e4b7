using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>
/// The exponential moving average of trained weights, in float32 at least: a ← d·a + (1 − d)·w after each step, with d no more than (1 + n) / (10 + n) after n
/// steps, so that the first weights are soon forgotten. w is what the optimizer moves, the float32 copy of a bfloat16 weight: rounding hides most of what a
/// small learning rate does.
/// </summary>
internal sealed class WeightAverage : IDisposable
{
    private readonly double _decay;
    private readonly Dictionary<string, (Parameter Parameter, Tensor Moved, Tensor Average)> _weights;

    /// <summary>Begins with the weights as they are.</summary>
    /// <param name="parameters">The weights with their names, and w of each, which is itself or what it is a rounding of; they stay the caller's.</param>
    /// <param name="decay">d.</param>
    public WeightAverage(IEnumerable<(string Name, Parameter Parameter, Tensor Moved)> parameters, double decay)
    {
        _decay = decay;
        using IDisposable noGradients = no_grad();
        using DisposeScope scope = NewDisposeScope();
        _weights = parameters.ToDictionary(one => one.Name, one =>
        {
            ScalarType dtype = one.Moved.dtype == ScalarType.BFloat16 ? ScalarType.Float32 : one.Moved.dtype;
            return (one.Parameter, one.Moved, one.Moved.detach().to(dtype, copy: true).DetachFromDisposeScope());
        });
    }

    /// <summary>The averages by the weights' names; they stay this object's.</summary>
    public IEnumerable<KeyValuePair<string, Tensor>> State => _weights.Select(pair => KeyValuePair.Create(pair.Key, pair.Value.Average));

    /// <summary>Takes the weights of a step in.</summary>
    /// <param name="steps">n: steps done before it.</param>
    public void Add(long steps)
    {
        using IDisposable noGradients = no_grad();
        using DisposeScope scope = NewDisposeScope();
        double decay = Math.Min(_decay, (1.0 + steps) / (10.0 + steps));
        using Scalar kept = decay.ToScalar(), added = (1 - decay).ToScalar();
        foreach ((_, Tensor moved, Tensor average) in _weights.Values)
        {
            average.mul_(kept).add_(moved, added);
        }
    }

    /// <summary>Goes on with averages of another run; of weights that have none it begins with the weights as they are.</summary>
    public void Load(IReadOnlyDictionary<string, Tensor> state)
    {
        using IDisposable noGradients = no_grad();
        foreach ((string name, (_, Tensor moved, Tensor average)) in _weights)
        {
            average.copy_(state.GetValueOrDefault(name) ?? moved);
        }
    }

    /// <summary>Whether the averages are in the weights' places.</summary>
    public bool IsPut { get; private set; }

    /// <summary>Puts the averages in the weights' places, until what is given back is disposed.</summary>
    /// <exception cref="InvalidOperationException">They are there already.</exception>
    public IDisposable Put() => IsPut
        ? throw new InvalidOperationException("The model holds the average of its weights already, as it does while it is measured.")
        : new Exchange(this);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((_, _, Tensor average) in _weights.Values)
        {
            average.Dispose();
        }
    }

    private sealed class Exchange : IDisposable
    {
        private readonly List<(Parameter Parameter, Tensor Own)> _own = [];
        private readonly WeightAverage _averages;
        private bool _isDisposed;

        public Exchange(WeightAverage averages)
        {
            using IDisposable noGradients = no_grad();
            using DisposeScope scope = NewDisposeScope();
            _averages = averages;
            averages.IsPut = true;
            try
            {
                foreach ((Parameter parameter, _, Tensor average) in averages._weights.Values)
                {
                    _own.Add((parameter, parameter.detach().clone().DetachFromDisposeScope()));
                    parameter.copy_(average);
                }
            }
            catch
            {
                // Memory may end where the weights stand there twice: those exchanged so far come back.
                Dispose();
                throw;
            }
        }

        public void Dispose()
        {
            if (_isDisposed)
            {
                return;
            }

            _isDisposed = true;
            _averages.IsPut = false;
            using IDisposable noGradients = no_grad();
            foreach ((Parameter parameter, Tensor own) in _own)
            {
                parameter.copy_(own);
                own.Dispose();
            }
        }
    }
}
