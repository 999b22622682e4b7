using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Readers;

public sealed partial class DecoupledReader
{
    private const string Kind = "decoupled reader";

    /// <summary>Writes what was trained, and the settings, to one safetensors file; the decoder is saved by itself.</summary>
    /// <param name="path">The file; replaced when the new one is whole.</param>
    /// <exception cref="CheckpointException">It cannot be written.</exception>
    public void Save(string path)
        => ReaderFile.Save(
            path,
            Kind,
            _model,
            _weights.ByName.Select(pair => (pair.Key, pair.Value)),
            ("width", _model.Config.Width),
            ("layers", _model.Config.Layers),
            ("neighbors", Options.Neighbors),
            ("retrieved_length", _retrievedLength),
            ("rank", Options.Rank),
            ("adaptation_rank", Options.AdaptationRank));

    /// <summary>Loads a reader for the decoder that it was trained for.</summary>
    /// <param name="path">The file.</param>
    /// <param name="model">The decoder; it stays the caller's.</param>
    /// <param name="name">The name in reports; null: made of the model's and the settings.</param>
    /// <returns>The reader; dispose it.</returns>
    /// <exception cref="CheckpointException">The file cannot be read, is of another kind or format, or of another decoder.</exception>
    public static DecoupledReader Load(string path, RetroModel model, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        using ReaderFile file = ReaderFile.Open(path, Kind);
        (int width, int layers) = (file.Setting("width"), file.Setting("layers"));
        if (width != model.Config.Width || layers != model.Config.Layers)
        {
            throw new CheckpointException(
                $"{path} was trained for a decoder of {layers} layers of width {width}, and this one has {model.Config.Layers} of {model.Config.Width}; "
                    + "load it with the decoder it was trained for.");
        }

        file.RequireModel(model);
        DecoupledReader? reader = null;
        try
        {
            DecoupledReaderOptions options = new DecoupledReaderOptions
            {
                Neighbors = file.Setting("neighbors"),
                RetrievedLength = file.Setting("retrieved_length"),
                Rank = file.Setting("rank"),
                AdaptationRank = file.Setting("adaptation_rank"),
            }.Validate();
            file.RequireShape("1.down", width, options.Rank);
            if (options.AdaptationRank > 0)
            {
                file.RequireShape("1.q_down", width, options.AdaptationRank);
            }

            reader = Fresh(model, options, options.RetrievedLength!.Value, name);
            file.Fill(reader._weights.ByName.Select(pair => (pair.Key, pair.Value)));
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
    }
}
