using System.Globalization;
using System.Text.RegularExpressions;

namespace Retro.Database;

/// <summary>
/// The names of the files that several machines make a share of each, beside the whole: <c>keys.3-of-8.bin</c> for <c>keys.bin</c>; and the right to write one.
/// </summary>
internal static partial class ShareName
{
    /// <summary>The ending of a file that is begun and not finished, and that of the note beside it which says what it is made of.</summary>
    public const string PartSuffix = ".part", NoteSuffix = PartSuffix + ".txt";

    private const string LockSuffix = ".lock";

    // What a file's name ends with while it, or the note beside it, is written: who is stopped leaves that, and only who writes it again replaces it.
    private static readonly string[] s_begun = [AtomicFile.TemporarySuffix, PartSuffix, NoteSuffix, NoteSuffix + AtomicFile.TemporarySuffix];

    /// <summary>The path of a share.</summary>
    public static string PathOf(string path, WorkShare share)
        => Path.Combine(
            Path.GetDirectoryName(path) ?? "",
            string.Create(
                CultureInfo.InvariantCulture,
                $"{Path.GetFileNameWithoutExtension(path)}.{share.Index}-of-{share.Count}{Path.GetExtension(path)}"));

    /// <summary>The whole file's name, by that of one of its shares, or of what is begun of either; a name that is none of these as it is.</summary>
    public static string WholeOf(string name) => Beside().Replace(name, "");

    /// <summary>The shares that have a file beside the whole one, be it begun or finished.</summary>
    public static WorkShare[] Near(string path)
    {
        string start = Path.GetFileNameWithoutExtension(path) + ".", folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        HashSet<WorkShare> found = [];
        foreach (string name in Directory.Exists(folder) ? Directory.EnumerateFiles(folder).Select(file => Path.GetFileName(file)) : [])
        {
            if (name.StartsWith(start, StringComparison.Ordinal)
                && Pattern().Match(name[start.Length..]) is { Success: true } match
                && WorkShare.TryParse($"{match.Groups[1].Value}/{match.Groups[2].Value}", out WorkShare share))
            {
                found.Add(share);
            }
        }

        return [.. found.OrderBy(share => share.Count).ThenBy(share => share.Index)];
    }

    /// <summary>The shares that are begun or finished, of one number of shares.</summary>
    /// <exception cref="DatabaseException">They are shares of several numbers, so that they do not fit together.</exception>
    public static WorkShare[] Begun(string path)
    {
        WorkShare[] begun = [.. Near(path).Where(share => File.Exists(PathOf(path, share)) || File.Exists(PathOf(path, share) + PartSuffix))];
        int[] counts = [.. begun.Select(share => share.Count).Distinct()];
        return counts.Length <= 1
            ? begun
            : throw new DatabaseException(
                $"Beside '{path}' lie shares that do not fit together, of {string.Join(" and of ", counts)}: delete those that are not to be joined.");
    }

    /// <summary>All shares of a file; empty where none is begun.</summary>
    /// <exception cref="DatabaseException">One is missing or not finished: it is named; or they do not fit together.</exception>
    public static WorkShare[] Finished(string path)
    {
        if (Begun(path) is not [WorkShare first, ..])
        {
            return [];
        }

        WorkShare[] all = [.. Enumerable.Range(1, first.Count).Select(index => new WorkShare(index, first.Count))];
        string[] missing = [.. all.Where(share => !File.Exists(PathOf(path, share))).Select(share => share.ToString())];
        return missing.Length == 0
            ? all
            : throw new DatabaseException(
                $"'{path}' is to be joined of {first.Count} shares, of which {string.Join(", ", missing)} {(missing.Length == 1 ? "is" : "are")} not finished: "
                    + $"make {(missing.Length == 1 ? "it" : "them")}, or delete the others to do all of the work at once.");
    }

    /// <summary>The right to write a share, or to remove it; the operating system gives it back when the process ends, however it ends.</summary>
    /// <exception cref="DatabaseException">Somebody else has it, or the folder cannot be written.</exception>
    public static FileStream Hold(string path)
    {
        FileStream? held = null;
        AtomicFile.Guard(path, DatabaseException.Of, () =>
        {
            AtomicFile.CreateFolder(Path.GetDirectoryName(Path.GetFullPath(path))!);
            try
            {
                held = new(path + LockSuffix, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);
            }
            catch (IOException exception) when (AtomicFile.IsHeld(exception))
            {
                throw new DatabaseException($"The share {path} is being made by another process: wait until it is done, or end it, and run again.", exception)
                {
                    Holder = "another process, which makes a share of it",
                };
            }
        });
        return held!;
    }

    /// <summary>Whether somebody has the right to write a share of this path, whatever folder lies there by now.</summary>
    public static bool IsHeld(string path)
    {
        try
        {
            using FileStream free = new(path + LockSuffix, FileMode.Open, FileAccess.ReadWrite, FileShare.None, 1);
            return false;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return exception is IOException fault && AtomicFile.IsHeld(fault);
        }
    }

    /// <summary>Removes a file and what is begun of it, where that can be done.</summary>
    /// <param name="path">The file; it need not be there.</param>
    public static void Delete(string path) => Array.ForEach(["", .. s_begun], ending => AtomicFile.TryDelete(path + ending));

    /// <summary>Removes the shares of a file, finished or begun; not those that a process is making.</summary>
    /// <param name="path">The whole file.</param>
    public static void Remove(string path)
    {
        foreach (string own in Near(path).Select(share => PathOf(path, share)))
        {
            try
            {
                using FileStream held = Hold(own);
                Delete(own);
            }
            catch (DatabaseException)
            {
                // Somebody's, who has it still; nothing depends on it.
            }
        }
    }

    [GeneratedRegex(@"^(\d+)-of-(\d+)\.", RegexOptions.CultureInvariant)]
    private static partial Regex Pattern();

    [GeneratedRegex(@"\.\d+-of-\d+(?=\.)|((\.part(\.txt)?)?(\.tmp)?|\.lock)$", RegexOptions.CultureInvariant)]
    private static partial Regex Beside();
}
