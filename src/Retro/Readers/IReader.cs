using Retro.Database;
using Retro.Modeling;
using static TorchSharp.torch;

namespace Retro.Readers;

/// <summary>
/// A way to use what was retrieved: the log-likelihood of a target given its context and neighbors, per token. Evaluation compares readers by nothing else.
/// Implementations may be called from several threads at once.
/// </summary>
public interface IReader
{
    /// <summary>A short name, such as "closed book"; it stands in reports.</summary>
    string Name { get; }

    /// <summary>K: neighbors per chunk that it reads; 0: none.</summary>
    int Neighbors { get; }

    /// <summary>M: tokens of a chunk; null: any.</summary>
    int? ChunkLength { get; }

    /// <summary>R: tokens per neighbor; null: any.</summary>
    int? RetrievedLength { get; }

    /// <summary>Last tokens of the text that are asked with where neighbors are asked for while reading; null, the default: a chunk's.</summary>
    int? QueryLength => null;

    /// <summary>
    /// Whether what was retrieved for earlier chunks than the last one matters to a prediction, as where later tokens attend to earlier ones that have read it.
    /// False: nothing need be asked for a chunk that only tokens of which no target is predicted would read. Default: true for a reader of neighbors, which is
    /// always right.
    /// </summary>
    bool ReadsEarlierNeighbors => Neighbors > 0;

    /// <summary>A database that it reads from besides the neighbors it is given, in which no held-out document may be; null, the default: none.</summary>
    ChunkDatabase? Database => null;

    /// <summary>
    /// Names what the log-likelihoods depend on besides the batch, weights as far as bfloat16 tells them apart, whatever type a model is loaded in; null, the
    /// default: it is not known.
    /// </summary>
    internal string? Identity => IdentityOf(WeightsHash.CurrentVersion);

    /// <summary>The identity as a version of this library named it; version 1, which files still hold, left something out.</summary>
    internal string? IdentityOf(int version) => null;

    /// <summary>The model that it goes on token by token with; null, the default: it reads whole texts alone.</summary>
    internal RetroModel? Model => null;

    /// <summary>M: tokens of a chunk of the database that its neighbors come from; null, the default: any.</summary>
    internal int? PassageChunkLength => null;

    /// <summary>Whether passages weigh by the scores that their source gave them, so that those of different sources cannot be read together.</summary>
    internal bool WeighsByScores => false;

    /// <summary>
    /// Whether a batch may have chunks of any length: where <see cref="ChunkLength"/> says how often neighbors are asked for, it need not be what the reader is
    /// bound to.
    /// </summary>
    internal bool TakesAnyChunks => ChunkLength is null;

    /// <summary>Where it computes: on a processor several batches are given to it side by side, on an accelerator one after the other.</summary>
    Device Device { get; }

    /// <summary>About how much memory one row of a batch takes while it is read, in bytes; from it follows how many are read at once.</summary>
    /// <param name="length">T: tokens of the row.</param>
    long RowBytes(int length);

    /// <summary>
    /// The log-likelihood of every target of a batch. Those of all tokens of the vocabulary at one place, each as the target, sum to 1 in probability.
    /// </summary>
    /// <param name="batch">
    /// Texts, targets and neighbors. The target at place p of a row, which is token p + 1 of the text, is predicted from the row's tokens up to p and from the
    /// neighbors of the chunks that end with it or before it: never from itself, nor from what follows.
    /// </param>
    /// <returns>[B, T], in nats: at most 0 up to rounding; 0 where there is no target.</returns>
    /// <exception cref="ArgumentException">The batch has fewer neighbors than the reader reads, or of another length, or chunks of another length.</exception>
    double[] LogLikelihoods(ReadingBatch batch);

    /// <summary>Refuses a tokenizer that its model was not trained with; where it has no model it reads any.</summary>
    /// <param name="hash">The tokenizer's.</param>
    /// <exception cref="RetroException">It is another.</exception>
    internal void RequireTokenizer(string hash) => Model?.RequireTokenizer(hash);
}
