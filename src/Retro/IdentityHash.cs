using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Retro;

/// <summary>Names a function by everything that its results depend on.</summary>
internal static class IdentityHash
{
    /// <summary>What ends each part in the identities of embedders and keys.</summary>
    public const string KeyEnd = "";

    /// <summary>What ends each part in the identities of neighbor sources.</summary>
    public const string SourceEnd = ";";

    /// <summary>One hash of several parts, none of which can run into the next; the same in every culture.</summary>
    /// <param name="end">What ends each part: databases hold identities of both kinds.</param>
    /// <param name="parts">The parts; null is as an empty text.</param>
    /// <returns>SHA-256 in lower-case hexadecimal.</returns>
    public static string Of(string end, params ReadOnlySpan<object?> parts)
    {
        StringBuilder text = new();
        foreach (object? part in parts)
        {
            string value = InvariantText.Of(part);
            text.Append(CultureInfo.InvariantCulture, $"{value.Length}:{value}{end}");
        }

        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())));
    }
}
