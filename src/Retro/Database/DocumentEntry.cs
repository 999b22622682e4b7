using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Retro.Database;

/// <summary>What a database knows of one document.</summary>
/// <param name="Id">The document's id, unique in the database.</param>
/// <param name="Title">Its title; may be empty.</param>
/// <param name="Location">Where it came from, such as a file and line.</param>
/// <param name="Labels">The labels that whoever sees it has to be allowed to see, every one; none: everybody sees it.</param>
/// <param name="FirstChunk">The number of its first chunk.</param>
/// <param name="ChunkCount">How many chunks it has; they follow one another.</param>
/// <param name="TokenCount">Its tokens, with the end-of-text token before and after the text.</param>
/// <param name="ByteCount">Bytes of its text in UTF-8.</param>
/// <param name="ContentHash">SHA-256 of its text in UTF-8, in lower-case hexadecimal digits.</param>
public sealed record DocumentEntry(
    string Id,
    string Title,
    string Location,
    IReadOnlyList<string> Labels,
    long FirstChunk,
    int ChunkCount,
    int TokenCount,
    long ByteCount,
    string ContentHash)
{
    /// <summary>Half of the <see cref="ContentHash"/>: as much of it as tells texts apart, and small.</summary>
    internal UInt128 ContentNumber => MemoryMarshal.Read<UInt128>(Convert.FromHexString(ContentHash));

    /// <summary>The <see cref="ContentHash"/> of a text.</summary>
    internal static string HashOf(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
}
