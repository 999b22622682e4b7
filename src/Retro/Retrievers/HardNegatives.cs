using Retro.Embedders;
using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Retrievers;

/// <summary>Windows with the vectors that the encoder gave them some steps ago, among which negatives are looked for.</summary>
internal sealed class HardNegatives
{
    private const int Block = 64;

    private readonly InverseClozePairs.Windows _windows;
    private readonly float[] _vectors;

    private HardNegatives(InverseClozePairs.Windows windows, float[] vectors) => (_windows, _vectors) = (windows, vectors);

    /// <summary>Draws windows and embeds them.</summary>
    public static HardNegatives Draw(TextEncoder encoder, InverseClozePairs pairs, int count)
    {
        InverseClozePairs.Windows windows = pairs.Draw(count);
        List<float> vectors = [];
        Device device = encoder.parameters().First().device;
        using IDisposable guard = no_grad();
        foreach (int[][] block in windows.Framed.Chunk(Block))
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor made = InverseClozeTrainer.Encode(encoder, pairs.Batched(block), device);
            vectors.AddRange(nn.functional.normalize(made, dim: -1).Floats());
        }

        return new HardNegatives(windows, [.. vectors]);
    }

    /// <summary>A window's ids, framed.</summary>
    public int[] Framed(int window) => _windows.Framed[window];

    /// <summary>The nearest windows of each row that are of another document than it.</summary>
    /// <param name="rows">Vectors, [B, D].</param>
    /// <param name="documents">The documents of the rows.</param>
    /// <param name="each">Windows for each row; fewer where others have the same.</param>
    /// <returns>Windows, N of them and none twice, and which of them are of a row's own document, [B, N].</returns>
    public (int[] Windows, bool[] SameDocument) Choose(Tensor rows, int[] documents, int each)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable guard = no_grad();
        Tensor pool = tensor(_vectors, [_windows.Documents.Length, rows.shape[1]], device: rows.device);
        float[] cosines = nn.functional.normalize(rows, dim: -1).to_type(ScalarType.Float32).matmul(pool.transpose(0, 1)).Floats(); // [B, pool]
        int size = _windows.Documents.Length;
        int[] chosen =
        [
            .. documents.SelectMany((document, row) => Enumerable.Range(0, size)
                .Where(window => _windows.Documents[window] != document)
                .OrderByDescending(window => cosines[(row * size) + window])
                .Take(each))
                .Distinct()
                .Order(),
        ];
        return (chosen, [.. documents.SelectMany(document => chosen.Select(window => _windows.Documents[window] == document))]);
    }
}
