using System.Text.Json;
using System.Text.Unicode;

namespace Retro;

/// <summary>JSON as files hold it.</summary>
internal static class Utf8Json
{
    /// <summary>Parses JSON; a byte order mark before it, as some editors write, is no part of it (RFC 8259, 8.1).</summary>
    /// <param name="content">The file's bytes.</param>
    /// <exception cref="JsonException">It is no JSON, or no UTF-8.</exception>
    public static JsonDocument Parse(byte[] content)
    {
        // The parser takes a string's bytes as they come, and throws something else whenever such a one is read later.
        return Utf8.IsValid(content)
            ? JsonDocument.Parse(content.AsMemory(content.AsSpan().StartsWith("\uFEFF"u8) ? 3 : 0))
            : throw new JsonException("it is not valid UTF-8");
    }
}
