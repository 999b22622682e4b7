using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Retro.Tokenizers;

/// <summary>The files of a tokenizer on disk.</summary>
internal static class TokenizerFiles
{
    /// <summary>Writes all files beside their places and then puts them there, the last one last: it is what makes the folder a tokenizer.</summary>
    public static void Write(string folder, IReadOnlyList<(string Name, byte[] Content)> files)
    {
        try
        {
            Directory.CreateDirectory(folder);
            foreach ((string name, byte[] content) in files)
            {
                File.WriteAllBytes(Path.Combine(folder, name + ".tmp"), content);
            }

            foreach ((string name, _) in files)
            {
                File.Move(Path.Combine(folder, name + ".tmp"), Path.Combine(folder, name), overwrite: true);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CorpusException($"The tokenizer cannot be written to {folder}: {exception.Message} Make room there or name another folder.", exception);
        }
    }

    public static byte[] Read(string file)
    {
        try
        {
            return File.ReadAllBytes(file);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CorpusException($"The tokenizer file {file} cannot be read: {exception.Message}", exception);
        }
    }

    /// <summary>Parses JSON; a byte order mark before it, as some editors write, is no part of it (RFC 8259, 8.1).</summary>
    public static JsonDocument Json(byte[] bytes) => JsonDocument.Parse(bytes.AsMemory(bytes.AsSpan().StartsWith("\uFEFF"u8) ? 3 : 0));

    /// <summary>SHA-256 over the names, lengths and contents of the files, in hexadecimal; of a configuration only what changes ids.</summary>
    public static string Hash(IReadOnlyList<(string Name, byte[] Content)> files)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((string name, byte[] content) in files.OrderBy(file => file.Name, StringComparer.Ordinal))
        {
            byte[] counted = name == WordPiece.ConfigurationFile ? JsonSerializer.SerializeToUtf8Bytes(TokenizerConfig.Read(content, name)) : content;
            hash.AppendData(Encoding.UTF8.GetBytes($"{name}\n{counted.LongLength}\n"));
            hash.AppendData(counted);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
