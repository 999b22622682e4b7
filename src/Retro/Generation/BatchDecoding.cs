using Retro.Modeling;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>
/// A model that reads several texts at once, each at its own place, as rows of a batch: a text may come while others go on, and one that has ended takes no
/// more time.
/// </summary>
/// <param name="model">The model.</param>
/// <param name="prefixes">Remembers texts that have ended; null: nothing does.</param>
internal sealed class BatchDecoding(RetroModel model, PrefixCache? prefixes = null) : IDisposable
{
    private const int Capacity = 64; // tokens behind a beginning that memory is reserved for

    /// <summary>
    /// Tokens, padding included, up to which beginnings of any lengths are read in one pass: so few cost less together, as weights take longer to read than
    /// tokens to compute. Of more, each takes its time.
    /// </summary>
    private const int Few = 128;

    /// <summary>Tokens with padding for each one without, at most, in a pass of more.</summary>
    private const double MostPadded = 1.25;

    private readonly bool _gated = FinalizerGate.IsNeededFor(model);
    private DecodingCache? _cache;
    private float[] _logits = []; // of all texts that went on, which read them until the next ones are taken

    /// <summary>Texts that it holds.</summary>
    public int Rows => _cache?.Rows ?? 0;

    /// <summary>
    /// Reads beginnings, those of like length in one pass, and gives each text its logits. Their rows come behind those that are there, in the order of the
    /// texts; where they cannot, none is left.
    /// </summary>
    /// <param name="texts">At least one.</param>
    /// <param name="cancellationToken">Ends the reading between two pieces; those that are there go on.</param>
    public void Begin(IReadOnlyList<GenerationSequence> texts, CancellationToken cancellationToken = default)
    {
        using DisposeScope scope = NewDisposeScope();
        using FinalizerGate.Hold gate = FinalizerGate.Close(_gated, lingers: true);
        DecodingCache begun = RetroTelemetry.Timed(RetroTelemetry.GenerationDuration, "retro.stage", "prefill", () => Read(texts, cancellationToken));
        if (_cache is null)
        {
            _cache = begun;
            return;
        }

        using DecodingCache taken = begun;
        try
        {
            _cache.AppendRows(begun);
        }
        catch
        {
            Dispose(); // with half of them it is of no use to any
            throw;
        }
    }

    /// <summary>Reads the last token of each text, and gives it its logits. The rows are these texts' then, in this order.</summary>
    /// <param name="texts">Those that have not ended, at least one.</param>
    /// <param name="from">For each the row of the text that it goes on from by one token, which may be itself; several may go on from one.</param>
    public void Go(IReadOnlyList<GenerationSequence> texts, IReadOnlyList<int> from)
    {
        using DisposeScope scope = NewDisposeScope();
        using FinalizerGate.Hold gate = FinalizerGate.Close(_gated, lingers: true);
        if (!from.SequenceEqual(Enumerable.Range(0, _cache!.Rows)))
        {
            _cache.SelectRows(from);
        }

        (Tensor? neighbors, Tensor? valid) = Found(texts)?.ToTensors(model.Device) ?? default;
        long[] tokens = [.. texts.Select(text => (long)text.Tokens[^1])];
        Tensor logits = RetroTelemetry.Timed(
            RetroTelemetry.GenerationDuration,
            "retro.stage",
            "step",
            () => model.Step(_cache, tensor(tokens, device: model.Device), neighbors?.squeeze(1), valid?.squeeze(1)));
        Give(texts, logits.Floats(ref _logits));
    }

    /// <summary>Remembers a text that has ended, where texts are remembered.</summary>
    /// <param name="text">The text.</param>
    /// <param name="row">Its row.</param>
    public void Keep(GenerationSequence text, int row)
    {
        using DisposeScope scope = NewDisposeScope();
        using FinalizerGate.Hold gate = FinalizerGate.Close(_gated, lingers: true);
        prefixes?.Keep(_cache!, row, text);
    }

    public void Dispose()
    {
        _cache?.Dispose();
        _cache = null;
    }

    /// <summary>Which texts are read together, in one pass each list, which is in ascending order; those of the longest one come first.</summary>
    /// <param name="lengths">Tokens of each.</param>
    internal static List<List<int>> OfLikeLength(IReadOnlyList<int> lengths)
    {
        List<List<int>> all = [];
        long width = 0, tokens = 0;
        foreach (int text in Enumerable.Range(0, lengths.Count).OrderByDescending(text => lengths[text]))
        {
            long area = (all.Count == 0 ? 0 : all[^1].Count + 1) * width;
            if (area == 0 || area > Math.Max(Few, MostPadded * (tokens + lengths[text])))
            {
                all.Add([]);
                (width, tokens) = (lengths[text], 0);
            }

            all[^1].Add(text);
            tokens += lengths[text];
        }

        all.ForEach(some => some.Sort());
        return all;
    }

