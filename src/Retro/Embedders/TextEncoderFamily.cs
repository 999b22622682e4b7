using Retro.Checkpoints;

namespace Retro.Embedders;

/// <summary>
/// How one of the families of encoders that Hugging Face has names its sizes and weights. All are BERT's transformer; RoBERTa (arXiv 1907.11692; XLM-R,
/// BGE-M3, multilingual E5 and CamemBERT are of its kind) and MPNet (arXiv 2004.09297) begin the positions behind rows for padding, MPNet adds a learned
/// number for the distance of two tokens, and it and DistilBERT (arXiv 1910.01108) have no token types.
/// </summary>
/// <param name="Kinds">"model_type" in config.json; that it is saved as comes first.</param>
/// <param name="Classes">How the names of its classes ("architectures") begin; that it is saved as comes first.</param>
/// <param name="VocabularySize">"vocab_size" where config.json does not say it.</param>
internal sealed record TextEncoderFamily(string[] Kinds, string[] Classes, int VocabularySize)
{
    /// <summary>RoBERTa and what is trained like it.</summary>
    private static readonly TextEncoderFamily s_roberta = new(["roberta", "xlm-roberta", "camembert"], ["Roberta", "XLMRoberta", "Camembert"], 50265);

    private static readonly TextEncoderFamily s_mpnet = new(["mpnet"], ["MPNet"], 30527)
    {
        TokenTypes = null,
        Names =
        [
            ("attention.attn.q", "attention.self.query"), ("attention.attn.k", "attention.self.key"), ("attention.attn.v", "attention.self.value"),
            ("attention.attn.o", "attention.output.dense"), ("attention.LayerNorm", "attention.output.LayerNorm"),
        ],
    };

    private static readonly TextEncoderFamily s_distilBert = new(["distilbert"], ["DistilBert"], 30522)
    {
        Width = "dim", Layers = "n_layers", UsualLayers = 6, Heads = "n_heads", FeedForwardSize = "hidden_dim", Activation = "activation",
        TokenTypes = null, LayerNormEpsilon = null,
        Names =
        [
            ("transformer.layer", "encoder.layer"), ("attention.q_lin", "attention.self.query"), ("attention.k_lin", "attention.self.key"),
            ("attention.v_lin", "attention.self.value"), ("attention.out_lin", "attention.output.dense"), ("sa_layer_norm", "attention.output.LayerNorm"),
            ("ffn.lin1", "intermediate.dense"), ("ffn.lin2", "output.dense"), ("output_layer_norm", "output.LayerNorm"),
        ],
    };

    /// <summary>ModernBERT (arXiv 2412.13663), whose layers are others.</summary>
    private static readonly TextEncoderFamily s_modernBert = new(["modernbert"], ["ModernBert"], 50368)
    {
        UsualLayers = 22, UsualFeedForwardSize = 1152, UsualPositions = 8192, Activation = "hidden_activation",
        TokenTypes = null, LayerNormEpsilon = "norm_eps", UsualEpsilon = 1e-5,
        Names =
        [
            ("layers", "encoder.layer"), ("final_norm", "encoder.final_norm"), ("tok_embeddings", "word_embeddings"),
            ("embeddings.norm", "embeddings.LayerNorm"),
        ],
    };

    private static readonly TextEncoderFamily s_bert = new(["bert"], ["Bert"], 30522);

    private static readonly TextEncoderFamily[] s_all = [s_bert, s_roberta, s_mpnet, s_distilBert, s_modernBert];

    /// <summary>The key of the width.</summary>
    public string Width { get; private init; } = "hidden_size";

    /// <summary>The key of the number of layers.</summary>
    public string Layers { get; private init; } = "num_hidden_layers";

    /// <summary>The number of layers where config.json does not say it.</summary>
    public int UsualLayers { get; private init; } = 12;

    /// <summary>The key of the number of heads.</summary>
    public string Heads { get; private init; } = "num_attention_heads";

    /// <summary>The key of the inner width.</summary>
    public string FeedForwardSize { get; private init; } = "intermediate_size";

    /// <summary>The inner width where config.json does not say it.</summary>
    public int UsualFeedForwardSize { get; private init; } = 3072;

    /// <summary>The number of positions where config.json does not say it.</summary>
    public int UsualPositions { get; private init; } = 512;

    /// <summary>The key of the function within the feed-forward sub-layers.</summary>
    public string Activation { get; private init; } = "hidden_act";

    /// <summary>The key of the number of token types; null: there are none.</summary>
    public string? TokenTypes { get; private init; } = "type_vocab_size";

    /// <summary>The key of what layer norms add; null: always 1e-12.</summary>
    public string? LayerNormEpsilon { get; private init; } = "layer_norm_eps";

    /// <summary>What layer norms add where config.json does not say it.</summary>
    public double UsualEpsilon { get; private init; } = 1e-12;

    /// <summary>Whether the distance of two tokens adds to their attention score.</summary>
    public bool RelativePositions => this == s_mpnet;

    /// <summary>Whether its layers are <see cref="ModernLayers"/>.</summary>
    public bool IsModern => this == s_modernBert;

    /// <summary>Parts of names, as they are stored and as <see cref="TextEncoder"/> has them; those that hold another come before it.</summary>
    private (string Stored, string Own)[] Names { get; init; } = [];

    /// <summary>The family that a configuration is of.</summary>
    public static TextEncoderFamily Of(TextEncoderConfig config)
        => config.Modern is not null ? s_modernBert
            : config.RelativePositions ? s_mpnet : config.FirstPosition > 0 ? s_roberta : config.TokenTypes == 0 ? s_distilBert : s_bert;

    /// <summary>The family that a config.json names.</summary>
    /// <exception cref="CheckpointException">It names none of these.</exception>
    public static TextEncoderFamily Read(StrictJson config)
    {
        string supported = string.Join(", ", s_all.SelectMany(family => family.Kinds).Select(kind => $"\"{kind}\""));
        string? kind = config.Text("model_type");
        string[] architectures = config.Texts("architectures") ?? [];
        return kind is not null
            ? Array.Find(s_all, family => family.Kinds.Contains(kind)) ?? throw config.Unsupported("model_type", $"\"{kind}\"", supported)
            : Array.Find(s_all, family => architectures.Any(name => family.Classes.Any(begin => name.StartsWith(begin, StringComparison.Ordinal))))
                ?? throw (architectures.Length > 0
                    ? config.Unsupported("architectures", string.Join(", ", architectures), supported)
                    : config.Fault($"\"model_type\" is missing; supported is {supported}"));
    }

    /// <summary>The row of the position embedding that a text's first token has: those before it are for padding.</summary>
    public int FirstPosition(StrictJson config)
    {
        int padding = config.Integer("pad_token_id") ?? 1;
        return this == s_mpnet ? 2 : this == s_roberta ? padding + 1 : 0;
    }

    /// <summary>The name that <see cref="TextEncoder"/> has for a stored weight.</summary>
    public string Own(string stored)
        => Names.Aggregate($".{stored}", (name, pair) => name.Replace($".{pair.Stored}.", $".{pair.Own}.", StringComparison.Ordinal))[1..];

    /// <summary>The name that a weight is stored under.</summary>
    public string Stored(string own)
        => Names.Aggregate($".{own}", (name, pair) => name.Replace($".{pair.Own}.", $".{pair.Stored}.", StringComparison.Ordinal))[1..];
}
