using Retro.Modeling;
using Retro.Readers;
using Retro.Training;

namespace Retro.Cli.Experiments;

/// <summary>One way to train what reads, of which one thing differs from its neighbor in the table.</summary>
/// <param name="Name">The name of its rows.</param>
internal abstract record Variant(string Name)
{
    /// <summary>The name of what is trained first and alone, and that the others are compared with or fitted onto.</summary>
    public const string ClosedBook = "closed book";

    /// <summary>The name of copying as it is by default, which the others are compared with, too.</summary>
    public const string Copies = "copying, 16 neighbors every 16 tokens";

    private const string Matching = "matching, fitted";

    /// <summary>All of them, in the order of the table.</summary>
    /// <param name="decoder">The decoder.</param>
    public static Variant[] All(RetroConfig decoder)
    {
        RetrievalConfig paper = RetrievalConfig.For(decoder), matching = RetrievalConfig.Matching(decoder);
        return
        [
            new Reading("paper", paper),
            new Reading("paper, planted neighbors", paper) { Planting = new() },
            new Reading("paper, gate from zero", paper with { Gate = true, ZeroOutput = false }),
            new Reading("paper, gate from zero, planted neighbors", paper with { Gate = true, ZeroOutput = false }) { Planting = new() },
            new Reading("paper, branches at a tenth of the rate", paper) { Change = options => options with { RetrievalRate = 0.1 } },
            new Reading("paper, Muon with decay", paper) { Change = options => options with { Optimizer = options.Optimizer with { MuonWeightDecay = 0.1 } } },
            new Reading("paper, later start", paper) { Change = options => options with { ClosedBook = 0.5 } },
            new Reading("paper, 8 neighbors", paper with { Neighbors = 8 }),
            new Reading("paper, fitted", paper) { Fitted = true },
            new Reading("paper with match bias, fitted", paper with { MatchBias = true }) { Fitted = true },
            new Reading(Matching, matching) { Fitted = true },
            new Reading("matching without match bias, fitted", matching with { MatchBias = false }) { Fitted = true },
            new Reading("matching without shifted keys, fitted", matching with { ShiftedKeys = false }) { Fitted = true },
            new Reading("matching, encoder of 2 layers, fitted", matching with { Encoder = matching.Encoder with { Layers = 2 } }) { Fitted = true },
            new Reading("matching, 2 neighbors, fitted", matching with { Neighbors = 2 }) { Fitted = true },
            new Reading("matching, 16 neighbors, fitted", matching with { Neighbors = 16 }) { Fitted = true },
            new Reading("matching, in one run", matching),
            new Reading("matching, in one run, later start", matching) { Change = options => options with { ClosedBook = 0.5 } },
            new Copying("copying, 8 neighbors a chunk", new() { Neighbors = 8, Stride = 64, QueryLength = 64 }),
            new Copying("copying, 8 neighbors every 16 tokens", new() { Neighbors = 8 }),
            new Copying(Copies, new()),
            new Copying("copying, 32 neighbors every 16 tokens", new() { Neighbors = 32 }),
            new Copying("matching, and copying, 8 neighbors a chunk", new() { Neighbors = 8, Stride = 64, QueryLength = 64, CrossAttended = 8 })
            {
                On = Matching,
            },
            new Copying("matching, and copying, 16 neighbors every 16 tokens", new() { CrossAttended = 8 }) { On = Matching },
        ];
    }

    /// <summary>Chunked cross-attention.</summary>
    /// <param name="Name">The name of its rows.</param>
    /// <param name="Retrieval">What is added to the decoder.</param>
    public sealed record Reading(string Name, RetrievalConfig Retrieval) : Variant(Name)
    {
        /// <summary>Whether it is fitted onto the closed book, which stays as it is, for half as many steps; else both are trained in one run.</summary>
        public bool Fitted { get; init; }

        /// <summary>What of the training's settings is otherwise.</summary>
        public Func<TrainingOptions, TrainingOptions> Change { get; init; } = options => options;

        /// <summary>Planted neighbors; null: none.</summary>
        public PlantingSchedule? Planting { get; init; }
    }

    /// <summary>Copying on top of another model.</summary>
    /// <param name="Name">The name of its rows.</param>
    /// <param name="Options">Settings besides steps and seed.</param>
    public sealed record Copying(string Name, CopyReaderOptions Options) : Variant(Name)
    {
        /// <summary>The name of the model.</summary>
        public string On { get; init; } = ClosedBook;
    }
}
