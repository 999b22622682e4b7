using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>
/// One architecture of Hugging Face's transformers, or ours: how its config.json and its tensors' names become ours. A new family is one class like this.
/// </summary>
internal abstract class DecoderFamily
{
    /// <summary>Every family there is.</summary>
    public static IReadOnlyList<DecoderFamily> All { get; } = [
        new LlamaFamily(), new MistralFamily(), new Qwen2Family(), new Qwen3Family(), new Olmo2Family(), new Phi3Family(), new SmolLm3Family(),
        new Gemma3TextFamily(), new Gpt2Family(), new GptNeoFamily(), new GptNeoXFamily(), new RetroFamily(),
    ];

    /// <summary>What <c>model_type</c> says.</summary>
    public abstract string ModelType { get; }

    /// <summary>What <c>architectures</c> says.</summary>
    public abstract string Architecture { get; }

    /// <summary>Name of the model within the model with its head; the bare model's tensors are stored without.</summary>
    public abstract string Prefix { get; }

    /// <summary>Name of the output head's weight, without prefix.</summary>
    public abstract string Head { get; }

    /// <summary>The family as a config has it, where that decides how tensors become ours.</summary>
    public virtual DecoderFamily For(StrictJson config) => this;

    /// <summary>The context length that the config says.</summary>
    public virtual int? ContextLength(StrictJson config) => config.Integer("max_position_embeddings");

    /// <summary>Reads every key that decides the result; what is not supported is refused by name.</summary>
    public abstract RetroConfig Configure(StrictJson config);

    /// <summary>Keys that change nothing in a config of this family, beside those that change nothing in any.</summary>
    public virtual string[] WithoutEffect => [];

    /// <summary>The tensors of the file, after the prefix and without the head.</summary>
    public abstract IEnumerable<StoredTensor> Tensors(RetroConfig config);

    /// <summary>Whether a tensor, named after the prefix, is a buffer that follows from the configuration.</summary>
    public abstract bool IsBuffer(string name);

    /// <summary>The family of a config.</summary>
    /// <exception cref="CheckpointException">It is not known; the message names those that are.</exception>
    public static DecoderFamily Of(StrictJson config)
    {
        string known = string.Join(", ", All.Select(family => $"\"{family.ModelType}\" ({family.Architecture})"));
        string? type = config.Text("model_type");
        string[]? architectures = config.Texts("architectures");
        DecoderFamily family = type is null
            ? All.FirstOrDefault(family => architectures?.Contains(family.Architecture) == true)
                ?? throw config.Fault($"\"model_type\" is missing; known are {known}")
            : All.FirstOrDefault(family => family.ModelType == type) ?? throw config.Unsupported("model_type", $"\"{type}\"", known);
        string bare = family.Architecture.Replace("LMHeadModel", "Model", StringComparison.Ordinal).Replace("ForCausalLM", "Model", StringComparison.Ordinal);
        if (architectures is { Length: > 0 } && !architectures.Contains(family.Architecture) && !architectures.Contains(bare))
        {
            throw config.Unsupported("architectures", string.Join(", ", architectures), $"{family.Architecture} for \"model_type\" \"{family.ModelType}\"");
        }

        return family.For(config);
    }

    /// <summary>The size of a head where nothing says it: width / heads, which has to come out whole.</summary>
    protected static int HeadSize(StrictJson config, string widthKey, int width, string headsKey, int heads)
        => width % heads == 0 ? width / heads : throw config.Fault($"\"{widthKey}\" {width} has to be a multiple of \"{headsKey}\" {heads}");

    /// <summary>Those layers, from 1, that something holds of; a file may say any number of layers, which is not checked yet.</summary>
    protected static LayerList Layers(int layers, Func<int, bool> holds) => [.. Enumerable.Range(1, Math.Min(layers, RetroConfig.MostLayers)).Where(holds)];

    /// <summary>A configuration with a window in some layers, from 1; null: there is none.</summary>
    protected static RetroConfig WithWindow(RetroConfig common, int? window, LayerList layers)
        => window is null || layers.Count == 0 ? common : common with { SlidingWindow = window, WindowLayers = layers.Count == common.Layers ? null : layers };

    /// <summary>Whether a name is <c>stem.NUMBER.ending</c> with one of the endings.</summary>
    protected static bool IsInLayer(string name, string stem, params string[] endings)
    {
        if (!name.StartsWith(stem + ".", StringComparison.Ordinal))
        {
            return false;
        }

        string rest = name[(stem.Length + 1)..];
        int dot = rest.IndexOf('.', StringComparison.Ordinal);
        return dot > 0 && rest.AsSpan(0, dot).IndexOfAnyExceptInRange('0', '9') < 0 && endings.Contains(rest[(dot + 1)..]);
    }
}
