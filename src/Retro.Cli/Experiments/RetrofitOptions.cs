using Retro.Pretrained;

namespace Retro.Cli.Experiments;

/// <summary>What retrieval is fitted onto, and how.</summary>
internal sealed record RetrofitOptions : ExperimentOptions
{
    /// <summary>Takes what every experiment is told.</summary>
    public RetrofitOptions(ExperimentOptions common)
        : base(common)
    {
    }

    /// <summary>A Hugging Face folder, a llama2.c file, or a checkpoint of Retro; null: a decoder is trained first, on half of the corpus.</summary>
    public required string? Model { get; init; }

    /// <summary>Folder or llama2.c file of the tokenizer; null for the one beside the model.</summary>
    public required string? Tokenizer { get; init; }

    /// <summary>Steps of the decoder that is trained first.</summary>
    public required int DecoderSteps { get; init; }

    /// <summary>Steps of fitting, and of the decoder that is trained on instead.</summary>
    public required int Steps { get; init; }

    /// <summary>What of the decoder is trained.</summary>
    public required RetrofitUnfreeze Unfreeze { get; init; }

    /// <summary>Rank of the low-rank gate; null for full matrices.</summary>
    public required int? GateRank { get; init; }
}
