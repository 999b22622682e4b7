using static TorchSharp.torch;

namespace Retro.Cli.Experiments;

/// <summary>What the command line said.</summary>
/// <param name="Corpus">Folder or file to read; null for the documentation of the .NET reference packs.</param>
/// <param name="Output">Folder for everything that is written.</param>
/// <param name="MostBytes">Most text to take from the corpus, in bytes of UTF-8.</param>
/// <param name="Seeds">How many times everything is trained, each time with another seed.</param>
/// <param name="FirstSeed">The first of them; the others follow it.</param>
/// <param name="Steps">Steps of each training.</param>
/// <param name="Time">Time to train the closed book; a RETRO then has as many steps as this was enough for. Null: by <paramref name="Steps"/>.</param>
/// <param name="Neighbors">Neighbors that are copied from.</param>
/// <param name="Retro">Whether a RETRO is trained too.</param>
/// <param name="Ladder">How many times the parameters larger decoders have, about, that are trained alone for as many steps.</param>
/// <param name="TrainOnly">Whether nothing is measured; a run that takes what was trained does that.</param>
/// <param name="Device">Where everything computes; null: the processor.</param>
/// <param name="Dtype">Type that the models are trained and measured in.</param>
/// <param name="Resume">Whether to take what a former run in the same folder has trained.</param>
/// <param name="Records">Whether to write what each token costs each reader.</param>
/// <param name="SkipBroken">Whether unreadable files and lines are left out rather than refused.</param>
/// <param name="StartOver">Whether the models that an earlier run has left in the same folder are replaced.</param>
internal sealed record EvaluateOptions(
    string? Corpus,
    string Output,
    long MostBytes,
    int Seeds,
    int FirstSeed,
    int Steps,
    TimeSpan? Time,
    int Neighbors,
    bool Retro,
    IReadOnlyList<double> Ladder,
    bool TrainOnly,
    Device? Device,
    ScalarType Dtype,
    bool Resume,
    bool Records,
    bool SkipBroken,
    bool StartOver);
