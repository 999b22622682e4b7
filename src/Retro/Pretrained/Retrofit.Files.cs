using System.Text.Json;
using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Pretrained;

public sealed partial class Retrofit
{
    /// <summary>The file of the additions.</summary>
    public const string FileName = Checkpoint.Additions;

    private const string MetadataKey = "retrofit";
    private const string ChangedKey = "decoder_parameters";
    private const string ParametersKey = "base_parameters_hash";
    private const int FormatVersion = 1;

    /// <summary>
    /// Saves the additions alone, with what of the decoder is trained or was changed: a small file, <see cref="FileName"/>, that is loaded onto the same
    /// decoder. Names are those that named_parameters() of the model gives, the metadata hold configuration and hash of the decoder's weights. Whether a
    /// parameter is frozen while it is saved has no effect. The whole model is saved by <see cref="Checkpoint.Save"/>, and the decoder back in
    /// its own format by <see cref="PretrainedOrigin.Write"/>.
    /// </summary>
    /// <param name="folder">The folder; made where it is missing.</param>
    /// <param name="progress">Stage "save weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors; what was there before stays.</param>
    /// <exception cref="CheckpointException">The file cannot be written, or a training, or another saving, has the folder, and is named.</exception>
    public void Save(string folder, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);

        // What is not as it was in the decoder's files.
        HashSet<string> unchanged = Unchanged(cancellationToken);
        KeyValuePair<string, Tensor>[] saved = [.. Model.Undisposed.named_parameters()
            .Where(pair => !unchanged.Contains(pair.name))
            .Select(pair => KeyValuePair.Create<string, Tensor>(pair.name, pair.parameter))];
        JsonObject description = new()
        {
            ["format_version"] = FormatVersion,
            ["base_family"] = Origin.Family,
            [ParametersKey] = Origin.Hash,
            ["unfreeze"] = Unfreeze.ToString(),
            [ChangedKey] = new JsonArray([.. saved.Select(pair => pair.Key).Where(_base.Contains).Select(name => JsonValue.Create(name))]),
            ["config"] = RetroConfigJson.Write(Model.Config),
        };
        if (Model.TokenizerHash is { } tokenizer)
        {
            description[WeightFolder.TokenizerKey] = tokenizer;
        }

