using System.Text.Json;

namespace Retro;

/// <summary>JSON as files hold it.</summary>
internal static class Utf8Json
{
    /// <summary>Parses JSON; a byte order mark before it, as some editors write, is no part of it (RFC 8259, 8.1).</summary>
    /// <param name="content">The file's bytes.</param>
    /// <exception cref="JsonException">It is no JSON.</exception>
    public static JsonDocument Parse(byte[] content) => JsonDocument.Parse(content.AsMemory(content.AsSpan().StartsWith("\uFEFF"u8) ? 3 : 0));
}
