using Retro.Checkpoints;
using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>Where a pretrained decoder came from, and what is needed to write it back as it was.</summary>
public abstract class PretrainedOrigin
{
    private protected PretrainedOrigin(
        string path,
        string family,
        string hash,
        IReadOnlyDictionary<string, ParameterHash> parameters,
        int? contextLength,
        IReadOnlyList<StoredTensor> tensors,
        IReadOnlyDictionary<string, string> dtypes,
        IReadOnlyDictionary<string, StoredBuffer> buffers)
    {
        Path = path;
        Family = family;
        Hash = hash;
        Parameters = parameters;
        ContextLength = contextLength;
        Tensors = tensors;
        Dtypes = dtypes;
        Buffers = buffers;
    }

    /// <summary>The folder or file.</summary>
    public string Path { get; }

    /// <summary>
    /// The architecture: "llama", "mistral", "qwen2", "qwen3", "olmo2", "phi3", "smollm3", "gemma3_text", "gpt2", "gpt_neo", "gpt_neox", "llama2.c" or,
    /// where it was trained here, "retro".
    /// </summary>
    public string Family { get; }

    /// <summary>
    /// SHA-256 in lower-case hexadecimal over the names that Retro has for parameters, their stored types, shapes and values: the same
    /// weights in other shards, under other names, or with other buffers beside them, have the same.
    /// </summary>
    public string Hash { get; }

    /// <summary>The stored tensors that are no parameters, by stored name; equal ones are one.</summary>
    internal IReadOnlyDictionary<string, StoredBuffer> Buffers { get; }

    /// <summary>What each parameter was when it was loaded, by names of ours.</summary>
    internal IReadOnlyDictionary<string, ParameterHash> Parameters { get; }

    /// <summary>
    /// Tokens that the original was trained to read at once, as its configuration says; null where it says nothing. Rotary models take longer sequences, and do
    /// worse on them.
    /// </summary>
    public int? ContextLength { get; }

    /// <summary>Types of the stored values, such as "BF16".</summary>
    public IReadOnlyList<string> StoredTypes => Distinct(Dtypes.Values);

    private protected IReadOnlyList<StoredTensor> Tensors { get; }

    /// <summary>Types by stored name, buffers excluded.</summary>
    private protected IReadOnlyDictionary<string, string> Dtypes { get; }

    /// <summary>
    /// Writes the decoder's weights back as they were stored: the same files, names, types and shapes. Where the parameters are those that were loaded, every
    /// tensor is the same to the bit.
    /// </summary>
    /// <param name="model">The decoder, or a model that was made of it by RETROfitting, whose additions are left out.</param>
    /// <param name="path">A folder for a Hugging Face model, made where it is missing; a file for llama2.c.</param>
    /// <param name="progress">Stage "save weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors; what was there before stays.</param>
    /// <exception cref="CheckpointException">A file cannot be written, the folder holds a model of another configuration, which would be lost, the model has
    /// other parameters, or it computes in a type that cannot hold the stored values.</exception>
    public void Write(RetroModel model, string path, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentException.ThrowIfNullOrEmpty(path);
        foreach ((string name, string dtype) in Dtypes)
        {
            if (!Holds(model.Dtype, dtype))
            {
                throw new CheckpointException(
                    $"The model computes in {model.Dtype}, which cannot hold the {dtype} values of \"{name}\" exactly; load it in Float32 or Float64 to "
                        + "write it back.");
            }
        }

        Weights weights = new(this, model);
        StageCounter counter = Safetensors.Saving(Tensors.Count + Buffers.Count, progress, cancellationToken);
        using StagedFiles staged = new(FolderOf(path), CheckpointException.Of);
        StageFiles(staged, weights, path, counter);
        staged.Commit();
        counter.End();
    }

    private protected static IReadOnlyList<string> Distinct(IEnumerable<string> dtypes) => [.. dtypes.Distinct().Order(StringComparer.Ordinal)];

    /// <summary>The folder that <see cref="Write"/> writes into.</summary>
    private protected abstract string FolderOf(string path);

    private protected abstract void StageFiles(StagedFiles staged, Weights weights, string path, StageCounter counter);

    /// <summary>SHA-256 over the stored tensors, by which the first files that were fitted onto a decoder name it.</summary>
    internal string StoredHash(IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        using StoredWeights stored = OpenStored();
        return stored.Hash(progress, cancellationToken);
    }

    private protected abstract StoredWeights OpenStored();

    /// <summary>Whether a model's type has every value of a stored one.</summary>
    internal static bool Holds(ScalarType model, string stored)
        => model == ScalarType.Float64 || stored == "BF16" || (model == ScalarType.Float32 && (stored is "F32" or "F16"));

    /// <summary>A model's parameters as stored tensors.</summary>
    private protected sealed class Weights
    {
        private readonly PretrainedOrigin _source;
        private readonly Dictionary<string, Parameter> _parameters;
        private readonly Dictionary<string, StoredTensor> _stored;

        public Weights(PretrainedOrigin origin, RetroModel model)
        {
            _source = origin;
            _parameters = model.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter);
            _stored = origin.Tensors.ToDictionary(tensor => tensor.Name);
            string? missing = origin.Tensors.SelectMany(tensor => tensor.Targets).FirstOrDefault(target => !_parameters.ContainsKey(target));
            if (missing is not null)
            {
                throw new CheckpointException($"The model has no parameter {missing}; give the decoder of {origin.Path}, or a model made of it.");
            }
        }

        /// <summary>The stored tensor of a name, in its type, on the CPU; it belongs to the dispose scope.</summary>
        public Tensor Read(string name)
        {
            if (_source.Buffers.TryGetValue(name, out StoredBuffer? buffer))
            {
                return buffer.ToTensor();
            }

            using IDisposable noGrad = no_grad();
            StoredTensor stored = _stored[name];
            Tensor joined = stored.Join([.. stored.Targets.Select(target => _parameters[target].detach().cpu())]);
            return !joined.shape.AsSpan().SequenceEqual(stored.Shape)
                ? throw new CheckpointException(
                    $"The model's {string.Join(", ", stored.Targets)} give \"{name}\" of shape [{string.Join(", ", joined.shape)}], not "
                        + $"[{string.Join(", ", stored.Shape)}]; give the decoder of {_source.Path}, or a model made of it.")
                : joined.to_type(SafetensorsTypes.ToScalarType(_source.Dtypes[name])!.Value).contiguous();
        }
    }
}
