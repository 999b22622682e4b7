using Microsoft.Extensions.AI;

namespace Retro.Embedders;

/// <summary>What the embedders share: argument checks and the asynchronous form of the synchronous work.</summary>
internal static class EmbeddingResults
{
    /// <summary>Runs the synchronous embedder on the thread pool.</summary>
    /// <exception cref="ArgumentException">The options ask for another number of dimensions than the embedder has.</exception>
    public static Task<GeneratedEmbeddings<Embedding<float>>> Generate(
        ITextEmbedder embedder, IEnumerable<string> values, EmbeddingGenerationOptions? options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(values);
        if (options?.Dimensions is int asked && asked != embedder.Dimensions)
        {
            throw new ArgumentException(
                $"The embedder gives {embedder.Dimensions} dimensions, {asked} were asked for; leave Dimensions unset.", nameof(options));
        }

        List<string> texts = values.ToList();
        return Task.Run(
            () =>
            {
                int size = embedder.Dimensions;
                float[] rows = new float[checked(texts.Count * size)];
                embedder.Embed(texts, rows, cancellationToken);
                return new GeneratedEmbeddings<Embedding<float>>(
                    Enumerable.Range(0, texts.Count).Select(i => new Embedding<float>(rows.AsMemory(i * size, size))));
            },
            cancellationToken);
    }

    /// <summary>What an embedder gives of itself through <see cref="IEmbeddingGenerator"/>: its metadata, or itself.</summary>
    public static object? Service(ITextEmbedder embedder, Type serviceType, object? serviceKey)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(EmbeddingGeneratorMetadata) ? new EmbeddingGeneratorMetadata(nameof(Retro), null, embedder.Identity, embedder.Dimensions)
            : serviceType.IsInstanceOfType(embedder) ? embedder : null;
    }

    /// <summary>Checks that all texts are there.</summary>
    public static void RequireTexts(IReadOnlyList<string> texts, string parameter)
    {
        for (int i = 0; i < texts.Count; i++)
        {
            if (texts[i] is null)
            {
                throw new ArgumentException($"Text {i} of {texts.Count} is null; leave it out, or give an empty text.", parameter);
            }
        }
    }

    /// <summary>Checks the room for the vectors.</summary>
    public static void RequireRoom(int texts, int dimensions, int room, string parameter)
    {
        if (room != (long)texts * dimensions)
        {
            throw new ArgumentException(
                $"{texts} vectors of {dimensions} dimensions need {(long)texts * dimensions} numbers, got room for {room}.", parameter);
        }
    }
}
