using System.Globalization;
using System.Text.Json;
using Retro.Checkpoints;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Tests.Embedders;
using Retro.Tests.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Pretrained;

/// <summary>Each kind of answer that a folder of a pretrained model may hold, and what compares with it. A comparer says what it compared, or fails.</summary>
internal static class AnswerComparers
{
    // Frequency tables are float32 in the originals, so that float64 agrees to about 1e-6.
    private const double Float64Bound = 1e-6;
    private const double Float32Bound = 1e-5;

    /// <summary>The comparer of an answer file; null where none is known.</summary>
    public static Func<string, string>? Of(string folder, string answers) => answers switch
    {
        "expected.safetensors" => IsDecoder(folder) ? CompareDecoder : CompareEncoder,
        "expected-embeddings.safetensors" => CompareEmbeddings,
        "expected-tokens.json" => TokenizerParity.Compare,
        _ => null,
    };

    /// <summary>Files that explain answers and are none.</summary>
    public static bool IsNoAnswer(string name) => name is "expected.json" or "expected-texts.json";

    /// <summary>Whether a folder's answers are a decoder's.</summary>
    public static bool IsDecoder(string folder)
    {
        string path = Path.Combine(folder, "expected.safetensors");
        if (!File.Exists(path))
        {
            return false;
        }

        using Safetensors file = Safetensors.Open(path);
        return file.Contains("logits");
    }

    private static string CompareDecoder(string folder)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using Safetensors expected = Safetensors.Open(Path.Combine(folder, "expected.safetensors"));
        Tensor tokens = expected.Read("input_ids", ScalarType.Int64), logits = expected.Read("logits", ScalarType.Float64);
        long[] greedy = expected.Read("greedy", ScalarType.Int64).data<long>().ToArray();
        double loss = expected.Read("loss", ScalarType.Float64).data<double>()[0];
        double largest = logits.abs().max().ToDouble(), exact, narrow;
        using (PretrainedDecoder decoder = PretrainedDecoder.Load(folder, ScalarType.Float64))
        {
            Tensor ours = decoder.Model.call(tokens, null, null);
            exact = (ours - logits).abs().max().ToDouble();
            long length = tokens.shape[1], vocabulary = logits.shape[2];
            double ourLoss = nn.functional.cross_entropy(
                ours.narrow(1, 0, length - 1).reshape(-1, vocabulary), tokens.narrow(1, 1, length - 1).reshape(-1)).ToDouble();
            Assert.True(Math.Abs(ourLoss - loss) <= Float64Bound * Math.Max(1, loss), $"{folder}: loss {ourLoss}, expected {loss}.");
        }

        // Greedy text in the type that users have, every step anew and with the cache.
        using (PretrainedDecoder decoder = PretrainedDecoder.Load(folder))
        {
            narrow = (decoder.Model.call(tokens, null, null).to_type(ScalarType.Float64) - logits).abs().max().ToDouble();
            int prompt = PromptLength(tokens, greedy);
            Assert.Equal(greedy, Greedy(decoder.Model, greedy[..prompt], greedy.Length, cached: false));
            Assert.Equal(greedy, Greedy(decoder.Model, greedy[..prompt], greedy.Length, cached: true));
        }

