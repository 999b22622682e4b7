namespace Retro.Tests.Cli.Commands;

/// <summary>`retro neighbors`: tables of neighbors, in shares and as others read them.</summary>
public sealed class NeighborsCommandTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    /// <summary>What many machines have found together is not found again by one.</summary>
    [Fact]
    public void What_neighbors_has_found_train_and_eval_read()
    {
        _retro.Build();
        _retro.Done("neighbors", "--database", "work");
        string[] found = Tables();
        Assert.Equal(2, found.Length);
        _retro.Done(["train", "--database", "work", "--out", "model", "--steps", "1", .. CliRun.Tiny]);
        Assert.Equal(found, Tables());
        _retro.Done("eval", "--model", "model", "--window", "64");
        Assert.Equal(found, Tables());

        // By hand they may be deleted, and are then found again.
        Array.ForEach(found, table => File.Delete(table[..table.LastIndexOf(' ')]));
        _retro.Done("verify", "work");
        _retro.Done("neighbors", "--database", "work");
        Assert.Equal(2, Tables().Except(found).Count());

        string[] Tables() =>
        [
            .. new[] { "database", "held-out" }
                .SelectMany(part => Directory.GetFiles(Path.Combine(_retro["work"], part), "neighbors-bm25-*.bin"))
                .Select(file => $"{file} {File.GetLastWriteTimeUtc(file):O}"),
        ];
    }

    [Fact]
    public void Shares_of_neighbors_and_of_their_keys_are_joined()
    {
        _retro.Build();
        string[] neighbors = ["neighbors", "--database", "work", "--k", "3"];
        Assert.Contains(
            "random needs nothing to be prepared.",
            _retro.Run([.. neighbors, "--source", "random", "--prepare", "--share", "1/2"]).Errors,
            StringComparison.Ordinal);
        _retro.Done([.. neighbors, "--prepare", "--share", "2/2"]);
        Assert.Equal(["bm25.2-of-2.bin"], Stages());
        Assert.Contains("1/2 is not finished", _retro.Run([.. neighbors, "--prepare"]).Errors, StringComparison.Ordinal);
        _retro.Done([.. neighbors, "--prepare", "--share", "1/2"]);
        _retro.Done([.. neighbors, "--prepare"]);
        Assert.Equal(["bm25.bin"], Stages());
        foreach (string share in new[] { "2/2", "1/2" })
        {
            Assert.Contains($"share {share} is done", _retro.Done([.. neighbors, "--share", share, "--json", "share.json"]), StringComparison.Ordinal);
            Assert.Equal(share, (string)_retro.Json("share.json")["share"]!);
        }

        // What is there is one block, which is in the last share.
        Assert.Matches("^neighbors-bm25-[0-9a-f]{12}.2-of-2.bin$", Stages()[1]);
        _retro.Done(neighbors);
        Assert.Matches("^bm25.bin neighbors-bm25-[0-9a-f]{12}.bin$", string.Join(' ', Stages()));

        _retro.Done("embed-train", "--out", "work", "--steps", "2");
        _retro.Done([.. neighbors, "--source", "dense", "--prepare", "--share", "2/2"]);
        Assert.Contains("keys.2-of-2.bin", Stages());
        _retro.Done([.. neighbors, "--source", "dense", "--prepare"]);
        Assert.Equal(["bm25.bin", "index.faiss", "keys.bin"], Stages().Where(name => !name.StartsWith("neighbors", StringComparison.Ordinal)));

        string[] Stages() =>
        [
            .. Directory.GetFiles(Path.Combine(_retro["work"], "database"), "*.*")
                .Select(file => Path.GetFileName(file))
                .Where(name => name is not ("manifest.json" or "tokens.bin" or "documents.bin" or "unkeyed.bin" or "writer.lock"))
                .Order(StringComparer.Ordinal),
        ];
    }
}
