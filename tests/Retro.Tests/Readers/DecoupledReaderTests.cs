using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tests.Database;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Readers;

public sealed class DecoupledReaderTests : IDisposable
{
    private const int M = 4, K = 2, R = 6, V = 11;

    private static readonly RetroConfig s_config = TinyRetro.Config with { VocabularySize = V, Retrieval = null };

    private readonly TestDatabases _databases = new();
    private readonly TemporaryFolder _folder = new();

    public void Dispose()
    {
        _databases.Dispose();
        _folder.Dispose();
    }

    public static TheoryData<string> Decoders => ["rotary", "grouped", "transformer-xl", "learned", "parallel, biases"];

    [Theory]
    [MemberData(nameof(Decoders))]
    public void It_is_its_definition(string decoder)
    {
        using RetroModel model = Model(decoder);
        using DecoupledReader reader = Trained(model);
        ReadingBatch batch = ReaderContract.Batch(V, 2, (3 * M) + 2, M, K, R, seed: 5);
        double[] found = reader.LogLikelihoods(batch);
        for (int row = 0; row < 2; row++)
        {
            double[][] expected = Definition(model, reader.Weights, batch, row);
            for (int place = 0; place < batch.Length; place++)
            {
                int at = (row * batch.Length) + place;
                Assert.Equal(expected[place][batch.Targets[at]], found[at], 1e-9);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Decoders))]
    public void Before_training_and_without_neighbors_it_is_the_decoder_to_the_bit(string decoder)
    {
        using RetroModel model = Model(decoder, ScalarType.Float32);
        using DecoupledReader fresh = DecoupledReader.Fresh(model, new() { Neighbors = K }, R), trained = Trained(model);
        ReadingBatch batch = ReaderContract.Batch(V, 2, (3 * M) + 2, M, K, R, seed: 5);
        double[] plain = new DecoderReader(model).LogLikelihoods(batch);
        Assert.Equal(plain, fresh.LogLikelihoods(batch));
        Assert.NotEqual(plain, trained.LogLikelihoods(batch));
        Array.Clear(batch.Retrieved!.Valid);
        Assert.Equal(plain, trained.LogLikelihoods(batch));
        batch.Retrieved = null;
        Assert.Equal(plain, trained.LogLikelihoods(batch));
    }

    [Fact]
    public void It_keeps_the_readers_contract()
    {
        using RetroModel model = Model("rotary");
        using DecoupledReader reader = Trained(model);
        ReaderContract.Check(reader, ReaderContract.Batch(V, 2, (3 * M) + 2, M, K, R, seed: 5), V);
    }

    [Fact]
    public void The_order_of_the_neighbors_changes_nothing()
    {
        using RetroModel model = Model("rotary", ScalarType.Float32);
        using DecoupledReader reader = Trained(model, 4);
        ReadingBatch batch = ReaderContract.Batch(V, 2, (3 * M) + 2, M, 4, R, seed: 5), turned = ReaderContract.Batch(V, 2, (3 * M) + 2, M, 4, R, seed: 5);
        RetrievedTokens from = batch.Retrieved!, to = turned.Retrieved!;
        int[] order = [2, 0, 3, 1];
        for (int block = 0; block < from.Rows * from.Chunks; block++)
        {
            for (int k = 0; k < 4; k++)
            {
                int source = ((block * 4) + order[k]) * R, target = ((block * 4) + k) * R;
                Array.Copy(from.Tokens, source, to.Tokens, target, R);
                Array.Copy(from.Valid, source, to.Valid, target, R);
            }
        }

        double[] one = reader.LogLikelihoods(batch), other = reader.LogLikelihoods(turned);
        Assert.NotEqual(new DecoderReader(model).LogLikelihoods(batch), one);
        Assert.All(one.Zip(other), pair => Assert.Equal(pair.First, pair.Second, 1e-5));
    }

