using Retro.Generation;

namespace Retro.Tests.Generation;

/// <summary>Everything that comes, in a list.</summary>
internal static class Pieces
{
    public static Task<List<GeneratedPiece>> Collect(RetroGenerator generator, string prompt, GenerationOptions options)
        => Collect(generator.GenerateAsync(prompt, options, TestContext.Current.CancellationToken));

    public static async Task<List<T>> Collect<T>(IAsyncEnumerable<T> pieces)
    {
        List<T> all = [];
        await foreach (T piece in pieces)
        {
            all.Add(piece);
        }

        return all;
    }
}
