using System.Security.Cryptography;
using System.Text;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>The stored tensors of a pretrained model, by name.</summary>
internal abstract class StoredWeights : IDisposable
{
    /// <summary>What to call the files in a message.</summary>
    public abstract string Place { get; }

    /// <summary>Every name, in the order of the files.</summary>
    public abstract IReadOnlyList<string> Names { get; }

    /// <summary>Shape of a tensor.</summary>
    public abstract long[] Shape(string name);

    /// <summary>Type of a tensor's values, as safetensors names it.</summary>
    public abstract string Dtype(string name);

    /// <summary>Copies a tensor, in the type as stored.</summary>
    public abstract Tensor Read(string name);

    /// <summary>SHA-256 over names, types, shapes and bytes of every tensor, ordered by name: whatever the files are called and however many they are.</summary>
    public string Hash(CancellationToken cancellationToken)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string name in Names.Order(StringComparer.Ordinal))
        {
            cancellationToken.ThrowIfCancellationRequested();
            hash.AppendData(Encoding.UTF8.GetBytes($"{name}\n{Dtype(name)}\n{string.Join(',', Shape(name))}\n"));
            AppendBytes(name, hash);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <inheritdoc/>
    public abstract void Dispose();

    /// <summary>Adds a tensor's bytes to a hash.</summary>
    protected abstract void AppendBytes(string name, IncrementalHash hash);
}
