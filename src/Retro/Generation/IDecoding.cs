using Retro.Search;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>Reads one text as it grows, and tells what may follow.</summary>
internal interface IDecoding : IDisposable
{
    /// <summary>Reads what is new of the text: at first all of it, later its last token.</summary>
    /// <param name="text">The tokens so far.</param>
    /// <param name="found">What was retrieved for the stretches that the new tokens completed; null: none was completed, or retrieval is off.</param>
    /// <returns>
    /// V numbers, the logits of the next token: on the scale of the model's own, as the repetition penalty takes them, also where they are those of a mixture.
    /// </returns>
    Tensor Read(IReadOnlyList<int> text, RetrievedTokens? found);
}