    /// <summary>Every document is one letter again and again, and the decoder knows nothing: only the neighbors, of the same letter, tell which.</summary>
    [Fact]
    public void What_the_neighbors_hold_is_learned_and_the_decoder_stays_as_it_is()
    {
        const int Chunk = 8;
        List<Document> documents = [];
        for (int letter = 'a'; letter <= 'p'; letter++)
        {
            documents.AddRange(Enumerable.Range(0, 4).Select(i => TestDatabases.Document($"{(char)letter}{i}", new string((char)letter, 3 * Chunk - i))));
        }

        List<Document> held = [.. documents.Where(document => document.Id.EndsWith('3'))];
        using ChunkDatabase database = _databases.Build(documents.Except(held), Chunk, "database"), heldOut = _databases.Build(held, Chunk, "held-out");
        GivenNeighborSource same = new(database, query => [.. Enumerable.Range(0, (int)database.ChunkCount)
            .Where(chunk => database.Tokens(chunk)[0] == query.Tokens.Span[0]).Select(chunk => (long)chunk)]);
        manual_seed(1);
        using RetroModel model = new(
            TinyRetro.Config with { VocabularySize = 257, Retrieval = null, Width = 16, Heads = 2, HeadSize = 8, FeedForwardSize = 32 });
        using (no_grad())
        {
            model.get_parameter("head.weight")!.mul_(4); // as of a trained one, so that it can be sure of a letter at all
        }

        byte[][] before = [.. model.parameters().Select(parameter => parameter.bytes.ToArray())];
        DecoupledReaderOptions options = new() { Neighbors = 2, Steps = 200, WindowLength = 3 * Chunk, BatchSize = 4, LearningRate = 3e-2, Rank = 16 };
        using DecoupledReader reader = DecoupledReader.Fit(model, database, same, options);
        Assert.Equal(before, model.parameters().Select(parameter => parameter.bytes.ToArray()));
        Assert.All(model.parameters(), parameter => Assert.True(parameter.grad is null && parameter.requires_grad));

        double off = AfterFirst(BitsPerByte.Measure(new DecoderReader(model), heldOut));
        double on = AfterFirst(BitsPerByte.Measure(reader, heldOut, same));
        double random = AfterFirst(BitsPerByte.Measure(reader, heldOut, new RandomNeighborSource(database, 1)));
        Assert.InRange(on, 0, 0.5 * off);
        Assert.InRange(on, 0, 0.5 * random);
        using DecoupledReader again = DecoupledReader.Fit(model, database, same, options with { Steps = 3 });
        using DecoupledReader third = DecoupledReader.Fit(model, database, same, options with { Steps = 3 });
        Assert.Equal(BitsPerByte.Measure(again, heldOut, same).Value, BitsPerByte.Measure(third, heldOut, same).Value);

        // No step leaves a tensor: five leave as many as one, which are those that TorchSharp counts twice for every parameter made.
        long start = LiveTensors.Settled();
        DecoupledReader.Fit(model, database, same, options with { Steps = 1, RandomShare = 0.5 }).Dispose();
        long one = LiveTensors.Settled();
        DecoupledReader.Fit(model, database, same, options with { Steps = 5, RandomShare = 0.5 }).Dispose();
        Assert.Equal(one - start, LiveTensors.Settled() - one);

        // Bits of the tokens that a neighbor can help with.
        static double AfterFirst(BitsPerByteResult result)
            => (result.Bits - result.FirstChunkBits) / (result.Tokens - result.FirstChunkTokens);
    }

