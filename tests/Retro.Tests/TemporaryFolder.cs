namespace Retro.Tests;

/// <summary>An empty folder that is deleted when the test ends.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("retro-tests-").FullName;

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
