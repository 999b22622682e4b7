using static TorchSharp.torch;

namespace Retro.Retrievers;

/// <summary>Texts side by side, as an encoder reads them.</summary>
/// <param name="Tokens">Ids, Rows × Length, padded.</param>
/// <param name="Mask">True where an id is real; null when all are.</param>
/// <param name="Rows">Texts.</param>
/// <param name="Length">Tokens of the longest.</param>
internal sealed record TextBatch(long[] Tokens, bool[]? Mask, int Rows, int Length)
{
    /// <summary>Pads texts to the length of the longest.</summary>
    /// <param name="framed">Their ids, frame included.</param>
    /// <param name="padding">The id behind a text's end.</param>
    public static TextBatch Of(IReadOnlyList<int[]> framed, int padding)
    {
        int length = framed.Max(text => text.Length);
        long[] tokens = new long[framed.Count * length];
        bool[] mask = new bool[tokens.Length];
        Array.Fill(tokens, padding);
        for (int row = 0; row < framed.Count; row++)
        {
            for (int t = 0; t < framed[row].Length; t++)
            {
                tokens[(row * length) + t] = framed[row][t];
                mask[(row * length) + t] = true;
            }
        }

        return new TextBatch(tokens, Array.IndexOf(mask, false) < 0 ? null : mask, framed.Count, length);
    }

    /// <summary>As tensors: int64 [B, T], and bool [B, T] where not all are real.</summary>
    public (Tensor Tokens, Tensor? Mask) ToTensors(Device device)
        => (tensor(Tokens, [Rows, Length], ScalarType.Int64, device), Mask is null ? null : tensor(Mask, [Rows, Length], ScalarType.Bool, device));
}