    [Fact]
    public void Saved_and_loaded_it_reads_the_same_and_what_does_not_fit_is_refused()
    {
        using RetroModel model = Model("rotary"), other = new(s_config with { Layers = 3 }, ScalarType.Float64);
        using DecoupledReader reader = Trained(model);
        string path = Path.Combine(_folder.Path, "reader.safetensors");
        reader.Save(path);
        using DecoupledReader loaded = DecoupledReader.Load(path, model);
        Assert.Equal((reader.Name, K, R), (loaded.Name, loaded.Neighbors, loaded.RetrievedLength!.Value));
        ReadingBatch batch = ReaderContract.Batch(V, 2, (3 * M) + 2, M, K, R, seed: 5);
        Assert.Equal(reader.LogLikelihoods(batch), loaded.LogLikelihoods(batch));
        Assert.Contains("2 layers", Assert.Throws<CheckpointException>(() => DecoupledReader.Load(path, other)).Message, StringComparison.Ordinal);

        // A decoder of the same shape is another one, and a file that does not say which it was trained for is of none.
        using RetroModel stranger = new(model.Config, ScalarType.Float64);
        Assert.Contains(
            "was trained for a model whose configuration and weights have the hash",
            Assert.Throws<CheckpointException>(() => DecoupledReader.Load(path, stranger)).Message,
            StringComparison.Ordinal);
        string old = Path.Combine(_folder.Path, "old.safetensors");
        using (Safetensors file = Safetensors.Open(path))
        using (DisposeScope scope = NewDisposeScope())
        {
            Safetensors.Write(
                old,
                file.Entries.ToDictionary(entry => entry.Name, entry => file.Read(entry.Name)),
                file.Metadata!.Where(pair => pair.Key != "model").ToDictionary());
        }

        Assert.Contains("the hash none", Assert.Throws<CheckpointException>(() => DecoupledReader.Load(old, model)).Message, StringComparison.Ordinal);

        // What its metadata say is not made before it is known to be there.
        string large = Path.Combine(_folder.Path, "large.safetensors");
        using (Safetensors file = Safetensors.Open(path))
        using (DisposeScope scope = NewDisposeScope())
        {
            Dictionary<string, string> settings = file.Metadata!.ToDictionary();
            settings["rank"] = "2000000000";
            Safetensors.Write(large, file.Entries.ToDictionary(entry => entry.Name, entry => file.Read(entry.Name)), settings);
        }

        Assert.Contains(
            $"holds no 1.down of [{model.Config.Width}, 2000000000], which its settings say",
            Assert.Throws<CheckpointException>(() => DecoupledReader.Load(large, model)).Message,
            StringComparison.Ordinal);
        Checkpoint.Save(_folder.Path, model);
        Assert.Contains(
            "no decoupled reader",
            Assert.Throws<CheckpointException>(() => DecoupledReader.Load(Path.Combine(_folder.Path, "model.safetensors"), model)).Message,
            StringComparison.Ordinal);
        using RetroModel brief = new(s_config with { MaximumLength = R - 1 });
        Assert.Contains(
            "longer than the 5", Assert.Throws<ArgumentException>(() => DecoupledReader.Fresh(brief, new(), R)).Message, StringComparison.Ordinal);
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(() =>
            new DecoupledReaderOptions { Neighbors = 0, Rank = 0, WindowLength = 10, RandomShare = 2 }.Validate(4));
        Assert.All(
            ["Neighbors is 0", "Rank is 0", "WindowLength is 10; expected a multiple of the chunk length, 4", "RandomShare is 2"],
            part => Assert.Contains(part, fault.Message, StringComparison.Ordinal));
    }

    private static RetroModel Model(string decoder, ScalarType dtype = ScalarType.Float64)
    {
        manual_seed(1);
        RetroConfig config = decoder switch
        {
            "grouped" => s_config with { Heads = 4, HeadSize = 2, KeyValueHeads = 2 },
            "transformer-xl" => s_config with { Positions = PositionKind.TransformerXl },
            "learned" => s_config with { Positions = PositionKind.Learned, MaximumLength = 20 },
            "parallel, biases" => s_config with { ParallelResidual = true, QueryKeyValueBias = true, AttentionOutputBias = true, Norm = NormKind.LayerNorm },
            _ => s_config,
        };
        RetroModel model = new(config, dtype);
        using IDisposable none = no_grad();
        using DisposeScope scope = NewDisposeScope();
        foreach (TorchSharp.Modules.Parameter parameter in model.parameters().Where(parameter => parameter.dim() == 1 || parameter.shape[1] < 8))
        {
            parameter.add_(randn_like(parameter) * 0.2); // biases and gains away from their first values
        }

        return model;
    }

