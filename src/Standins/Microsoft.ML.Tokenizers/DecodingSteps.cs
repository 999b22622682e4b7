using System.Buffers;
using Retro.Text;

namespace Microsoft.ML.Tokenizers;

/// <summary>What decoders share.</summary>
internal static class DecodingSteps
{
    /// <summary>Appends the bytes that a text of byte symbols stands for; characters that are no such symbols as UTF-8.</summary>
    public static void AppendBytes(string text, List<byte> bytes)
    {
        foreach (char symbol in text)
        {
            int value = ByteSymbols.ToByte(symbol);
            if (value >= 0)
            {
                bytes.Add((byte)value);
            }
            else
            {
                bytes.AddRange(System.Text.Encoding.UTF8.GetBytes([symbol]));
            }
        }
    }

    /// <summary>Decodes as many whole ids as the destination holds.</summary>
    public static OperationStatus IntoSpan(List<int> ids, Span<char> destination, Func<IEnumerable<int>, string> decode, out int idsConsumed, out int charsWritten)
    {
        string all = decode(ids);
        int consumed = ids.Count;
        // The text grows with the ids, so the longest beginning that fits is found by halving.
        if (all.Length > destination.Length)
        {
            int low = 0;
            int high = ids.Count - 1;
            while (low < high)
            {
                int middle = (low + high + 1) / 2;
                (low, high) = decode(ids.Take(middle)).Length <= destination.Length ? (middle, high) : (low, middle - 1);
            }

            consumed = low;
            all = decode(ids.Take(consumed));
        }

        all.CopyTo(destination);
        idsConsumed = consumed;
        charsWritten = all.Length;
        return consumed == ids.Count ? OperationStatus.Done : OperationStatus.DestinationTooSmall;
    }
}
