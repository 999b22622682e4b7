using System.Globalization;
using Retro.Checkpoints;
using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// The file of what was trained of a reader: safetensors, whose metadata hold its settings and which model it was trained for. The model is saved by itself.
/// </summary>
internal sealed class ReaderFile : IDisposable
{
    private const string Format = "1", ModelKey = "model";

    private ReaderFile(Safetensors tensors) => Tensors = tensors;

    /// <summary>The tensors.</summary>
    public Safetensors Tensors { get; }

    /// <summary>Writes a file.</summary>
    /// <param name="path">The file; replaced when the new one is whole.</param>
    /// <param name="kind">What it holds, such as "copy reader".</param>
    /// <param name="model">The model that it was trained for.</param>
    /// <param name="weights">What was trained.</param>
    /// <param name="settings">The settings.</param>
    /// <exception cref="CheckpointException">It cannot be written.</exception>
    public static void Save(
        string path, string kind, RetroModel model, IEnumerable<(string Name, Parameter Parameter)> weights, params (string Key, int Value)[] settings)
    {
        Dictionary<string, string> metadata = settings.ToDictionary(pair => pair.Key, pair => pair.Value.ToString(CultureInfo.InvariantCulture));
        metadata.Add(KeyOf(kind), Format);
        metadata.Add(ModelKey, WeightsHash.Rounded(model, WeightsHash.CurrentVersion));
        Safetensors.Write(path, weights.Select(pair => KeyValuePair.Create<string, Tensor>(pair.Name, pair.Parameter)), metadata);
    }

    /// <summary>Opens a file.</summary>
    /// <exception cref="CheckpointException">It cannot be read, or is of another kind or format.</exception>
    public static ReaderFile Open(string path, string kind)
    {
        Safetensors tensors = Safetensors.Open(path);
        string? found = tensors.Metadata?.GetValueOrDefault(KeyOf(kind));
        if (found == Format)
        {
            return new(tensors);
        }

        tensors.Dispose();
        throw new CheckpointException(
            $"{path} is no {kind} that this library reads: expected {KeyOf(kind)} {Format} in its metadata, found {found ?? "none"}.");
    }

    /// <summary>A setting.</summary>
    /// <param name="key">Which.</param>
    /// <param name="otherwise">What it is where the file does not have it; null: it has to.</param>
    /// <exception cref="CheckpointException">It is missing, or no number.</exception>
    public int Setting(string key, int? otherwise = null) => Told(key) is null && otherwise is { } assumed ? assumed
        : int.TryParse(Told(key), NumberStyles.None, CultureInfo.InvariantCulture, out int value)
        ? value
        : throw new CheckpointException($"{Tensors.FilePath} does not tell its {key}; it holds {Told(key) ?? "nothing"} there.");

    /// <summary>Refuses a model that it was not trained for.</summary>
    /// <exception cref="CheckpointException">The model is another one.</exception>
    public void RequireModel(RetroModel model)
    {
        // A file that an earlier version of this library wrote holds an earlier hash.
        string here = WeightsHash.Rounded(model, WeightsHash.CurrentVersion);
        if (here != Told(ModelKey) && WeightsHash.Rounded(model, version: 1) != Told(ModelKey))
        {
            throw new CheckpointException(
                $"{Tensors.FilePath} was trained for a model whose configuration and weights have the hash {Told(ModelKey) ?? "none"}, and this one's have "
                    + $"{here}; load it with the model it was trained for.");
        }
    }

    /// <summary>Refuses settings that say another shape of a tensor than it has, so that no more is made by them than the file holds.</summary>
    /// <param name="name">The tensor.</param>
    /// <param name="shape">Its shape, by the settings.</param>
    /// <exception cref="CheckpointException">It has another, or is missing.</exception>
    public void RequireShape(string name, params long[] shape)
    {
        if (!Tensors.Contains(name) || !Tensors.Entry(name).Shape.SequenceEqual(shape))
        {
            throw new CheckpointException($"{Tensors.FilePath} holds no {name} of [{string.Join(", ", shape)}], which its settings say: it is damaged.");
        }
    }

    /// <summary>Gives parameters the values that they have in the file.</summary>
    /// <exception cref="CheckpointException">One is missing, or of another shape.</exception>
    public void Fill(IEnumerable<(string Name, Parameter Parameter)> weights)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        foreach ((string name, Parameter parameter) in weights)
        {
            Tensor stored = Tensors.Read(name, parameter.dtype, parameter.device);
            if (!stored.shape.SequenceEqual(parameter.shape))
            {
                throw new CheckpointException(
                    $"{Tensors.FilePath} holds {name} as [{string.Join(", ", stored.shape)}]; expected [{string.Join(", ", parameter.shape)}].");
            }

            parameter.copy_(stored);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Tensors.Dispose();

    private static string KeyOf(string kind) => $"retro.{kind.Replace(' ', '_')}";

    private string? Told(string key) => Tensors.Metadata?.GetValueOrDefault(key);
}
