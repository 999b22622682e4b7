namespace Retro.Distributed.Tests;

/// <summary>How processes join by NCCL and leave it, where there is no GPU: with a stub in its place.</summary>
public sealed class NcclTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(null, 1)]
    [InlineData("4,5", 1)]
    [InlineData("4", 1)]
    [InlineData(null, 0, "rank 2 of 3 on here is number 2 of its machine, from 0, and finds no GPU, CUDA_VISIBLE_DEVICES being unset; start at most as many")]
    [InlineData("", 0, "finds no GPU, CUDA_VISIBLE_DEVICES being \"\"; start at most as many", "TorchSharp-cuda-linux")]
    [InlineData(null, 8, "rank 2 of 3 on here sees 8 GPUs after it has chosen one", "Have the launcher set CUDA_VISIBLE_DEVICES for each process")]
    public void A_process_has_one_GPU_once_it_has_chosen(string? given, int count, params string[] parts)
    {
        string fault = NcclExchange.FaultOfCount("rank 2 of 3 on here", 2, given, count);
        Assert.Equal(parts.Length == 0, fault.Length == 0);
        Assert.All(parts, part => Assert.Contains(part, fault, StringComparison.Ordinal));
    }

    [Fact]
    public void All_processes_are_told_that_one_has_no_GPU_and_leave_together_what_they_joined()
    {
        Together.Require();
        NcclStub nccl = new(_folder["nccl"]);
        ChildProcess.Outcome outcome = Together.RunWith(nccl, 2, _folder.Path, "nccl-no-gpu", "nccl-left-by-all");
        Assert.True(outcome.ExitCode == 0, outcome.Errors);
        for (int rank = 0; rank < 2; rank++)
        {
            Assert.StartsWith(
                $"ExchangeException: rank 1 of 2 on {Environment.MachineName} is number 1 of its machine, from 0, and finds no GPU",
                File.ReadAllText(_folder[$"nccl-no-gpu-{rank}.txt"]),
                StringComparison.Ordinal);
            Assert.Equal("left", File.ReadAllText(_folder[$"nccl-left-by-all-{rank}.txt"]));
        }
    }

    [Fact]
    public void A_process_that_cannot_join_ends_those_that_wait_for_it()
        => Ends("ncclCommInitRank failed with 5: as the test says", "nccl-joins", NcclStub.JoinFails);

    [Fact]
    public void A_link_that_fails_ends_all_processes()
        => Ends("What NCCL was doing, ncclCommGetAsyncError says, failed with 6: as the test says", "nccl-link", NcclStub.LinkFails);

    /// <summary>In a program whose Main awaits, what is used is disposed before anybody is told of it; who left NCCL alone would wait for ever.</summary>
    [Fact]
    public void A_process_that_leaves_while_others_exchange_ends_them_and_says_why()
        => Ends("The disk of this process is gone.", "left-nccl");

    private void Ends(string reason, string scenario, params string[] fails)
    {
        Together.Require();
        NcclStub nccl = new(_folder["nccl"], fails);
        ChildProcess.Outcome outcome = Together.RunWith(nccl, 2, _folder.Path, scenario);
        Assert.NotEqual(0, outcome.ExitCode);
        Assert.Contains(" ends the training of all processes: ", outcome.Errors, StringComparison.Ordinal);
        Assert.Contains(reason, outcome.Errors, StringComparison.Ordinal);
    }
}
