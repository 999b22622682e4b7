using Retro.Database;
using Retro.Modeling;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// A decoder and what followed its own nearest states in a database: p = (1 − λ) p_model + λ p_found, p_found(y) ~ Σ exp(−distance / temperature) over the K
/// nearest keys that y followed (kNN-LM, arXiv 1911.00172). It retrieves for every token and trains nothing but λ and the temperature.
/// </summary>
public sealed class NearestNeighborReader : IReader
{
    private readonly RetroModel _model;
    private readonly TokenStore _store;

    /// <summary>Creates the reader with a share and a temperature that are known.</summary>
    /// <param name="model">The decoder that made the store's keys; it stays the caller's. Reading puts it into evaluation mode.</param>
    /// <param name="store">The states of a database without held-out documents; it stays the caller's.</param>
    /// <param name="share">λ: the share of what was found, from 0 to below 1.</param>
    /// <param name="temperature">Divides squared distances.</param>
    /// <param name="neighbors">K: states that are looked up for every token.</param>
    /// <param name="name">The name in reports; null: made of the model's.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is outside its range.</exception>
    /// <exception cref="ArgumentException">Another model made the store.</exception>
    public NearestNeighborReader(RetroModel model, TokenStore store, double share, double temperature, int neighbors = 256, string? name = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(store);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(neighbors);
        if (!(share >= 0 && share < 1))
        {
            throw new ArgumentOutOfRangeException(nameof(share), share, "The share of what was found has to lie in [0, 1).");
        }

        if (!(temperature > 0 && double.IsFinite(temperature)))
        {
            throw new ArgumentOutOfRangeException(nameof(temperature), temperature, "A temperature has to be positive and finite.");
        }

        RequireModel(model, store);
        (_model, _store, Share, Temperature, States) = (model, store, share, temperature, neighbors);
        Name = name ?? NameOf(model, neighbors);
    }

    /// <summary>Takes over what was fitted, for a model that was compared with the store's already.</summary>
    private NearestNeighborReader(RetroModel model, TokenStore store, (double Share, double Temperature) fitted, int neighbors, string? name)
    {
        (_model, _store, (Share, Temperature), States) = (model, store, fitted, neighbors);
        Name = name ?? NameOf(model, neighbors);
    }

    /// <summary>λ.</summary>
    public double Share { get; }

    /// <summary>Divides squared distances.</summary>
    public double Temperature { get; }

    /// <summary>K: states that are looked up for every token.</summary>
    public int States { get; }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public int Neighbors => 0;

    /// <inheritdoc/>
    public int? ChunkLength => null;

    /// <inheritdoc/>
    public int? RetrievedLength => null;

    /// <inheritdoc/>
    public ChunkDatabase Database => _store.Database;

    /// <inheritdoc/>
    public Device Device => _model.Device;

    /// <summary>The decoder.</summary>
    internal RetroModel Model => _model;

    /// <summary>What is looked up.</summary>
    internal TokenStore Store => _store;

