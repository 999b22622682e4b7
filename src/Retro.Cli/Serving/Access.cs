using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace Retro.Cli.Serving;

/// <summary>Who may come in, and which labels whoever it is may see: keys, of which only hashes are kept, each with its labels.</summary>
internal sealed class Access
{
    private const string Scheme = "Bearer "; // in any case (RFC 9110, section 11.1)

    private readonly List<(byte[] Hash, Caller Caller)> _known = [];

    /// <summary>Whether nobody may come in.</summary>
    public bool IsEmpty => _known.Count == 0;

    /// <summary>Reads a file of JSON lines, each an object with a "key" and the "labels" that it may see.</summary>
    /// <param name="path">The file.</param>
    /// <returns>What it says.</returns>
    /// <exception cref="RetroException">It cannot be read, or a line is something else. No message holds a key.</exception>
    public static Access Read(string path)
    {
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new RetroException($"The keys in {path} cannot be read: {fault.Message}", fault);
        }

        Access access = new();
        for (int i = 0; i < lines.Length; i++)
        {
            if (!string.IsNullOrWhiteSpace(lines[i]) && !(Parse(lines[i]) is { } one && access.Add(one.Key, one.Labels)))
            {
                throw new RetroException(
                    $"Line {i + 1} of {path} has to be {{\"key\": \"...\", \"labels\": [\"...\"]}}: a key of {WhatAKeyIs}, that no other line has, and the "
                        + "labels that it may see, none for documents without labels alone.");
            }
        }

        return !access.IsEmpty ? access : throw new RetroException($"{path} names no key; write a line for each.");
    }

    /// <summary>What a key has to be, so that a request can bring it.</summary>
    public const string WhatAKeyIs = "at least one character, and no white space";

    /// <summary>Whether a text can be a key: an empty one would let in whoever brings none, and one with white space, or what is not shown, nobody.</summary>
    /// <param name="text">The text.</param>
    public static bool IsKey(string text) => text.Length > 0 && !text.Any(one => char.IsWhiteSpace(one) || char.IsControl(one));

    /// <summary>Lets a key in.</summary>
    /// <param name="key">The key.</param>
    /// <param name="labels">The labels that it may see; null: all.</param>
    /// <returns>Whether it was let in by nothing before.</returns>
    public bool Add(string key, IReadOnlyList<string>? labels)
    {
        byte[] hash = Hash(key);
        if (_known.Any(one => one.Hash.AsSpan().SequenceEqual(hash)))
        {
            return false;
        }

        _known.Add((hash, new Caller(labels)));
        return true;
    }

    /// <summary>Whose key a request brings. It takes as long for one as for another: all are compared, and each wholly.</summary>
    /// <param name="authorization">The header.</param>
    /// <returns>Whose it is; null: nobody's.</returns>
    public Caller? Find(string authorization)
    {
        if (!authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            return null;
        }

        byte[] hash = Hash(authorization[Scheme.Length..]);
        Caller? found = null;
        foreach ((byte[] known, Caller caller) in _known)
        {
            found = CryptographicOperations.FixedTimeEquals(hash, known) ? caller : found;
        }

        return found;
    }

    private static byte[] Hash(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));

    private static (string Key, string[] Labels)? Parse(string line)
    {
        try
        {
            return JsonNode.Parse(line) is JsonObject { Count: 2 } json
                && json["key"] is JsonValue said && said.TryGetValue(out string? key) && IsKey(key)
                && json["labels"] is JsonArray labels && labels.All(label => label is JsonValue value && value.TryGetValue<string>(out _))
                ? (key, [.. labels.Select(label => (string)label!)])
                : null;
        }
        catch (Exception fault) when (fault is JsonException or ArgumentException or InvalidOperationException)
        {
            return null; // what a parser says of a line may hold the key
        }
    }
}

/// <summary>Whoever sent a request.</summary>
/// <param name="Labels">The labels that they may see; null: all.</param>
internal sealed record Caller(IReadOnlyList<string>? Labels)
{
    /// <summary>Remembers who sent a request.</summary>
    public void Sent(HttpContext context) => context.Items[typeof(Caller)] = this;

    /// <summary>Who sent a request that was let in.</summary>
    public static Caller Of(HttpContext context) => (Caller)context.Items[typeof(Caller)]!;
}
