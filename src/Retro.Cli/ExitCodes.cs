namespace Retro.Cli;

/// <summary>What the tool's process ends with; `retro --help` lists them.</summary>
internal static class ExitCodes
{
    /// <summary>Everything was done.</summary>
    public const int Done = 0;

    /// <summary>What was asked for could not be done: a file, a folder, its content, the disk, the device.</summary>
    public const int Failed = 1;

    /// <summary>The command line cannot be understood, or a value is out of its range; nothing was begun.</summary>
    public const int Usage = 2;

    /// <summary>It was asked to stop (Ctrl-C, SIGTERM) before it was done.</summary>
    public const int Stopped = 130;

    /// <summary>
    /// Nobody reads the text any more that it was to print, such as a head that has seen enough: what shells say of a program that the system ends for that.
    /// </summary>
    public const int Unread = 141;
}
