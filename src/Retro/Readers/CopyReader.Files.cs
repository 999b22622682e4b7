using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Search;

namespace Retro.Readers;

public sealed partial class CopyReader
{
    // Older files say how wide their keys of content are.
    private const string Kind = "copy reader", ContentWidth = "content_width";

    /// <summary>Writes the reader's own weights and settings to one safetensors file; the model is saved by itself.</summary>
    /// <param name="path">The file; replaced when the new one is whole.</param>
    /// <exception cref="CheckpointException">It cannot be written.</exception>
    public void Save(string path)
        => ReaderFile.Save(
            path,
            Kind,
            _model,
            Trained,
            ("width", _model.Config.Width),
            ("neighbors", Options.Neighbors),
            ("stride", Options.Stride),
            ("query_length", Options.QueryLength),
            ("retrieved_length", _retrievedLength),
            ("cross_attended", Options.CrossAttended),
            ("anywhere", _index is null ? 0 : 1));

    /// <summary>Tells what a file holds, of which a header is read.</summary>
    /// <param name="path">The file.</param>
    /// <returns>The settings that count when it is read with, and whether it was trained with an index of runs, which <see cref="Load"/> then takes.</returns>
    /// <exception cref="CheckpointException">The file cannot be read, is of another kind or format, or has settings that cannot be.</exception>
    public static (CopyReaderOptions Options, bool FromAnywhere) Describe(string path)
    {
        using ReaderFile file = ReaderFile.Open(path, Kind);
        return (OptionsOf(file), FromAnywhere(file));
    }

    /// <summary>Loads a reader for the model that it was trained for.</summary>
    /// <param name="path">The file.</param>
    /// <param name="model">The model; it stays the caller's.</param>
    /// <param name="index">
    /// The index of runs where the reader was trained with one (<see cref="Describe"/>); another database's will do. Null where it was not.
    /// </param>
    /// <param name="name">The name in reports; null: made of the model's and the settings.</param>
    /// <returns>The reader; dispose it.</returns>
    /// <exception cref="CheckpointException">The file cannot be read, is of another kind or format, or of another model.</exception>
    public static CopyReader Load(string path, RetroModel model, TokenIndex? index = null, string? name = null)
    {
        using ReaderFile file = ReaderFile.Open(path, Kind);
        if (FromAnywhere(file) != index is not null)
        {
            throw new CheckpointException(
                index is null
                    ? $"{path} was trained to copy from anywhere in a database; give the index of its runs."
                    : $"{path} was trained to copy from neighbors alone; load it without an index.");
        }

        return Of(file, model, index, name);
    }

    /// <summary>Refuses a file that <see cref="Load"/> would refuse, whatever index it was given.</summary>
    /// <param name="path">The file.</param>
    /// <param name="model">The model.</param>
    /// <exception cref="CheckpointException">The file cannot be read, is of another kind or format, or of another model.</exception>
    public static void Verify(string path, RetroModel model)
    {
        using ReaderFile file = ReaderFile.Open(path, Kind);
        using CopyReader reader = Of(file, model, null, null);
    }

    private static CopyReader Of(ReaderFile file, RetroModel model, TokenIndex? index, string? name)
    {
        ArgumentNullException.ThrowIfNull(model);
        string path = file.Tensors.FilePath;
        int width = file.Setting("width"), length = file.Setting("retrieved_length");
        if (width != model.Config.Width)
        {
            throw new CheckpointException(
                $"{path} was trained for a model of width {width}, and this one's is {model.Config.Width}; load it with the model it was trained for.");
        }

        CopyReaderOptions options = OptionsOf(file, fitting => RequireFit(fitting, model, length));
        file.RequireModel(model);
        if (index is not null)
        {
            model.RequireTokenizer(index.Database.Manifest.TokenizerHash);
        }

        CopyMixture mixture = new(width, Ranks(options, FromAnywhere(file)), device: model.Device);
        CopyReader reader = new(model, mixture, options, length, index, name);
        try
        {
            file.Fill(reader.Trained);
            return reader;
        }
        catch
        {
            reader.Dispose();
            throw;
        }
    }

    private static bool FromAnywhere(ReaderFile file) => file.Setting("anywhere") == 1;

    private static CopyReaderOptions OptionsOf(ReaderFile file, Action<CopyReaderOptions>? require = null)
    {
        if (file.Setting(ContentWidth, 0) is not 0 and var content)
        {
            throw new CheckpointException(
                $"{file.Tensors.FilePath} has a {ContentWidth} of {content}, and keys of content are no longer read; train it again without them.");
        }

        try
        {
            CopyReaderOptions options = new CopyReaderOptions
            {
                Neighbors = file.Setting("neighbors"),
                Stride = file.Setting("stride"),
                QueryLength = file.Setting("query_length"),
                RetrievedLength = file.Setting("retrieved_length"),
                CrossAttended = file.Setting("cross_attended"),
            }.Validate();
            require?.Invoke(options);
            return options;
        }
        catch (RetroOptionsException fault)
        {
            throw new CheckpointException($"{file.Tensors.FilePath} has settings that cannot be, or not with this model: {fault.Message}", fault);
        }
    }
}
