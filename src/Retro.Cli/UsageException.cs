namespace Retro.Cli;

/// <summary>A command line that cannot be meant: the sentence says what was expected and what came. Ends with <see cref="ExitCodes.Usage"/>.</summary>
internal sealed class UsageException(string message) : RetroException(message);
