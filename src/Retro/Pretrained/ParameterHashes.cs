using Retro.Checkpoints;
using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>What a parameter was when it was loaded.</summary>
/// <param name="Type">The type that its values were hashed in, which holds them exactly.</param>
/// <param name="Hash">SHA-256 of type, shape and values.</param>
internal readonly record struct ParameterHash(ScalarType Type, string Hash);

/// <summary>
/// Hashes of parameters, each made on a thread beside the caller's, which goes on meanwhile. A few tensors are held at a time. Disposing waits for those that
/// are being hashed.
/// </summary>
internal sealed class ParameterHashes : IDisposable
{
    private const int MostHeld = 8;

    private readonly SemaphoreSlim _room = new(Math.Min(MostHeld, Environment.ProcessorCount));
    private readonly List<(string Name, ScalarType Type, Task<string> Hash)> _made = [];

    /// <summary>Begins to hash a parameter's values.</summary>
    /// <param name="name">The parameter's name, each once.</param>
    /// <param name="values">Its values, in the type that they are hashed in, which do not change until the hash is made.</param>
    /// <param name="cancellationToken">Stops the wait for those before.</param>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public void Add(string name, Tensor values, CancellationToken cancellationToken)
    {
        _room.Wait(cancellationToken);
        Tensor held = values.detach().DetachFromDisposeScope();
        string kind = $"{SafetensorsTypes.ToName(held.dtype)} [{string.Join(", ", held.shape)}]";
        _made.Add((name, held.dtype, Task.Run(
            () =>
            {
                try
                {
                    return TensorHash.Of([(kind, held)]);
                }
                finally
                {
                    held.Dispose();
                    _room.Release();
                }
            },
            CancellationToken.None)));
    }

    /// <summary>The hashes, once all are made.</summary>
    public IReadOnlyDictionary<string, ParameterHash> Made()
        => _made.ToDictionary(made => made.Name, made => new ParameterHash(made.Type, made.Hash.GetAwaiter().GetResult()), StringComparer.Ordinal);

    /// <inheritdoc/>
    public void Dispose()
    {
        Task.WhenAll(_made.Select(made => made.Hash)).ContinueWith(_ => { }, TaskScheduler.Default).Wait();
        _room.Dispose();
    }
}