    private DecodingCache Read(IReadOnlyList<GenerationSequence> texts, CancellationToken cancellationToken)
    {
        DecodingCache?[] begun = new DecodingCache?[texts.Count];
        DecodingCache? all = null;
        try
        {
            for (int text = 0; text < begun.Length; text++)
            {
                begun[text] = prefixes?.Begin(model, texts[text], texts[text].Tokens.Count + Capacity);
            }

            int[] anew = [.. Enumerable.Range(0, texts.Count).Where(text => begun[text] is null)];
            List<List<int>> passes =
            [
                .. OfLikeLength([.. anew.Select(text => texts[text].Tokens.Count)]).Select(pass => pass.ConvertAll(text => anew[text])),
                .. Enumerable.Range(0, texts.Count).Except(anew).Select(text => new List<int> { text }),
            ];
            foreach (List<int> pass in passes)
            {
                DecodingCache? beginning = begun[pass[0]];
                begun[pass[0]] = null;
                DecodingCache read = ReadTogether([.. pass.Select(text => texts[text])], beginning, cancellationToken);
                if (all is null)
                {
                    all = read;
                    continue;
                }

                using (read)
                {
                    all.AppendRows(read);
                }
            }

            if (passes.Count > 1)
            {
                int[] rows = [.. passes.SelectMany(pass => pass)]; // which text each is
                all!.SelectRows([.. Enumerable.Range(0, rows.Length).OrderBy(row => rows[row])]);
            }

            return all!;
        }
        catch
        {
            Array.ForEach(begun, beginning => beginning?.Dispose());
            all?.Dispose();
            throw;
        }
    }

    // Behind a beginning that one of them has; null: from its own beginning on.
    private DecodingCache ReadTogether(IReadOnlyList<GenerationSequence> texts, DecodingCache? beginning, CancellationToken cancellationToken)
    {
        DecodingCache read = beginning ?? model.NewCache(texts.Count, texts.Max(text => text.Tokens.Count) + Capacity);
        try
        {
            int start = (int)read.Lengths[0], longest = texts.Max(text => text.Tokens.Count) - start;
            long[] tokens =
            [
                .. texts.SelectMany(text => text.Tokens.Skip(start).Select(token => (long)token)
                    .Concat(Enumerable.Repeat(0L, start + longest - text.Tokens.Count))),
            ];
            (Tensor? neighbors, Tensor? valid) = Found(texts)?.ToTensors(model.Device) ?? default;
            int first = start / (model.Config.Retrieval?.ChunkLength ?? 1);
            if (neighbors is not null && first > 0)
            {
                long left = neighbors.shape[1] - first;
                (neighbors, valid) = left > 0 ? (neighbors.narrow(1, first, left), valid!.narrow(1, first, left)) : default;
            }

            Tensor logits = model.Prefill(
                read,
                tensor(tokens, [texts.Count, longest], device: model.Device),
                [.. texts.Select(text => text.Tokens.Count - start)],
                neighbors,
                valid,
                cancellationToken);
            float[] own = []; // those that go on still read the others
            Give(texts, logits.Floats(ref own));
            return read;
        }
        catch
        {
            read.Dispose();
            throw;
        }
    }

    /// <param name="texts">The texts.</param>
    /// <param name="logits">[B, V].</param>
    private static void Give(IReadOnlyList<GenerationSequence> texts, Memory<float> logits)
    {
        int vocabulary = logits.Length / texts.Count;
        for (int row = 0; row < texts.Count; row++)
        {
            texts[row].Take(logits.Slice(row * vocabulary, vocabulary));
        }
    }

    /// <summary>What was found for all of them, as many neighbors as any has; null: nothing for any.</summary>
    private static RetrievedTokens? Found(IReadOnlyList<GenerationSequence> texts)
    {
        RetrievedTokens[] any = [.. texts.Select(text => text.Found?.Tokens).OfType<RetrievedTokens>()];
        if (any.Length == 0)
        {
            return null;
        }

        RetrievedTokens all = new(texts.Count, any.Max(found => found.Chunks), any.Max(found => found.Neighbors), any[0].Length);
        for (int row = 0; row < texts.Count; row++)
        {
            for (int chunk = 0; chunk < (texts[row].Found?.Tokens.Chunks ?? 0); chunk++)
            {
                all.Take(row, chunk, texts[row].Found!.Tokens, 0, chunk);
            }
        }

        return all;
    }
}
