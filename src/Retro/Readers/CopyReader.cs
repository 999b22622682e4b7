using Retro.Database;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Search;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// Copies from the neighbors on top of a language model: a mixture of the model's distribution and one over the tokens that follow, in the neighbors, a run of
/// the text's last tokens. How candidates are scored and how far they are trusted is learned (<see cref="Fit"/>); the model itself is not touched, so that
/// without neighbors this is the model to the bit. It reads no neighbors itself, or, where it is a RETRO, the best of them by chunked cross-attention
/// (<see cref="CopyReaderOptions.CrossAttended"/>).
/// </summary>
/// <remarks>
/// Beyond the paper: pointer networks and kNN-LM are its relatives, <see cref="PointerReader"/> is the same without a trained weight. It retrieves every
/// <see cref="CopyReaderOptions.Stride"/> tokens instead of once a chunk, and reads many neighbors, since one costs it a few comparisons and not a pass of an
/// encoder.
/// </remarks>
public sealed partial class CopyReader : IReader, IDisposable
{
    private readonly RetroModel _model;
    private readonly CopyMixture _mixture;
    private readonly int _retrievedLength;
    private readonly TokenIndex? _index;

    private CopyReader(RetroModel model, CopyMixture mixture, CopyReaderOptions options, int retrievedLength, TokenIndex? index, string? name)
    {
        (_model, _mixture, Options, _retrievedLength, _index) = (model, mixture, options, retrievedLength, index);
        string reading = model.Config.Retrieval is null ? "decoder" : options.CrossAttended == 0 ? "RETRO off" : $"RETRO of {options.CrossAttended}";
        Name = name ?? $"{reading} + copying, k = {options.Neighbors}, every {options.Stride} tokens{(index is null ? "" : ", and from anywhere")}";
    }

    /// <summary>The settings it was made with.</summary>
    public CopyReaderOptions Options { get; }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Neighbors => Options.Neighbors;

    /// <summary>s: a batch's stretches are as long as what is retrieved anew, not as the database's chunks.</summary>
    public int? ChunkLength => Options.Stride;

    /// <inheritdoc/>
    bool IReader.TakesAnyChunks => Options.CrossAttended == 0;

    /// <inheritdoc/>
    public int? RetrievedLength => _retrievedLength;

    /// <inheritdoc/>
    public int? QueryLength => Options.QueryLength;

    /// <inheritdoc/>
    public bool ReadsEarlierNeighbors => Options.CrossAttended > 0;

    /// <inheritdoc/>
    public ChunkDatabase? Database => _index?.Database;

    /// <inheritdoc/>
    public Device Device => _model.Device;

    /// <summary>
    /// This reader where it copies from its neighbors alone, and looks nowhere else: what they are worth without the rest of the database. It has this one's
    /// weights, and is of no use once this one is disposed.
    /// </summary>
    public IReader FromNeighborsAlone => _index is null ? this : new CopyReader(_model, _mixture, Options, _retrievedLength, null, null);

    /// <summary>The language model.</summary>
    internal RetroModel Model => _model;

    /// <summary>Where it looks besides the neighbors; null: nowhere.</summary>
    internal TokenIndex? Index => _index;

    /// <summary>Trains a reader for a model on the documents of a database, with neighbors from other documents than the text's.</summary>
    /// <param name="model">
    /// The language model; it stays the caller's and as it is, but for evaluation mode. It reads no neighbors, even where it could, unless the options say so.
    /// </param>
    /// <param name="database">Documents that are trained on, none of them held out; those that the model was trained on for few passes will do.</param>
    /// <param name="source">Finds neighbors for the last tokens of a text, in the same database or another.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="index">Where to look for the text's last tokens besides, at every token: anywhere in a database. Null: in the neighbors alone.</param>
    /// <param name="name">The name in reports; null: made of the model's and the settings.</param>
    /// <param name="progress">Receives the number of steps done, each with its loss in nats a token.</param>
    /// <param name="cancellationToken">Ends the training between two steps.</param>
    /// <returns>The reader; dispose it.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range, or does not fit the model.</exception>
    /// <exception cref="ArgumentException">The source has no database.</exception>
    /// <exception cref="DatabaseException">What is read from, the source's database or the index's, has chunks of another tokenizer.</exception>
    /// <exception cref="TrainingException">The loss is not finite.</exception>
    public static CopyReader Fit(
        RetroModel model,
        ChunkDatabase database,
        INeighborSource source,
        CopyReaderOptions? options = null,
        TokenIndex? index = null,
        string? name = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(source);
        model.RequireTokenizer(database.Manifest.TokenizerHash);
        options = (options ?? new CopyReaderOptions()).Validate(database.ChunkLength);
        int length = ReaderTraining.RequireDatabase(source, database, "copy").RetrievedLength(options.RetrievedLength);
        RequireFit(options, model, length);
        if (index is not null)
        {
            database.RequireSameTokenizer(index.Database);
        }

        CopyMixture mixture = new(model.Config.Width, Ranks(options, index is not null), options.Seed, model.Device);
        CopyReader fresh = new(model, mixture, options, length, index, name);
        return ReaderTraining.Trained(fresh, reader => reader.Train(database, source, progress, cancellationToken));
    }

