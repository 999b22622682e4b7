using System.ComponentModel;
using System.Diagnostics;

namespace Retro.Distributed.Tests;

/// <summary>A library in NCCL's place that has no GPU and sums nothing. It joins and leaves, waits as NCCL does, and fails as it is told by files.</summary>
internal sealed class NcclStub
{
    /// <summary>A file that has the second process fail to join, and the others wait for it.</summary>
    public const string JoinFails = "join-fails";

    /// <summary>A file that has a link fail.</summary>
    public const string LinkFails = "link-fails";

    private const string Folder = "RETRO_NCCL_STUB";

    private const string Source = """
        #include <stdio.h>
        #include <stdlib.h>
        #include <unistd.h>

        typedef struct { char bytes[128]; } id;
        static int size, own;

        static void path(char *to, const char *name, int number)
        {
            snprintf(to, 4096, number < 0 ? "%s/%s" : "%s/%s-%d", getenv("RETRO_NCCL_STUB"), name, number);
        }

        static int is_there(const char *name, int number)
        {
            char file[4096];
            path(file, name, number);
            return access(file, F_OK) == 0;
        }

        int ncclGetUniqueId(id *made) { return 0; }

        int ncclCommInitRank(void **communicator, int processes, id unique, int rank)
        {
            while (is_there("join-fails", -1))
            {
                if (rank == 1) return 5;
                pause();
            }
            size = processes;
            own = rank;
            *communicator = &size;
            return 0;
        }

        int ncclCommDestroy(void *communicator)
        {
            char file[4096];
            path(file, "left", own);
            fclose(fopen(file, "w"));
            for (int i = 0; i < size; i++) while (!is_there("left", i)) usleep(1000);
            return 0;
        }

        int ncclCommGetAsyncError(void *communicator, int *code) { *code = is_there("link-fails", -1) ? 6 : 7; return 0; }

        const char *ncclGetErrorString(int code) { return "as the test says"; }
        """;

    private readonly string _folder;

    /// <summary>Compiles it; skips the test where there is no compiler.</summary>
    /// <param name="folder">Its folder, made for it.</param>
    /// <param name="fails">Files that have it fail.</param>
    public NcclStub(string folder, params string[] fails)
    {
        _folder = Directory.CreateDirectory(folder).FullName;
        string source = Path.Combine(folder, "nccl.c");
        File.WriteAllText(source, Source);
        Array.ForEach(fails, file => File.WriteAllText(Path.Combine(folder, file), ""));
        try
        {
            ChildProcess.Outcome outcome = ChildProcess.Run(new("cc", ["-shared", "-fPIC", "-o", Path.Combine(folder, "libnccl.so.2"), source]));
            Assert.True(outcome.ExitCode == 0, outcome.Errors);
        }
        catch (Win32Exception)
        {
            Assert.Skip("There is no C compiler on this machine.");
        }
    }

    /// <summary>Has programs find it.</summary>
    public void AddTo(IDictionary<string, string?> environment)
    {
        const string Libraries = "LD_LIBRARY_PATH";
        environment[Libraries] = environment.TryGetValue(Libraries, out string? others) ? $"{_folder}:{others}" : _folder;
        environment[Folder] = _folder;
        environment.Remove("CUDA_VISIBLE_DEVICES");
    }
}
