using System.Globalization;
using Retro.Database;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Retrievers;

/// <summary>
/// Trains a retriever by what its passages are worth to a reader. A chunk and the one that follows it in its document are an example (x, y): the query tower
/// finds passages for x, the reader says how likely y is with each of them, and an objective moves the tower.
/// </summary>
/// <remarks>
/// <para>The query tower is a copy of the embedder that made the documents' keys; documents are frozen, so that the index never goes stale, unless
/// <see cref="RetrieverTrainingOptions.RefreshEvery"/> trains them too. An objective with a posterior has a second copy, which reads x and y and has passages
/// of its own found, by the same rule: none comes from the example's own document nor from a copy of it, in which y could be read off. Where the keys were
/// divided by their lengths (<see cref="ChunkKeyer"/>), the towers' vectors are of length 1 by themselves.</para>
/// <para>The reader stays as it is. The same seed and number of threads give the same weights on the same machine, whether or not the training was interrupted
/// and resumed (<see cref="Save"/>, <see cref="Load"/>).</para>
/// </remarks>
public sealed partial class RetrieverTrainer : IDisposable
{
    /// <summary>Steps without any gradient that a training is given, at least, where it has as many.</summary>
    private const int IdleSteps = 100;

    private readonly DenseNeighborSource _source;
    private readonly INeighborSource? _alongside;
    private readonly ChunkDatabase _texts;
    private readonly RetroTokenizer _tokenizer;
    private readonly SameDocuments _same;
    private readonly PassageReading _reading;
    private readonly RetrieverTower _queries;
    private readonly RetrieverTower? _posterior;
    private readonly RetrieverDocuments _documents;
    private readonly RetroOptimizer _optimizer;
    private readonly OneThread _one = new();
    private readonly LearningRateSchedule _schedule;
    private readonly string? _startIdentity;
    private Dictionary<long, long> _chains = [];
    private volatile bool _isDisposed;
    private bool _learns; // a step has had a gradient other than 0

    /// <summary>Creates a trainer at step 0.</summary>
    /// <param name="embedder">The embedder that the source's keys were made with; it stays the caller's, and as it is.</param>
    /// <param name="tokenizer">The tokenizer whose ids the chunks hold.</param>
    /// <param name="source">Finds the passages; it stays the caller's.</param>
    /// <param name="reader">Reads the passages; it stays the caller's. With <see cref="RetrieverInputs.LeaveOneOut"/> it has to read one neighbor fewer than
    /// are found: <see cref="RetrieverTrainingOptions.Neighbors"/>, as many again with a posterior, and with a source alongside.</param>
    /// <param name="objective">What is minimized.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="examples">The database of the examples; null: the source's own.</param>
    /// <param name="heldOut">Documents that may be neither examples nor passages; null: nobody looks.</param>
    /// <param name="alongside">A source over the same database, whose passages are read besides, as many again: a tower learns little from passages among
    /// which what is wanted is not, and words find others than vectors do. It stays the caller's. Null: those that the towers find are all.</param>
    /// <param name="start">What the query tower starts as: one that was trained before over keys of this embedder, whose vectors are as long; it stays the
    /// caller's, and as it is. Null: the embedder.</param>
    /// <param name="progress">Receives the number of documents compared; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two documents.</param>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    /// <exception cref="ArgumentException">The keys were made with another embedder or tokenizer, or the tower to start from makes others, or the source
    /// alongside is of another database, or the reader reads too few neighbors, weighs those that are read together by scores, reads other chunks, or
    /// looks by itself into a database in which a document of the examples stands.</exception>
    /// <exception cref="DatabaseException">A database was made with another tokenizer, the source has no key file, or a held-out document is in a
    /// database.</exception>
    /// <exception cref="TrainingException">No document of the examples has two chunks.</exception>
    public RetrieverTrainer(
        TextEmbedder embedder,
        RetroTokenizer tokenizer,
        DenseNeighborSource source,
        IReader reader,
        RetrieverObjective objective,
        RetrieverTrainingOptions? options = null,
        ChunkDatabase? examples = null,
        ChunkDatabase? heldOut = null,
        INeighborSource? alongside = null,
        TextEmbedder? start = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(embedder);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(reader);
        ArgumentNullException.ThrowIfNull(objective);
        (_source, _alongside, _texts, _tokenizer, Objective) = (source, alongside, examples ?? source.Database, tokenizer, objective);
        Options = (options ?? new()).Validate(_texts.ChunkLength);
        _texts.RequireTokenizer(tokenizer);
        source.Database.RequireTokenizer(tokenizer);
        bool normalizes = RetrieverDocuments.RequireEmbedder(source, embedder, tokenizer, start);
        Require(reader, alongside, progress, cancellationToken);
        foreach (ChunkDatabase read in heldOut is null ? [] : new[] { _texts, source.Database }.Distinct())
        {
            HeldOut.Require(heldOut!, read, progress, cancellationToken);
        }

        _reading = new(reader, _texts, source.Database, Options.WindowLength);
        _same = new(_texts, source.Database, progress, cancellationToken);
        _schedule = LearningRateSchedule.Short(Options.LearningRate, Options.Steps);
        _documents = RetrieverDocuments.Open(source, embedder, tokenizer, Options.RefreshEvery is not null, normalizes, cancellationToken);
        _queries = new(start ?? embedder, tokenizer, normalizes);
        _startIdentity = start?.Identity;
        _posterior = objective.Inputs.HasFlag(RetrieverInputs.Posterior) ? new(embedder, tokenizer, normalizes) : null;
        _optimizer = new(
            Trained().Select(one => (one.Name, one.Parameter, one.Kind)),
            new() { Beta2 = 0.999, WeightDecay = Options.WeightDecay });
    }

