using Retro;
using Retro.Database;
using Retro.Evaluation;
using Retro.Readers;
using Retro.Search;

namespace Retro.Cli.Workflow;

/// <summary>
/// Measures models as they have to be compared: a RETRO on, off and with random neighbors, beside its decoder alone ("closed book") and a rule without a
/// trained weight that copies from the same neighbors. What is measured under one name, seed by seed, becomes one row.
/// </summary>
/// <param name="heldOut">The held-out documents.</param>
/// <param name="database">What is retrieved from.</param>
/// <param name="table">Neighbors of every held-out chunk.</param>
/// <param name="random">Neighbors drawn at random.</param>
/// <param name="rules">The pointer rule, counted on the database, for some numbers of neighbors.</param>
/// <param name="seed">Of the random neighbors that are asked for while a reader reads.</param>
/// <param name="runs">The runs of the database, and how far the longest of them is trusted: the same rule without a retriever. Null: not measured.</param>
internal sealed class Comparison(
    ChunkDatabase heldOut,
    ChunkDatabase database,
    NeighborTable table,
    NeighborTable random,
    IReadOnlyList<PointerRule> rules,
    long seed,
    (TokenIndex Index, double[] Precisions)? runs = null)
{
    private readonly List<(string Name, string? TrainedWith, TrainedModel Trained, BitsPerByteResult Result)> _measured = [];

    // The rows of the rules by the decoder's and how many neighbors they look into; 0: the whole database.
    private readonly Dictionary<(string ClosedBook, int Neighbors), string> _rules = [];

    /// <summary>One entry for each name, in the order of their first measurements.</summary>
    public IReadOnlyList<EvaluationEntry> Entries =>
    [
        .. _measured.GroupBy(one => one.Name).Select(group => new EvaluationEntry(group.Key, [.. group.Select(one => one.Result)])
        {
            TrainedWith = group.First().TrainedWith,
            Steps = group.Average(one => one.Trained.Steps),
            Time = TimeSpan.FromSeconds(group.Average(one => one.Trained.Time.TotalSeconds)),
        }),
    ];

    /// <summary>The name of the pointer rule's row on top of a decoder, with a number of neighbors.</summary>
    /// <param name="closedBook">The name of the decoder's row.</param>
    /// <param name="neighbors">The number.</param>
    public string RuleOn(string closedBook, int neighbors) => _rules[(closedBook, neighbors)];

    /// <summary>The name of the row of the longest run anywhere on top of a decoder.</summary>
    /// <param name="closedBook">The name of the decoder's row.</param>
    public string RunsOn(string closedBook) => _rules[(closedBook, 0)];

    /// <summary>Measures a decoder alone, and the rules on top of it.</summary>
    /// <param name="name">The row's name; the rules' rows are named after it.</param>
    /// <param name="trained">The decoder.</param>
    /// <param name="options">Settings.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="withRules">Whether the rules are measured, too.</param>
    public void ClosedBook(
        string name, TrainedModel trained, BitsPerByteOptions options, CancellationToken cancellationToken, bool withRules = true)
    {
        DecoderReader reader = new(trained.Model, name);
        Measure(reader, trained, null, null, options, cancellationToken);
        if (!withRules)
        {
            return;
        }

        foreach (PointerRule rule in rules)
        {
            Rule(new PointerReader(reader, rule), table);
        }

        if (runs is { } everywhere)
        {
            Rule(new RunReader(reader, everywhere.Index, everywhere.Precisions), null);
        }

        void Rule(IReader rule, NeighborTable? read)
        {
            Measure(rule, trained, null, read, options, cancellationToken);
            _rules[(name, rule.Neighbors)] = rule.Name;
        }
    }

    /// <summary>Measures a RETRO with retrieval off, random and on.</summary>
    /// <param name="name">The row's name.</param>
    /// <param name="trained">The RETRO.</param>
    /// <param name="trainedWith">The source of the neighbors that it was trained with.</param>
    /// <param name="others">Neighbors of every held-out chunk by other sources; their names stand in their rows'.</param>
    /// <param name="options">Settings.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="off">Whether it is measured with retrieval off, too; false where that was done, as a closed book.</param>
    /// <param name="own">Neighbors by its own source; null: those of the comparison.</param>
    public void Retro(
        string name,
        TrainedModel trained,
        string trainedWith,
        IReadOnlyList<NeighborTable> others,
        BitsPerByteOptions options,
        CancellationToken cancellationToken,
        bool off = true,
        NeighborTable? own = null)
    {
        if (off)
        {
            Measure(new DecoderReader(trained.Model, $"{name} off"), trained, trainedWith, null, options, cancellationToken);
        }

        Measure(new RetroReader(trained.Model, name: $"{name} random"), trained, trainedWith, random, options, cancellationToken);
        Measure(new RetroReader(trained.Model, name: name), trained, trainedWith, own ?? table, options, cancellationToken);
        foreach (NeighborTable other in others)
        {
            Measure(new RetroReader(trained.Model, name: $"{name}, {other.SourceName}"), trained, trainedWith, other, options, cancellationToken);
        }
    }

    /// <summary>Measures a reader that copies, with the source's neighbors and with random ones, asked for while it reads.</summary>
    /// <param name="name">The row's name.</param>
    /// <param name="reader">The reader.</param>
    /// <param name="trained">Its model, with the steps and the time of both.</param>
    /// <param name="source">Finds the neighbors.</param>
    /// <param name="others">Find neighbors too; their names stand in their rows'.</param>
    /// <param name="options">Settings.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="trainedWith">The source that the reader was trained with; null: this one.</param>
    public void Copying(
        string name,
        CopyReader reader,
        TrainedModel trained,
        INeighborSource source,
        IReadOnlyList<INeighborSource> others,
        BitsPerByteOptions options,
        CancellationToken cancellationToken,
        string? trainedWith = null)
    {
        (string, INeighborSource)[] rows =
            [($"{name}, random", new RandomNeighborSource(database, seed)), (name, source), .. others.Select(other => ($"{name}, {other.Name}", other))];
        foreach ((string row, INeighborSource from) in rows)
        {
            Add(row, trained, trainedWith ?? source.Name, progress => BitsPerByte.Measure(reader, heldOut, from, options, progress, cancellationToken));
        }
    }

    /// <summary>Measures a reader that no time went into but its model's, with a source's neighbors, asked for while it reads.</summary>
    /// <param name="reader">The reader; the row has its name.</param>
    /// <param name="trained">Its model.</param>
    /// <param name="source">Finds the neighbors.</param>
    /// <param name="options">Settings.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public void Asking(IReader reader, TrainedModel trained, INeighborSource source, BitsPerByteOptions options, CancellationToken cancellationToken)
        => Add(reader.Name, trained, null, progress => BitsPerByte.Measure(reader, heldOut, source, options, progress, cancellationToken));

    private void Measure(
        IReader reader, TrainedModel trained, string? trainedWith, NeighborTable? neighbors, BitsPerByteOptions options, CancellationToken cancellationToken)
        => Add(reader.Name, trained, trainedWith, progress => BitsPerByte.Measure(reader, heldOut, neighbors, options, progress, cancellationToken));

    // The model is disposed when its seed is done; the row needs its numbers alone.
    private void Add(string name, TrainedModel trained, string? trainedWith, Func<IProgress<StageProgress>, BitsPerByteResult> measure)
        => _measured.Add((name, trainedWith, trained, Stages.Run($"measure {name}", measure)));
}
