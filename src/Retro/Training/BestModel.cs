using System.Globalization;
using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Training;

/// <summary>The model with the lowest measure, which lies in a folder of its own (<see cref="Trainer.BestFolder"/>) in that of the checkpoint.</summary>
/// <param name="Training">The <see cref="TrainingState.Id"/> of its training; null: of before trainings had one, or somebody's own.</param>
/// <param name="Measure">Its measure; null: it does not say.</param>
internal sealed record BestModel(string? Training, double? Measure)
{
    private const string TrainingKey = "best_of";
    private const string MeasureKey = "best_measure";

    /// <summary>The one in a checkpoint's folder, as far as it says what it is; null: there is none, or none that can be read.</summary>
    public static BestModel? In(string folder)
    {
        string best = Path.Combine(folder, Trainer.BestFolder);
        if (!Directory.Exists(best))
        {
            return null;
        }

        try
        {
            using WeightFolder weights = WeightFolder.Open(best);
            IReadOnlyDictionary<string, string>? said = weights.Files
                .Select(file => file.Metadata)
                .FirstOrDefault(metadata => metadata?.ContainsKey(MeasureKey) == true);
            bool isMeasured = double.TryParse(said?.GetValueOrDefault(MeasureKey), CultureInfo.InvariantCulture, out double measure);
            return RetroConfigJson.IsOne(Path.Combine(best, Checkpoint.ConfigName))
                ? new(said?.GetValueOrDefault(TrainingKey), isMeasured ? measure : null)
                : null;
        }
        catch (CheckpointException)
        {
            return null;
        }
    }

    /// <summary>Writes a model as the one in a checkpoint's folder.</summary>
    /// <param name="folder">The checkpoint's folder.</param>
    /// <param name="last">The folder of an earlier checkpoint, which holds what is frozen; null: there is none.</param>
    /// <param name="model">The model.</param>
    /// <param name="training">The id of its training; null: it has none.</param>
    /// <param name="measure">Its measure.</param>
    /// <param name="compared">The files of what is frozen that are known.</param>
    /// <returns>Where it is.</returns>
    /// <exception cref="CheckpointException">It cannot be written.</exception>
    public static string Save(string folder, string? last, RetroModel model, string? training, double measure, ComparedFiles compared)
    {
        string best = Path.Combine(folder, Trainer.BestFolder);
        Dictionary<string, string> notes = new() { [MeasureKey] = measure.ToString("R", CultureInfo.InvariantCulture) };
        if (training is not null)
        {
            notes[TrainingKey] = training;
        }

        Checkpoint.SaveAfter(last, best, model, new(), notes, compared);
        return best;
    }

    /// <summary>
    /// Has the files of that of another training taken away with what a checkpoint replaces, so that a kill leaves no half of each; <see cref="Delete"/> takes
    /// the folder.
    /// </summary>
    /// <param name="folder">The checkpoint's folder.</param>
    /// <param name="staged">The checkpoint's files.</param>
    public static void Remove(string folder, StagedFiles staged)
    {
        string best = Path.Combine(folder, Trainer.BestFolder);
        if (FileIdentity.IsLink(best))
        {
            return; // what it leads to stays, and the link alone goes
        }

        foreach (string path in WeightFolder.FilesOf(best).Append(Path.Combine(best, Checkpoint.ConfigName)))
        {
            staged.Remove(path);
        }
    }

    /// <summary>Deletes what is left of that of another training.</summary>
    /// <exception cref="CheckpointException">It cannot be deleted.</exception>
    public static void Delete(string folder)
    {
        try
        {
            Directory.Delete(Path.Combine(folder, Trainer.BestFolder), recursive: true);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(
                $"The checkpoint is in '{folder}', and beside it the best model of a training before cannot be deleted ({exception.Message}); delete "
                    + $"'{Trainer.BestFolder}' yourself.",
                exception);
        }
    }
}