    /// <summary>With weights of any size, as if it had been trained.</summary>
    private static DecoupledReader Trained(RetroModel model, int neighbors = K)
    {
        DecoupledReader reader = DecoupledReader.Fresh(model, new() { Neighbors = neighbors, Rank = 3, AdaptationRank = 2 }, R);
        using IDisposable none = no_grad();
        using DisposeScope scope = NewDisposeScope();
        foreach ((string name, TorchSharp.Modules.Parameter parameter) in reader.Weights.ByName)
        {
            parameter.add_(randn_like(parameter) * (name.EndsWith("down", StringComparison.Ordinal) ? 0.3 : 0.4));
        }

        return reader;
    }

    /// <summary>Log-probabilities [T, V] of a row, with the attention to the neighbors written out number by number.</summary>
    private static double[][] Definition(RetroModel model, DecoupledWeights weights, ReadingBatch batch, int row)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable none = no_grad();
        RetroConfig config = model.Config;
        Tensor x = Embed(model, batch.Tokens[(row * batch.Length)..((row + 1) * batch.Length)]);
        AttentionPlan plan = AttentionPlan.Causal(config, batch.Length, ScalarType.Float64, CPU);
        RetrievedTokens retrieved = batch.Retrieved!;
        Dictionary<(int Chunk, int Neighbor), double[][][]> passages = [];
        for (int chunk = 0; chunk < retrieved.Chunks; chunk++)
        {
            for (int neighbor = 0; neighbor < K; neighbor++)
            {
                int start = retrieved.Offset(row, chunk, neighbor), count = Enumerable.Range(start, R).TakeWhile(i => retrieved.Valid[i]).Count();
                if (count > 0)
                {
                    passages.Add((chunk, neighbor), Inputs(model, retrieved.Tokens[start..(start + count)]));
                }
            }
        }

        for (int index = 0; index < config.Layers; index++)
        {
            double[][] normed = Rows(Normed(model, index, x));
            x = model.Layers[index].call(x, plan, null, null);
            double[,] added = new double[batch.Length, config.Width];
            for (int place = M - 1; place < batch.Length; place++)
            {
                int chunk = ((place + 1) / M) - 1;
                double[][] read = [.. Enumerable.Range(0, K).SelectMany(k => passages.TryGetValue((chunk, k), out double[][][]? all) ? all[index] : [])];
                double[] one = read.Length == 0 ? new double[config.Width] : Read(model, weights, index, normed[place], read);
                for (int d = 0; d < config.Width; d++)
                {
                    added[place, d] = one[d];
                }
            }

            x = x + tensor(added).unsqueeze(0);
        }

