namespace Retro.Tests;

/// <summary>An empty folder that is deleted when the test ends.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("retro-tests-").FullName;

    /// <summary>The path of a file or folder in it, which need not be there.</summary>
    public string this[string name] => System.IO.Path.Combine(Path, name);

    /// <summary>Writes a file below the folder.</summary>
    /// <returns>Its path.</returns>
    public string File(string relative, string content) => File(relative, System.Text.Encoding.UTF8.GetBytes(content));

    /// <inheritdoc cref="File(string, string)"/>
    public string File(string relative, byte[] content)
    {
        string path = System.IO.Path.Combine(Path, relative);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        System.IO.File.WriteAllBytes(path, content);
        return path;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
