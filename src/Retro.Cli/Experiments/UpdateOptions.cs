using static TorchSharp.torch;

namespace Retro.Cli.Experiments;

/// <summary>What the command line said.</summary>
/// <param name="Corpus">Folder or file to read; null for the documentation of the .NET reference packs.</param>
/// <param name="Subject">How the ids of the documents begin that are new; null: chosen.</param>
/// <param name="Output">Folder for everything that is written.</param>
/// <param name="MostBytes">Most text to take from the corpus, in bytes of UTF-8.</param>
/// <param name="Steps">Steps of the decoder's training.</param>
/// <param name="Seed">Seed of every random choice.</param>
/// <param name="Dtype">Type that the models are trained and measured in.</param>
internal sealed record UpdateOptions(string? Corpus, string? Subject, string Output, long MostBytes, int Steps, int Seed, ScalarType Dtype);
