using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Retro.Corpora;

/// <summary>A number that tells texts apart and is small: half a SHA-256.</summary>
internal static class TextHash
{
    public static UInt128 Of(ReadOnlySpan<char> text) => MemoryMarshal.Read<UInt128>(SHA256.HashData(MemoryMarshal.AsBytes(text)));
}
