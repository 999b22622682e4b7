using System.Globalization;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Search;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Readers;

public sealed partial class CopyReader
{
    private const string FormatKey = "retro.copy_reader", Format = "1", ModelKey = "model";

    /// <summary>Writes the reader's own weights and settings to one safetensors file; the model is saved by itself.</summary>
    /// <param name="path">The file; replaced when the new one is whole.</param>
    /// <exception cref="CheckpointException">It cannot be written.</exception>
    public void Save(string path)
        => Safetensors.Write(
            path,
            _mixture.named_parameters().Select(pair => KeyValuePair.Create<string, Tensor>(pair.name, pair.parameter)),
            Settings().Append((FormatKey, Format)).Append((ModelKey, WeightsHash.Rounded(_model))).ToDictionary(pair => pair.Item1, pair => pair.Item2));

    /// <summary>Loads a reader for the model that it was trained for.</summary>
    /// <param name="path">The file.</param>
    /// <param name="model">The model; it stays the caller's.</param>
    /// <param name="index">The index of runs where the reader was trained with one; another database's will do.</param>
    /// <param name="name">The name in reports; null: made of the model's and the settings.</param>
    /// <returns>The reader; dispose it.</returns>
    /// <exception cref="CheckpointException">The file cannot be read, is of another kind or format, or of another model.</exception>
    public static CopyReader Load(string path, RetroModel model, TokenIndex? index = null, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        using Safetensors file = Safetensors.Open(path);
        if (file.Metadata?.GetValueOrDefault(FormatKey) != Format)
        {
            throw new CheckpointException(
                $"{path} is no copy reader that this library reads: expected {FormatKey} {Format} in its metadata, found "
                    + $"{file.Metadata?.GetValueOrDefault(FormatKey) ?? "none"}.");
        }

        // Files from before there was content, or cross-attention, do not tell of them.
        int Later(string key) => file.Metadata?.ContainsKey(key) == true ? Setting(key) : 0;
        int Setting(string key) => int.TryParse(file.Metadata?.GetValueOrDefault(key), NumberStyles.None, CultureInfo.InvariantCulture, out int value)
            ? value
            : throw new CheckpointException($"{path} does not tell its {key}; it holds {file.Metadata?.GetValueOrDefault(key) ?? "nothing"} there.");

        int width = Setting("width"), length = Setting("retrieved_length");
        if (width != model.Config.Width)
        {
            throw new CheckpointException(
                $"{path} was trained for a model of width {width}, and this one's is {model.Config.Width}; load it with the model it was trained for.");
        }

        CopyReaderOptions options;
        try
        {
            options = new CopyReaderOptions
            {
                Neighbors = Setting("neighbors"),
                Stride = Setting("stride"),
                QueryLength = Setting("query_length"),
                RetrievedLength = length,
                ContentWidth = Later("content_width"),
                CrossAttended = Later("cross_attended"),
            }.Validate();
            RequireFit(options, model, length);
        }
        catch (RetroOptionsException fault)
        {
            throw new CheckpointException($"{path} has settings that cannot be, or not with this model: {fault.Message}", fault);
        }

        if ((Setting("anywhere") == 1) != index is not null)
        {
            throw new CheckpointException(
                index is null
                    ? $"{path} was trained to copy from anywhere in a database; give the index of its runs."
                    : $"{path} was trained to copy from neighbors alone; load it without an index.");
        }

        WeightsHash.Require(model, file.Metadata.GetValueOrDefault(ModelKey), path);
        CopyMixture mixture = new(width, Ranks(options, index), device: model.Device, content: options.ContentWidth);
        CopyReader reader = new(model, mixture, options, length, index, name);
        try
        {
            using DisposeScope scope = NewDisposeScope();
            using IDisposable noGradients = no_grad();
            foreach ((string parameter, Parameter value) in reader._mixture.named_parameters())
            {
                Tensor stored = file.Read(parameter, ScalarType.Float32, model.Device);
                if (!stored.shape.SequenceEqual(value.shape))
                {
                    throw new CheckpointException(
                        $"{path} holds {parameter} as [{string.Join(", ", stored.shape)}]; expected [{string.Join(", ", value.shape)}].");
                }

                value.copy_(stored);
            }

            return reader;
        }
        catch
        {
            reader.Dispose();
            throw;
        }
    }

    private (string Key, string Value)[] Settings()
        =>
        [
            .. new (string Key, int Value)[]
            {
                ("width", _model.Config.Width),
                ("neighbors", Options.Neighbors),
                ("stride", Options.Stride),
                ("query_length", Options.QueryLength),
                ("retrieved_length", _retrievedLength),
                ("content_width", Options.ContentWidth),
                ("cross_attended", Options.CrossAttended),
                ("anywhere", _index is null ? 0 : 1),
            }.Select(pair => (pair.Key, pair.Value.ToString(CultureInfo.InvariantCulture))),
        ];
}
