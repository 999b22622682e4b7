using Retro.Cli.Reports;
using Retro.Database;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Training;

namespace Retro.Cli;

/// <summary>A few beginnings of held-out documents, which a training is watched on; what they read is found once.</summary>
internal sealed class HeldOutSample
{
    private const int MostDocuments = 8;

    private readonly List<(int[] Tokens, RetrievedTokens? Retrieved)> _texts = [];
    private readonly int _chunkLength;

    /// <summary>Chooses the documents and finds their neighbors.</summary>
    /// <param name="heldOut">The held-out documents.</param>
    /// <param name="reader">How they are read; null: without neighbors.</param>
    /// <param name="source">Finds neighbors; null: none are read.</param>
    /// <param name="window">Tokens of each at most.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public HeldOutSample(ChunkDatabase heldOut, IReader? reader, INeighborSource? source, int window, CancellationToken cancellationToken)
    {
        _chunkLength = heldOut.ChunkLength;
        foreach (DocumentEntry document in Evenly(heldOut, MostDocuments))
        {
            int[] tokens = Inspection.Tokens(heldOut, document, window);
            _texts.Add((tokens, reader is not null && source?.Database is not null
                ? TextReading.Retrieve(reader, source, tokens, cancellationToken)
                : null));
        }
    }

    /// <summary>Whether there is anything to look at.</summary>
    public bool IsEmpty => _texts.Count == 0;

    /// <summary>Some documents, evenly among all that have two chunks, in their order.</summary>
    /// <param name="heldOut">The held-out documents.</param>
    /// <param name="most">How many at most.</param>
    public static IEnumerable<DocumentEntry> Evenly(ChunkDatabase heldOut, int most)
    {
        DocumentEntry[] all = [.. heldOut.Documents.Where(document => document.ChunkCount > 1)];
        int count = Math.Min(most, all.Length);
        return Enumerable.Range(0, count).Select(i => all[(int)((long)i * all.Length / count)]);
    }

    /// <summary>Looks at a model.</summary>
    public TrainingWatch Watch(RetroModel model) => Watch(new DecoderReader(model), model.Config.HasRetrieval ? new RetroReader(model) : null);

    /// <summary>Looks at what reads nothing, and at what reads.</summary>
    public TrainingWatch Watch(IReader off, IReader? on) => new(Mean(off, reads: false), on is null ? null : Mean(on, reads: true));

    private double Mean(IReader reader, bool reads)
        => _texts.Sum(text => TextReading.Bits(reader, text.Tokens, 1, reads ? text.Retrieved : null, _chunkLength)[1..].Sum()) * Math.Log(2)
            / _texts.Sum(text => text.Tokens.Length - 1);
}
