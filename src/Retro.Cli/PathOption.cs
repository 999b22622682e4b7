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
        Validators.Add(result =>
        {
            if (result.Tokens is [{ Value: "" }])
            {
                result.AddError($"{name} needs the path of a {kind.ToLowerInvariant()}, not an empty text.");
            }
        });
    }

    /// <summary>Whether it is written, and never looked for elsewhere.</summary>
    public bool IsWritten { get; init; }
}
