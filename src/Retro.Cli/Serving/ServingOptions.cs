using System.Net;
using Retro.Generation;

namespace Retro.Cli.Serving;

/// <summary>How a server serves.</summary>
/// <param name="Address">Where it listens.</param>
/// <param name="Port">The port; 0: any that is free.</param>
/// <param name="Access">Who may come in; null: whoever can reach it, which only the loopback addresses may have.</param>
/// <param name="Name">What the model is called.</param>
/// <param name="Running">Texts that are generated at once.</param>
/// <param name="Waiting">Requests that may wait for their turn; more are refused.</param>
/// <param name="MostTokens">Tokens that a request may ask for.</param>
/// <param name="MostPrompt">Tokens that a prompt may have.</param>
/// <param name="MostBytes">Bytes that a request's body may have.</param>
/// <param name="InPrompt">Passages found with a question that stand in the prompt.</param>
internal sealed record ServingOptions(
    IPAddress Address, int Port, Access? Access, string Name, int Running, int Waiting, int MostTokens, int MostPrompt, long MostBytes, int InPrompt)
{
    /// <summary>Bytes that what is remembered of texts that have ended may take; 0: nothing is.</summary>
    public long PrefixBytes { get; init; }

    /// <summary>How the model wants a conversation written; null: it does not say.</summary>
    public ChatTemplate? Template { get; init; }

    /// <summary>Whose pages' scripts may ask it.</summary>
    public Origins Origins { get; init; } = new([]);

    /// <summary>Seed of texts whose request names none; null: each has its own.</summary>
    public long? Seed { get; init; }

    /// <summary>Where it is said what failed; null: on the error output.</summary>
    public TextWriter? Errors { get; init; }
}
