using System.Globalization;
using Retro.Checkpoints;
using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Readers;

public sealed partial class DecoupledReader
{
    private const string FormatKey = "retro.decoupled_reader", Format = "1", ModelKey = "model";

    /// <summary>Writes what was trained, and the settings, to one safetensors file; the decoder is saved by itself.</summary>
    /// <param name="path">The file; replaced when the new one is whole.</param>
    /// <exception cref="CheckpointException">It cannot be written.</exception>
    public void Save(string path)
    {
        Dictionary<string, string> settings = new (string Key, int Value)[]
        {
            ("width", _model.Config.Width),
            ("layers", _model.Config.Layers),
            ("neighbors", Options.Neighbors),
            ("retrieved_length", _retrievedLength),
            ("rank", Options.Rank),
            ("adaptation_rank", Options.AdaptationRank),
        }.ToDictionary(pair => pair.Key, pair => pair.Value.ToString(CultureInfo.InvariantCulture));
        settings.Add(FormatKey, Format);
        settings.Add(ModelKey, WeightsHash.Rounded(_model));
        Safetensors.Write(path, _weights.ByName.Select(pair => KeyValuePair.Create<string, Tensor>(pair.Key, pair.Value)), settings);
    }

    /// <summary>Loads a reader for the decoder that it was trained for.</summary>
    /// <param name="path">The file.</param>
    /// <param name="model">The decoder; it stays the caller's.</param>
    /// <param name="name">The name in reports; null: made of the model's and the settings.</param>
    /// <returns>The reader; dispose it.</returns>
    /// <exception cref="CheckpointException">The file cannot be read, is of another kind or format, or of another decoder.</exception>
    public static DecoupledReader Load(string path, RetroModel model, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        using Safetensors file = Safetensors.Open(path);
        if (file.Metadata?.GetValueOrDefault(FormatKey) != Format)
        {
            throw new CheckpointException(
                $"{path} is no decoupled reader that this library reads: expected {FormatKey} {Format} in its metadata, found "
                    + $"{file.Metadata?.GetValueOrDefault(FormatKey) ?? "none"}.");
        }

        int Setting(string key) => int.TryParse(file.Metadata?.GetValueOrDefault(key), NumberStyles.None, CultureInfo.InvariantCulture, out int value)
            ? value
            : throw new CheckpointException($"{path} does not tell its {key}; it holds {file.Metadata?.GetValueOrDefault(key) ?? "nothing"} there.");

        (int width, int layers) = (Setting("width"), Setting("layers"));
        if (width != model.Config.Width || layers != model.Config.Layers)
        {
            throw new CheckpointException(
                $"{path} was trained for a decoder of {layers} layers of width {width}, and this one has {model.Config.Layers} of {model.Config.Width}; "
                    + "load it with the decoder it was trained for.");
        }

        WeightsHash.Require(model, file.Metadata.GetValueOrDefault(ModelKey), path);
        DecoupledReader? reader = null;
        try
        {
            DecoupledReaderOptions options = new DecoupledReaderOptions
            {
                Neighbors = Setting("neighbors"),
                RetrievedLength = Setting("retrieved_length"),
                Rank = Setting("rank"),
                AdaptationRank = Setting("adaptation_rank"),
            }.Validate();
            RequireRank("1.down", options.Rank);
            if (options.AdaptationRank > 0)
            {
                RequireRank("1.q_down", options.AdaptationRank);
            }

            reader = Fresh(model, options, options.RetrievedLength!.Value, name);
            using DisposeScope scope = NewDisposeScope();
            using IDisposable noGradients = no_grad();
            foreach ((string parameter, Parameter value) in reader._weights.ByName)
            {
                Tensor stored = file.Read(parameter, value.dtype, model.Device);
                if (!stored.shape.SequenceEqual(value.shape))
                {
                    throw new CheckpointException(
                        $"{path} holds {parameter} as [{string.Join(", ", stored.shape)}]; expected [{string.Join(", ", value.shape)}].");
                }

                value.copy_(stored);
            }

            return reader;
        }
        catch (Exception fault) when (fault is RetroOptionsException or ArgumentException)
        {
            reader?.Dispose();
            throw new CheckpointException($"{path} has settings that cannot be: {fault.Message}", fault);
        }
        catch
        {
            reader?.Dispose();
            throw;
        }

        // No more is made than the file holds.
        void RequireRank(string tensor, int rank)
        {
            if (file.Entries.FirstOrDefault(entry => entry.Name == tensor) is not { } entry || !entry.Shape.SequenceEqual([width, rank]))
            {
                throw new CheckpointException($"{path} says a rank of {rank}, and holds no {tensor} of [{width}, {rank}]: it is damaged.");
            }
        }
    }
}
