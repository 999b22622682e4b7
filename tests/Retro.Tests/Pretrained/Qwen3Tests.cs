using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Pretrained;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Pretrained;

/// <summary>Qwen3 beside its equations (arXiv 2505.09388; transformers' modeling_qwen3.py), written down here number by number.</summary>
public sealed class Qwen3Tests
{
    private const int Width = 12, Layers = 2, Heads = 4, KeyHeads = 2, Size = 6, Inner = 20, Vocabulary = 40;
    private const double Epsilon = 1e-6, Base = 5_000;

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void Logits_are_those_of_the_equations(bool tied, bool bias)
    {
        using TemporaryFolder folder = new();
        Dictionary<string, double[]> weights = Write(folder.Path, tied, bias);
        int[] ids = [3, 17, 17, 39, 0, 8, 21, 5, 3];
        double[] expected = Logits(weights, ids, bias);
        double largest = expected.Max(Math.Abs);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        foreach ((ScalarType type, double bound) in new[] { (ScalarType.Float64, 1e-6), (ScalarType.Float32, 1e-5) })
        {
            using PretrainedDecoder decoder = PretrainedDecoder.Load(folder.Path, type);
            Assert.Equal(("qwen3", true, tied), (decoder.Origin.Family, decoder.Model.Config.QueryKeyNorm, decoder.Model.Config.TieEmbeddings));
            Tensor logits = decoder.Model.call(tensor(ids.Select(id => (long)id).ToArray(), [1, ids.Length]), null, null);
            double[] came = logits.to_type(ScalarType.Float64).view(-1).data<double>().ToArray();
            Assert.InRange(came.Zip(expected, (one, other) => Math.Abs(one - other)).Max(), 0, bound * largest);
        }
    }

    [Fact]
    public void It_goes_on_the_same_with_a_cache_is_fitted_and_written_back_under_the_names_of_the_original()
    {
        using TemporaryFolder folder = new(), back = new();
        Write(folder.Path, tied: false, bias: false);
        using PretrainedDecoder decoder = PretrainedDecoder.Load(folder.Path);
        long[] prompt = [1, 5, 9, 22];
        Assert.Equal(
            AnswerComparers.Greedy(decoder.Model, prompt, 30, cached: false), AnswerComparers.Greedy(decoder.Model, prompt, 30, cached: true));
        using Retrofit retrofit = Retrofit.From(decoder);
        decoder.Origin.Write(retrofit.Model, back.Path);
        using Safetensors before = Safetensors.Open(folder["model.safetensors"]), after = Safetensors.Open(back["model.safetensors"]);
        Assert.True(before.Contains("model.layers.1.self_attn.q_norm.weight"));
        Assert.Equal(before.Entries.Select(entry => entry.Name).Order(), after.Entries.Select(entry => entry.Name).Order());
        Assert.All(before.Entries, entry => Assert.True(before.Bytes(entry.Name).SequenceEqual(after.Bytes(entry.Name)), entry.Name));
    }

