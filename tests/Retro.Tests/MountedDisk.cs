using Retro.Tests.Build;

namespace Retro.Tests;

/// <summary>A file system of its own and of a given size, in memory; a test is skipped where none can be mounted.</summary>
internal sealed class MountedDisk : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    /// <summary>Mounts it.</summary>
    /// <param name="size">Its size, as mount(8) takes it: "64k".</param>
    /// <param name="at">The folder that it is to be seen in, which is made; null: one of its own.</param>
    public MountedDisk(string size, string? at = null)
    {
        Path = Directory.CreateDirectory(at ?? _folder["mounted"]).FullName;
        if (!OperatingSystem.IsLinux() || !Mount("-t", "tmpfs", "-o", $"size={size}", "tmpfs", Path))
        {
            _folder.Dispose();
            Assert.Skip("No file system can be mounted here.");
        }
    }

    public string Path { get; }

    /// <summary>The path of a file or folder in it, which need not be there.</summary>
    public string this[string name] => System.IO.Path.Combine(Path, name);

    /// <summary>Lets nobody write any more.</summary>
    public void MakeReadOnly() => Assert.True(Mount("-o", "remount,ro", Path));

    public void Dispose()
    {
        // At once, though files of it may still be open.
        Assert.Equal(0, Tool.Run("umount", _folder.Path, "-l", Path).ExitCode);
        _folder.Dispose();
    }

    private bool Mount(params string[] arguments) => Tool.Run("mount", _folder.Path, arguments).ExitCode == 0;
}
