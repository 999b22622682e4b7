using Retro.Corpora;
using static TorchSharp.torch;

namespace Retro.Cli.Quickstart;

/// <summary>What the command line said.</summary>
/// <param name="Corpus">Folder or file to read; null for the documentation of the .NET reference packs.</param>
/// <param name="Time">Time for the whole run.</param>
/// <param name="Output">Folder for everything that is written.</param>
/// <param name="Seed">Seed of every random choice.</param>
/// <param name="MostBytes">Most text to take from the corpus, in bytes of UTF-8.</param>
/// <param name="Reading">How the corpus is read.</param>
/// <param name="Embedder">Folder of a pretrained embedder; null to train a small one on the corpus.</param>
/// <param name="Dtype">Type that the models are trained in; null: the one that the processor trains best in.</param>
/// <param name="Resume">Whether to go on with the run that the folder holds.</param>
internal sealed record QuickstartOptions(
    string? Corpus, TimeSpan Time, string Output, long Seed, long MostBytes, CorpusOptions Reading, string? Embedder, ScalarType? Dtype, bool Resume);