    /// <summary>Fits share and temperature on documents, without the states of each one's own document and of its copies.</summary>
    /// <param name="model">The decoder that made the store's keys.</param>
    /// <param name="store">The states.</param>
    /// <param name="validation">Documents to fit on: other ones than those that are evaluated on; the store's own will do.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <param name="name">The name in reports; null: made of the model's.</param>
    /// <param name="progress">Receives the number of tokens read.</param>
    /// <param name="cancellationToken">Ends the fitting between two windows.</param>
    /// <returns>The reader.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range.</exception>
    /// <exception cref="ArgumentException">Another model made the store.</exception>
    /// <exception cref="RetroException">A log-likelihood is not a number, or the documents are of another tokenizer than the store.</exception>
    public static NearestNeighborReader Fit(
        RetroModel model,
        TokenStore store,
        ChunkDatabase validation,
        NearestNeighborOptions? options = null,
        string? name = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(store);
        ArgumentNullException.ThrowIfNull(validation);
        options = (options ?? new()).Validate();
        RequireModel(model, store);
        validation.RequireSameTokenizer(store.Database);
        SameDocuments same = new(validation, store.Database);
        NearestNeighborFit fit = new();
        int read = 0;
        foreach ((int number, int start, int most) in Windows(validation, options))
        {
            if (read == options.Tokens)
            {
                break;
            }

            cancellationToken.ThrowIfCancellationRequested();
            progress?.Report(new StageProgress("look up states", read, options.Tokens));
            DocumentEntry document = validation.Documents[number];
            int length = Math.Min(most, options.Tokens - read);
            ReadingBatch batch = new(1, length, 1);
            batch.Put(0, validation, (document.FirstChunk * validation.ChunkLength) + start, length, 1, length + 1);
            (double[] likelihoods, double[] states) = Read(model, batch, batch.TargetPlaces());
            ReaderChecks.RequireNumbers(name ?? "The decoder", likelihoods);
            (int[] Next, double[] Distances)[] found = Look(store, states, options.Neighbors, store.Without(same.Of(number).ToHashSet()));
            for (int place = 0; place < length; place++)
            {
                (int[] next, double[] distances) = found[place];
                fit.Add(likelihoods[place], distances, [.. next.Select(token => token == batch.Targets[place])]);
            }

            read += length;
        }

        progress?.Report(new StageProgress("look up states", read, options.Tokens));
        return new NearestNeighborReader(model, store, fit.Find(), options.Neighbors, name);
    }

    /// <summary>The windows of documents, in the order in which they are read: one of each, which begins anywhere, then the next one of each.</summary>
    internal static IEnumerable<(int Document, int Start, int Tokens)> Windows(ChunkDatabase validation, NearestNeighborOptions options)
    {
        int documents = validation.Documents.Count, length = options.WindowLength;
        SeededPermutation order = new(Math.Max(1, documents), 0, Purpose.NearestStateWindows, 0);

        // One by one, since few of a large database's are ever read.
        for (int round = 0, any = 1; any > 0; round++)
        {
            any = 0;
            for (int i = 0; i < documents; i++)
            {
                if (Window((int)order.At(i), i, round) is { } window)
                {
                    any++;
                    yield return window;
                }
            }
        }

        // From where it begins to the document's end, then from the document's beginning to there. The last token predicts nothing.
        (int Document, int Start, int Tokens)? Window(int document, int place, int round)
        {
            int tokens = validation.TokenCountOf(document);
            int begin = (int)(new SeededRandom(0, Purpose.NearestStateWindows, place).NextDouble() * Math.Max(1, tokens - length));
            int behind = (tokens - 1 - begin + length - 1) / length; // windows to the end
            (long start, int end) = round < behind ? (begin + ((long)round * length), tokens - 1) : ((long)(round - behind) * length, begin);
            return start < end ? (document, (int)start, (int)Math.Min(length, end - start)) : null;
        }
    }

    /// <inheritdoc/>
    RetroModel? IReader.Model => _model;

    /// <inheritdoc/>
    string IReader.IdentityOf(int version) => IdentityHash.Of(
        IdentityHash.KeyEnd,
        [
            WeightsHash.Rounded(_model, version), _store.Database.Manifest.TokensHash, Share, Temperature, States,
            .. version == 1 ? Array.Empty<object>() : _store.Settings,
        ]);

    /// <inheritdoc/>
    public long RowBytes(int length) => ModelReading.RowBytes(_model, length, 0) + (length * ((States * 20L) + (_store.Width * 16L)));

    /// <inheritdoc/>
    public double[] LogLikelihoods(ReadingBatch batch)
    {
        ReaderChecks.Require(this, batch);
        double[] result = new double[batch.Targets.Length];
        long[] places = batch.TargetPlaces();
        if (places.Length == 0)
        {
            return result;
        }

        (double[] likelihoods, double[] states) = Read(_model, batch, places);
        (int[] Next, double[] Distances)[] found = Look(_store, states, States, null);
        for (int i = 0; i < places.Length; i++)
        {
            (int[] next, double[] distances) = found[i];
            bool[] hits = [.. next.Select(token => token == batch.Targets[places[i]])];
            double probability = NearestNeighborFit.Probability(distances, hits, Temperature);
            result[places[i]] = PointerReader.Mix(likelihoods[i], next.Length == 0 ? 0 : Share, probability);
        }

        return result;
    }

