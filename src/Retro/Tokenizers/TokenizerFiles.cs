using System.Security.Cryptography;
using System.Text;

namespace Retro.Tokenizers;

/// <summary>The files of a tokenizer on disk.</summary>
internal static class TokenizerFiles
{
    /// <summary>Writes all files beside their places and then puts them there as one.</summary>
    public static void Write(string folder, IReadOnlyList<(string Name, byte[] Content)> files)
    {
        using StagedFiles staged = new(folder, CorpusException.Of);
        Stage(staged, folder, files);
        staged.Commit();
    }

    // In the order in which they are looked for.
    private static readonly string[] s_vocabularies =
        [TokenizerJson.FileName, ByteLevelBpe.VocabularyFile, SentencePiecePipeline.FileName, WordPiece.VocabularyFile];

    // What tokenizer.json has beside it is kept and counted with it.
    private static readonly string[] s_beside =
    [
        SentencePiecePipeline.FileName, WordPiece.ConfigurationFile, TokenizerConfig.AddedTokensFile, GenerationFiles.TemplateFile,
        GenerationFiles.SpecialTokensFile, GenerationFiles.ConfigurationFile, OwnPipeline.NoteFile,
    ];

    /// <summary>Every file that may belong to a folder's tokenizer.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. s_vocabularies.Append(ByteLevelBpe.MergesFile).Union(s_beside)];

    /// <summary>
    /// Writes all files, the one that makes a folder a tokenizer last, beside their places. What of another tokenizer would be read in their place, or with
    /// them, goes with them.
    /// </summary>
    public static void Stage(StagedFiles staged, string folder, IReadOnlyList<(string Name, byte[] Content)> files)
    {
        foreach ((string name, byte[] content) in files)
        {
            staged.Write(Path.Combine(folder, name), stream => stream.Write(content));
        }

        foreach (string name in s_vocabularies.TakeWhile(name => name != files[^1].Name).Concat(s_beside))
        {
            staged.Remove(Path.Combine(folder, name));
        }
    }

    public static byte[] Read(string file)
    {
        try
        {
            return SmallFile.Read(file);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CorpusException($"The tokenizer file {file} cannot be read: {exception.Message}", exception);
        }
    }

    /// <summary>SHA-256 over names, lengths and contents, in hexadecimal.</summary>
    /// <param name="files">What is read of the files: of a configuration <see cref="TokenizerConfig.Counted"/>.</param>
    /// <param name="altered">Tokens that a text would give by these files, and does not by others, or gives otherwise.</param>
    public static string Hash(IReadOnlyList<(string Name, byte[] Content)> files, IReadOnlyList<string> altered)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((string name, byte[] content) in files.OrderBy(file => file.Name, StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{name}\n{content.LongLength}\n"));
            hash.AppendData(content);
        }

        foreach (string token in altered)
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"special\n{token.Length}\n{token}"));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
