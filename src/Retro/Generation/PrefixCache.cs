using System.Runtime.InteropServices;
using Retro.Modeling;
using Retro.Search;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>
/// What a model remembers of texts that have ended, for texts that begin alike, such as the next turn of a conversation or another question behind the same
/// instructions (prefix caching): of such a beginning nothing is read anew but its last chunk. Given to generators (<see cref="RetroGenerator.Prefixes"/>);
/// whoever makes it disposes of it, after them.
/// </summary>
/// <remarks>
/// Neighbors are found for each text as without it, and a text goes on from another's beginning only as far as both have the same tokens and read the same
/// neighbors' tokens. So what is written is, within rounding, what it would be without: whatever changes in the database, in the options or in what a caller
/// may see, shows in what is found, and no text reads what was not found for it. That a beginning was read before shows in the time that it takes, and in
/// nothing else. A model's weights must not change while texts are kept: <see cref="Clear"/> forgets them. Nothing is kept or gone on from while hooks run in
/// the model, whose doing is not known. Of a model with a sliding window, texts are kept that are shorter than it. Safe for concurrent use.
/// </remarks>
public sealed class PrefixCache : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<Text> _texts = []; // the one that was used last is the last
    private bool _disposed;

    /// <summary>Creates an empty one.</summary>
    /// <param name="maximumBytes">Bytes that what is remembered may take; the texts that were not used for the longest are forgotten first.</param>
    public PrefixCache(long maximumBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(maximumBytes);
        MaximumBytes = maximumBytes;
    }

    /// <summary>Bytes that what is remembered may take.</summary>
    public long MaximumBytes { get; }

    /// <summary>Bytes that it takes.</summary>
    public long ByteLength
    {
        get
        {
            lock (_lock)
            {
                return _texts.Sum(text => text.Bytes);
            }
        }
    }

    /// <summary>Tokens that texts did not have to read, in all.</summary>
    public long ReusedTokens { get; private set; }

    /// <summary>Forgets all texts.</summary>
    public void Clear()
    {
        lock (_lock)
        {
            _texts.ForEach(text => text.Cache.Dispose());
            _texts.Clear();
        }
    }

    /// <summary>Forgets all texts; generators that still have it read theirs whole.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            Clear();
        }
    }

    /// <summary>The longest beginning of a text that is remembered, of which its last token is no part.</summary>
    /// <param name="model">The model that reads the text.</param>
    /// <param name="text">The text, for which was retrieved already.</param>
    /// <param name="capacity">Tokens to reserve memory for.</param>
    /// <returns>A cache of it, the caller's own; null: it does not pay.</returns>
    internal DecodingCache? Begin(RetroModel model, GenerationSequence text, int capacity)
    {
        lock (_lock)
        {
            (Text? best, int length) = (null, 0);
            foreach (Text kept in _texts.Where(kept => kept.IsOf(model)))
            {
                int common = Math.Min(text.Tokens.Count - 1, Common(model, kept, text));
                (best, length) = common > length ? (kept, common) : (best, length);
            }

            if (best is null || length < Least(model))
            {
                return null;
            }

            try
            {
                using DisposeScope scope = NewDisposeScope();
                long[] read = [.. text.Tokens.Take(length).Select(token => (long)token)];
                Tensor tokens = tensor(read, [1, length], device: model.Device);
                int chunks = model.Config.Retrieval is { } retrieval ? length / retrieval.ChunkLength : 0;
                (Tensor? neighbors, Tensor? valid) = chunks > 0 && chunks <= text.AllFound.Count ? Of(text, chunks - 1).ToTensors(model.Device) : default;
                if (model.Beginning(best.Cache, 0, tokens, neighbors, valid, capacity) is not { } beginning)
                {
                    return null;
                }

                _texts.Remove(best);
                _texts.Add(best);
                ReusedTokens += length;
                return beginning;
            }
            catch (ExternalException)
            {
                return null; // there is no memory for a copy: then it is read whole
            }
        }
    }

    /// <summary>Remembers a text, as far as it was read.</summary>
    /// <param name="cache">Has read it.</param>
    /// <param name="row">The row of it.</param>
    /// <param name="text">The text.</param>
    internal void Keep(DecodingCache cache, int row, GenerationSequence text)
    {
        RetroModel model = cache.Model;
        int length = (int)Math.Min(cache.Lengths[row], text.Tokens.Count);
        try
        {
            using RetroModel.Use use = model.Hold();
            lock (_lock)
            {
                bool pays = !_disposed && length >= Least(model) && cache.HasBeginning(row, length) && !model.IsHooked;
                if (!pays || _texts.Exists(kept => kept.IsOf(model) && Common(model, kept, text) >= length))
                {
                    return;
                }

                int chunks = model.Config.Retrieval is { } retrieval ? Math.Min(length / retrieval.ChunkLength, text.AllFound.Count) : 0;
                (RetrievedTokens From, int Stretch)[] found = [.. text.AllFound.Take(chunks)];
                long bytes = cache.BytesOfRow(length + 1) + Text.BytesOf(length, found); // with the room that a cache has at least
                if (bytes > MaximumBytes)
                {
                    return;
                }

                // What it goes on from is remembered with it.
                Forget(kept => kept.IsOf(model) && Common(model, kept, text) == kept.Tokens.Length);
                while (ByteLength + bytes > MaximumBytes)
                {
                    Forget(kept => kept == _texts[0]);
                }

                DecodingCache own = cache.Beginning(row, length, length, length)!;
                _texts.Add(new([.. text.Tokens.Take(length)], found, own, model.Dtype, model.Device.ToString()));
            }
        }
        catch (Exception fault) when (fault is ExternalException or ObjectDisposedException)
        {
            // There is no memory for a copy, or the model is gone: nobody has asked for it.
        }
    }

    // What is read anew is no less.
    private static int Least(RetroModel model) => model.Config.Retrieval is { } retrieval ? 2 * retrieval.ChunkLength : 16;

    // How many tokens of a text have read what those of a text that is kept have.
    private static int Common(RetroModel model, Text kept, GenerationSequence text)
    {
        int most = Math.Min(kept.Tokens.Length, text.Tokens.Count), common = 0;
        while (common < most && kept.Tokens[common] == text.Tokens[common])
        {
            common++;
        }

        // The last token of a chunk is the first that reads its neighbors.
        for (int chunk = 0, length = model.Config.Retrieval?.ChunkLength ?? 0; length > 0 && (chunk + 1) * length <= common; chunk++)
        {
            bool isOne = chunk < kept.Found.Length, isOther = chunk < text.AllFound.Count;
            if (isOne != isOther || (isOne && !ReadsAlike(kept.Found[chunk], text.AllFound[chunk])))
            {
                return ((chunk + 1) * length) - 1;
            }
        }

        return common;
    }

    private static bool ReadsAlike((RetrievedTokens From, int Stretch) one, (RetrievedTokens From, int Stretch) other)
    {
        return Count(one) == Count(other)
            && one.From.Tokens.AsSpan(Start(one), Count(one)).SequenceEqual(other.From.Tokens.AsSpan(Start(other), Count(other)))
            && one.From.Valid.AsSpan(Start(one), Count(one)).SequenceEqual(other.From.Valid.AsSpan(Start(other), Count(other)));

        static int Start((RetrievedTokens From, int Stretch) found) => found.From.Offset(0, found.Stretch, 0);

        static int Count((RetrievedTokens From, int Stretch) found) => found.From.Neighbors * found.From.Length;
    }

    private static RetrievedTokens Of(GenerationSequence text, int chunk)
    {
        (RetrievedTokens from, int stretch) = text.AllFound[chunk];
        RetrievedTokens found = new(1, 1, from.Neighbors, from.Length);
        found.Take(0, 0, from, 0, stretch);
        return found;
    }

    private void Forget(Func<Text, bool> which)
    {
        foreach (Text text in _texts.Where(which).ToArray())
        {
            _texts.Remove(text);
            text.Cache.Dispose();
        }
    }

    /// <summary>A text that is kept.</summary>
    /// <param name="Tokens">Its tokens.</param>
    /// <param name="Found">What it read after each complete chunk, with the place among what was found with it.</param>
    /// <param name="Cache">Keys and values of it.</param>
    /// <param name="Dtype">What the model computed in.</param>
    /// <param name="Device">And where.</param>
    private sealed record Text(int[] Tokens, (RetrievedTokens From, int Stretch)[] Found, DecodingCache Cache, ScalarType Dtype, string Device)
    {
        public long Bytes { get; } = Cache.ByteLength + BytesOf(Tokens.Length, Found);

        public static long BytesOf(int tokens, (RetrievedTokens From, int Stretch)[] found)
            => (tokens * sizeof(int)) + found.Sum(one => one.From.Neighbors * one.From.Length * 9L);

        public bool IsOf(RetroModel model) => Cache.Model == model && Dtype == model.Dtype && Device == model.Device.ToString();
    }
}
