using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Evaluation;
using Retro.Generation;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Pretrained;
using Retro.Readers;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Embedders;
using Retro.Tests.Modeling;
using Retro.Tests.Readers;
using Retro.Tests.Retrievers;
using Retro.Tests.Training;
using Retro.Tokenizers;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests;

/// <summary>Everything that takes a device, on one that is named: what it gives is what float64 gives on the processor.</summary>
public sealed class DeviceTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Devices => ["cpu", "cuda"];

    /// <summary>One row a model and device that is there; what is not there is said by the tests of <see cref="Devices"/>.</summary>
    public static IEnumerable<TheoryDataRow<string, string>> Cases
        => Devices.Where(device => device.Data == "cpu" || HasCuda)
            .SelectMany(device => ModelCase.Names.Select(name => new TheoryDataRow<string, string>(device.Data, name.Data)));

    private static bool HasCuda
    {
        get
        {
            TorchLibrary.Require();
            return cuda.is_available();
        }
    }

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_model_gives_the_processors_logits_and_gradients(string device, string name)
    {
        Device on = Require(device);
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using RetroModel expected = ModelCase.Model(config);
        long length = Math.Max(14, (2 * config.Retrieval!.ChunkLength) + 2);
        Tensor tokens = ModelCase.Tokens(config, 2, length);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, length, 2);
        Tensor wanted = Pass(expected, tokens, neighbors, valid);
        foreach ((ScalarType dtype, double bound) in new[] { (ScalarType.Float64, 1e-10), (ScalarType.Float32, 2e-4), (ScalarType.BFloat16, 0.2) })
        {
            using RetroModel model = Copy(expected, dtype, on);
            Tensor came = Pass(model, tokens.to(on), neighbors.to(on), valid.to(on));

            Assert.Equal(on.type, came.device_type);
            double scale = wanted.abs().max().ToDouble();
            Assert.InRange(ModelCase.Distance(wanted, came.cpu().to(ScalarType.Float64)), 0, bound * scale);
            if (dtype == ScalarType.BFloat16)
            {
                continue; // With weights as large as these, gradients have few digits left.
            }

            Dictionary<string, TorchSharp.Modules.Parameter> gradients = expected.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter);
            double largest = gradients.Values.Max(parameter => parameter.grad!.abs().max().ToDouble());
            foreach ((string parameter, TorchSharp.Modules.Parameter value) in model.named_parameters())
            {
                Assert.True(
                    ModelCase.Distance(gradients[parameter].grad!, value.grad!.cpu().to(ScalarType.Float64)) <= bound * largest,
                    $"The gradient of {parameter} differs in {dtype}.");
            }
        }
    }

    /// <summary>TorchSharp takes a model for one on the processor until it is moved, wherever it was made.</summary>
    [Theory]
    [MemberData(nameof(Devices))]
    public void A_model_moves_from_where_it_was_made_and_back(string device)
    {
        Device on = Require(device);
        RetroConfig config = ModelCase.Config("rotary");
        using DisposeScope scope = NewDisposeScope();
        using RetroModel reference = ModelCase.Model(config), model = Copy(reference, ScalarType.Float64, on);
        Tensor tokens = ModelCase.Tokens(config, 2, 14);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, 14, 2);
        Tensor wanted = Pass(reference, tokens, neighbors, valid);
        foreach (Device place in new[] { CPU, on, CPU })
        {
            model.to(place);
            Assert.All(model.parameters(), parameter => Assert.Equal(place.type, parameter.device_type));
            Tensor came = Pass(model, tokens.to(place), neighbors.to(place), valid.to(place));
            Assert.InRange(ModelCase.Distance(wanted, came.cpu()), 0, 1e-10 * wanted.abs().max().ToDouble());
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Decoding_with_caches_equals_the_full_pass(string device, string name)
    {
        Device on = Require(device);
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        using RetroModel reference = ModelCase.Model(config), model = Copy(reference, ScalarType.Float64, on);
        int length = (3 * config.Retrieval!.ChunkLength) + 2, start = config.Retrieval.ChunkLength + 1;
        Tensor tokens = ModelCase.Tokens(config, 1, length).to(on);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 1, length, 2);
        (neighbors, valid) = (neighbors.to(on), valid.to(on));
        Tensor whole = model.call(tokens, neighbors, valid);

        using DecodingCache cache = model.NewCache(1, capacity: 2);
        int chunks = start / config.Retrieval.ChunkLength;
        Tensor logits = model.Prefill(cache, tokens.narrow(1, 0, start), null, neighbors.narrow(1, 0, chunks), valid.narrow(1, 0, chunks));
        Assert.InRange(ModelCase.Distance(whole.select(1, start - 1), logits), 0, 1e-10);
        using DecodingCache pieces = model.NewCache(1, capacity: 2);
        model.Prefill(pieces, tokens.narrow(1, 0, start), null, neighbors.narrow(1, 0, chunks), valid.narrow(1, 0, chunks));
        int left = (length / config.Retrieval.ChunkLength) - chunks;
        logits = model.Prefill(pieces, tokens.narrow(1, start, length - start), null, neighbors.narrow(1, chunks, left), valid.narrow(1, chunks, left));
        Assert.InRange(ModelCase.Distance(whole.select(1, length - 1), logits), 0, 1e-10);
        for (int t = start; t < length; t++)
        {
            int chunk = ((t + 1) / config.Retrieval.ChunkLength) - 1;
            logits = cache.CompletesChunk(0)
                ? model.Step(cache, tokens.select(1, t), neighbors.select(1, chunk), valid.select(1, chunk))
                : model.Step(cache, tokens.select(1, t));
            Assert.InRange(ModelCase.Distance(whole.select(1, t), logits), 0, 1e-10);
        }
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void A_training_takes_the_processors_course(string device)
    {
        Device on = Require(device);
        foreach (OptimizerKind kind in Enum.GetValues<OptimizerKind>())
        {
            TrainingOptions options = TrainingOptions.SmallModel with { Steps = 12, WarmupSteps = 2, Accumulation = 2, Optimizer = new() { Kind = kind } };
            RetroConfig config = ModelCase.Config("rotary");
            CopyingData data = new(config, rows: 2, chunks: 3, seed: 1);
            using RetroModel first = ModelCase.Model(config);
            using RetroModel second = Copy(first, ScalarType.Float32, on), third = Copy(first, ScalarType.Float32, on);
            double[] expected = Train(first, options, data), came = Train(second, options, data), halved = Train(
                third, options with { Dtype = ScalarType.BFloat16 }, data);

            Assert.True(expected[^1] < expected[0]);
            for (int step = 0; step < expected.Length; step++)
            {
                Assert.InRange(Math.Abs(came[step] - expected[step]), 0, 2e-3 * expected[step]);
                Assert.InRange(Math.Abs(halved[step] - expected[step]), 0, 0.1 * expected[step]);
            }

            Assert.Equal(on.type, second.Device.type);
            Assert.All(second.parameters(), parameter => Assert.Equal(on.type, parameter.device_type));
        }
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void An_interrupted_training_with_dropout_goes_on_with_the_same_bits_and_leaves_the_generator_alone(string device)
    {
        Device on = Require(device);
        RetroConfig config = ModelCase.Config("rotary") with { Dropout = 0.1 };
        CopyingData data = new(config, rows: 2, chunks: 3, seed: 1);
        TrainingOptions options = TrainingOptions.SmallModel with { Steps = 6, WarmupSteps = 2 };
        string folder = Path.Combine(_folder.Path, "training");
        using RetroModel source = ModelCase.Model(config);
        using RetroModel whole = Copy(
            source, ScalarType.Float32, on), begun = Copy(source, ScalarType.Float32, on), resumed = Copy(source, ScalarType.Float32, on);
        Seed(3, on);
        using Tensor untouched = rand(4, device: on);
        Seed(3, on);
        double[] losses = Train(whole, options, data);
        using Tensor came = rand(4, device: on);
        using RetroModel again = Copy(source, ScalarType.Float32, on), other = Copy(source, ScalarType.Float32, on);
        Seed(3, on);
        Assert.Equal(losses, Train(again, options, data));
        using Tensor repeated = rand(4, device: on);
        Seed(4, on);
        Assert.Equal(losses, Train(other, options, data));
        using Tensor seeded = rand(4, device: on);
        Assert.True(ModelCase.BitEqual(came.cpu(), repeated.cpu()), "What follows a training depends on more than the seed.");
        Assert.False(ModelCase.BitEqual(came.cpu(), seeded.cpu()), "Training overwrote the generator with a seed of its own.");
        Assert.True(device != "cpu" || ModelCase.BitEqual(untouched, came), "Training used up the generator.");

        using CancellationTokenSource cancel = new();
        using (Trainer trainer = new(begun, options with { CheckpointFolder = folder }))
        {
            Assert.Throws<OperationCanceledException>(() => trainer.Run(data, new Reports<TrainingProgress>(done =>
            {
                if (done.Step == 3)
                {
                    cancel.Cancel();
                }
            }), cancel.Token));
        }

        using (Trainer trainer = new(resumed, options))
        {
            trainer.Load(folder);
            List<double> rest = [];
            trainer.Run(data, new Reports<TrainingProgress>(done => rest.Add(done.Loss)), TestContext.Current.CancellationToken);
            Assert.Equal(losses[3..], rest);
        }

        foreach (((_, TorchSharp.Modules.Parameter one), (_, TorchSharp.Modules.Parameter two)) in whole.named_parameters().Zip(resumed.named_parameters()))
        {
            Assert.True(ModelCase.BitEqual(one.cpu(), two.cpu()));
        }
    }

    public static TheoryData<string, string> Trainings
        => new(Devices.SelectMany(device => new[] { "recomputed", "averaged", "optimizer of TorchSharp", "shared out" }.Select(kind => (device.Data, kind))));

    /// <summary>Half of the steps, and from their checkpoint the others; what is shared out has two processes on the one device.</summary>
    [Theory]
    [MemberData(nameof(Trainings))]
    public void A_training_of_every_kind_takes_the_processors_course_and_goes_on(string device, string kind)
    {
        Device on = Require(device);
        RetroConfig config = ModelCase.Config("rotary");
        CopyingData data = new(config, rows: 2, chunks: 3, seed: 1);
        TrainingOptions plain = new() { Steps = 6, WarmupSteps = 2, Accumulation = 2, LearningRate = 1e-3, Optimizer = new() { Epsilon = 1e-6 } };
        TrainingOptions options = plain with
        {
            RecomputeActivations = kind == "recomputed",
            AverageDecay = kind == "averaged" ? 0.5 : null,
            ShardOptimizer = kind == "shared out",
        };
        using RetroModel source = ModelCase.Model(config);
        using RetroModel alone = Copy(source, ScalarType.Float32, CPU);
        double[] expected = Course(alone, options with { ShardOptimizer = false }, "alone", null);
        InProcessExchange[] exchanges = InProcessExchange.Of(kind == "shared out" ? 2 : 1);
        RetroModel[] models = [.. exchanges.Select(_ => Copy(source, ScalarType.Float32, on))];
        double[][] came = new double[models.Length][];
        Exception?[] thrown = InProcessExchange.Run(
            exchanges, exchange => came[exchange.Rank] = Course(models[exchange.Rank], options, "there", exchange));
        Assert.All(thrown, Assert.Null);
        Assert.All(came, losses => Assert.All(losses, (loss, step) => Assert.Equal(expected[step], loss, 2e-3 * expected[step])));
        Assert.All(models, model => Assert.All(
            alone.parameters().Zip(model.parameters()),
            pair => Assert.InRange(ModelCase.Distance(pair.First.to_type(ScalarType.Float64), pair.Second.cpu().to_type(ScalarType.Float64)), 0, 1e-3)));
        Assert.All(models, model => model.Dispose());

        double[] Course(RetroModel model, TrainingOptions options, string folder, InProcessExchange? exchange)
        {
            string at = Path.Combine(_folder.Path, folder);
            List<double> losses = [];
            using (Trainer trainer = New())
            {
                Run(trainer, 3);
                trainer.Save(at);
                using IDisposable noGradients = no_grad();
                foreach (TorchSharp.Modules.Parameter parameter in model.parameters())
                {
                    parameter.zero_(); // loading gives it back
                }
            }

            using Trainer resumed = New();
            resumed.Load(at);
            Run(resumed, 6);
            using IDisposable? averaged = resumed.Averaged();
            using TrainingBatch batch = data.Batch(99, 0).ToTensors(model.Device);
            using DisposeScope scope = NewDisposeScope();
            using IDisposable none = no_grad();
            return [.. losses, -LogLikelihood.Of(model, batch.Tokens, batch.Neighbors, batch.Valid, batch.LossMask).mean().ToDouble()];

            Trainer New() => new(
                model,
                options,
                optimizer: kind == "optimizer of TorchSharp" ? parameters => optim.AdamW(parameters.Select(pair => pair.parameter), 1e-3, eps: 1e-6) : null,
                exchange: exchange);

            void Run(Trainer trainer, int until)
            {
                using CancellationTokenSource stop = new();
                try
                {
                    trainer.Run(data, new Reports<TrainingProgress>(done =>
                    {
                        losses.Add(done.Loss);
                        if (done.Step == until)
                        {
                            stop.Cancel();
                        }
                    }), stop.Token);
                }
                catch (OperationCanceledException)
                {
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void Padding_is_left_out_as_on_the_processor(string device)
    {
        Device on = Require(device);
        RetroConfig config = ModelCase.Config("rotary");
        using RetroModel source = ModelCase.Model(config);
        using DisposeScope scope = NewDisposeScope();
        Tensor tokens = ModelCase.Tokens(config, 2, 14), padding = zeros([2, 14], ScalarType.Bool);
        padding[1, ^5..].fill_(true);
        double[] expected = Steps(CPU);
        Assert.All(Steps(on), (loss, step) => Assert.Equal(expected[step], loss, 2e-3 * expected[step]));

        double[] Steps(Device at)
        {
            using RetroModel model = Copy(source, ScalarType.Float32, at);
            using Trainer trainer = new(model, new() { Steps = 3, WarmupSteps = 1 });
            TrainingBatch batch = new(tokens.to(at), Padding: padding.to(at));
            return [.. Enumerable.Range(0, 3).Select(_ => trainer.Step([batch]).Loss)];
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_fresh_model_is_the_processors_to_the_bit(string device, string name)
    {
        Device on = Require(device);
        manual_seed(7);
        using RetroModel expected = new(ModelCase.Config(name));
        using Tensor next = rand(3);
        manual_seed(7);
        using RetroModel model = new(ModelCase.Config(name), device: on);
        using Tensor after = rand(3);
        Assert.All(
            expected.named_parameters().Zip(model.named_parameters()),
            pair => Assert.True(ModelCase.BitEqual(pair.First.parameter, pair.Second.parameter.cpu()), pair.First.name));
        Assert.All(model.parameters(), parameter => Assert.Equal(on.type, parameter.device_type));
        Assert.True(ModelCase.BitEqual(next, after));
    }

    /// <summary>On the device that holds no numbers, which every machine has: every parameter lies there, and as many numbers are drawn.</summary>
    [Theory]
    [InlineData("llama")]
    [InlineData("gpt-2")]
    [InlineData("learned in retrieval")]
    [InlineData("match bias, no encoder layers")]
    public void A_fresh_model_lies_on_its_device_as_a_whole(string name)
    {
        manual_seed(7);
        using RetroModel expected = new(ModelCase.Config(name));
        using Tensor next = rand(3);
        manual_seed(7);
        using RetroModel model = new(ModelCase.Config(name), device: META);
        using Tensor after = rand(3);
        Assert.Equal(expected.named_parameters().Select(pair => pair.name), model.named_parameters().Select(pair => pair.name));
        Assert.All(model.named_parameters(), pair => Assert.Equal((pair.name, DeviceType.META), (pair.name, pair.parameter.device_type)));
        Assert.True(ModelCase.BitEqual(next, after));
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void A_checkpoint_goes_to_the_processor_and_back(string device)
    {
        Device on = Require(device);
        using RetroModel source = ModelCase.Model(ModelCase.Config("llama"));
        using RetroModel model = Copy(source, ScalarType.Float32, on);
        Checkpoint.Save(_folder.Path, model);

        using RetroModel here = Checkpoint.Load(_folder.Path), there = Checkpoint.Load(_folder.Path, new() { Device = on });

        Assert.Equal(on.type, there.Device.type);
        foreach ((string name, TorchSharp.Modules.Parameter parameter) in model.named_parameters())
        {
            Assert.True(ModelCase.BitEqual(parameter.cpu(), here.named_parameters().Single(pair => pair.name == name).parameter.cpu()), name);
            Assert.True(ModelCase.BitEqual(parameter.cpu(), there.named_parameters().Single(pair => pair.name == name).parameter.cpu()), name);
        }
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void A_RETROfit_equals_its_decoder_at_first_and_OFF_for_ever(string device)
    {
        Device on = Require(device);
        string folder = Fixtures.Pretrained("gpt2-no-prefix");
        using DisposeScope scope = NewDisposeScope();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(folder, device: on);
        RetrievalConfig retrieval = new()
        {
            ChunkLength = 4, RetrievedLength = 8, CrossAttentionLayers = [1, 2], Encoder = new()
            {
                Width = 8,
                Heads = 2,
                HeadSize = 4,
                FeedForwardSize = 16,
                Layers = 1
            },
        };
        using Retrofit retrofit = Retrofit.From(decoder, retrieval);
        Tensor tokens = ModelCase.Tokens(retrofit.Model.Config, 2, 14).to(on);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(retrofit.Model.Config, 2, 14, 2);
        (neighbors, valid) = (neighbors.to(on), valid.to(on));
        Tensor original = Logits(decoder.Model, tokens);
        Assert.True(ModelCase.BitEqual(original, Logits(retrofit.Model, tokens, neighbors, valid)));

        CopyingData data = new(retrofit.Model.Config, rows: 2, chunks: 3, seed: 1);
        Train(retrofit.Model, TrainingOptions.SmallModel with { Steps = 3, WarmupSteps = 1 }, data);

        Assert.True(ModelCase.BitEqual(original, Logits(retrofit.Model, tokens)));
        Assert.False(ModelCase.BitEqual(original, Logits(retrofit.Model, tokens, neighbors, valid)));

        static Tensor Logits(RetroModel model, Tensor tokens, Tensor? neighbors = null, Tensor? valid = null)
        {
            using IDisposable noGradients = no_grad();
            model.eval();
            return model.call(tokens, neighbors, valid).cpu();
        }
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void Evaluation_and_generation_give_the_processors_numbers_and_text(string device)
    {
        using ReadTexts texts = new(Require(device), _folder, ModelCase.Config("rotary").Retrieval!.ChunkLength);
        (RetroModel expected, RetroModel model, ChunkDatabase database, ChunkDatabase heldOut) = (texts.Here, texts.There, texts.Database, texts.HeldOut);
        RandomNeighborSource source = new(database, 1);
        using NeighborTable table = NeighborTable.Build(Path.Combine(_folder.Path, "table"), heldOut, source, 2, excludeOwnDocument: false);

        foreach (NeighborTable? neighbors in new[] { null, table })
        {
            Assert.Equal(
                BitsPerByte.Measure(expected, heldOut, neighbors).Value, BitsPerByte.Measure(model, heldOut, neighbors).Value, 1e-9);
        }

        GenerationOptions greedy = new() { Temperature = 0, MaximumNewTokens = 20 };
        Assert.Equal(Generate(expected), Generate(model));

        List<int> Generate(RetroModel reader)
            => [.. new RetroGenerator(reader, EmbeddingInputs.Tokenizer, source).GenerateAsync("the lighthouse", greedy)
                .ToBlockingEnumerable()
                .Where(piece => piece.Token is not null)
                .Select(piece => piece.Token!.Value)];
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void A_copying_reader_gives_the_processors_log_likelihoods_and_text(string device)
    {
        List<Document> twins = CopyReaderTests.Twins(40, 60, seed: 3);
        Document[] held = [.. twins.Where(document => document.Id.StartsWith('a')).Take(4)];
        using ReadTexts texts = new(Require(device), _folder, chunkLength: 8, (twins.Except(held), held));
        (RetroModel expected, RetroModel model, ChunkDatabase database, ChunkDatabase heldOut) = (texts.Here, texts.There, texts.Database, texts.HeldOut);
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        CopyReaderOptions settings = new() { Neighbors = 4, Stride = 4, QueryLength = 8, Steps = 20, WindowLength = 56 };
        using CopyReader reader = CopyReader.Fit(expected, database, source, settings);
        string path = Path.Combine(_folder.Path, "copy.safetensors");
        reader.Save(path);
        using CopyReader loaded = CopyReader.Load(path, model);

        Assert.Equal(model.Device.type, loaded.Device.type);
        BitsPerByteOptions options = new() { WindowLength = 56, KeepTokens = true };
        IReadOnlyList<float> wanted = Measure(reader).TokenBits!, came = Measure(loaded).TokenBits!;
        Assert.Equal(wanted.Count, came.Count);
        Assert.All(wanted, (bits, place) => Assert.Equal(bits, came[place], 1e-3f));

        // Trained there, with fresh weights of that device's generator, it learns the task too.
        using CopyReader trained = CopyReader.Fit(model, database, source, settings);
        Assert.InRange(Measure(trained).Value, 0, 0.9 * BitsPerByte.Measure(new DecoderReader(model), heldOut, options: options).Value);

        GenerationOptions greedy = new() { Temperature = 0, MaximumNewTokens = 20 };
        Assert.Equal(Generate(reader), Generate(loaded));

        BitsPerByteResult Measure(CopyReader by) => BitsPerByte.Measure(by, heldOut, source, options);

        List<int> Generate(CopyReader by)
        {
            RetroGenerator generator = new(by, EmbeddingInputs.Tokenizer, source);
            IEnumerable<GeneratedPiece> pieces = generator.GenerateAsync(held[0].Text[..30], greedy).ToBlockingEnumerable();
            return [.. pieces.Where(piece => piece.Token is not null).Select(piece => piece.Token!.Value)];
        }
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void Readers_with_a_memory_or_attention_of_their_own_give_the_processors_log_likelihoods(string device)
    {
        using ReadTexts texts = new(Require(device), _folder, chunkLength: 8);
        (RetroModel expected, RetroModel model, ChunkDatabase database, ChunkDatabase heldOut) = (texts.Here, texts.There, texts.Database, texts.HeldOut);
        using KeywordNeighborSource source = KeywordNeighborSource.Build(database);
        BitsPerByteOptions options = new() { WindowLength = 32 };

        using TokenStore here = TokenStore.Build(expected, database), there = TokenStore.Build(model, database);
        Assert.Equal(
            BitsPerByte.Measure(new NearestNeighborReader(expected, here, 0.3, 1, 8), heldOut, options: options).Value,
            BitsPerByte.Measure(new NearestNeighborReader(model, there, 0.3, 1, 8), heldOut, options: options).Value,
            1e-3);

        List<double> losses = [], came = [];
        DecoupledReaderOptions settings = new() { Neighbors = 2, Steps = 5, WindowLength = 32, BatchSize = 2 };
        using DecoupledReader reader = DecoupledReader.Fit(
            expected, database, source, settings, progress: new Reports<StageProgress>(done => losses.Add(done.Loss ?? 0)));
        using DecoupledReader other = DecoupledReader.Fit(
            model, database, source, settings, progress: new Reports<StageProgress>(done => came.Add(done.Loss ?? 0)));
        Assert.NotEmpty(losses);
        Assert.Equal(losses.Count, came.Count);
        Assert.All(came, (loss, step) => Assert.Equal(losses[step], loss, 2e-3 * Math.Abs(losses[step])));
        Assert.Equal(
            BitsPerByte.Measure(reader, heldOut, source, options).Value, BitsPerByte.Measure(other, heldOut, source, options).Value, 1e-2);
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void Retrievers_are_trained_on_the_processors_course(string device)
    {
        Device on = Require(device);
        using RetrieverWorld world = new();
        string folder = Path.Combine(_folder.Path, "embedder");
        world.Embedder.Save(folder);
        using TextEmbedder there = TextEmbedder.Load(folder, on);
        Random random = new(1);
        FeedbackPair[] pairs = [.. Enumerable.Range(0, 12).Select(
            i => new FeedbackPair(RetrieverWorld.Words(i, false, random), world.Passages.Documents[i].FirstChunk, true))];
        foreach (Func<TextEmbedder, double[]> train in new[] { Supervised, FromFeedback })
        {
            double[] expected = train(world.Embedder), came = train(there);
            Assert.NotEmpty(expected);
            Assert.Equal(expected.Length, came.Length);
            Assert.All(came, (loss, step) => Assert.Equal(expected[step], loss, 1e-2 * Math.Abs(expected[step])));
        }

        InverseClozeOptions cloze = new() { Steps = 4, BatchSize = 4, WindowLength = 32, HardNegatives = 1, HardNegativePool = 8, HardNegativeSteps = 2 };
        double[] first = Cloze(CPU), second = Cloze(on);
        Assert.All(second, (loss, step) => Assert.Equal(first[step], loss, 1e-2 * Math.Abs(first[step])));

        double[] Supervised(TextEmbedder embedder)
        {
            List<double> losses = [];
            using RetrieverTrainer trainer = new(
                embedder,
                RetrieverWorld.Tokenizer,
                world.Source,
                RetrieverWorld.Reader(),
                RetrieverObjective.PerplexityDistillation(0.05),
                RetrieverWorld.Options,
                world.Examples);
            trainer.Run(new Reports<RetrieverTrainingProgress>(done => losses.Add(done.Loss)), TestContext.Current.CancellationToken);
            return [.. losses];
        }

        double[] FromFeedback(TextEmbedder embedder)
        {
            List<double> losses = [];
            FeedbackTrainer.Train(
                embedder,
                RetrieverWorld.Tokenizer,
                world.Source,
                pairs,
                new() { Steps = 3, BatchSize = 6 },
                progress: new Reports<StageProgress>(done => losses.Add(done.Loss ?? 0))).Dispose();
            return [.. losses];
        }

        double[] Cloze(Device at)
        {
            List<double> losses = [];
            using TextEmbedder trained = InverseClozeTrainer.Train(
                TestDatabases.Documents(20, seed: 2),
                EmbeddingInputs.Tokenizer,
                EmbeddingInputs.Tiny,
                cloze,
                at,
                new Reports<StageProgress>(done => losses.Add(done.Loss ?? 0)),
                TestContext.Current.CancellationToken);
            Assert.All(trained.Encoder.parameters(), parameter => Assert.Equal(at.type, parameter.device_type));
            return [.. losses];
        }
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void An_embedder_gives_the_processors_vectors(string device)
    {
        Device on = Require(device);
        string folder = Path.Combine(_folder.Path, "embedder");
        using (TextEmbedder made = new(new TextEncoder(EmbeddingInputs.Tiny, seed: 3), EmbeddingInputs.Tokenizer))
        {
            made.Save(folder);
        }

        using TextEmbedder expected = TextEmbedder.Load(folder), embedder = TextEmbedder.Load(folder, on);
        EmbeddingInputs.AssertNear(Vectors(expected), Vectors(embedder));

        static float[][] Vectors(TextEmbedder embedder)
        {
            float[] keys = new float[EmbeddingInputs.Texts.Length * embedder.Dimensions];
            embedder.Embed(EmbeddingInputs.Texts, keys);
            return [.. keys.Chunk(embedder.Dimensions)];
        }
    }

    // TorchSharp's manual_seed is of the processor's generator alone.
    private static void Seed(long seed, Device on)
    {
        manual_seed(seed);
        if (on.type == DeviceType.CUDA)
        {
            cuda.manual_seed_all(seed);
        }
    }

    private static Device Require(string name)
    {
        Assert.SkipWhen(name == "cuda" && !HasCuda, "There is no CUDA device on this machine, or the program has no libtorch for one.");
        return new Device(name);
    }

    private static Tensor Pass(RetroModel model, Tensor tokens, Tensor neighbors, Tensor valid)
    {
        Tensor logits = model.call(tokens, neighbors, valid);
        LogLikelihood.MeanLoss(logits, LogLikelihood.Targets(tokens, null)).backward();
        return logits.detach();
    }

    private static RetroModel Copy(RetroModel source, ScalarType dtype, Device device)
    {
        RetroModel copy = new(source.Config, dtype, device);
        using IDisposable noGradients = no_grad();
        foreach (((_, TorchSharp.Modules.Parameter to), (_, TorchSharp.Modules.Parameter from)) in copy.named_parameters().Zip(source.named_parameters()))
        {
            to.copy_(from);
        }

        return copy;
    }

    private static double[] Train(RetroModel model, TrainingOptions options, CopyingData data)
    {
        List<double> losses = [];
        using Trainer trainer = new(model, options);
        trainer.Run(data, new Reports<TrainingProgress>(done => losses.Add(done.Loss)), TestContext.Current.CancellationToken);
        return [.. losses];
    }

    /// <summary>A model on the processor and the same one on a device, documents that they read, and others that they are measured on.</summary>
    private sealed class ReadTexts : IDisposable
    {
        public ReadTexts(
            Device on, TemporaryFolder folder, int chunkLength, (IEnumerable<Document> Read, IEnumerable<Document> HeldOut)? documents = null)
        {
            (IEnumerable<Document> read, IEnumerable<Document> heldOut) = documents
                ?? (TestDatabases.Documents(20, seed: 2),
                    TestDatabases.Documents(5, seed: 1).Select(document => document with { Id = $"held-out {document.Id}" }));
            RetroTokenizer tokenizer = EmbeddingInputs.Tokenizer;
            ChunkDatabaseOptions options = new() { ChunkLength = chunkLength };
            Database = ChunkDatabaseBuilder.Build(folder["database"], read, tokenizer, options);
            HeldOut = ChunkDatabaseBuilder.Build(folder["held-out"], heldOut, tokenizer, options);
            Here = ModelCase.Model(ModelCase.Config("rotary") with { VocabularySize = tokenizer.VocabularySize });
            There = Copy(Here, ScalarType.Float64, on);
        }

        public RetroModel Here { get; }

        public RetroModel There { get; }

        public ChunkDatabase Database { get; }

        public ChunkDatabase HeldOut { get; }

        public void Dispose()
        {
            There.Dispose();
            Here.Dispose();
            HeldOut.Dispose();
            Database.Dispose();
        }
    }
}