    [Theory]
    [InlineData("head_dim", "8", "q_norm.weight")]
    [InlineData("attention_bias", "true", "q_proj.bias")]
    public void What_would_change_the_result_is_refused_by_name(string key, string value, string says)
    {
        using TemporaryFolder folder = new();
        Write(folder.Path, tied: true, bias: false);
        JsonNode config = JsonNode.Parse(File.ReadAllText(folder["config.json"]))!;
        config[key] = JsonNode.Parse(value);
        File.WriteAllText(folder["config.json"], config.ToJsonString());
        Assert.Contains(says, Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    // Weights that are far from what a fresh model has, norms too; as float32 they are the same numbers in every type.
    private static Dictionary<string, double[]> Write(string folder, bool tied, bool bias)
    {
        Random random = new(7);
        Dictionary<string, long[]> shapes = new() { ["model.embed_tokens.weight"] = [Vocabulary, Width], ["model.norm.weight"] = [Width] };
        for (int layer = 0; layer < Layers; layer++)
        {
            string of = $"model.layers.{layer}";
            shapes[$"{of}.input_layernorm.weight"] = shapes[$"{of}.post_attention_layernorm.weight"] = [Width];
            shapes[$"{of}.self_attn.q_norm.weight"] = shapes[$"{of}.self_attn.k_norm.weight"] = [Size];
            (string Name, long Output, long Input)[] projections =
            [
                ("self_attn.q_proj", Heads * Size, Width), ("self_attn.k_proj", KeyHeads * Size, Width), ("self_attn.v_proj", KeyHeads * Size, Width),
                ("self_attn.o_proj", Width, Heads * Size), ("mlp.gate_proj", Inner, Width), ("mlp.up_proj", Inner, Width), ("mlp.down_proj", Width, Inner),
            ];
            foreach ((string name, long output, long input) in projections)
            {
                shapes[$"{of}.{name}.weight"] = [output, input];
                if (bias && name.StartsWith("self_attn", StringComparison.Ordinal))
                {
                    shapes[$"{of}.{name}.bias"] = [output];
                }
            }
        }

        if (!tied)
        {
            shapes["lm_head.weight"] = [Vocabulary, Width];
        }

        Dictionary<string, float[]> values = shapes.ToDictionary(
            pair => pair.Key,
            pair => Enumerable.Range(0, (int)pair.Value.Aggregate((product, size) => product * size))
                .Select(_ => (float)((random.NextDouble() - 0.5) + (pair.Key.Contains("norm", StringComparison.Ordinal) ? 1 : 0)))
                .ToArray());
        using (DisposeScope scope = NewDisposeScope())
        {
            Safetensors.Write(
                Path.Combine(folder, "model.safetensors"), values.Select(pair => KeyValuePair.Create(pair.Key, tensor(pair.Value, shapes[pair.Key]))));
        }

        // As Qwen3-0.6B's config.json has it, with other sizes.
        JsonObject config = new()
        {
            ["architectures"] = new JsonArray("Qwen3ForCausalLM"),
            ["attention_bias"] = bias,
            ["attention_dropout"] = 0.0,
            ["bos_token_id"] = 1,
            ["eos_token_id"] = 2,
            ["head_dim"] = Size,
            ["hidden_act"] = "silu",
            ["hidden_size"] = Width,
            ["initializer_range"] = 0.02,
            ["intermediate_size"] = Inner,
            ["max_position_embeddings"] = 64,
            ["max_window_layers"] = Layers,
            ["model_type"] = "qwen3",
            ["num_attention_heads"] = Heads,
            ["num_hidden_layers"] = Layers,
            ["num_key_value_heads"] = KeyHeads,
            ["rms_norm_eps"] = Epsilon,
            ["rope_scaling"] = null,
            ["rope_theta"] = Base,
            ["sliding_window"] = null,
            ["tie_word_embeddings"] = tied,
            ["torch_dtype"] = "float32",
            ["transformers_version"] = "4.51.0",
            ["use_cache"] = true,
            ["use_sliding_window"] = false,
            ["vocab_size"] = Vocabulary,
        };
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
        return values.ToDictionary(pair => pair.Key, pair => pair.Value.Select(value => (double)value).ToArray());
    }

    private static double[] Logits(Dictionary<string, double[]> weights, int[] ids, bool bias)
    {
        double[][] states = [.. ids.Select(id => weights["model.embed_tokens.weight"].AsSpan(id * Width, Width).ToArray())];
        for (int layer = 0; layer < Layers; layer++)
        {
            string of = $"model.layers.{layer}";
            double[][] normed = [.. states.Select(state => Norm(state, $"{of}.input_layernorm"))];
            double[][][] queries = Projected("q_proj", "q_norm", Heads), keys = Projected("k_proj", "k_norm", KeyHeads);
            double[][][] values = Projected("v_proj", null, KeyHeads);
            for (int t = 0; t < ids.Length; t++)
            {
                double[] attended = new double[Heads * Size];
                for (int head = 0; head < Heads; head++)
                {
                    int group = head / (Heads / KeyHeads);
                    double[] shares = [.. Enumerable.Range(0, t + 1).Select(s => Math.Exp(Dot(queries[t][head], keys[s][group]) / Math.Sqrt(Size)))];
                    for (int s = 0; s <= t; s++)
                    {
                        for (int i = 0; i < Size; i++)
                        {
                            attended[(head * Size) + i] += shares[s] / shares.Sum() * values[s][group][i];
                        }
                    }
                }

                states[t] = Sum(states[t], Product(attended, $"{of}.self_attn.o_proj"));
                double[] read = Norm(states[t], $"{of}.post_attention_layernorm"), up = Product(read, $"{of}.mlp.up_proj");
                double[] gated = [.. Product(read, $"{of}.mlp.gate_proj").Select((gate, i) => gate / (1 + Math.Exp(-gate)) * up[i])];
                states[t] = Sum(states[t], Product(gated, $"{of}.mlp.down_proj"));
            }

            // By token and head; what is normed is rotated, too.
            double[][][] Projected(string name, string? norm, int heads) => [.. normed.Select((state, t) =>
            {
                double[] all = Product(state, $"{of}.self_attn.{name}");
                return Enumerable.Range(0, heads)
                    .Select(head => all.AsSpan(head * Size, Size).ToArray())
                    .Select(head => norm is null ? head : Rotated(Norm(head, $"{of}.self_attn.{norm}"), t))
                    .ToArray();
            })];
        }

        string output = weights.ContainsKey("lm_head.weight") ? "lm_head" : "model.embed_tokens";
        return [.. states.SelectMany(state => Product(Norm(state, "model.norm"), output))];

        double[] Norm(double[] x, string name)
        {
            double scale = 1 / Math.Sqrt((x.Sum(value => value * value) / x.Length) + Epsilon);
            return [.. x.Select((value, i) => value * scale * weights[$"{name}.weight"][i])];
        }

        double[] Product(double[] x, string name)
        {
            double[] matrix = weights[$"{name}.weight"];
            double[]? added = bias && name.Contains("self_attn", StringComparison.Ordinal) ? weights[$"{name}.bias"] : null;
            return [.. Enumerable.Range(0, matrix.Length / x.Length).Select(row => Dot(matrix.AsSpan(row * x.Length, x.Length), x) + (added?[row] ?? 0))];
        }

        // Each feature with the one half a head away.
        static double[] Rotated(double[] head, int place)
        {
            double[] rotated = new double[Size];
            for (int i = 0; i < Size / 2; i++)
            {
                (double sine, double cosine) = Math.SinCos(place * Math.Pow(Base, -2.0 * i / Size));
                rotated[i] = (head[i] * cosine) - (head[i + (Size / 2)] * sine);
                rotated[i + (Size / 2)] = (head[i + (Size / 2)] * cosine) + (head[i] * sine);
            }

            return rotated;
        }

        static double[] Sum(double[] x, double[] y) => [.. x.Zip(y, (one, other) => one + other)];

        static double Dot(ReadOnlySpan<double> x, ReadOnlySpan<double> y)
        {
            double sum = 0;
            for (int i = 0; i < x.Length; i++)
            {
                sum += x[i] * y[i];
            }

            return sum;
        }
    }
}