        Assert.True(exact <= Float64Bound * Math.Max(1, largest), $"{folder}: float64 logits differ by {exact:E2}, of {largest:F2}.");
        Assert.True(narrow <= Float32Bound * Math.Max(1, largest), $"{folder}: float32 logits differ by {narrow:E2}, of {largest:F2}.");
        return string.Create(
            CultureInfo.InvariantCulture,
            $"decoder: {logits.numel():#,0} logits up to {largest:0.00}: float64 {exact:0.0E+0}, float32 {narrow:0.0E+0}; loss; {greedy.Length} greedy tokens, with and without cache");
    }

    /// <summary>
    /// The beginning of row 0 from which the original went on: all that agrees, 16 tokens as the folders' README says, or less in a folder of the user's.
    /// </summary>
    private static int PromptLength(Tensor tokens, long[] greedy)
    {
        long[] row = tokens.select(0, 0).contiguous().data<long>().ToArray();
        int same = row.Zip(greedy).TakeWhile(pair => pair.First == pair.Second).Count();
        Assert.True(same >= 1, "The greedy answer does not begin as row 0 does.");
        return Math.Min(same, 16);
    }

    internal static long[] Greedy(RetroModel model, long[] prompt, int length, bool cached)
    {
        using IDisposable noGrad = no_grad();
        List<long> tokens = [.. prompt];
        using DecodingCache cache = model.NewCache(1, length);
        while (tokens.Count < length)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor next;
            if (!cached)
            {
                next = model.call(tensor(tokens.ToArray(), [1, tokens.Count]), null, null).select(1, tokens.Count - 1);
            }
            else if (tokens.Count == prompt.Length)
            {
                next = model.Prefill(cache, tensor(prompt, [1, prompt.Length]));
            }
            else
            {
                next = model.Step(cache, tensor([tokens[^1]]));
            }

            tokens.Add(next.argmax(1).data<long>()[0]);
        }

        return [.. tokens];
    }

    private static string CompareEncoder(string folder)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        using Safetensors expected = Safetensors.Open(Path.Combine(folder, "expected.safetensors"));
        Tensor ids = expected.Read(
            "input_ids", ScalarType.Int64), mask = expected.Read("attention_mask", ScalarType.Int64), types = expected.Read("token_type_ids", ScalarType.Int64);
        Tensor states = expected.Read("last_hidden_state", ScalarType.Float64);
        double largest = states.abs().max().ToDouble();
        List<double> differences = [];
        foreach (ScalarType dtype in (ScalarType[])[ScalarType.Float64, ScalarType.Float32])
        {
            using TextEncoder encoder = EncoderFolder.Load(folder, dtype);
            Tensor ours = encoder.call(ids, mask.to_type(ScalarType.Bool), types).to_type(ScalarType.Float64);
            differences.Add(((ours - states) * mask.unsqueeze(-1)).abs().max().ToDouble());
        }

        Assert.True(differences[0] <= Float64Bound * Math.Max(1, largest), $"{folder}: float64 states differ by {differences[0]:E2}, of {largest:F2}.");
        Assert.True(differences[1] <= Float32Bound * Math.Max(1, largest), $"{folder}: float32 states differ by {differences[1]:E2}, of {largest:F2}.");
        return string.Create(
            CultureInfo.InvariantCulture,
            $"encoder: {states.numel():#,0} states up to {largest:0.00}: float64 {differences[0]:0.0E+0}, float32 {differences[1]:0.0E+0}");
    }

    private static string CompareEmbeddings(string folder)
    {
        string[] texts = JsonSerializer.Deserialize<string[]>(File.ReadAllText(Path.Combine(folder, "expected-texts.json")))!;
        using DisposeScope scope = NewDisposeScope();
        using Safetensors file = Safetensors.Open(Path.Combine(folder, "expected-embeddings.safetensors"));
        Tensor expected = file.Read("embeddings", ScalarType.Float32);
        int width = (int)expected.shape[1];
        Assert.Equal(texts.Length, expected.shape[0]);
        float[] theirs = expected.data<float>().ToArray();
        using TextEmbedder embedder = TextEmbedder.Load(folder);
        double largest = 0, cosine = 1;
        float[] ours = EncoderFolder.Embed(embedder, texts);
        for (int row = 0; row < texts.Length; row++)
        {
            EmbeddingInputs.AssertNear([ours[(row * width)..((row + 1) * width)]], [EncoderFolder.Embed(embedder, texts[row])]);
            double product = 0, a = 0, b = 0;
            for (int i = row * width; i < (row + 1) * width; i++)
            {
                largest = Math.Max(largest, Math.Abs(ours[i] - (double)theirs[i]));
                product += ours[i] * (double)theirs[i];
                a += ours[i] * (double)ours[i];
                b += theirs[i] * (double)theirs[i];
            }

            cosine = Math.Min(cosine, product / Math.Sqrt(a * b));
        }

        Assert.True(largest <= Float32Bound, $"{folder}: embeddings differ by {largest:E2}.");
        Assert.True(cosine >= 1 - 1e-9, $"{folder}: a cosine is {cosine}.");
        return string.Create(
            CultureInfo.InvariantCulture,
            $"embedder: {texts.Length} texts ({embedder.Encoder.Config.Pooling}, {(embedder.Encoder.Config.Normalize ? "normalized" : "not normalized")}, at most {embedder.Encoder.Config.MaximumLength} tokens), the same alone and in one batch: {largest:0.0E+0}, cosine at least {cosine:0.0000000}");
    }
}