        Tensor last = Norm(config, x, model.get_parameter("decoder.norm.weight")!, Bias(model, "decoder.norm.bias"));
        return Rows(nn.functional.log_softmax(last.matmul(model.get_parameter("head.weight")!.t()), 2));
    }

    /// <summary>What each layer's attention reads of a passage that stands alone.</summary>
    private static double[][][] Inputs(RetroModel model, long[] tokens)
    {
        Tensor x = Embed(model, tokens);
        AttentionPlan plan = AttentionPlan.Causal(model.Config, tokens.Length, ScalarType.Float64, CPU);
        List<double[][]> inputs = [];
        for (int index = 0; index < model.Config.Layers; index++)
        {
            inputs.Add(Rows(Normed(model, index, x)));
            x = model.Layers[index].call(x, plan, null, null);
        }

        return [.. inputs];
    }

    private static double[] Read(RetroModel model, DecoupledWeights weights, int index, double[] asking, double[][] read)
    {
        RetroConfig config = model.Config;
        int groups = config.KeyValueHeads ?? config.Heads, size = config.HeadSize;
        double[] Project(string part, double[] state)
        {
            double[] plain = Times(model.get_parameter($"decoder.{index + 1}.attn.{part}.weight")!.t(), state);
            double[]? bias = Bias(model, $"decoder.{index + 1}.attn.{part}.bias")?.data<double>().ToArray();
            double[] narrow = Times(weights.ByName[$"{index + 1}.{part}_down"], state), wide = Times(weights.ByName[$"{index + 1}.{part}_up"], narrow);
            return [.. plain.Select((number, i) => number + wide[i] + (bias?[i] ?? 0))];
        }

        double[] q = Project("q", asking);
        if (Bias(model, $"decoder.{index + 1}.attn.content_bias") is { } content)
        {
            double[] bias = content.data<double>().ToArray();
            q = [.. q.Select((number, i) => number + bias[i])];
        }

        double[][] keys = [.. read.Select(state => Project("k", state))], values = [.. read.Select(state => Project("v", state))];
        double[] attended = new double[config.Heads * size];
        for (int head = 0; head < config.Heads; head++)
        {
            int group = head * groups / config.Heads;
            double[] scores = [.. keys.Select(key => Math.Exp(
                Enumerable.Range(0, size).Sum(s => q[(head * size) + s] * key[(group * size) + s]) / Math.Sqrt(size)))];
            for (int s = 0; s < size; s++)
            {
                attended[(head * size) + s] = values.Select((value, i) => scores[i] / scores.Sum() * value[(group * size) + s]).Sum();
            }
        }

        double[] output = Times(model.get_parameter($"decoder.{index + 1}.attn.o.weight")!.t(), attended);
        if (Bias(model, $"decoder.{index + 1}.attn.o.bias") is { } outputBias)
        {
            output = [.. output.Zip(outputBias.data<double>().ToArray(), (a, b) => a + b)];
        }

        return [.. Times(weights.ByName[$"{index + 1}.up"], Times(weights.ByName[$"{index + 1}.down"], output)).Select(number => 32 * number)];
    }

    /// <summary>x W.</summary>
    private static double[] Times(Tensor matrix, double[] x)
    {
        double[] values = matrix.detach().contiguous().data<double>().ToArray();
        int width = (int)matrix.shape[1];
        return [.. Enumerable.Range(0, width).Select(column => x.Select((number, i) => number * values[(i * width) + column]).Sum())];
    }

    private static Tensor Embed(RetroModel model, long[] tokens)
    {
        Tensor x = model.get_parameter("embedding.weight")!.index_select(0, tensor(tokens)).unsqueeze(0);
        return Bias(model, "positions.weight") is { } positions ? x + positions.narrow(0, 0, tokens.Length) : x;
    }

    private static Tensor Normed(RetroModel model, int index, Tensor x)
        => Norm(
            model.Config, x, model.get_parameter($"decoder.{index + 1}.attn.norm.weight")!, Bias(model, $"decoder.{index + 1}.attn.norm.bias"));

    private static Tensor Norm(RetroConfig config, Tensor x, Tensor gain, Tensor? bias)
    {
        Tensor centered = config.Norm == NormKind.LayerNorm ? x - x.mean([2L], keepdim: true) : x;
        Tensor normed = centered / (centered.pow(2).mean([2L], keepdim: true) + config.NormEpsilon).sqrt() * gain;
        return bias is null ? normed : normed + bias;
    }

    private static Tensor? Bias(RetroModel model, string name)
        => model.named_parameters().Where(pair => pair.name == name).Select(pair => pair.parameter).FirstOrDefault();

    private static double[][] Rows(Tensor x)
    {
        double[] values = x.detach().contiguous().data<double>().ToArray();
        return [.. values.Chunk((int)x.shape[^1])];
    }
}
