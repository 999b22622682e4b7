using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Retro.Tests.Cli;

/// <summary>
/// Programs that are interrupted as from a terminal. A shell lets what it starts in the background ignore interrupts, and that is inherited: here it is undone.
/// </summary>
internal static partial class CtrlC
{
    private const int Interrupt = 2;

    /// <summary>How to start a program that can be interrupted.</summary>
    /// <param name="folder">The folder that it runs in.</param>
    /// <param name="command">Variables of its environment, the program and its arguments.</param>
    public static ProcessStartInfo Start(string folder, params string[] command)
        => new("env", ["--default-signal=INT", .. command]) { WorkingDirectory = folder };

    public static void Press(Process process) => Assert.Equal(0, Signal(process.Id, Interrupt));

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Signal(int process, int signal);
}
