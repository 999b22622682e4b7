namespace Retro.Cli;

/// <summary>Commands that are printed to be typed.</summary>
internal static class Shell
{
    /// <summary>A word as a shell takes it for one.</summary>
    public static string Quote(string word)
        => word.Length > 0 && word.All(c => char.IsAsciiLetterOrDigit(c) || "-_./:,=+@%".Contains(c, StringComparison.Ordinal)) ? word
            : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";

    /// <summary>An option and its value, in one word where the value would be taken for an option itself.</summary>
    public static string Option(string name, string value) => $"{name}{(value.StartsWith('-') ? '=' : ' ')}{Quote(value)}";
}
