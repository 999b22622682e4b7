using System.Security.Cryptography;
using System.Text;
using static TorchSharp.torch;

namespace Retro.Checkpoints;

/// <summary>The stored tensors of a model, by name.</summary>
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

    /// <summary>
    /// SHA-256 over names, types, shapes and bytes of every tensor, ordered by name: whatever the files are called and however many they are.
    /// </summary>
    /// <param name="progress">Stage "hash weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    public string Hash(IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        StageCounter counter = new("hash weights", Names.Count, progress, cancellationToken);
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string name in Names.Order(StringComparer.Ordinal))
        {
            counter.Next();
            hash.AppendData(Encoding.UTF8.GetBytes($"{name}\n{Dtype(name)}\n{string.Join(',', Shape(name))}\n"));
            AppendBytes(name, hash);
        }

        counter.End();
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <inheritdoc/>
    public abstract void Dispose();

    /// <summary>What to say of a pickle.</summary>
    internal static CheckpointException Pickle(string path)
        => new($"{path} is a Python pickle, which can run any code when it is read and is never opened here. Convert it once in Python, where you trust it: "
            + "load the model with transformers, and model.save_pretrained(folder, safe_serialization=True).");

    /// <summary>Adds a tensor's bytes to a hash.</summary>
    protected abstract void AppendBytes(string name, IncrementalHash hash);
}
