using System.Text.Json;
using Retro.Checkpoints;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Embedders;

public sealed partial class TextEmbedder
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    /// <summary>Loads an embedder: one that <see cref="Save"/> wrote, or a Hugging Face folder of a BERT, RoBERTa, XLM-R, CamemBERT, MPNet, DistilBERT or
    /// ModernBERT, or of sentence-transformers with one of these.</summary>
    /// <param name="folder">
    /// The folder: config.json, model.safetensors (or shards with an index) and the tokenizer's files; modules.json and what belongs to it decide pooling,
    /// normalization and maximum length. Without them, vectors are the mean over all tokens, as sentence-transformers takes a plain BERT. Of the prompts that
    /// config_sentence_transformers.json names, <see cref="Prompt"/> is its "default_prompt_name", the one for texts of which nothing else is said. Without
    /// one, it is that of queries where documents have a prompt, too (E5 and the like, whose card says so for texts that are compared with their like), that
    /// of documents where they alone have one, and empty where queries alone do: a chunk is a document, which such a model reads bare.
    /// </param>
    /// <param name="device">Where the weights are to lie; the CPU by default. They are float32, whatever is stored.</param>
    /// <param name="progress">Stages "load tokenizer" and "load weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    /// <returns>The embedder.</returns>
    /// <exception cref="CheckpointException">
    /// A file is missing, damaged or a pickle; the architecture is not known; a value that would change the vectors is not supported, or a key not known; files
    /// contradict each other; or the tokenizer is that of another model, or does not put one token on each side of a text, where the folder is not one that
    /// <see cref="Save"/> wrote.
    /// </exception>
    /// <exception cref="CorpusException">The folder holds no tokenizer, or its files are damaged.</exception>
    public static TextEmbedder Load(
        string folder, Device? device = null, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        TorchLibrary.Require();
        TextEncoderFolder read = TextEncoderFolder.Read(folder);
        RetroTokenizer tokenizer = RetroTokenizer.Load(read.WeightFolder, progress, cancellationToken);
        TextEncoderFolder.RequireCutEnds(read.WeightFolder);
        if (read.Identity is null)
        {
            TextFrame.RequireTemplate(tokenizer, read.WeightFolder);
        }

        TextEncoder encoder = TextEncoderWeights.Load(read.Config, read.WeightFolder, read.DenseFolder, progress, cancellationToken);
        try
        {
            if (device is not null)
            {
                encoder.to(device);
            }

            TextEmbedder embedder = new(encoder, tokenizer, read.LowerCase, read.Prompt) { Prompts = read.Prompts };
            return read.Identity is null || read.Identity == embedder.Identity ? embedder
                : throw new CheckpointException(
                    $"{folder} holds parts of different embedders, or a file was changed: its config.json names the identity {read.Identity}, its weights "
                        + $"and tokenizer make {embedder.Identity}. Save it again from its source.");
        }
        catch
        {
            encoder.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Saves the embedder as a sentence-transformers folder: config.json, model.safetensors, modules.json, 1_Pooling/config.json, 2_Dense where the encoder has
    /// one, sentence_bert_config.json, config_sentence_transformers.json where there are prompts, and the tokenizer's files.
    /// </summary>
    /// <remarks>
    /// Other programs open it where the tokenizer is a BERT's <c>vocab.txt</c> or a <c>tokenizer.json</c>. One that <see cref="BpeTrainer"/> trained they do
    /// not know from its files, nor how a text is framed for it: such a folder is for <see cref="Load"/>, and its weights for all.
    /// Every file is written beside its place, and all take their names when the last is whole. config.json comes last and names the whole's
    /// <see cref="Identity"/>, so that a folder half replaced is found out when it is loaded.
    /// </remarks>
    /// <param name="folder">The folder; made where it is missing, an embedder that was saved there is replaced.</param>
    /// <param name="progress">Stage "save weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors; what was there before stays.</param>
    /// <exception cref="CheckpointException">A file cannot be written, or the folder holds another model, which would be lost. Or a training, or another
    /// saving, has the folder, and is named.</exception>
    public void Save(string folder, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        WeightFolder.RequireReplaceable(
            folder, "an embedder that Retro saved", path => WeightFolder.ConfigText(path, TextEncoderFolder.IdentityKey) is not null);
        using Use use = Hold();
        TextEncoderConfig config = Encoder.Config;
        TextEncoderFamily family = TextEncoderFamily.Of(config);
        const string DensePrefix = $"{TextEncoder.DenseName}.";
        ILookup<bool, (string Name, Tensor Weight)> parts = Encoder.named_parameters()
            .Select(pair => (pair.name, (Tensor)pair.parameter))
            .ToLookup(pair => pair.name.StartsWith(DensePrefix, StringComparison.Ordinal));
        KeyValuePair<string, Tensor>[] weights = [.. parts[false].Select(pair => KeyValuePair.Create(family.Stored(pair.Name), pair.Weight))];
        KeyValuePair<string, Tensor>[] dense =
            [.. parts[true].Select(pair => KeyValuePair.Create(TextEncoderWeights.DensePrefix + pair.Name[DensePrefix.Length..], pair.Weight))];
        StageCounter counter = Safetensors.Saving(weights.Length + dense.Length, progress, cancellationToken);
        using WriterLock writing = WriterLock.TakeOfCheckpoint(folder, "save an embedder");
        using StagedFiles staged = new(folder, CheckpointException.Of);
        _tokenizer.Stage(staged, folder);
        Safetensors.Stage(staged, Path.Combine(folder, WeightFolder.SingleName), weights, Metadata(), counter);
        staged.Remove(Path.Combine(folder, TextEncoderFolder.PromptsName)); // an earlier one's, where there are none now
        if (Prompt.Length > 0 || Prompts.Count > 0)
        {
            Dictionary<string, string> prompts = new(Prompts);
            string kind = Prompts.FirstOrDefault(pair => pair.Value == Prompt).Key ?? "text";
            prompts[kind] = Prompt;
            WriteJson(TextEncoderFolder.PromptsName, new { prompts, default_prompt_name = kind });
        }

        WriteJson("sentence_bert_config.json", new { max_seq_length = config.MaximumLength, do_lower_case = LowerCase });
        WriteJson("1_Pooling/config.json", new
        {
            word_embedding_dimension = config.Width,
            pooling_mode_cls_token = config.Pooling == TextPooling.FirstToken,
            pooling_mode_mean_tokens = config.Pooling == TextPooling.Mean,
            pooling_mode_max_tokens = config.Pooling == TextPooling.Max,
            pooling_mode_mean_sqrt_len_tokens = config.Pooling == TextPooling.MeanSquareRoot,
        });
        if (config.Dense is { } said)
        {
            Safetensors.Stage(staged, Path.Combine(folder, "2_Dense", WeightFolder.SingleName), dense, Metadata(), counter);
            WriteJson("2_Dense/config.json", new
            {
                in_features = config.Width,
                out_features = said.Width,
                bias = said.HasBias,
                activation_function = said.HasTanh ? TextEncoderFolder.Tanh : TextEncoderFolder.NoActivation,
            });
        }

        string[] modules = ["Transformer", "Pooling", .. Module("Dense", config.Dense is not null), .. Module("Normalize", config.Normalize)];
        WriteJson(
            "modules.json",
            modules.Select((kind, i) => new { idx = i, name = $"{i}", path = i == 0 ? "" : $"{i}_{kind}", type = $"sentence_transformers.models.{kind}" }));
        Dictionary<string, object?> written = new()
        {
            ["model_type"] = family.Kinds[0],
            ["architectures"] = new[] { $"{family.Classes[0]}Model" },
            ["vocab_size"] = config.VocabularySize,
            [family.Width] = config.Width,
            [family.Layers] = config.Layers,
            [family.Heads] = config.Heads,
            [family.FeedForwardSize] = config.FeedForwardSize,
            ["max_position_embeddings"] = config.MaximumPositions,
            [family.Activation] = ActivationNames.NameOf(config.Activation),
            ["position_embedding_type"] = "absolute",
            ["hidden_dropout_prob"] = 0,
            ["attention_probs_dropout_prob"] = 0,
            [TextEncoderFolder.IdentityKey] = Identity,
        };
        if (family.TokenTypes is { } types)
        {
            written[types] = config.TokenTypes;
        }

        if (family.LayerNormEpsilon is { } epsilon)
        {
            written[epsilon] = config.LayerNormEpsilon;
        }

        if (config.FirstPosition > 0)
        {
            written["pad_token_id"] = config.FirstPosition - 1;
        }

        if (config.Modern is { } modern)
        {
            ModernLayersJson.Write(modern, written);
        }

        WriteJson("config.json", written);
        staged.Commit();
        counter.End();

        static Dictionary<string, string> Metadata() => new() { ["format"] = "pt" };

        static string[] Module(string kind, bool present) => present ? [kind] : [];

        void WriteJson(string name, object value) => staged.WriteText(Path.Combine(folder, name), JsonSerializer.Serialize(value, s_indented));
    }
}
