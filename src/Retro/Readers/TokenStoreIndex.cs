using System.Text.RegularExpressions;
using Retro.Vectors;

namespace Retro.Readers;

/// <summary>
/// The vector index of a <see cref="TokenStore"/>'s keys: a file beside theirs, <c>(their file).(12 digits).index</c>, whose digits stand for what keys and
/// index are.
/// </summary>
internal static class TokenStoreIndex
{
    private const int HashLength = 12;

    /// <summary>Opens the index of a store's keys, or makes it, beside the file of the keys where there is one.</summary>
    /// <param name="path">The file of the keys; null: they are kept in memory, and the index too.</param>
    /// <param name="layout">What the keys are.</param>
    /// <param name="memory">The keys.</param>
    /// <param name="options">Which index; by size where they name none.</param>
    /// <param name="progress">Receives the number of keys done.</param>
    /// <param name="cancellationToken">Stops between two blocks.</param>
    /// <exception cref="DatabaseException">It cannot be written.</exception>
    /// <exception cref="FaissException">The factory text is not known, or FAISS is missing.</exception>
    public static (VectorIndex Index, string Factory) Open(
        string? path,
        TokenStoreLayout layout,
        MappedFile memory,
        TokenStoreOptions options,
        IProgress<StageProgress>? progress,
        CancellationToken cancellationToken)
    {
        VectorIndexPlan plan = VectorIndexPlan.For(layout.Rows, layout.Width);
        bool bySize = options.Factory is null, exact = VectorIndex.Choose(VectorEngine.Auto) == VectorEngine.Exact;
        string factory = options.Factory ?? (exact ? VectorIndexPlan.Exact : plan.Factory);
        string parameters = options.SearchParameters.Length > 0 ? options.SearchParameters : bySize && !exact ? plan.Parameters : "";

        // The name holds what the keys and the index are: one of other keys is never taken for this one's.
        string? file = path is null || factory == VectorIndexPlan.Exact
            ? null
            : $"{path}.{IdentityHash.Of(IdentityHash.KeyEnd, Convert.ToHexStringLower(layout.Header()), factory)[..HashLength]}.index";
        if (file is not null && File.Exists(file))
        {
            try
            {
                VectorIndex made = VectorIndex.Open(file, parameters: parameters, trusted: !bySize); // who names a kind may name any
                if (made.Count == layout.Rows && made.Dimensions == layout.Width)
                {
                    return (made, factory);
                }

                made.Dispose();
            }
            catch (DatabaseException)
            {
                // It is damaged: it is made anew.
            }
        }

        VectorIndex index = VectorIndex.Create(layout.Width, factory, parameters: parameters);
        try
        {
            if (!index.IsTrained)
            {
                // Spread over the whole.
                long enough = bySize ? plan.TrainingVectors : Math.Max(1 << 14, 64L * index.ListCount);
                int wanted = (int)Math.Min(Math.Min(layout.Rows, enough), Array.MaxLength / layout.Width);
                float[] some = new float[wanted * layout.Width];
                for (int i = 0; i < wanted; i++)
                {
                    layout.Read(memory, i * layout.Rows / wanted, some.AsSpan(i * layout.Width, layout.Width));
                }

                progress?.Report(new StageProgress("train the index", 0, 1));
                index.Train(some);
            }

            float[] block = new float[TokenStore.BlockRows * layout.Width];
            for (long first = 0; first < layout.Rows; first += TokenStore.BlockRows)
            {
                cancellationToken.ThrowIfCancellationRequested();
                progress?.Report(new StageProgress("index states", first, layout.Rows));
                int count = (int)Math.Min(TokenStore.BlockRows, layout.Rows - first);
                for (int i = 0; i < count; i++)
                {
                    layout.Read(memory, first + i, block.AsSpan(i * layout.Width, layout.Width));
                }

                index.Add(block.AsSpan(0, count * layout.Width));
            }

            if (file is not null)
            {
                index.Save(file);
            }

            return (index, factory);
        }
        catch
        {
            index.Dispose();
            throw;
        }
    }

    /// <summary>Deletes all indexes beside a file of keys. One that cannot be deleted is never taken for that of other keys, and only takes room.</summary>
    /// <param name="path">The file of the keys.</param>
    public static void DeleteAll(string path)
    {
        Regex index = new($@"^{Regex.Escape(Path.GetFileName(path))}\.[0-9a-f]{{{HashLength}}}\.index$");
        foreach (string file in Directory.EnumerateFiles(Path.GetDirectoryName(Path.GetFullPath(path))!).Where(file => index.IsMatch(Path.GetFileName(file))))
        {
            AtomicFile.TryDelete(file);
        }
    }
}
