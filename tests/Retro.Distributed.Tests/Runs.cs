namespace Retro.Distributed.Tests;

/// <summary>Trainings of one, two and four processes, each run once for all tests: starting is most of what they take.</summary>
public sealed class Runs : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly Dictionary<int, string> _done = [];

    /// <summary>The folder of what a number of processes wrote; 0: one process, without MPI.</summary>
    public string Of(int processes)
    {
        if (!_done.TryGetValue(processes, out string? folder))
        {
            folder = _folder[$"{processes}"];
            string[] scenarios = ["plain", "muon", "dropout", "recomputed", "closed-book", "bfloat16", "six", "stepped", "measured", "wide"];
            if (processes > 1)
            {
                scenarios = [.. scenarios, "sharded", "muon-sharded", "bfloat16-sharded", "wide-sharded", "wide-recomputed", "other-options", "other-config",
                    "other-data", "other-weights", "crowded", "diverged", "unwritable", "other-folder", "other-measure", "other-parameters", "exchange",
                    "again", "by-first", "nccl", "too-few-gpus", "placed"];
            }

            Together.Done(processes, folder, scenarios);
            _done[processes] = folder;
        }

        return folder;
    }

    public void Dispose() => _folder.Dispose();
}
