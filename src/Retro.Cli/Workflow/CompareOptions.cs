using Retro.Corpora;
using static TorchSharp.torch;

namespace Retro.Cli.Workflow;

/// <summary>What is compared, and on what.</summary>
/// <param name="Corpus">Folder or file to read; null for the documentation of the .NET reference packs.</param>
/// <param name="Output">Folder for everything that is written.</param>
/// <param name="MostBytes">Most text to take from the corpus, in bytes of UTF-8.</param>
/// <param name="MeasuredCharacters">Characters of held-out text that are measured; the longest documents are cut.</param>
/// <param name="Questions">Questions that are measured where answers are compared.</param>
/// <param name="Seeds">How many times everything is trained, each time with another seed.</param>
/// <param name="Steps">Steps of the decoder; what is learned on top of it takes half as many, and a retriever a sixth.</param>
/// <param name="Device">Where everything computes; null: the processor.</param>
/// <param name="Dtype">Type that the models are trained and measured in.</param>
/// <param name="Reading">How the corpus is read.</param>
/// <param name="StartOver">Whether the models that an earlier run has left in the same folder are replaced.</param>
internal sealed record CompareOptions(
    string? Corpus,
    string Output,
    long MostBytes,
    long MeasuredCharacters,
    int Questions,
    int Seeds,
    int Steps,
    Device? Device,
    ScalarType Dtype,
    CorpusOptions Reading,
    bool StartOver)
{
    /// <summary>Steps of what is learned on top of the decoder.</summary>
    public int FittingSteps => Recipe.Fitting(Steps);

    /// <summary>Steps of a retriever's training.</summary>
    public int RetrieverSteps => Math.Max(1, Steps / 6);
}
