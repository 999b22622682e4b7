using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Tokenizers;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>
/// A decoder that others have trained, as a retrieval-free <see cref="RetroModel"/>. Read are Hugging Face folders (config.json of transformers 4 or 5, weights
/// as safetensors, in one file or in shards, of F32, F16 or BF16) of Llama, Mistral, Qwen2, Qwen3, OLMo 2, Phi-3 (Phi-3.5, Phi-4-mini), SmolLM3, Gemma 3 (text
/// alone), GPT-2, GPT-Neo (TinyStories) and GPT-NeoX models, llama2.c files of version 0, and checkpoints of decoders that were trained here. What would change
/// the result and is not supported is refused by name.
/// </summary>
public sealed class PretrainedDecoder : IDisposable
{
    private PretrainedDecoder(RetroModel model, PretrainedOrigin origin)
    {
        Model = model;
        Origin = origin;
    }

    /// <summary>The model, in evaluation mode.</summary>
    public RetroModel Model { get; }

    /// <summary>Where it came from.</summary>
    public PretrainedOrigin Origin { get; }

    /// <summary>Loads a decoder.</summary>
    /// <param name="path">A Hugging Face folder, a llama2.c file, or the folder of a <see cref="Checkpoint"/> without retrieval.</param>
    /// <param name="dtype">Type to compute in: float32, float64 or bfloat16.</param>
    /// <param name="device">Where the model is to lie; null: the CPU.</param>
    /// <param name="progress">Stage "load weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    /// <exception cref="CheckpointException">The architecture is not known, a setting is not supported, files are missing or damaged, or they contradict each
    /// other.</exception>
    public static PretrainedDecoder Load(
        string path,
        ScalarType dtype = ScalarType.Float32,
        Device? device = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        Prepare(path);
        (RetroModel model, PretrainedOrigin origin) = Directory.Exists(path)
            ? HuggingFaceOrigin.Load(path, dtype, device, progress, cancellationToken)
            : Llama2COrigin.Load(path, dtype, device, progress, cancellationToken);
        return new(model, origin);
    }

    /// <summary>
    /// Says what a decoder is from its configuration and the names and shapes of its weights. Of these only a head that is stored beside the embedding it is
    /// tied to is read, with that, to see that it is the same.
    /// </summary>
    /// <param name="path">A Hugging Face folder, a llama2.c file, or the folder of a <see cref="Checkpoint"/> without retrieval.</param>
    /// <returns>What <see cref="Load"/> would load.</returns>
    /// <exception cref="CheckpointException">It could not be loaded, and why.</exception>
    public static PretrainedDescription Describe(string path)
    {
        Prepare(path);
        return Directory.Exists(path) ? HuggingFaceOrigin.Describe(path) : Llama2COrigin.Describe(path);
    }

    /// <summary>
    /// Refuses a tokenizer that is not this decoder's. Embeddings padded a little beyond its ids, to a multiple of 8 or by up to a thousandth, are accepted:
    /// many models have such.
    /// </summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <exception cref="CheckpointException">The tokenizer has ids beyond the embedding, or the embedding far more rows than padding explains.</exception>
    /// <exception cref="RetroException">The decoder is known to have been trained with another one.</exception>
    public void RequireTokenizer(RetroTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        PaddedVocabulary.Require(tokenizer, Model.Config.VocabularySize, Origin.Path);
        Model.RequireTokenizer(tokenizer.Hashes);
    }

    /// <summary>Frees the model.</summary>
    public void Dispose() => Model.Dispose();

    // A folder, or a file that may be one of llama2.c's.
    private static void Prepare(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        TorchLibrary.Require();
        StagedFiles.Finish(
            File.Exists(path) ? Path.GetDirectoryName(Path.GetFullPath(path))! : path, CheckpointException.Of);
        if (!Path.Exists(path))
        {
            throw new CheckpointException($"There is neither a folder nor a file {path}. Name a Hugging Face folder, or a llama2.c file.");
        }

        if (path.EndsWith(".safetensors", StringComparison.Ordinal))
        {
            throw new CheckpointException($"{path} is weights alone; name the folder that holds it with its config.json.");
        }
    }

    /// <summary>Makes a model and fills it.</summary>
    /// <returns>The model, what <see cref="PretrainedOrigin.Hash"/> is, and what each parameter is then.</returns>
    internal static (RetroModel Model, string Hash, IReadOnlyDictionary<string, ParameterHash> Parameters) Fill(
        RetroConfig config,
        IReadOnlyList<StoredTensor> tensors,
        StoredWeights files,
        ScalarType dtype,
        Device? device,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        RetroModel model;
        using (Initialization.Skip())
        {
            model = new(config, dtype, device);
        }

        try
        {
            Dictionary<string, Parameter> left = model.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter);

            // Of the values as stored, by which others know the decoder, and of those that the model has, where its type rounds them.
            using ParameterHashes stored = new(), rounded = new();
            using IDisposable noGrad = no_grad();
            StageCounter counter = new("load weights", tensors.Count, progress, cancellationToken);
            for (int i = 0; i < tensors.Count; i++)
            {
                counter.Next();
                using DisposeScope scope = NewDisposeScope();
                Tensor[] parts = tensors[i].Split(files.Read(tensors[i].Name));
                for (int part = 0; part < parts.Length; part++)
                {
                    left.Remove(tensors[i].Targets[part], out Parameter? parameter);
                    if (!parameter!.shape.AsSpan().SequenceEqual(parts[part].shape))
                    {
                        throw new CheckpointException(
                            $"\"{tensors[i].Name}\" of {files.Place} gives {tensors[i].Targets[part]} of shape [{string.Join(", ", parts[part].shape)}], "
                                + $"but it is [{string.Join(", ", parameter.shape)}].");
                    }

                    parameter.copy_(parts[part]);
                    stored.Add(tensors[i].Targets[part], parts[part], cancellationToken);
                    if (!PretrainedOrigin.Holds(dtype, SafetensorsTypes.ToName(parts[part].dtype)!))
                    {
                        rounded.Add(tensors[i].Targets[part], parts[part].to_type(dtype), cancellationToken);
                    }
                }
            }

            if (left.Count > 0)
            {
                throw new CheckpointException($"{files.Place} gives nothing for {string.Join(", ", left.Keys)}.");
            }

            counter.End();
            model.eval();
            IReadOnlyDictionary<string, ParameterHash> hashes = stored.Made(), held = rounded.Made();
            string hash = IdentityHash.Of(
                IdentityHash.KeyEnd, [.. hashes.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key} {pair.Value.Hash}")]);
            return (model, hash, hashes.ToDictionary(pair => pair.Key, pair => held.GetValueOrDefault(pair.Key, pair.Value), StringComparer.Ordinal));
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }
}
