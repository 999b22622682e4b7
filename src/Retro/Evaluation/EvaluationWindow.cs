using Retro.Database;

namespace Retro.Evaluation;

/// <summary>A stretch of one document, and which of its predictions count.</summary>
/// <param name="FirstChunk">Number of its first chunk.</param>
/// <param name="Tokens">Tokens that the model reads.</param>
/// <param name="FirstTarget">Place of the first token that counts, from the window's start.</param>
/// <param name="EndTarget">Place after the last token that counts. It may be one beyond the window: the last token read predicts the one after it.</param>
internal readonly record struct EvaluationWindow(long FirstChunk, int Tokens, int FirstTarget, int EndTarget)
{
    /// <summary>How many predictions count.</summary>
    public int Targets => EndTarget - FirstTarget;

    /// <summary>Cuts a document so that every token after its first counts in exactly one window, with as much before it as the stride allows.</summary>
    public static IEnumerable<EvaluationWindow> Of(DocumentEntry document, int chunkLength, int length, int stride)
    {
        // Tokens before this place have been counted; the first token has nothing before it.
        int counted = 1;
        for (int start = 0; counted < document.TokenCount; start += stride)
        {
            int end = Math.Min(start + length + 1, document.TokenCount);
            // The document's last token predicts nothing, so it need not be read.
            int read = Math.Min(length, document.TokenCount - 1 - start);
            yield return new EvaluationWindow(document.FirstChunk + start / chunkLength, read, counted - start, end - start);
            counted = end;
        }
    }
}
