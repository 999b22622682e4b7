using System.Text.Json;
using System.Text.RegularExpressions;
using Retro.Checkpoints;
using Retro.Embedders;
using Retro.Readers;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Retrievers;

public sealed partial class RetrieverTrainer
{
    /// <summary>The file from which a training goes on.</summary>
    public const string StateFile = "retriever.safetensors";

    private const string MetadataKey = "retriever";
    private const string ReaderKey = "reader's weights and settings";
    private const string OptionsKey = "options";
    private const string OptimizerPrefix = "optimizer/";
    private const string IndexPrefix = "index/";

    private string? _readerIdentity;

    /// <summary>Writes all that <see cref="Load"/> goes on from into one file, which takes its name when it is whole.</summary>
    /// <param name="folder">The folder of <see cref="StateFile"/>; made where it is missing.</param>
    /// <param name="progress">Stage "save weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors; what was there stays.</param>
    /// <exception cref="CheckpointException">The file cannot be written.</exception>
    /// <exception cref="InvalidOperationException">Another thread runs the training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public void Save(string folder, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        using OneThread.Turn turn = _one.Enter();
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        string path = Path.Combine(folder, StateFile);
        AtomicFile.Guard(path, CheckpointException.Of, () => AtomicFile.CreateFolder(folder));
        using DisposeScope scope = NewDisposeScope();
        IEnumerable<KeyValuePair<string, Tensor>> tensors = Trained().Select(one => KeyValuePair.Create(one.Name, one.Parameter.detach()))
            .Concat(_optimizer.State().Select(pair => KeyValuePair.Create(OptimizerPrefix + pair.Key, pair.Value)))
            .Concat((_documents.MadeBy?.named_parameters() ?? []).Select(pair => KeyValuePair.Create(IndexPrefix + pair.name, pair.parameter.detach())));
        RetrieverState state = new(
            RetrieverState.CurrentVersion, StepsDone, _documents.MadeAt, Settings(), _optimizer.StepCounts().ToDictionary(), _chains, _learns);
        Safetensors.Write(
            path, tensors, new Dictionary<string, string> { [MetadataKey] = JsonSerializer.Serialize(state) }, progress, cancellationToken);
    }

    /// <summary>
    /// Goes on where <see cref="Save"/> ended: towers, optimizer, step, and the chains of a sampler. Where documents are trained the index is made again by the
    /// weights that it had been made by, and is as old as it was. Steps, learning rate and weight decay are this trainer's, so that a training that has ended
    /// can be given more steps, and one whose loss is no longer finite a lower rate; all else is to be as it was.
    /// </summary>
    /// <param name="folder">The folder of <see cref="StateFile"/>.</param>
    /// <param name="progress">Receives the number of chunks embedded; null: no reporting.</param>
    /// <param name="cancellationToken">Stops it; the training is then as it was, or the index alone is that of the checkpoint.</param>
    /// <exception cref="CheckpointException">The file is missing or damaged, or of other settings or data: those that differ are named.</exception>
    /// <exception cref="InvalidOperationException">Another thread runs the training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public void Load(string folder, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        using OneThread.Turn turn = _one.Enter();
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        string path = Path.Combine(folder, StateFile);
        if (!File.Exists(path))
        {
            throw new CheckpointException($"There is no state of a retriever's training at {path}; start again, or name the folder that one was saved to.");
        }

        using Safetensors file = Safetensors.Open(path);
        RetrieverState state = RetrieverState.Parse(file.Metadata?.GetValueOrDefault(MetadataKey), path);
        Dictionary<string, string> now = Settings();
        if (state.Settings.GetValueOrDefault(ReaderKey) is { } reader && reader != now.GetValueOrDefault(ReaderKey)
            && reader == _reading.Reader.IdentityOf(version: 1))
        {
            now[ReaderKey] = reader; // an earlier version of this library saved it
        }

        if (state.Settings.TryGetValue(OptionsKey, out string? options))
        {
            state.Settings[OptionsKey] = Kept(options); // an earlier version of this library saved them all
        }

        state.RequireSettings(now, path);
        RequireChains(state.Chains, path);
        using DisposeScope scope = NewDisposeScope();
        (string Name, Parameter Parameter)[] trained = [.. Trained().Select(one => (one.Name, one.Parameter))];
        Dictionary<string, Tensor> weights = trained.ToDictionary(one => one.Name, one => Read(file, one.Name, one.Parameter));
        Dictionary<string, Tensor> memory = _optimizer.State().ToDictionary(pair => pair.Key, pair => Read(file, OptimizerPrefix + pair.Key, pair.Value));
        if (_documents.Tower is { } tower && file.Entries.Any(entry => entry.Name.StartsWith(IndexPrefix, StringComparison.Ordinal)))
        {
            TextEncoder made = tower.Encoder.Clone();
            try
            {
                using IDisposable guard = no_grad();
                foreach ((string name, Parameter parameter) in made.named_parameters())
                {
                    parameter.copy_(Read(file, IndexPrefix + name, parameter));
                }
            }
            catch
            {
                made.Dispose();
                throw;
            }

            _documents.Make(made, state.IndexMadeAt, progress, cancellationToken);
        }
        else
        {
            _documents.Reset(); // the checkpoint is of before they were made anew
        }

        _optimizer.LoadState(memory, state.OptimizerSteps);
        using (no_grad())
        {
            foreach ((string name, Parameter parameter) in trained)
            {
                parameter.copy_(weights[name]);
            }
        }

        (StepsDone, _chains, _learns) = (state.Steps, state.Chains, state.Learns);
    }

    /// <summary>Refuses a chain of no example, or at a passage that an example is never given.</summary>
    private void RequireChains(Dictionary<long, long> chains, string path)
    {
        foreach ((long example, long passage) in chains)
        {
            if (example < 0 || example >= _texts.ChunkCount || passage < 0 || passage >= _source.Database.ChunkCount
                || _same.Of(_texts.DocumentOf(example)).Contains(_source.Database.DocumentOf(passage)))
            {
                throw new CheckpointException($"{path} has the chain of example {example} at passage {passage}, where it cannot be: it is damaged.");
            }
        }
    }

    private static Tensor Read(Safetensors file, string name, Tensor like)
    {
        if (!file.Contains(name))
        {
            throw new CheckpointException($"{file.FilePath} lacks the tensor {name}; it is of another training.");
        }

        Tensor stored = file.Read(name, device: like.device);
        return stored.dtype == like.dtype && stored.shape.SequenceEqual(like.shape)
            ? stored
            : throw new CheckpointException(
                $"{file.FilePath} holds {name} as {stored.dtype} [{string.Join(", ", stored.shape)}]; expected {like.dtype} "
                    + $"[{string.Join(", ", like.shape)}].");
    }

    /// <summary>Options, as they write themselves, without those that a training may go on with others of.</summary>
    private static string Kept(string options) => FreeOptions().Replace(options, "");

    [GeneratedRegex(@"\b(Steps|LearningRate|WeightDecay) = [^,]*, ")]
    private static partial Regex FreeOptions();

    /// <summary>What a training depends on, and is continued with alone.</summary>
    private Dictionary<string, string> Settings()
    {
        Dictionary<string, string> settings = new()
        {
            ["objective"] = Objective.Name,
            ["examples"] = _texts.Manifest.TokensHash,
            ["source"] = _source.Identity,
            ["alongside"] = _alongside?.Identity ?? "nothing",
            ["reader"] = _reading.Reader.Name,
            [OptionsKey] = Kept(InvariantText.Of(Options)),
        };
        if (_startIdentity is not null)
        {
            settings["start"] = _startIdentity;
        }

        if ((_readerIdentity ??= _reading.Reader.Identity) is { } identity)
        {
            settings[ReaderKey] = identity;
        }

        return settings;
    }
}
