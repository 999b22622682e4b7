using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Retro.Database;
using Retro.Tokenizers;

namespace Retro.Search;

/// <summary>
/// The keys of a database that is to be built anew (<see cref="ChunkDatabaseOptions.StartOver"/>), held until the new one is whole and then given to it: the
/// chunks of a text that was there before keep theirs, and no embedder makes them once more. Open it before the build.
/// </summary>
/// <remarks>A process that is killed between the two leaves the database without keys, which are then made.</remarks>
public sealed class EarlierKeys : IDisposable
{
    private readonly KeysOfSameTexts _same;
    private readonly KeyFileLayout _layout;
    private readonly BuildSettings _settings;

    private EarlierKeys(KeysOfSameTexts same, KeyFileLayout layout, BuildSettings settings) => (_same, _layout, _settings) = (same, layout, settings);

    /// <summary>Opens the keys that there are, by the function that most were made with. Reads the entries of all documents.</summary>
    /// <param name="folder">The database's folder.</param>
    /// <param name="tokenizer">The tokenizer that the new database is made with.</param>
    /// <param name="options">How it is built; the defaults where null.</param>
    /// <returns>The keys; dispose them. Null where there are none that the new database could have: of another tokenizer or chunk length; or where the
    /// database that is there cannot be read, which is no reason not to replace it.</returns>
    public static EarlierKeys? Open(string folder, RetroTokenizer tokenizer, ChunkDatabaseOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(tokenizer);
        return Open(folder, TokenizerFacts.Of(tokenizer), options);
    }

    internal static EarlierKeys? Open(string folder, TokenizerFacts tokenizer, ChunkDatabaseOptions? options = null)
    {
        BuildSettings settings = BuildSettings.Of(tokenizer, options ?? new());
        try
        {
            using ChunkDatabase database = ChunkDatabase.Open(folder);
            return IsFor(database, settings) && KeyFile.EntryOf(database) is { } entry && KeyFile.LayoutOf(database, entry) is { } layout
                ? new(KeysOfSameTexts.Open(database.Segments, null, layout), layout, settings)
                : null;
        }
        catch (DatabaseException)
        {
            return null;
        }
    }

    /// <summary>Gives them to the database that was built.</summary>
    /// <param name="database">The database; it has the tokenizer and the chunk length that they were opened for.</param>
    /// <param name="progress">Receives the number of chunks done, and in a message how many have no key.</param>
    /// <param name="cancellationToken">Stops between blocks; what has no key yet gets it when the dense source is next built.</param>
    /// <returns>How many of its chunks have their keys now, by these or as they were there.</returns>
    /// <exception cref="ArgumentException">It has others, or documents were added to it or removed from it.</exception>
    /// <exception cref="DatabaseException">The file cannot be written.</exception>
    public long GiveTo(ChunkDatabase database, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        if (database.IsChanged || !IsFor(database, _settings))
        {
            throw new ArgumentException(
                $"The keys were held for a database that is built with one tokenizer and chunk length, and the one in {database.Folder} has others, or was "
                    + "changed since: give them to what was built.",
                nameof(database));
        }

        if (KeyFile.KeyerOf(database) is not null)
        {
            return KeyFile.CountOf(database); // of the same tokens and texts, and not touched
        }

        _same.For(database);
        KeyFileLayout layout = new(database.Manifest.TokensHash, _layout.KeyerIdentity, database.ChunkCount, _layout.Dimensions);
        return KeyFile.TakeOver(database, _same, layout, progress, cancellationToken);
    }

    /// <summary>How many chunks of a text keep their keys.</summary>
    internal long ChunksOf(string text)
    {
        int tokens = _same.TokensOf(MemoryMarshal.Read<UInt128>(SHA256.HashData(Encoding.UTF8.GetBytes(text))));
        return (tokens + _settings.ChunkLength - 1) / _settings.ChunkLength;
    }

    /// <inheritdoc/>
    public void Dispose() => _same.Dispose();

    private static bool IsFor(ChunkDatabase database, BuildSettings settings)
        => database.Manifest.Settings is var there && there.DifferencesTo(settings with { Cleaning = there.Cleaning }).Count == 0;
}
