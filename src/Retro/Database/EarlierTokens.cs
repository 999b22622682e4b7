using System.Runtime.InteropServices;

namespace Retro.Database;

/// <summary>
/// The tokens of the database that a rebuild replaces, by the hash of a document's text: what was encoded by the same tokenizer is not encoded again. Reading
/// is safe from several threads.
/// </summary>
internal sealed class EarlierTokens : IDisposable
{
    private readonly ChunkDatabase _database;
    private readonly Dictionary<UInt128, int> _documents;

    private EarlierTokens(ChunkDatabase database)
    {
        _database = database;
        _documents = new(database.Documents.Count);
        for (int number = 0; number < database.Documents.Count; number++)
        {
            _documents.TryAdd(database.Documents[number].ContentNumber, number);
        }
    }

    /// <summary>
    /// Opens them where they are of use: made by the tokenizer that is asked for, and whole. Whatever is wrong with the database that is replaced, it is no
    /// reason not to replace it.
    /// </summary>
    public static EarlierTokens? Open(
        string folder, DatabaseManifest? manifest, BuildSettings asked, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        if (manifest is null || manifest.Settings.DifferencesTo(asked with { ChunkLength = manifest.ChunkLength, Cleaning = manifest.Cleaning }).Count > 0)
        {
            return null;
        }

        ChunkDatabase? database = null;
        try
        {
            database = ChunkDatabase.Open(folder, cancellationToken: cancellationToken);
            database.RequireWhole(progress, cancellationToken);
            EarlierTokens tokens = new(database);
            database = null;
            return tokens;
        }
        catch (DatabaseException)
        {
        }
        finally
        {
            database?.Dispose();
        }

        return null;
    }

    /// <summary>The ids of a text, without those that bound a document; null where it is not there.</summary>
    public int[]? Find(ReadOnlySpan<byte> contentHash)
    {
        if (!_documents.TryGetValue(MemoryMarshal.Read<UInt128>(contentHash), out int number))
        {
            return null;
        }

        return _database.TextOf(_database.Documents[number]);
    }

    public void Dispose() => _database.Dispose();
}
