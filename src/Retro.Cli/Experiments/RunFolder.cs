using System.Security.Cryptography;
using System.Text;

namespace Retro.Cli.Experiments;

/// <summary>The folder for what a run makes of a corpus, in the folder of all runs; where it is taken, no other writes there until it is disposed.</summary>
internal sealed class RunFolder : IDisposable
{
    /// <summary>The path of the corpus whose run it is. Readers of corpora leave a folder with it out.</summary>
    private const string Mark = ".retro";

    private readonly bool _startOver;
    private readonly WriterLock? _writing;

    private RunFolder(ExperimentOptions options, string? what)
    {
        Path = Find(options.Output, options.Corpus);
        _startOver = options.StartOver;
        _writing = what is null ? null : WriterLock.Take(Path, what);
    }

    /// <summary>Its path.</summary>
    public string Path { get; }

    /// <summary>The path of a file or a folder in it.</summary>
    public string this[string name] => System.IO.Path.Combine(Path, name);

    /// <summary>The folder of a run that shares it with others.</summary>
    /// <param name="options">What the run is told.</param>
    /// <exception cref="RetroException">It is another corpus's.</exception>
    public static RunFolder Of(ExperimentOptions options) => new(options, null);

    /// <summary>The folder of a run that has it alone.</summary>
    /// <param name="options">What the run is told.</param>
    /// <param name="what">What is done there, for whoever wants it meanwhile.</param>
    /// <exception cref="RetroException">It is another corpus's, or another run is writing there.</exception>
    public static RunFolder Take(ExperimentOptions options, string what) => new(options, what);

    /// <summary>
    /// The folder for what is made of a corpus, made where it is missing. It has the corpus's name; where another corpus's run has that, or nobody knows whose,
    /// a number for the corpus's path stands behind it.
    /// </summary>
    /// <param name="output">The folder of all runs.</param>
    /// <param name="path">The corpus's path; null: the documentation of the .NET reference packs.</param>
    /// <exception cref="RetroException">The folder with the number is another corpus's, too.</exception>
    public static string Find(string output, string? path)
    {
        string corpus = path is null ? "the documentation of the .NET reference packs" : Workspace.Full(path);
        string name = path is null ? "dotnet-documentation"
            : System.IO.Path.GetFileNameWithoutExtension(corpus) is { Length: > 0 } last ? last : "corpus";
        string numbered = System.IO.Path.Combine(output, $"{name}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(corpus)))[..8]}");
        foreach (string folder in new[] { System.IO.Path.Combine(output, name), numbered })
        {
            string mark = System.IO.Path.Combine(folder, Mark);
            if (File.Exists(mark) && File.ReadAllText(mark) == corpus)
            {
                return folder;
            }

            if (!File.Exists(mark) && (!Directory.Exists(folder) || !Directory.EnumerateFileSystemEntries(folder).Any()))
            {
                Directory.CreateDirectory(folder);
                Workspace.WriteText(mark, corpus);
                return folder;
            }
        }

        throw new RetroException($"{numbered} holds the run of another corpus or of an unknown one; remove it, or name another folder for all runs.");
    }

    /// <summary>
    /// Takes away what an earlier run has left, where it may: else a run that goes on with this one would take that run's for this one's. To be called once the
    /// corpus is read, so that a fault in it costs nothing.
    /// </summary>
    /// <param name="models">The folder of the models.</param>
    /// <param name="report">The report of them, which goes with them.</param>
    /// <param name="goesOn">Whether a run can go on with them.</param>
    /// <exception cref="RetroException">It may not, and there are models.</exception>
    public void Replace(string models, string report, bool goesOn = false)
    {
        RequireFree(models, goesOn);
        if (Directory.Exists(this[models]))
        {
            Directory.Delete(this[models], recursive: true);
            File.Delete(this[report]);
        }
    }

    /// <summary>Refuses to replace what an earlier run has left, unless it may be.</summary>
    /// <inheritdoc cref="Replace"/>
    public void RequireFree(string models, bool goesOn = false)
    {
        if (Directory.Exists(this[models]) && !_startOver)
        {
            throw new RetroException(
                $"{this[models]} holds the models of an earlier run; {(goesOn ? "go on with them (--resume), " : "")}replace them (--start-over), or name "
                    + "another folder for all runs.");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _writing?.Dispose();
}
