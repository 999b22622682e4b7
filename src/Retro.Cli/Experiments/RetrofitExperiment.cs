using System.CommandLine;

namespace Retro.Cli.Experiments;

/// <summary>`retro experiment retrofit`: retrieval fitted onto a decoder, beside the decoder trained on by as many steps.</summary>
internal sealed class RetrofitExperiment : Experiment
{
    private readonly PathOption _model = new("--model", "FOLDER")
    {
        Description = "The pretrained decoder: a Hugging Face folder (Llama, Mistral, Qwen, OLMo 2, Phi-3, SmolLM3, Gemma 3, GPT-2, GPT-Neo, GPT-NeoX), a "
            + "llama2.c file, or a checkpoint of Retro. Default: one is trained first, on half of the corpus; the other half is retrieved from.",
    };

    private readonly PathOption _tokenizer = new("--tokenizer", "FOLDER")
    {
        Description = "Its tokenizer, a folder or a llama2.c file. Default: the one beside the model.",
    };

    private readonly Option<int> _decoderSteps = CommonOptions.Whole("--decoder-steps", "Steps of the decoder that is trained first.", 600, 1, int.MaxValue);
    private readonly Option<int> _steps = CommonOptions.Whole(
        "--steps", "Steps of fitting, of two windows; the decoder is trained on by as many for comparison.", 300, 1, int.MaxValue);

    private readonly Option<string> _unfreeze = CommonOptions.Unfreeze();
    private readonly Option<int?> _rank = CommonOptions.GateRank();

    public RetrofitExperiment()
        : base(
            "retrofit",
            "the seed",
            "Fits retrieval onto a decoder over a corpus, and prints held-out bits per byte of the decoder, of the decoder trained on by as many steps, and of "
                + "the fitted model without retrieval, with random neighbors, and with those that were found.",
            "retro experiment retrofit --corpus docs",
            "retro experiment retrofit --corpus docs --model llama --dtype bfloat16")
        => AddAll(_model, _tokenizer, _decoderSteps, _steps, _unfreeze, _rank, Seed);

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said)
        => said(_model) is null ? Because("the decoder is trained with a tokenizer of its own", _tokenizer) : Because("the decoder is there", _decoderSteps);

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        new RetrofitRun(Common(parsed))
        {
            Model = parsed.GetValue(_model),
            Tokenizer = parsed.GetValue(_tokenizer),
            DecoderSteps = parsed.GetValue(_decoderSteps),
            Steps = parsed.GetValue(_steps),
            Unfreeze = CommonOptions.Unfrozen(parsed, _unfreeze),
            GateRank = parsed.GetValue(_rank),
        }.Run(cancellationToken);
        return Task.CompletedTask;
    }
}
