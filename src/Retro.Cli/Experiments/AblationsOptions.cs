using static TorchSharp.torch;

namespace Retro.Cli.Experiments;

/// <summary>What the command line said.</summary>
/// <param name="Corpus">Folder or file to read; null for the documentation of the .NET reference packs.</param>
/// <param name="Output">Folder for everything that is written.</param>
/// <param name="MostBytes">Most text to take from the corpus, in bytes of UTF-8.</param>
/// <param name="Steps">Steps of each training; what is fitted takes half as many.</param>
/// <param name="Seed">The seed.</param>
/// <param name="Only">The variants to train; empty: all.</param>
/// <param name="Device">Where everything computes; null: on the processor.</param>
/// <param name="Dtype">Type that the models are trained and measured in.</param>
/// <param name="Resume">Whether what a former run has measured in the same folder is taken.</param>
/// <param name="SkipBroken">Whether unreadable files and lines are left out rather than refused.</param>
/// <param name="StartOver">Whether the models that an earlier run has left in the same folder are replaced.</param>
internal sealed record AblationsOptions(
    string? Corpus,
    string Output,
    long MostBytes,
    int Steps,
    int Seed,
    IReadOnlyList<string> Only,
    Device? Device,
    ScalarType Dtype,
    bool Resume,
    bool SkipBroken,
    bool StartOver);
