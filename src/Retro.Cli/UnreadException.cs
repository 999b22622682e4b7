namespace Retro.Cli;

/// <summary>A text is written for nobody: what reads the standard output has ended. Ends with <see cref="ExitCodes.Unread"/>.</summary>
internal sealed class UnreadException() : Exception("Nobody reads the standard output any more.");