    /// <summary>The model's log-likelihoods of the targets at some places, and what it asks with there, [N, D].</summary>
    private static (double[] LogLikelihoods, double[] States) Read(RetroModel model, ReadingBatch batch, long[] places)
    {
        using FinalizerGate.Hold gate = FinalizerGate.Close(FinalizerGate.IsNeededFor(model));
        using DisposeScope scope = NewDisposeScope();
        (Tensor keys, Tensor states) = TokenStore.KeysAndStates(model, batch.Tokens, batch.Rows, batch.Length, places);
        Tensor targets = batch.TargetsAt(places, model.Device);
        using IDisposable inference = inference_mode();
        return (model.LogLikelihoodsOf(states, targets, ModelReading.HeadBytes).Doubles(), keys.Doubles());
    }

    /// <summary>What may follow a text. No gradients are recorded.</summary>
    /// <param name="keys">[1, D], what is asked with.</param>
    /// <param name="states">[1, D], the model's last states, normed.</param>
    /// <param name="among">The stored states that may come; null: all.</param>
    /// <returns>[1, V]: logits on the scale of the model's own, which they are where nothing is found or its share is 0.</returns>
    internal Tensor Logits(Tensor keys, Tensor states, ChunkSet? among)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        (int[] next, double[] distances) = Look(_store, keys.Doubles(), States, among)[0];
        Tensor logits = _model.Head(states).to_type(ScalarType.Float64).cpu(); // [1, V]
        if (next.Length == 0 || Share == 0)
        {
            return logits.MoveToOuterDisposeScope();
        }

        double[] found = new double[logits.shape[1]];
        double all = 0;
        for (int i = 0; i < next.Length; i++)
        {
            double weight = Math.Exp((distances[0] - distances[i]) / Temperature);
            found[next[i]] += weight;
            all += weight;
        }

        Tensor copied = tensor(found, [1, found.Length], device: CPU).Times(Share / all);
        Tensor mixed = logits.softmax(1).Times(1 - Share).Plus(copied).log();
        return mixed.Plus(logits.logsumexp(1, keepdim: true)).MoveToOuterDisposeScope();
    }

    /// <summary>What followed the nearest states to some, nearest first, with their distances.</summary>
    private static (int[] Next, double[] Distances)[] Look(TokenStore store, ReadOnlySpan<double> states, int count, ChunkSet? among)
    {
        count = (int)Math.Clamp(among?.Count ?? store.Count, 1, count);
        long[] keys = new long[states.Length / store.Width * count];
        double[] distances = new double[keys.Length];
        store.Find(states, count, keys, distances, among);

        // An index that keeps less than the keys has its own order; -1 stands where it finds no more.
        return [.. Enumerable.Range(0, keys.Length / count).Select(row =>
        {
            int[] kept = [.. Enumerable.Range(row * count, count).Where(i => keys[i] >= 0).OrderBy(i => distances[i])];
            return (Array.ConvertAll(kept, i => store.Next(keys[i])), Array.ConvertAll(kept, i => distances[i]));
        })];
    }

    private static string NameOf(RetroModel model, int neighbors)
        => $"{(model.Config.Retrieval is null ? "decoder" : "RETRO off")} + nearest states, k = {neighbors}";

    private static void RequireModel(RetroModel model, TokenStore store)
    {
        if (WeightsHash.Exact(model) is var hash && hash != store.ModelHash)
        {
            throw new ArgumentException(
                $"The states were made by the model {store.ModelHash[..12]}, and this one is {hash[..12]}: make them with this model.", nameof(store));
        }
    }
}
