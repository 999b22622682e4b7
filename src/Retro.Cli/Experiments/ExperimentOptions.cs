using Retro.Corpora;
using static TorchSharp.torch;

namespace Retro.Cli.Experiments;

/// <summary>What every experiment is told.</summary>
/// <param name="Corpus">Folder or file to read; null for the documentation of the .NET reference packs.</param>
/// <param name="Output">Folder for everything that is written.</param>
/// <param name="MostBytes">Most text to take from the corpus, in bytes of UTF-8.</param>
/// <param name="Seed">Seed of every random choice.</param>
/// <param name="Device">Where everything computes; null: the processor.</param>
/// <param name="Dtype">Type that the models are trained and measured in.</param>
/// <param name="Reading">How the corpus is read.</param>
/// <param name="StartOver">Whether the models that an earlier run has left in the same folder are replaced.</param>
/// <param name="Resume">Whether what an earlier run has made in the same folder is taken.</param>
internal sealed record ExperimentOptions(
    string? Corpus, string Output, long MostBytes, long Seed, Device? Device, ScalarType Dtype, CorpusOptions Reading, bool StartOver, bool Resume = false);
