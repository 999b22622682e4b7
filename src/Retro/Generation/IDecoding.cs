using Retro.Search;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>Reads one text as it grows, and tells what may follow.</summary>
internal interface IDecoding : IDisposable
{
    /// <summary>Reads what is new of the text: at first all of it, later its last token.</summary>
    /// <param name="text">The tokens so far.</param>
    /// <param name="found">What was retrieved for the stretches that the new tokens completed; null: none was completed, or retrieval is off.</param>
    /// <param name="cancellationToken">Ends the reading between two pieces of a long text, or two layers; nothing more can be read then.</param>
    /// <returns>
    /// V numbers, the logits of the next token: on the scale of the model's own, as the repetition penalty takes them, also where they are those of a mixture.
    /// </returns>
    Tensor Read(IReadOnlyList<int> text, StretchRetriever.Found? found, CancellationToken cancellationToken);

    /// <summary>Where the next token is copied from: what counts most, where more of its probability is copied than the model's own.</summary>
    /// <param name="token">The token.</param>
    /// <param name="logProbability">Its log-probability in nats, of all.</param>
    /// <returns>The chunk, or the passage that was given; null: it is the model's own.</returns>
    RetrievedNeighbor? CopiedFrom(int token, double logProbability) => null;
}