        StageCounter counter = Safetensors.Saving(saved.Length, progress, cancellationToken);
        using WriterLock writing = WriterLock.TakeOfCheckpoint(folder, "save what was added to a decoder");
        using StagedFiles staged = new(folder, CheckpointException.Of);
        Safetensors.Stage(
            staged, Path.Combine(folder, FileName), saved, new Dictionary<string, string> { [MetadataKey] = description.ToJsonString() }, counter);
        staged.Commit();
        counter.End();
    }

    /// <summary>
    /// Loads the additions onto their decoder: those that <see cref="Save"/> wrote, or those of a whole model, as a trainer's checkpoint and
    /// <see cref="Checkpoint.Save"/> hold it. Of a whole model the decoder's weights have to be the decoder's, but for norms that were trained.
    /// </summary>
    /// <param name="folder">The folder with <see cref="FileName"/>, or with config.json and weights.</param>
    /// <param name="decoder">The decoder; its weights are copied, and it stays the caller's, but where it is taken.</param>
    /// <param name="take">Whether the decoder's weights become the model's, as <see cref="From"/> takes them.</param>
    /// <param name="progress">Stage "load weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    /// <exception cref="CheckpointException">The file is missing or damaged, or belongs to another decoder.</exception>
    public static Retrofit Load(
        string folder,
        PretrainedDecoder decoder,
        bool take = false,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        Retrofit retrofit = LoadOnto(decoder, folder, take, progress, cancellationToken);
        if (take)
        {
            decoder.Dispose();
        }

        return retrofit;
    }

    /// <summary>The frozen parameters whose values are those that were loaded.</summary>
    private HashSet<string> Unchanged(CancellationToken cancellationToken)
    {
        using ParameterHashes hashes = new();
        using IDisposable noGrad = no_grad();
        foreach ((string name, Parameter parameter) in Model.Undisposed.named_parameters().Where(pair => _frozen.Contains(pair.name)))
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor now = parameter.detach(), narrow = now.to_type(Origin.Parameters[name].Type);

            // What the type that was loaded does not hold is no value that was.
            if (narrow.dtype == now.dtype || narrow.to_type(now.dtype).Equals(now))
            {
                hashes.Add(name, narrow, cancellationToken);
            }
        }

        return [.. hashes.Made().Where(made => made.Value == Origin.Parameters[made.Key]).Select(made => made.Key)];
    }

    private static Retrofit LoadOnto(
        PretrainedDecoder decoder, string folder, bool take, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(decoder);
        StagedFiles.Finish(folder, CheckpointException.Of);
        string path = Path.Combine(folder, FileName);
        if (!File.Exists(path) && File.Exists(Path.Combine(folder, Checkpoint.ConfigName)))
        {
            return LoadModel(decoder, folder, take, progress, cancellationToken);
        }

        using Safetensors file = Safetensors.Open(path);
        Description said = Describe(file);
        string hash = said.ParametersHash is null ? decoder.Origin.StoredHash(progress, cancellationToken) : decoder.Origin.Hash;
        if ((said.ParametersHash ?? said.StoredHash) != hash)
        {
            throw new CheckpointException(
                $"{path} was fitted onto a decoder whose weights have the hash {said.ParametersHash ?? said.StoredHash}; those of {decoder.Origin.Path} have "
                    + $"{hash}. Load it onto the decoder it was fitted onto.");
        }

        RequireDecoder(path, said.Config, decoder);
        RequireShapes(file, said.Config, decoder, parameter => said.Changed?.Contains(parameter.Name) ?? IsTrained(parameter, said.Unfreeze));
        Retrofit retrofit = MakeEmpty(decoder, said.Config, said.Unfreeze, name => take && !file.Contains(name));
        try
        {
            retrofit.Read(file, new("load weights", file.Entries.Count, progress, cancellationToken));
            retrofit.Model.TokenizerHash ??= said.Tokenizer;
            return retrofit;
        }
        catch
        {
            retrofit.Dispose();
            throw;
        }
    }

    private static Retrofit LoadModel(
        PretrainedDecoder decoder, string folder, bool take, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        RetroConfig config = Checkpoint.LoadConfig(folder);
        if (!config.HasRetrieval)
        {
            throw new CheckpointException($"The model in {folder} has no retrieval: it is no RETROfit.");
        }

        RequireDecoder(folder, config, decoder);
        using WeightFolder weights = WeightFolder.Open(folder);
        Checkpoint.Check(folder, config.Parameters().ToDictionary(parameter => parameter.Name, parameter => parameter.Shape), weights, strict: true);
        Dictionary<string, ParameterShape> shapes = decoder.Model.Config.Parameters().ToDictionary(parameter => parameter.Name);
        StageCounter counter = new("load weights", weights.Names.Count, progress, cancellationToken);
        HashSet<string> trained = [];
        using IDisposable noGrad = no_grad();
        foreach ((string name, Parameter parameter) in decoder.Model.named_parameters())
        {
            counter.Next();
            using DisposeScope scope = NewDisposeScope();
            Tensor stored = weights.Read(name), own = parameter.detach().cpu();

            // Either may be rounded: the decoder to the type it computes in, the checkpoint to the one that was trained in.
            ScalarType narrower = stored.element_size() < own.element_size() ? stored.dtype : own.dtype;
            if (!stored.to(narrower).Equals(own.to(narrower)))
            {
                trained.Add(name);
            }
        }

        string[] foreign = [.. trained.Where(name => !IsTrained(shapes[name], RetrofitUnfreeze.Norms)).Order(StringComparer.Ordinal).Take(3)];
        if (foreign.Length > 0)
        {
            throw new CheckpointException(
                $"The model in {folder} was fitted onto another decoder than {decoder.Origin.Path}, or the whole of that was trained: "
                    + $"{string.Join(", ", foreign)} differ. Load it onto the decoder it was fitted onto, or by itself, as any checkpoint.");
        }

        Retrofit retrofit = MakeEmpty(
            decoder, config, trained.Count > 0 ? RetrofitUnfreeze.Norms : RetrofitUnfreeze.Nothing, name => take && !trained.Contains(name));
        try
        {
            foreach ((string name, Parameter parameter) in retrofit.Model.named_parameters())
            {
                if (!shapes.ContainsKey(name))
                {
                    counter.Next();
                }
                else if (!trained.Contains(name))
                {
                    continue;
                }

                using DisposeScope scope = NewDisposeScope();
                parameter.copy_(weights.Read(name));
            }

            counter.End();
            retrofit.Model.TokenizerHash ??= weights.TokenizerHash;
            return retrofit;
        }
        catch
        {
            retrofit.Dispose();
            throw;
        }
    }

    // Every parameter that was added is about to be read. What the file has of the decoder is not shared: where it cannot be read, the decoder is as it was.
    private static Retrofit MakeEmpty(PretrainedDecoder decoder, RetroConfig config, RetrofitUnfreeze unfreeze, Func<string, bool> isShared)
    {
        using IDisposable skipped = Initialization.Skip();
        return Make(decoder, config, unfreeze, isShared);
    }

    // Before anything is allocated: a damaged or hostile file may say any size.
    private static void RequireShapes(Safetensors file, RetroConfig config, PretrainedDecoder decoder, Func<ParameterShape, bool> isStored)
    {
        HashSet<string> frozen = [.. decoder.Model.Config.Parameters().Where(parameter => !isStored(parameter)).Select(parameter => parameter.Name)];
        Dictionary<string, IReadOnlyList<long>> wanted = config.Parameters()
            .Where(parameter => !frozen.Contains(parameter.Name))
            .ToDictionary(parameter => parameter.Name, parameter => parameter.Shape);
        List<string> faults = [.. wanted.Keys.Where(name => !file.Contains(name)).Select(name => $"\"{name}\" is missing")];
        foreach (SafetensorsEntry entry in file.Entries)
        {
            if (!wanted.TryGetValue(entry.Name, out IReadOnlyList<long>? shape))
            {
                faults.Add($"\"{entry.Name}\" is not among the additions");
            }
            else if (!entry.Shape.AsSpan().SequenceEqual([.. shape]) || entry.Dtype is not ("F64" or "F32" or "BF16"))
            {
                faults.Add($"\"{entry.Name}\" is {entry.Dtype} [{string.Join(", ", entry.Shape)}], expected F64, F32 or BF16 [{string.Join(", ", shape)}]");
            }
        }

        if (faults.Count > 0)
        {
            throw new CheckpointException(
                $"The tensors of {file.FilePath} do not fit its configuration: "
                    + $"{string.Join("; ", faults.Take(5))}{(faults.Count > 5 ? $"; and {faults.Count - 5} more" : "")}.");
        }
    }

    private void Read(Safetensors file, StageCounter counter)
    {
        Dictionary<string, Parameter> parameters = Model.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter);
        using IDisposable noGrad = no_grad();
        foreach (SafetensorsEntry entry in file.Entries)
        {
            counter.Next();
            using DisposeScope scope = NewDisposeScope();
            parameters[entry.Name].copy_(file.Read(entry.Name));
        }

        counter.End();
    }

    // What a file says of itself; earlier ones have a hash of the stored tensors instead of one of the parameters, or both, and do not name those of the
    // decoder's that they hold.
    private sealed record Description(
        string? StoredHash, string? ParametersHash, RetrofitUnfreeze Unfreeze, string[]? Changed, RetroConfig Config, string? Tokenizer);

    private static Description Describe(Safetensors file)
    {
        if (file.Metadata?.TryGetValue(MetadataKey, out string? text) != true)
        {
            throw new CheckpointException($"{file.FilePath} holds no RETROfit; name a folder that Retrofit.Save wrote.");
        }

        try
        {
            JsonNode root = JsonNode.Parse(text!) ?? throw new JsonException("it is null");
            int version = Said("format_version").GetValue<int>();
            if (version != FormatVersion)
            {
                throw new JsonException($"it has format version {version}; this version of the library reads {FormatVersion}.");
            }

            string unfreeze = Said("unfreeze").GetValue<string>();
            if (!Enum.GetNames<RetrofitUnfreeze>().Contains(unfreeze, StringComparer.Ordinal))
            {
                throw new JsonException($"\"unfreeze\" is \"{unfreeze}\"; supported is one of {string.Join(", ", Enum.GetNames<RetrofitUnfreeze>())}");
            }

            return new(
                root[ParametersKey] is null ? Said("base_hash").GetValue<string>() : null,
                root[ParametersKey]?.GetValue<string>(),
                Enum.Parse<RetrofitUnfreeze>(unfreeze),
                root[ChangedKey]?.AsArray().GetValues<string>().ToArray(),
                RetroConfigJson.Read(Said("config").GetValue<string>()),
                root[WeightFolder.TokenizerKey]?.GetValue<string>());

            JsonNode Said(string key) => root[key] ?? throw new JsonException($"\"{key}\" is missing");
        }
        catch (Exception exception)
            when (exception is JsonException or CheckpointException or InvalidOperationException or ArgumentException or FormatException)
        {
            throw new CheckpointException($"What {file.FilePath} says of itself cannot be read: {exception.Message}", exception);
        }
    }

    // The hash is of the weights; what config.json says of their use has to be the same too.
    private static void RequireDecoder(string path, RetroConfig fitted, PretrainedDecoder decoder)
    {
        RetroConfig expected = decoder.Model.Config with { Retrieval = fitted.Retrieval };
        if (expected != fitted)
        {
            throw new CheckpointException(
                $"{path} was fitted onto a decoder with another configuration: then {fitted}, now {expected}. Load it onto the decoder it was fitted onto.");
        }
    }
}
