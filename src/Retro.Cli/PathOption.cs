using System.CommandLine;

namespace Retro.Cli;

/// <summary>An option that names a file or a folder, which retro.json keeps as <see cref="Workspace.ToRelative"/> says.</summary>
internal sealed class PathOption : Option<string?>
{
    /// <summary>Creates the option.</summary>
    /// <param name="name">What is typed.</param>
    /// <param name="kind">What the help shows for the value.</param>
    public PathOption(string name, string kind)
        : base(name)
    {
        HelpName = kind;
        RequirePaths(this, kind.ToLowerInvariant());
    }

    /// <summary>Whether it is written, and never looked for elsewhere.</summary>
    public bool IsWritten { get; init; }

    /// <summary>Has an option refuse an empty text, such as a variable of the shell that was never set, where it takes paths.</summary>
    /// <param name="option">The option.</param>
    /// <param name="kind">What lies there.</param>
    public static void RequirePaths(Option option, string kind) => option.Validators.Add(result =>
    {
        if (result.Tokens.Any(token => token.Value.Length == 0))
        {
            result.AddError($"{option.Name} needs the path of a {kind}, not an empty text.");
        }
    });
}