    /// <inheritdoc/>
    RetroModel? IReader.Model => _model;

    /// <inheritdoc/>
    string IReader.IdentityOf(int version) => IdentityHash.Of(
        IdentityHash.KeyEnd,
        WeightsHash.Rounded(_model, version, Trained),
        Neighbors,
        Options.Stride,
        Options.QueryLength,
        _retrievedLength,
        Options.CrossAttended,
        _index?.Database.Manifest.TokensHash);

    /// <inheritdoc/>
    public long RowBytes(int length)
        => ModelReading.RowBytes(_model, length, Options.CrossAttended) + (length * (long)CopyCandidates.MostCandidates * 64);

    /// <inheritdoc/>
    public double[] LogLikelihoods(ReadingBatch batch)
    {
        ReaderChecks.Require(this, batch);
        double[] result = new double[batch.Targets.Length];
        using DisposeScope scope = NewDisposeScope();
        using IDisposable inference = inference_mode();
        foreach ((long[] places, Tensor likelihoods) in Read(batch))
        {
            double[] values = likelihoods.Doubles();
            for (int i = 0; i < places.Length; i++)
            {
                result[places[i]] = values[i];
            }

            likelihoods.Dispose();
        }

        return result;
    }

    /// <summary>What may be copied after a text.</summary>
    /// <param name="last">The text's last tokens, <see cref="CopyCandidates.ComparedTokens"/> of them where it has as many.</param>
    /// <param name="match">The neighbors, with the text's runs in them; null: there are none yet.</param>
    /// <param name="excluded">Documents of the index that are not looked into; null: nothing is copied at all.</param>
    internal CopyCandidates Candidates(ReadOnlySpan<long> last, PointerMatch? match, IReadOnlySet<int>? excluded)
    {
        if (excluded is null)
        {
            return CopyCandidates.Of([null]);
        }

        List<CopyCandidates.Candidate> found = match?.Candidates(last) ?? [];
        if (_index is not null)
        {
            CopyCandidates.AddFrom(_index, last, excluded, Neighbors, found);
        }

        return CopyCandidates.Of([found]);
    }

    /// <summary>What may be copied at each place of a text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="found">What was found for its stretches, which may be fewer neighbors than it reads; null: nothing.</param>
    /// <param name="excluded">Documents of the index that are not looked into; null: nothing is copied at all.</param>
    internal CopyCandidates Candidates(long[] text, RetrievedTokens? found, IReadOnlySet<int>? excluded)
    {
        if (excluded is null)
        {
            return CopyCandidates.Of(new List<CopyCandidates.Candidate>?[text.Length]);
        }

        ReadingBatch batch = new(1, text.Length, Options.Stride) { Retrieved = found };
        text.CopyTo(batch.Tokens, 0);
        return CopyCandidates.Find(batch, Neighbors, [.. Enumerable.Range(0, text.Length).Select(place => (long)place)], _index, [excluded]);
    }

