using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Tests.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Checkpoints;

public class CheckpointTests
{
    public static IEnumerable<TheoryDataRow<string>> Names => ModelCase.Names;

    [Theory]
    [MemberData(nameof(Names))]
    public void P31_a_model_comes_back_bit_for_bit(string name)
    {
        using TemporaryFolder folder = new();
        using DisposeScope scope = NewDisposeScope();
        using RetroModel model = ModelCase.Model(ModelCase.Config(name));

        Checkpoint.Save(folder.Path, model);
        using RetroModel loaded = Checkpoint.Load(folder.Path);

        Assert.Equal(model.Config, loaded.Config);
        AssertSame(model, loaded);
        Assert.Equal(["config.json", "model.safetensors"], Files(folder));
    }

    /// <summary>Its embeddings are made in another way than a fresh model's: they take gradients, and another type, as those do.</summary>
    [Theory]
    [InlineData("gpt-2")]
    [InlineData("rotary")]
    public void A_loaded_model_has_the_gradients_of_the_saved_one_and_can_be_cast(string name)
    {
        using TemporaryFolder folder = new();
        using DisposeScope scope = NewDisposeScope();
        RetroConfig config = ModelCase.Config(name);
        using RetroModel model = ModelCase.Model(config);
        Checkpoint.Save(folder.Path, model);
        using RetroModel loaded = Checkpoint.Load(folder.Path);
        loaded.eval();
        Tensor tokens = ModelCase.Tokens(config, 2, 12);
        (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, 2, 12, 2);
        foreach (RetroModel one in new[] { model, loaded })
        {
            one.call(tokens, neighbors, valid).square().mean().backward();
        }

        (string Name, Tensor? Gradient)[] expected = [.. model.named_parameters().Select(pair => (pair.name, pair.parameter.grad))];
        (string Name, Tensor? Gradient)[] got = [.. loaded.named_parameters().Select(pair => (pair.name, pair.parameter.grad))];
        Assert.Equal(expected.Select(pair => pair.Name), got.Select(pair => pair.Name));
        Assert.All(expected.Zip(got), pair => Assert.True(ModelCase.BitEqual(pair.First.Gradient!, pair.Second.Gradient!)));
        loaded.to(ScalarType.Float32);
        Assert.All(loaded.parameters(), parameter => Assert.Equal(ScalarType.Float32, parameter.dtype));
        Assert.Equal(ScalarType.Float32, loaded.call(tokens, neighbors, valid).dtype);
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float64)]
    public void The_type_is_the_stored_one_or_the_one_asked_for(ScalarType dtype)
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(RetroConfig.Tiny, dtype: dtype);
        Checkpoint.Save(folder.Path, model);

        using RetroModel stored = Checkpoint.Load(folder.Path), asked = Checkpoint.Load(folder.Path, new() { Dtype = ScalarType.Float64 });

        Assert.Equal(dtype, stored.Dtype);
        AssertSame(model, stored);
        Assert.Equal(ScalarType.Float64, asked.Dtype);
        using Tensor converted = model.get_parameter("decoder.norm.weight")!.to_type(ScalarType.Float64);
        Assert.True(ModelCase.BitEqual(converted, asked.get_parameter("decoder.norm.weight")!));
    }

    [Fact]
    public void A_large_model_is_divided_and_a_later_save_leaves_nothing_of_the_earlier()
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary")), other = ModelCase.Model(ModelCase.Config("rotary"), seed: 2);

        Checkpoint.Save(folder.Path, model, new() { MaximumFileBytes = 10_000 });
        string[] divided = Files(folder);
        Assert.True(divided.Length > 4);
        Assert.Contains("model.safetensors.index.json", divided);
        Assert.DoesNotContain("model.safetensors", divided);
        using (RetroModel loaded = Checkpoint.Load(folder.Path))
        {
            AssertSame(model, loaded);
        }

        Checkpoint.Save(folder.Path, other, new() { MaximumFileBytes = 30_000 });
        Assert.True(Files(folder).Length < divided.Length);
        using (RetroModel loaded = Checkpoint.Load(folder.Path))
        {
            AssertSame(other, loaded);
        }

        Checkpoint.Save(folder.Path, model);
        Assert.Equal(["config.json", "model.safetensors"], Files(folder));
        using (RetroModel loaded = Checkpoint.Load(folder.Path))
        {
            AssertSame(model, loaded);
        }
    }

    [Fact]
    public void Saving_twice_gives_the_same_bytes()
    {
        using TemporaryFolder first = new(), second = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("llama"));

        Checkpoint.Save(first.Path, model);
        Checkpoint.Save(second.Path, model);

        Assert.All(Files(first), file => Assert.Equal(File.ReadAllBytes(Path.Combine(first.Path, file)), File.ReadAllBytes(Path.Combine(second.Path, file))));
    }

    [Fact]
    public void Every_missing_extra_misshaped_and_mistyped_tensor_is_in_one_error()
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary"));
        Checkpoint.Save(folder.Path, model);
        using DisposeScope scope = NewDisposeScope();
        Dictionary<string, Tensor> tensors = model.state_dict();
        tensors.Remove("decoder.1.attn.q.weight");
        tensors.Remove("encoder.norm.weight");
        tensors["stranger"] = ones(2);
        tensors["head.weight"] = ones(3, 4);
        tensors["decoder.norm.weight"] = ones(12, ScalarType.Int64);
        Safetensors.Write(Path.Combine(folder.Path, "model.safetensors"), tensors);

        CheckpointException exception = Assert.Throws<CheckpointException>(() => Checkpoint.Load(folder.Path));

        string[] named = [
            "5 tensors", "missing: decoder.1.attn.q.weight [8, 12]", "missing: encoder.norm.weight [10]", "extra: stranger [2]",
            "shape: head.weight has to be [29, 12], is [3, 4]", "type: decoder.norm.weight is I64"
        ];
        Assert.All(named, text => Assert.Contains(text, exception.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void A_lenient_load_keeps_fresh_values_for_what_is_missing()
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary"));
        Checkpoint.Save(folder.Path, model);
        manual_seed(9);
        using RetroModel fresh = new(model.Config, model.Dtype);
        using DisposeScope scope = NewDisposeScope();
        Dictionary<string, Tensor> tensors = model.state_dict();
        tensors.Remove("head.weight");
        tensors["stranger"] = ones(2);
        Safetensors.Write(Path.Combine(folder.Path, "model.safetensors"), tensors);

        Assert.Throws<CheckpointException>(() => Checkpoint.Load(folder.Path));
        manual_seed(9);
        using RetroModel other = Checkpoint.Load(folder.Path, new() { Strict = false });

        Assert.True(ModelCase.BitEqual(fresh.get_parameter("head.weight")!, other.get_parameter("head.weight")!));
        Assert.True(ModelCase.BitEqual(model.get_parameter("embedding.weight")!, other.get_parameter("embedding.weight")!));
    }

    [Fact]
    public void Weights_that_are_not_finite_are_named_when_asked()
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary"));
        using (no_grad())
        {
            model.get_parameter("decoder.2.cca.k.weight")!.fill_(double.NaN);
            model.get_parameter("head.weight")!.fill_(double.PositiveInfinity);
        }

        Checkpoint.Save(folder.Path, model);

        Checkpoint.Load(folder.Path).Dispose();
        CheckpointException exception = Assert.Throws<CheckpointException>(() => Checkpoint.Load(folder.Path, new() { RequireFinite = true }));
        Assert.Contains("decoder.2.cca.k.weight", exception.Message, StringComparison.Ordinal);
        Assert.Contains("head.weight", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_checkpoint_of_another_configuration_is_refused()
    {
        using TemporaryFolder folder = new(), others = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary")), wider = ModelCase.Model(ModelCase.Config("rotary") with { Width = 14 });
        Checkpoint.Save(folder.Path, model);
        Checkpoint.Save(others.Path, wider);
        File.Copy(others[Checkpoint.ConfigName], folder[Checkpoint.ConfigName], overwrite: true);

        Assert.Contains("[29, 14], is [29, 12]", Assert.Throws<CheckpointException>(() => Checkpoint.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("../model-00001-of-00002.safetensors", "beside the index")]
    [InlineData("/etc/passwd", "beside the index")]
    [InlineData("model-00009-of-00009.safetensors", "is missing")]
    [InlineData("", "beside the index")]
    public void An_index_that_names_what_it_must_not_is_refused(string file, string expected)
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary"));
        Checkpoint.Save(folder.Path, model, new() { MaximumFileBytes = 30_000 });
        string path = Path.Combine(folder.Path, "model.safetensors.index.json");
        JsonNode index = JsonNode.Parse(File.ReadAllText(path))!;
        index["weight_map"]!["head.weight"] = file;
        File.WriteAllText(path, index.ToJsonString());

        Assert.Contains(expected, Assert.Throws<CheckpointException>(() => Checkpoint.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Files_of_two_saves_are_not_taken_for_one()
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary"));
        Checkpoint.Save(folder.Path, model, new() { MaximumFileBytes = 30_000 });
        string path = Path.Combine(folder.Path, "model.safetensors.index.json");
        JsonNode index = JsonNode.Parse(File.ReadAllText(path))!;
        string moved = index["weight_map"]!["head.weight"]!.GetValue<string>();
        index["weight_map"]!["head.weight"] = index["weight_map"]!.AsObject().Select(pair => pair.Value!.GetValue<string>()).First(name => name != moved);
        File.WriteAllText(path, index.ToJsonString());

        Assert.Contains("do not belong together", Assert.Throws<CheckpointException>(() => Checkpoint.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(long.MaxValue, long.MaxValue)]
    [InlineData(long.MaxValue, 10_000)]
    [InlineData(10_000, long.MaxValue)]
    [InlineData(10_000, 10_000)]
    [InlineData(10_000, 30_000)]
    public void A_canceled_save_leaves_what_was_there(long before, long after)
    {
        using TemporaryFolder folder = new();
        using CancellationTokenSource source = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary")), other = ModelCase.Model(
            ModelCase.Config("rotary") with { NormEpsilon = 1e-3 }, seed: 2);
        Checkpoint.Save(folder.Path, model, new() { MaximumFileBytes = before });
        string[] files = Files(folder);
        long last = other.named_parameters().Count() - 1;
        Reports<StageProgress> cancelAtTheLastTensor = new(report =>
        {
            if (report.Done == last)
            {
                source.Cancel();
            }
        });

        Assert.Throws<OperationCanceledException>(() =>
            Checkpoint.Save(folder.Path, other, new() { MaximumFileBytes = after }, cancelAtTheLastTensor, source.Token));

        Assert.Equal(files, Files(folder));
        using RetroModel loaded = Checkpoint.Load(folder.Path);
        Assert.Equal(model.Config, loaded.Config);
        AssertSame(model, loaded);
    }

    [Theory]
    [InlineData(10_000)]
    [InlineData(long.MaxValue)]
    public void Killed_while_the_files_of_a_save_take_their_names_the_folder_holds_that_save_never_a_mixture(long most)
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary")), other = ModelCase.Model(
            ModelCase.Config("rotary") with { NormEpsilon = 1e-3 }, seed: 2);
        Checkpoint.Save(folder.Path, model, new() { MaximumFileBytes = most });

        StoppedSave.Check(folder.Path, path => Checkpoint.Save(path, other, new() { MaximumFileBytes = most }), left =>
        {
            using RetroModel loaded = Checkpoint.Load(left);
            Assert.Equal(other.Config, loaded.Config);
            AssertSame(other, loaded);
        });
    }

    /// <summary>What can be loaded can be gone on with in its folder, also where an editor has written a byte order mark.</summary>
    [Fact]
    public void A_configuration_with_a_byte_order_mark_can_be_loaded_and_saved_over()
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary"));
        Checkpoint.Save(folder.Path, model);
        string path = folder[Checkpoint.ConfigName];
        File.WriteAllText(path, File.ReadAllText(path), new System.Text.UTF8Encoding(encoderShouldEmitUTF8Identifier: true));
        Assert.Equal(0xEF, File.ReadAllBytes(path)[0]);
        using RetroModel loaded = Checkpoint.Load(folder.Path);
        Checkpoint.Save(folder.Path, loaded);
        Assert.NotEqual(0xEF, File.ReadAllBytes(path)[0]);
    }

    [Fact]
    public void Loading_reports_every_tensor_and_can_be_canceled()
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary"));
        Checkpoint.Save(folder.Path, model);
        int tensors = model.named_parameters().Count();
        List<StageProgress> reports = [];
        Checkpoint.Load(folder.Path, new() { RequireFinite = true }, new Reports<StageProgress>(reports.Add), TestContext.Current.CancellationToken).Dispose();
        Assert.Equal(["check weights", "load weights"], reports.Select(report => report.Stage).Distinct());
        Assert.All(
            reports.GroupBy(report => report.Stage),
            stage =>
                Assert.Equal(
                    Enumerable.Range(0, tensors + 1).Select(done => ((long)done, (long)tensors)), stage.Select(report => (report.Done, report.Total))));

        using CancellationTokenSource source = new();
        Assert.Throws<OperationCanceledException>(() =>
            Checkpoint.Load(folder.Path, progress: new Reports<StageProgress>(_ => source.Cancel()), cancellationToken: source.Token));
    }

    [Fact]
    public void Options_that_make_no_sense_are_refused_by_name()
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary"));
        Assert.Contains(
            "CheckpointSaveOptions",
            Assert.Throws<RetroOptionsException>(() => Checkpoint.Save(folder.Path, model, new() { MaximumFileBytes = 0 })).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "Dtype is Int32",
            Assert.Throws<RetroOptionsException>(() => Checkpoint.Load(folder.Path, new() { Dtype = ScalarType.Int32 })).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_save_takes_away_the_files_of_the_one_before_and_no_others()
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary"));
        Checkpoint.Save(folder.Path, model, new() { MaximumFileBytes = 30_000 });
        string foreign = folder.File("model-00001-of-00099.safetensors", "another's");

        Checkpoint.Save(folder.Path, model);

        Assert.Equal(["config.json", Path.GetFileName(foreign), "model.safetensors"], Files(folder));
    }

    [Theory]
    [InlineData("{\"model_type\": \"llama\"}", "model.safetensors")]
    [InlineData("{\"architectures\": [\"GPT2LMHeadModel\"]}", "model.safetensors.index.json")]
    [InlineData("[]", null)]
    [InlineData("{", "model.safetensors")]
    [InlineData(null, "model.safetensors")]
    [InlineData(null, "model.safetensors.index.json")]
    public void A_folder_with_somebody_else_s_model_is_refused_and_nothing_in_it_is_touched(string? config, string? weights)
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary"));
        if (config is not null)
        {
            folder.File("config.json", config);
        }

        if (weights is not null)
        {
            folder.File(weights, "{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\"}}");
            folder.File("model-00001-of-00002.safetensors", "theirs");
        }

        Dictionary<string, string> before = Directory.EnumerateFiles(folder.Path).ToDictionary(file => file, File.ReadAllText);
        CheckpointException fault = Assert.Throws<CheckpointException>(() => Checkpoint.Save(folder.Path, model, new() { MaximumFileBytes = 30_000 }));
        Assert.Contains(folder.Path, fault.Message, StringComparison.Ordinal);
        Assert.Contains("another folder", fault.Message, StringComparison.Ordinal);
        Assert.Equal(before, Directory.EnumerateFiles(folder.Path).ToDictionary(file => file, File.ReadAllText));
    }

    [Fact]
    public void What_is_missing_is_named_with_what_to_do()
    {
        using TemporaryFolder folder = new();
        Assert.Contains("config.json", Assert.Throws<CheckpointException>(() => Checkpoint.Load(folder.Path)).Message, StringComparison.Ordinal);

        File.WriteAllText(Path.Combine(folder.Path, "config.json"), RetroConfigJson.Write(RetroConfig.Tiny));
        Assert.Contains("holds no weights", Assert.Throws<CheckpointException>(() => Checkpoint.Load(folder.Path)).Message, StringComparison.Ordinal);

        File.WriteAllBytes(Path.Combine(folder.Path, "model.safetensors"), [1, 2, 3]);
        Assert.Contains("model.safetensors", Assert.Throws<CheckpointException>(() => Checkpoint.Load(folder.Path)).Message, StringComparison.Ordinal);
    }

    private static void AssertSame(RetroModel expected, RetroModel came)
    {
        Dictionary<string, Tensor> state = came.state_dict();
        Assert.Equal(expected.state_dict().Keys, state.Keys);
        Assert.All(expected.state_dict(), pair => Assert.True(ModelCase.BitEqual(pair.Value, state[pair.Key]), pair.Key));
    }

    private static string[] Files(TemporaryFolder folder)
        => [.. Directory.EnumerateFiles(folder.Path).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];
}
