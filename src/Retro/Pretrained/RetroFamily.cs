using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>A decoder that was trained here, as <see cref="Checkpoint"/> saves it: the names are ours already.</summary>
internal sealed class RetroFamily : DecoderFamily
{
    public override string ModelType => RetroConfigJson.ModelType;

    public override string Architecture => "RetroForCausalLM";

    public override string Prefix => "";

    public override string Head => "head.weight";

    public override int? ContextLength(StrictJson config) => config.Integer("maximum_length");

    public override RetroConfig Configure(StrictJson config)
    {
        RetroConfig read;
        try
        {
            read = RetroConfigJson.Read(config.Whole());
        }
        catch (CheckpointException exception)
        {
            throw config.Fault(exception.Message.TrimEnd('.'));
        }

        return !read.HasRetrieval
            ? read
            : throw config.Fault("\"retrieval\" is there: the model retrieves already; load it with Checkpoint.Load, or name a decoder without");
    }

    public override IEnumerable<StoredTensor> Tensors(RetroConfig config) => config.Parameters()
        .Where(parameter => parameter.Name != Head)
        .Select(parameter => StoredTensor.Same(parameter.Name, parameter.Name, [.. parameter.Shape]));

    public override bool IsBuffer(string name) => false;
}