    /// <summary>What may follow at some places. No gradients are recorded.</summary>
    /// <param name="states">[P, D], the model's last states, normed.</param>
    /// <param name="candidates">Of all places.</param>
    /// <param name="start">The first of these P places among the candidates'.</param>
    /// <returns>
    /// [P, V]: logits on the scale of the model's own, which they are where nothing is copied; and [P, N]: the probability that each candidate gives its token.
    /// </returns>
    internal (Tensor Logits, Tensor Copied) Logits(Tensor states, CopyCandidates candidates, int start = 0)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        Tensor logits = _model.Head(states);
        (Tensor mixed, Tensor copied) = _mixture.LogDistribution(logits, states, candidates, start);
        return (mixed.Plus(logits.to_type(mixed.dtype).logsumexp(1, keepdim: true)).MoveToOuterDisposeScope(), copied.MoveToOuterDisposeScope());
    }

    /// <summary>What the model's own cross-attention reads of what was found for a text's stretches, the first of which begins a chunk.</summary>
    /// <param name="found">What was found; null: nothing.</param>
    /// <returns>[B, C, K, R], twice, of the C chunks that are complete, each with the neighbors of its last stretch; null, twice: nothing is read.</returns>
    internal (Tensor? Neighbors, Tensor? Valid) CrossAttended(RetrievedTokens? found)
        => Options.CrossAttended == 0 ? default : CrossAttended(found, _model.Config.Retrieval!.ChunkLength / Options.Stride);

    /// <summary>What it reads of what was found for the one stretch that a new token has completed.</summary>
    /// <param name="found">What was found; null: nothing.</param>
    /// <returns>[1, K, R], twice; null, twice: nothing is read.</returns>
    internal (Tensor? Neighbors, Tensor? Valid) CrossAttendedNext(RetrievedTokens? found)
    {
        (Tensor? neighbors, Tensor? valid) = CrossAttended(found, 1);
        return (neighbors?.squeeze(1), valid?.squeeze(1));
    }

    /// <inheritdoc/>
    public void Dispose() => _mixture.Dispose();

    /// <summary>What is trained.</summary>
    internal IEnumerable<(string Name, Parameter Parameter)> Trained => _mixture.named_parameters();

    /// <summary>
    /// The log-likelihoods of a batch's targets, the logits of few places at a time: of each lot the places, and [n] with the gradient of the mixture's
    /// weights.
    /// </summary>
    private IEnumerable<(long[] Places, Tensor LogLikelihoods)> Read(ReadingBatch batch, IReadOnlyList<IReadOnlySet<int>>? excluded = null)
    {
        long[] places = batch.TargetPlaces();
        if (places.Length == 0)
        {
            yield break;
        }

        _model.Evaluate();
        CopyCandidates candidates = CopyCandidates.Find(batch, Neighbors, places, _index, excluded);
        Tensor states = States(batch, places); // [N, D]
        long slice = _model.HeadSlice(ModelReading.HeadBytes);
        for (int start = 0; start < places.Length; start += (int)slice)
        {
            int count = (int)Math.Min(slice, places.Length - start);
            long[] some = places[start..(start + count)];
            yield return (some, OfPlaces(batch, states.narrow(0, start, count), candidates, start, some));
        }
    }

    /// <summary>Refuses a model that cannot read as the settings say.</summary>
    /// <exception cref="RetroOptionsException">It cannot.</exception>
    private static void RequireFit(CopyReaderOptions options, RetroModel model, int retrievedLength)
    {
        if (options.CrossAttended == 0)
        {
            return;
        }

        OptionFaults faults = new(nameof(CopyReaderOptions));
        int? chunk = model.Config.Retrieval?.ChunkLength, length = model.Config.Retrieval?.RetrievedLength;
        faults.Require(chunk is not null, options.CrossAttended, "0 for a model that does not retrieve", nameof(options.CrossAttended));
        faults.Require((chunk ?? 0) % options.Stride == 0, options.Stride, $"a divisor of the model's chunks, {chunk}", nameof(options.Stride));
        faults.Require((length ?? retrievedLength) == retrievedLength, retrievedLength, $"{length}, as the model reads", nameof(options.RetrievedLength));
        faults.Throw();
    }

    /// <summary>The best neighbors of the last of every so many stretches.</summary>
    private (Tensor? Neighbors, Tensor? Valid) CrossAttended(RetrievedTokens? found, int stretches)
    {
        int read = Math.Min(Options.CrossAttended, found?.Neighbors ?? 0), chunks = (found?.Chunks ?? 0) / stretches;
        if (read == 0 || chunks == 0)
        {
            return default;
        }

        RetrievedTokens own = new(found!.Rows, chunks, read, found.Length);
        for (int row = 0; row < found.Rows; row++)
        {
            for (int chunk = 0; chunk < chunks; chunk++)
            {
                own.Take(row, chunk, found, row, ((chunk + 1) * stretches) - 1);
            }
        }

        return own.ToTensors(Device);
    }

    /// <summary>A rank for each neighbor, and one for what stands anywhere.</summary>
    private static int Ranks(CopyReaderOptions options, bool fromAnywhere) => options.Neighbors + (fromAnywhere ? 1 : 0);

    private Tensor States(ReadingBatch batch, long[] places)
    {
        using FinalizerGate.Hold gate = FinalizerGate.Close(FinalizerGate.IsNeededFor(_model));
        using IDisposable noGradients = no_grad();
        Tensor tokens = tensor(batch.Tokens, [batch.Rows, batch.Length], device: Device);
        (Tensor? neighbors, Tensor? valid) = CrossAttended(batch.Retrieved);
        return _model.StatesAt(tokens, tensor(places, device: Device), neighbors, valid);
    }

    private Tensor OfPlaces(ReadingBatch batch, Tensor states, CopyCandidates candidates, int start, long[] places)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor logits;
        using (FinalizerGate.Hold gate = FinalizerGate.Close(FinalizerGate.IsNeededFor(_model)))
        using (no_grad())
        {
            logits = _model.Head(states);
        }

        Tensor targets = batch.TargetsAt(places, Device);
        return _mixture.LogLikelihoods(logits, states, candidates, start, targets).MoveToOuterDisposeScope();
    }
}
