using Retro.Vectors;

namespace Retro.Postgres.Tests;

/// <summary>Options check themselves, and name every fault.</summary>
public class PostgresOptionsTests
{
    [Fact]
    public void Every_fault_is_named()
    {
        PostgresOptions options = new()
        {
            Schema = new string('x', 64), Writing = (PostgresWriting)9, ChunkLength = 0, Cleaning = " ", Metric = (VectorMetric)9, TextSearch = "a\0",
        };
        Named(() => options.Validate(), "Schema", "Writing", "ChunkLength", "Cleaning", "Metric", "TextSearch");
        PostgresIndexOptions index = new() { Kind = (PostgresIndexKind)9, Connections = 1, Candidates = 1001, Lists = -1 };
        Named(() => index.Validate(), "Kind", "Connections", "Candidates", "Lists");
        Named(() => new PostgresIndexOptions { Connections = 40 }.Validate(), "Candidates is 64; expected at least twice the 40 connections.");
        Named(() => new PostgresDenseOptions { Candidates = 0, Probes = -1 }.Validate(), "Candidates", "Probes");
    }

    [Fact]
    public void Defaults_are_valid()
    {
        Assert.Equal("retro", new PostgresOptions().Validate().Schema);
        Assert.Equal(PostgresIndexKind.Hnsw, new PostgresIndexOptions().Validate().Kind);
        Assert.False(new PostgresDenseOptions().Validate().Exact);
    }

    private static void Named(Action validate, params string[] faults)
    {
        RetroOptionsException thrown = Assert.Throws<RetroOptionsException>(validate);
        Assert.Equal(faults.Length, thrown.Faults.Count);
        Assert.All(faults.Zip(thrown.Faults), pair => Assert.StartsWith(pair.First, pair.Second, StringComparison.Ordinal));
    }
}
