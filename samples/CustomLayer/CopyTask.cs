using Retro.Modeling;
using static TorchSharp.torch;

namespace CustomLayer;

/// <summary>A task that only reading the neighbors solves: random tokens, and for every chunk a neighbor that holds the chunk and what follows it.</summary>
public static class CopyTask
{
    /// <summary>Draws a batch from TorchSharp's generator.</summary>
    /// <param name="config">The model's configuration; its retrieved length is two chunks.</param>
    /// <param name="batch">B.</param>
    /// <param name="chunks">Chunks of a row.</param>
    /// <returns>Tokens [B, T], neighbors [B, C, 1, R] and their mask, C one less than the chunks, because the last chunk's continuation is not there.</returns>
    public static (Tensor Tokens, Tensor Neighbors, Tensor Valid) Draw(RetroConfig config, int batch, int chunks)
    {
        Tensor tokens = randint(config.VocabularySize, [batch, chunks * config.Retrieval!.ChunkLength], ScalarType.Int64);
        Tensor[] pairs = new Tensor[chunks - 1];
        for (int chunk = 0; chunk < pairs.Length; chunk++)
        {
            pairs[chunk] = tokens.narrow(1, chunk * config.Retrieval!.ChunkLength, config.Retrieval!.RetrievedLength);
        }

        Tensor neighbors = stack(pairs, 1).unsqueeze(2);
        return (tokens, neighbors, ones(neighbors.shape, ScalarType.Bool));
    }

    /// <summary>Mean cross entropy of the tokens that a neighbor tells: those after the first chunk.</summary>
    /// <param name="config">The model's configuration.</param>
    /// <param name="logits">[B, T, V].</param>
    /// <param name="tokens">[B, T].</param>
    public static Tensor Loss(RetroConfig config, Tensor logits, Tensor tokens)
    {
        long first = config.Retrieval!.ChunkLength, count = tokens.shape[1] - first;
        return nn.functional.cross_entropy(
            logits.narrow(1, first - 1, count).reshape(-1, config.VocabularySize),
            tokens.narrow(1, first, count).reshape(-1));
    }
}
