using Retro.Corpora;
using Retro.Pretrained;
using static TorchSharp.torch;

namespace Retro.Cli.Experiments;

/// <summary>What the command line said.</summary>
/// <param name="Model">A Hugging Face folder, a llama2.c file, or a checkpoint of Retro; null: a decoder is trained first, on half of the corpus.</param>
/// <param name="Tokenizer">Folder or llama2.c file of the tokenizer; null for the one beside the model.</param>
/// <param name="Corpus">Folder or file to read; null for the documentation of the .NET reference packs.</param>
/// <param name="DecoderSteps">Steps of the decoder that is trained first.</param>
/// <param name="Steps">Steps of fitting, and of the decoder that is trained on instead.</param>
/// <param name="Output">Folder for everything that is written.</param>
/// <param name="Seed">Seed of every random choice.</param>
/// <param name="MostBytes">Most text to take from the corpus, in bytes of UTF-8.</param>
/// <param name="Dtype">Type that the decoder, given or trained, is computed and fitted onto in.</param>
/// <param name="SkipBroken">Whether to leave out what cannot be read.</param>
/// <param name="Unfreeze">What of the decoder is trained.</param>
/// <param name="GateRank">Rank of the low-rank gate; null for full matrices.</param>
internal sealed record RetrofitSettings(
    string? Model,
    string? Tokenizer,
    string? Corpus,
    int DecoderSteps,
    int Steps,
    string Output,
    int Seed,
    long MostBytes,
    ScalarType Dtype,
    bool SkipBroken,
    RetrofitUnfreeze Unfreeze,
    int? GateRank);
