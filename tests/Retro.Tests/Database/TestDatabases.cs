using System.Security.Cryptography;
using System.Text;
using Retro.Corpora;
using Retro.Database;

namespace Retro.Tests.Database;

/// <summary>Small databases over a tokenizer of bytes: id = byte, 256 = end of text.</summary>
internal sealed class TestDatabases : IDisposable
{
    public const int EndOfText = 256;

    private readonly TemporaryFolder _root = new();

    public static TokenizerFacts Bytes { get; } = new(
        "bytes", new string('a', 64), 257, EndOfText, text => Array.ConvertAll(Encoding.UTF8.GetBytes(text), b => (int)b));

    public string Folder(string name = "db") => _root[name];

    public ChunkDatabase Build(IEnumerable<Document> documents, int chunkLength = 8, string name = "db")
        => ChunkDatabaseBuilder.Build(Folder(name), documents, Bytes, new ChunkDatabaseOptions { ChunkLength = chunkLength });

    public static Document Document(string id, string text) => new(id, $"Title of {id}", text, $"{id}.txt");

    /// <summary>Documents of random lengths, many shorter than a chunk, some empty.</summary>
    public static List<Document> Documents(int count, int seed = 1, int maximumLength = 60)
    {
        Random random = new(seed);
        return Enumerable.Range(0, count)
            .Select(number =>
                Document($"d{number}", string.Concat(Enumerable.Range(0, random.Next(maximumLength)).Select(_ => (char)random.Next('a', 'z' + 1)))))
            .ToList();
    }

    /// <summary>The tokens of a chunk, without the padding.</summary>
    public static int[] Text(ChunkDatabase database, long chunk) => database.Tokens(chunk)[..database.TokenCount(chunk)].ToArray();

    /// <summary>The tokens of a document.</summary>
    public static int[] Text(ChunkDatabase database, DocumentEntry document)
        => [.. Enumerable.Range(0, document.ChunkCount).SelectMany(i => Text(database, document.FirstChunk + i))];

    /// <summary>Every file below a folder, by name, as the hash of its content; not those that say who writes.</summary>
    public static Dictionary<string, string> Contents(string folder)
        => Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
            .Where(file => Path.GetFileName(file) is not (WriterLock.FileName or WriterLock.HolderName))
            .ToDictionary(file => Path.GetRelativePath(folder, file), file => Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(file))));

    /// <summary>Copies a folder whose files are held open and locked, as a kill at this moment would leave it.</summary>
    public static void Copy(string from, string to)
    {
        ChildProcess.Outcome copy = ChildProcess.Run(new("cp", ["-r", from, to]));
        Assert.True(copy.ExitCode == 0, copy.Errors);
    }

    public void Dispose() => _root.Dispose();
}
