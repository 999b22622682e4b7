using System.Text.Json.Nodes;

namespace Retro.Cli.Serving;

/// <summary>A request that is refused, with what OpenAI's clients expect to be told.</summary>
/// <param name="status">The status code.</param>
/// <param name="message">What was expected, what came, what to do.</param>
/// <param name="code">A word for programs; null: none.</param>
/// <param name="parameter">The part of the request; null: none.</param>
internal sealed class Fault(int status, string message, string? code = null, string? parameter = null) : Exception(message)
{
    /// <summary>The status code.</summary>
    public int Status => status;

    /// <summary>The answer.</summary>
    public JsonObject Json() => Json(Message, status, code, parameter);

    /// <summary>An answer of this kind.</summary>
    public static JsonObject Json(string message, int status, string? code = null, string? parameter = null) => new()
    {
        ["error"] = new JsonObject
        {
            ["message"] = message,
            ["type"] = status >= 500 ? "server_error" : status == 429 ? "rate_limit_error" : "invalid_request_error",
            ["param"] = parameter,
            ["code"] = code,
        },
    };
}
