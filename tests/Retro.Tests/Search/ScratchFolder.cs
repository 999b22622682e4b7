namespace Retro.Tests.Search;

/// <summary>A folder of its own for a test, removed afterwards.</summary>
internal sealed class ScratchFolder : IDisposable
{
    private readonly string path = Directory.CreateTempSubdirectory("retro-search-").FullName;

    public string this[string name] => Path.Combine(path, name);

    public override string ToString() => path;

    public void Dispose() => Directory.Delete(path, recursive: true);
}
