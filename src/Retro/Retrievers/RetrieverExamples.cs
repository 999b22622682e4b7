namespace Retro.Retrievers;

/// <summary>The examples of a step.</summary>
/// <param name="Chunks">Each by the chunk whose successor is predicted, [B].</param>
/// <param name="Passages">Chunks that were found, [B][K]; -1 where one is missing.</param>
/// <param name="Chains">Where the chain of each example is, by chunk; a sampler moves it.</param>
/// <param name="Seed">Decides what is sampled, with the step.</param>
/// <param name="Step">Steps done before.</param>
internal sealed record RetrieverExamples(long[] Chunks, long[][] Passages, Dictionary<long, long> Chains, long Seed, long Step);
