using System.Text.Json;
using Retro.Checkpoints;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Embedders;

public sealed partial class TextEmbedder
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    /// <summary>Loads an embedder: one that <see cref="Save"/> wrote, or a Hugging Face BERT or sentence-transformers folder.</summary>
    /// <param name="folder">
    /// The folder: config.json, model.safetensors (or shards with an index) and the tokenizer's files; modules.json and what belongs to it decide pooling, normalization and maximum length.
    /// Without them, vectors are the mean over all tokens, as sentence-transformers takes a plain BERT.
    /// </param>
    /// <param name="device">Where the weights are to lie; the CPU by default. They are float32, whatever is stored.</param>
    /// <returns>The embedder.</returns>
    /// <exception cref="CheckpointException">A file is missing, damaged or a pickle; the architecture is not known; a value that would change the vectors is not supported; or files contradict each other.</exception>
    /// <exception cref="CorpusException">The folder holds no tokenizer, or its files are damaged.</exception>
    /// <exception cref="RetroException">The tokenizer is that of another model.</exception>
    public static TextEmbedder Load(string folder, Device? device = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        TorchLibrary.Require();
        TextEncoderFolder read = TextEncoderFolder.Read(folder);
        RetroTokenizer tokenizer = RetroTokenizer.Load(read.WeightFolder);
        TextEncoder encoder = TextEncoderWeights.Load(read.Config, read.WeightFolder);
        try
        {
            if (device is not null)
            {
                encoder.to(device);
            }

            TextEmbedder embedder = new(encoder, tokenizer, read.LowerCase);
            return read.Identity is null || read.Identity == embedder.Identity ? embedder
                : throw new CheckpointException($"{folder} holds parts of different embedders, or a file was changed: its config.json names the identity {read.Identity}, its weights and tokenizer make {embedder.Identity}. Save it again from its source.");
        }
        catch
        {
            encoder.Dispose();
            throw;
        }
    }

    /// <summary>Saves the embedder as a sentence-transformers folder: config.json, model.safetensors, modules.json, 1_Pooling/config.json, sentence_bert_config.json, and the tokenizer's files.</summary>
    /// <remarks>Every file is written beside its place and renamed; config.json comes last and names the whole's <see cref="Identity"/>, so that a folder half replaced is found out when it is loaded.</remarks>
    /// <param name="folder">The folder; made where it is missing, files in it are replaced.</param>
    /// <exception cref="CheckpointException">A file cannot be written.</exception>
    /// <exception cref="CorpusException">A file of the tokenizer cannot be written.</exception>
    public void Save(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        TextEncoderConfig config = Encoder.Config;
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"The folder {folder} cannot be made: {exception.Message}", exception);
        }

        _tokenizer.Save(folder);
        Safetensors.Write(
            Path.Combine(folder, "model.safetensors"),
            Encoder.named_parameters().Select(pair => KeyValuePair.Create<string, Tensor>(pair.name, pair.parameter)),
            new Dictionary<string, string> { ["format"] = "pt" });
        WriteJson(folder, "sentence_bert_config.json", new { max_seq_length = config.MaximumLength, do_lower_case = LowerCase });
        WriteJson(folder, "1_Pooling/config.json", new
        {
            word_embedding_dimension = config.Width,
            pooling_mode_cls_token = config.Pooling == TextPooling.FirstToken,
            pooling_mode_mean_tokens = config.Pooling == TextPooling.Mean,
            pooling_mode_max_tokens = config.Pooling == TextPooling.Max,
            pooling_mode_mean_sqrt_len_tokens = config.Pooling == TextPooling.MeanSquareRoot,
        });
        string[] modules = ["Transformer", "Pooling", .. config.Normalize ? new[] { "Normalize" } : []];
        WriteJson(folder, "modules.json", modules.Select((kind, i) => new { idx = i, name = $"{i}", path = i == 0 ? "" : $"{i}_{kind}", type = $"sentence_transformers.models.{kind}" }));
        WriteJson(folder, "config.json", new Dictionary<string, object>
        {
            ["model_type"] = "bert",
            ["architectures"] = new[] { "BertModel" },
            ["vocab_size"] = config.VocabularySize,
            ["hidden_size"] = config.Width,
            ["num_hidden_layers"] = config.Layers,
            ["num_attention_heads"] = config.Heads,
            ["intermediate_size"] = config.FeedForwardSize,
            ["max_position_embeddings"] = config.MaximumPositions,
            ["type_vocab_size"] = config.TokenTypes,
            ["layer_norm_eps"] = config.LayerNormEpsilon,
            ["hidden_act"] = config.Activation switch
            {
                EncoderActivation.GeluTanh => "gelu_new",
                EncoderActivation.Relu => "relu",
                EncoderActivation.Silu => "silu",
                _ => "gelu",
            },
            ["position_embedding_type"] = "absolute",
            ["hidden_dropout_prob"] = 0,
            ["attention_probs_dropout_prob"] = 0,
            [TextEncoderFolder.IdentityKey] = Identity,
        });
    }

    private static void WriteJson(string folder, string name, object value)
        => AtomicFile.WriteText(Path.Combine(folder, name), JsonSerializer.Serialize(value, s_indented), (message, exception) => new CheckpointException(message, exception));
}