    /// <summary>What is minimized.</summary>
    public RetrieverObjective Objective { get; }

    /// <summary>The settings.</summary>
    public RetrieverTrainingOptions Options { get; }

    /// <summary>Steps done.</summary>
    public long StepsDone { get; private set; }

    /// <summary>Steps since the keys that are searched were made; 0 where documents are frozen.</summary>
    public long IndexAge => Options.RefreshEvery is null ? 0 : StepsDone - _documents.MadeAt;

    /// <summary>Trains until the steps are used up.</summary>
    /// <param name="progress">Receives each step; null: no reporting.</param>
    /// <param name="cancellationToken">Ends the training between two steps, or while the index is made anew; it can be continued, or saved.</param>
    /// <exception cref="TrainingException">The loss or a gradient is no longer finite; or no step had a gradient other than 0, up to a tenth of the steps and
    /// 100 at least, or to the end.</exception>
    /// <exception cref="InvalidOperationException">Another thread runs or saves the training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public void Run(IProgress<RetrieverTrainingProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        using OneThread.Turn turn = _one.Enter();
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        while (StepsDone < Options.Steps)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (IndexAge >= Options.RefreshEvery)
            {
                RefreshIndex(cancellationToken: cancellationToken);
            }

            RetrieverTrainingProgress done = Step(cancellationToken);
            progress?.Report(done);
        }
    }

    /// <summary>Embeds every chunk with the document tower as it is now, so that the index is of age 0. Where documents are frozen there is nothing to
    /// do.</summary>
    /// <param name="progress">Receives the number of chunks done; null: no reporting.</param>
    /// <param name="cancellationToken">Stops it; the index is then as it was.</param>
    /// <exception cref="InvalidOperationException">Another thread runs or saves the training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    /// <exception cref="OperationCanceledException">Canceled.</exception>
    public void RefreshIndex(IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        using OneThread.Turn turn = _one.Enter();
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        _documents.Refresh(StepsDone, progress, cancellationToken);
    }

    /// <summary>The query tower as it is now, as an embedder: a <see cref="ChunkKeyer"/> of it makes a <see cref="TowerNeighborSource"/>.</summary>
    /// <returns>A copy, frozen; dispose it.</returns>
    /// <exception cref="InvalidOperationException">Another thread runs or saves the training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public TextEmbedder QueryEmbedder()
    {
        using OneThread.Turn turn = _one.Enter();
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        return _queries.Export();
    }

    /// <summary>
    /// The document tower as it is now. An index of a database that it is to be used with has to be built anew with it; one that was made with another
    /// embedder is refused by <see cref="DenseNeighborSource.Open"/>.
    /// </summary>
    /// <returns>A copy, frozen; dispose it. Null where documents are frozen: they have the embedder they had.</returns>
    /// <exception cref="InvalidOperationException">Another thread runs or saves the training.</exception>
    /// <exception cref="ObjectDisposedException">The trainer was disposed.</exception>
    public TextEmbedder? DocumentEmbedder()
    {
        using OneThread.Turn turn = _one.Enter();
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        return _documents.Tower?.Export();
    }

    /// <summary>Frees the towers and what trains them; a run, on whichever thread, ends before its next step, and they are freed then.</summary>
    public void Dispose()
    {
        _isDisposed = true;
        _one.Free(() =>
        {
            _optimizer.Dispose();
            _queries.Dispose();
            _posterior?.Dispose();
            _documents.Dispose();
        });
    }

    /// <summary>Does one step.</summary>
    internal RetrieverTrainingProgress Step(CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable recorded = Gradients.Recorded();
        long[] examples = Draw(StepsDone);
        double rate = _schedule.Rate(StepsDone);
        RetrieverTrainingProgress done = new(StepsDone + 1, Options.Steps, double.NaN, 0, rate, 0, IndexAge);
        if (Prepare(examples, cancellationToken) is { } prepared)
        {
            using FinalizerGate.Hold gate = FinalizerGate.Close(Objective.IsCustom);
            Tensor loss = Objective.Loss(prepared.Batch, prepared.Apart).mean();
            loss.backward();
            (double norm, double value) = _optimizer.StepWith(rate, null, loss);
            if (!double.IsFinite(norm) || !double.IsFinite(value))
            {
                throw new TrainingException(string.Create(
                    CultureInfo.InvariantCulture,
                    $"In step {StepsDone + 1} the loss is {value} and the gradient's norm {norm}; lower the learning rate ({Options.LearningRate}) or raise "
                        + $"the temperature ({Options.Temperature})."));
            }

            done = done with
            {
                Loss = value,
                GradientNorm = norm,
                Examples = prepared.Batch.Examples.Chunks.Length,
                Staleness = prepared.Staleness,
                AcceptanceRate = prepared.Batch.AcceptanceRate,
                Utility = prepared.Batch.NullLikelihoods is { } without
                    ? RetrieverObjectives.RetrievalUtility(
                        prepared.Batch.Likelihoods.sum(2), prepared.Batch.Scores, without.sum(1), prepared.Batch.NullScores!, prepared.Batch.Present)
                        .mean().Value()
                    : null,
            };
        }

        StepsDone++;
        _learns |= done.GradientNorm > 0;
        if (done.Utility is { } utility)
        {
            RetroTelemetry.Utility.Record(utility, new KeyValuePair<string, object?>("retro.objective", Objective.Name));
        }

        RequireLearning();
        return done;
    }

    /// <summary>Ends a training that has had no gradient other than 0 for long enough, or to its end.</summary>
    private void RequireLearning()
    {
        if (!_learns && (StepsDone >= Options.Steps || (StepsDone >= IdleSteps && StepsDone >= Options.Steps / 10)))
        {
            throw new TrainingException(
                $"{Amount.Of(StepsDone, "step")} have taught nothing: the gradient of {Objective.Name} was 0 in each, as where an example has no more than "
                    + $"one passage, so that none is preferred. Raise {nameof(Options.Neighbors)} ({Options.Neighbors}), let those of others count "
                    + $"({nameof(Options.InBatchNegatives)}), or give examples for which the source finds passages in other documents.");
        }
    }

    /// <summary>The passages that the towers find for examples now: of the query tower, and of the posterior where there is one.</summary>
    internal (long[][] Prior, long[][]? Posterior) Find(long[] examples, CancellationToken cancellationToken = default)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        (Tensor queries, Tensor? posterior) = Vectors(examples);
        return (Find(examples, queries, cancellationToken), posterior is null ? null : Find(examples, posterior, cancellationToken));
    }

    /// <summary>The examples of a step: chunks that another follows in their document, each as likely.</summary>
    internal long[] Draw(long step)
    {
        SeededRandom random = new(Options.Seed, Purpose.RetrieverExamples, step);
        long[] examples = new long[Options.BatchSize];
        for (int i = 0; i < examples.Length;)
        {
            examples[i] = (long)(random.NextDouble() * _texts.ChunkCount);
            i += _texts.Continuation(examples[i]) >= 0 ? 1 : 0;
        }

        return examples;
    }

    /// <summary>What an objective is given of examples; how far the documents have moved from their keys; and minus the logarithm of the share that a row's own
    /// passages have among all, [B], where others' count.</summary>
    private (RetrieverBatch Batch, double Staleness, Tensor? Apart)? Prepare(long[] examples, CancellationToken cancellationToken)
    {
        (Tensor queries, Tensor? posterior) = Vectors(examples);
        long[][] found = Find(examples, queries, cancellationToken);
        if (posterior is not null)
        {
            long[][] others = Find(examples, posterior, cancellationToken);
            found = [.. found.Select((own, row) => own.Union(others[row]).Union(Chain(examples[row])).ToArray())];
        }

        if (_alongside is not null)
        {
            long[][] others = Ask(_alongside, examples, null, cancellationToken);
            found = [.. found.Select((own, row) => own.Union(others[row]).ToArray())];
        }

        // What no tower can find, such as a line of signs, others find all the same: a score of it would say nothing of its text.
        found = [.. found.Select(row => row.Where(_documents.HasKey).ToArray())];
        bool hasNull = Objective.Inputs.HasFlag(RetrieverInputs.Null);
        int[] rows = [.. Enumerable.Range(0, examples.Length).Where(row => hasNull || found[row].Length > 0)];
        if (rows.Length == 0)
        {
            return null;
        }

        int most = Math.Max(1, rows.Max(row => found[row].Length)); // K
        long[][] passages = [.. rows.Select(row => found[row].Concat(Enumerable.Repeat(-1L, most)).Take(most).ToArray())];
        examples = [.. rows.Select(row => examples[row])];
        Device device = queries.device;
        Tensor kept = tensor(Array.ConvertAll(rows, row => (long)row), device: device);
        Tensor present = tensor([.. passages.SelectMany(row => row.Select(chunk => chunk >= 0))], [rows.Length, most], device: device);
        long[] all = [.. passages.SelectMany(row => row).Where(chunk => chunk >= 0).Distinct().DefaultIfEmpty()];
        Dictionary<long, long> places = all.Index().ToDictionary(pair => pair.Item, pair => (long)pair.Index);
        Tensor own = tensor([.. passages.SelectMany(row => row.Select(chunk => places.GetValueOrDefault(chunk)))], [rows.Length, most], device: device);
        (Tensor documents, double staleness) = _documents.Vectors(all, device); // [N, D]
        queries = queries.index_select(0, kept);
        Tensor? everyone = Options.InBatchNegatives ? Score(queries, documents) : null; // [B, N]
        (Tensor Each, Tensor? Null, Tensor? Without, Tensor Targets) read = Read(examples, passages, device, cancellationToken);
        RetrieverExamples drawn = new(examples, passages, _chains, Options.Seed, StepsDone);
        RetrieverBatch batch = new(drawn, everyone?.gather(1, own) ?? Score(queries, documents, own), present, read.Each, read.Targets)
        {
            PosteriorScores = posterior is null ? null : Score(posterior.index_select(0, kept), documents, own),
            NullLikelihoods = read.Null,
            NullScores = hasNull ? Score(queries, _documents.NullVector(device)).squeeze(1) : null,
            WithoutLikelihoods = read.Without,
        };

        // Where nothing was found, no passage is a negative.
        Tensor? apart = everyone is not null && rows.Any(row => found[row].Length > 0)
            ? RetrieverObjectives.OwnAmongAll(batch.Scores, everyone, Barred(), batch.Present, batch.NullScores)
            : null;
        return (batch, staleness, apart);

        // What is of an example's own document, in which its target stands, is no negative of it, nor is a copy of one of its passages.
        Tensor Barred()
        {
            string[] spelled = [.. all.Select(chunk => _queries.Text(_source.Database, chunk))];
            return tensor([.. examples.SelectMany(BarredOf)], [rows.Length, all.Length], device: device);

            IEnumerable<bool> BarredOf(long example, int row)
            {
                IReadOnlyList<int> itself = _same.Of(_texts.DocumentOf(example));
                HashSet<long> its = [.. passages[row]];
                HashSet<string> texts = [.. all.Index().Where(pair => its.Contains(pair.Item)).Select(pair => spelled[pair.Index])];
                return all.Select((chunk, i) => itself.Contains(_source.Database.DocumentOf(chunk)) || (!its.Contains(chunk) && texts.Contains(spelled[i])));
            }
        }
    }

    private IEnumerable<long> Chain(long example) => _chains.TryGetValue(example, out long passage) ? [passage] : [];

    private (Tensor Queries, Tensor? Posterior) Vectors(long[] examples)
        => (_queries.Vectors([.. examples.Select(chunk => _queries.Read(_texts, chunk))]),
            _posterior?.Vectors([.. examples.Select(chunk => _posterior.ReadWithTarget(_texts, chunk))]));

    /// <summary>What is nearest to vectors, in no document that is the example's own: the target stands in it.</summary>
    private long[][] Find(long[] examples, Tensor vectors, CancellationToken cancellationToken)
    {
        float[] keys = vectors.Floats();
        if (Array.Exists(keys, number => !float.IsFinite(number)))
        {
            throw new TrainingException(FormattableString.Invariant(
                $"In step {StepsDone + 1} a tower makes vectors that are not finite; lower the learning rate ({Options.LearningRate})."));
        }

        return Ask(_documents.Source, examples, keys, cancellationToken);
    }

    private long[][] Ask(INeighborSource source, long[] examples, float[]? keys, CancellationToken cancellationToken)
    {
        int dimensions = (keys?.Length ?? 0) / examples.Length, count = Options.Neighbors;
        NeighborQuery[] asked =
        [
            .. examples.Select((chunk, row) => new NeighborQuery(
                _texts.OwnTokens(chunk).ToArray(), _same.Of(_texts.DocumentOf(chunk)))
            {
                Key = keys.AsMemory(row * dimensions, dimensions),
            }),
        ];
        return [.. source.Ask(asked, count, cancellationToken).Chunks.Chunk(count).Select(row => row.Where(chunk => chunk >= 0).ToArray())];
    }

    private Tensor Score(Tensor queries, Tensor documents) => _documents.Scores(queries, documents).Over(Options.Temperature);

    private Tensor Score(Tensor queries, Tensor documents, Tensor own) => _documents.Scores(queries, documents, own).Over(Options.Temperature);

    /// <summary>The reader's log-likelihoods with each passage, with none, and with all but one.</summary>
    private (Tensor Each, Tensor? Null, Tensor? Without, Tensor Targets) Read(
        long[] examples, long[][] passages, Device device, CancellationToken cancellationToken)
    {
        int most = passages[0].Length, length = examples.Max(_reading.TargetLength);
        List<(long Example, long[] Passages)> rows = [];
        List<(int Row, int Passage)> places = [];
        bool without = Objective.Inputs.HasFlag(RetrieverInputs.LeaveOneOut), hasNull = Objective.Inputs.HasFlag(RetrieverInputs.Null);
        double[] each = new double[examples.Length * most * length], none = new double[examples.Length * length];
        double[] others = new double[without ? each.Length : 0];
        for (int row = 0; row < examples.Length; row++)
        {
            long[] there = [.. passages[row].Where(chunk => chunk >= 0)];
            for (int z = 0; z < there.Length; z++)
            {
                Add(row, z, [there[z]]);
            }

            for (int z = 0; without && z < there.Length; z++)
            {
                Add(row, most + z, [.. there.Where((_, other) => other != z)]);
            }

            if (hasNull)
            {
                Add(row, -1, []);
            }
        }

        double[][] likelihoods = _reading.LogLikelihoods(rows, cancellationToken);
        for (int i = 0; i < places.Count; i++)
        {
            (int row, int z) = places[i];
            (double[] into, int at) = z < 0 ? (none, row) : z < most ? (each, (row * most) + z) : (others, (row * most) + z - most);
            likelihoods[i].CopyTo(into, at * length);
        }

        long[] shape = [examples.Length, most, length];
        return (
            tensor(each, shape, device: device),
            hasNull ? tensor(none, [examples.Length, length], device: device) : null,
            without ? tensor(others, shape, device: device) : null,
            tensor(Array.ConvertAll(examples, example => (double)_reading.TargetLength(example)), device: device));

        void Add(int row, int z, long[] read)
        {
            rows.Add((examples[row], read));
            places.Add((row, z));
        }
    }

    private void Require(IReader reader, INeighborSource? alongside, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        if (alongside is not null && !_source.Database.HasSameChunks(alongside.Database))
        {
            throw new ArgumentException(
                _source.Database.Unlike(
                    $"{alongside.Name} finds chunks of", alongside.Database, "the towers those of", "take a source over the same database"),
                nameof(alongside));
        }

        // All passages of an example but one.
        int together = (Options.Neighbors * ((Objective.Inputs.HasFlag(RetrieverInputs.Posterior) ? 2 : 1) + (alongside is null ? 0 : 1))) - 1;
        if (Objective.Inputs.HasFlag(RetrieverInputs.LeaveOneOut) && reader.Neighbors < together)
        {
            throw new ArgumentException(
                $"{Objective.Name} reads up to {together} passages together, and {reader.Name} reads {reader.Neighbors}: ask for fewer, or read more.",
                nameof(reader));
        }

        // What several sources find has scores of several kinds, by which passages cannot be weighed against one another.
        if (Objective.Inputs.HasFlag(RetrieverInputs.LeaveOneOut) && together > 1 && reader.WeighsByScores)
        {
            throw new ArgumentException(
                $"{Objective.Name} reads passages together, which {reader.Name} weighs by scores that they do not have here; take an infinite temperature, "
                    + "which weighs them all the same, or another objective.",
                nameof(reader));
        }

        // The target could be read off there, whatever passage is given, so that none would be worth anything.
        if (reader.Database is { } looked && new SameDocuments(_texts, looked, progress, cancellationToken) is var there
            && Enumerable.Range(0, _texts.Documents.Count).FirstOrDefault(document => there.Of(document).Any(), -1) is >= 0 and int known)
        {
            throw new ArgumentException(
                $"{reader.Name} looks into {looked.Folder} by itself, where the example document \"{_texts.Documents[known].Id}\" stands, and would read there "
                    + "what it is to predict; take a reader that reads passages alone, or examples of other documents.",
                nameof(reader));
        }

        if (_texts.Documents.All(document => document.ChunkCount < 2))
        {
            throw new TrainingException(
                $"No document of {_texts.Folder} has two chunks of {_texts.ChunkLength} tokens, so that there is no chunk to predict from the one before it.");
        }
    }

    /// <summary>Everything that is trained.</summary>
    private IEnumerable<(string Name, Parameter Parameter, ParameterKind Kind)> Trained()
        => Towers().SelectMany(tower => ParameterKinds.Of(tower.Tower.Encoder).Select(one => ($"{tower.Name}/{one.Name}", one.Parameter, one.Kind)));

    private IEnumerable<(string Name, RetrieverTower Tower)> Towers()
        => new (string, RetrieverTower?)[] { ("query", _queries), ("posterior", _posterior), ("documents", _documents.Tower) }
            .Where(pair => pair.Item2 is not null).Select(pair => (pair.Item1, pair.Item2!));
}
