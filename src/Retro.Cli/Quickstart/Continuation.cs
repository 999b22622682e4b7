using System.Text;
using Retro.Generation;

namespace Retro.Cli.Quickstart;

/// <summary>A text that the model went on with, and what it read on the way.</summary>
internal sealed record Continuation(string Prompt, string Text, IReadOnlyList<RetrievedNeighbors> Sources)
{
    public static async Task<Continuation> GenerateAsync(RetroGenerator generator, string prompt, long seed, CancellationToken cancellationToken)
    {
        StringBuilder text = new();
        List<RetrievedNeighbors> sources = [];
        GenerationOptions options = new() { MaximumNewTokens = 128, Temperature = 0.7, TopP = 0.9, Seed = seed };
        await foreach (GeneratedPiece piece in generator.GenerateAsync(prompt, options, cancellationToken).ConfigureAwait(false))
        {
            text.Append(piece.Text);
            if (piece.Retrieved is not null)
            {
                sources.Add(piece.Retrieved);
            }
        }

        return new Continuation(prompt, text.ToString(), sources);
    }
}
