using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Tests.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Checkpoints;

/// <summary>What decoders, embedders and checkpoints alike are read with.</summary>
public sealed class WeightFolderTests
{
    [Fact]
    public void The_hash_is_of_the_tensors_and_not_of_their_files()
    {
        using TemporaryFolder single = new(), several = new();
        using DisposeScope scope = NewDisposeScope();
        Tensor a = arange(6).view(2, 3), b = ones(4, ScalarType.Float32);
        Safetensors.Write(Path.Combine(single.Path, WeightFolder.SingleName), [KeyValuePair.Create("a", a), KeyValuePair.Create("b", b)]);
        Write(several, ("x.safetensors", [("b", b)]), ("y.safetensors", [("a", a)]));
        Index(several, ("a", "y.safetensors"), ("b", "x.safetensors"));

        using WeightFolder one = WeightFolder.Open(single.Path), two = WeightFolder.Open(several.Path);

        Assert.Equal(one.Hash(null, TestContext.Current.CancellationToken), two.Hash(null, TestContext.Current.CancellationToken));
        Assert.Equal(["x.safetensors", "y.safetensors"], two.Files.Select(file => Path.GetFileName(file.FilePath)));
        Assert.Equal(["b", "a"], two.Names);
        Assert.Equal([2, 3], two.Shape("a"));
        Assert.Throws<OperationCanceledException>(() => two.Hash(null, new CancellationToken(true)));
        Assert.Contains("no tensor \"c\"", Assert.Throws<CheckpointException>(() => two.Read("c")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Files_that_do_not_belong_together_are_refused()
    {
        using TemporaryFolder folder = new();
        using DisposeScope scope = NewDisposeScope();
        Write(folder, ("x.safetensors", [("a", ones(1)), ("c", ones(1))]), ("y.safetensors", [("b", ones(1)), ("c", ones(1))]));

        Index(folder, ("a", "x.safetensors"), ("b", "y.safetensors"));
        Assert.Contains("\"c\" is in", Fault(), StringComparison.Ordinal);

        Write(folder, ("y.safetensors", [("b", ones(1))]));
        WeightFolder.Open(folder.Path).Dispose(); // "c" is in no index, and taken: whoever reads knows it or refuses it

        Index(folder, ("a", "y.safetensors"), ("b", "x.safetensors"));
        Assert.Contains(
            "says that y.safetensors holds the tensor \"a\", but x.safetensors does; the files do not belong together", Fault(), StringComparison.Ordinal);

        Index(folder, ("d", "x.safetensors"));
        Assert.Contains("\"d\", but none of its files does", Fault(), StringComparison.Ordinal);

        Index(folder);
        Assert.Contains("\"weight_map\" is missing", Fault(), StringComparison.Ordinal);

        File.WriteAllText(Path.Combine(folder.Path, WeightFolder.IndexName), "{\"weight_map\": {\"a\": \"x.safetensors\", \"a\": \"y.safetensors\"}}");
        Assert.Contains("\"weight_map.a\" stands there twice", Fault(), StringComparison.Ordinal);

        string Fault() => Assert.Throws<CheckpointException>(() => WeightFolder.Open(folder.Path)).Message;
    }

    /// <summary>Shards keep their names and shapes from one saving to the next, and nothing in them tells one from the other.</summary>
    /// <param name="most">The bytes of a file of the second.</param>
    /// <param name="fails">Whether what is opened then does not fit what was opened before.</param>
    [Theory]
    [InlineData(10_000, false)]
    [InlineData(10_000, true)]
    [InlineData(long.MaxValue, false)]
    [InlineData(long.MaxValue, true)]
    public void A_saving_that_comes_in_between_is_read_alone(long most, bool fails)
    {
        using TemporaryFolder folder = new();
        using RetroModel model = ModelCase.Model(ModelCase.Config("rotary")), other = ModelCase.Model(ModelCase.Config("rotary"), seed: 2);
        Checkpoint.Save(folder.Path, model, new() { MaximumFileBytes = 10_000 });
        int opened = 0;
        using WeightFolder weights = WeightFolder.OfOneSaving(folder.Path, () =>
        {
            WeightFolder one = WeightFolder.Open(folder.Path);
            if (opened++ > 0)
            {
                return one;
            }

            Checkpoint.Save(folder.Path, other, new() { MaximumFileBytes = most });
            if (fails)
            {
                one.Dispose();
                throw new CheckpointException("They do not belong together.");
            }

            return one;
        });
        Assert.Equal(2, opened);
        Assert.Equal(most > 10_000, weights.Files.Count == 1);
        foreach ((string name, Parameter parameter) in other.named_parameters())
        {
            Assert.True(weights.Holds(name, parameter), name);
        }
    }

    /// <summary>As where the system does not tell which file has a name, or a new one has the number of one that is gone.</summary>
    [Fact]
    public void A_saving_is_told_from_the_next_by_its_time_too()
    {
        using TemporaryFolder folder = new();
        using DisposeScope scope = NewDisposeScope();
        Write(folder, (WeightFolder.SingleName, [("a", ones(1))]));
        int opened = 0;
        using WeightFolder weights = WeightFolder.OfOneSaving(folder.Path, () =>
        {
            if (opened++ == 0)
            {
                File.SetLastWriteTimeUtc(Path.Combine(folder.Path, WeightFolder.SingleName), DateTime.UnixEpoch);
            }

            return WeightFolder.Open(folder.Path);
        });
        Assert.Equal(2, opened);
    }

    /// <summary>As BGE-M3 has them, whose heads lie beside the model.</summary>
    [Fact]
    public void Of_several_pickles_that_of_the_model_is_named()
    {
        using TemporaryFolder folder = new();
        string head = folder.File("colbert_linear.pt", [0x80, 2]);
        Assert.Contains($"{head} is a Python pickle", Fault(), StringComparison.Ordinal);
        string model = folder.File("pytorch_model.bin", [0x80, 2]);
        Assert.Contains($"{model} is a Python pickle", Fault(), StringComparison.Ordinal);

        string Fault() => Assert.Throws<CheckpointException>(() => WeightFolder.Open(folder.Path)).Message;
    }

    private static void Write(TemporaryFolder folder, params (string File, (string Name, Tensor Tensor)[] Tensors)[] files)
    {
        foreach ((string file, (string Name, Tensor Tensor)[] tensors) in files)
        {
            Safetensors.Write(Path.Combine(folder.Path, file), tensors.Select(pair => KeyValuePair.Create(pair.Name, pair.Tensor)));
        }
    }

    private static void Index(TemporaryFolder folder, params (string Name, string File)[] map)
        => File.WriteAllText(
            Path.Combine(folder.Path, WeightFolder.IndexName),
            new JsonObject { ["weight_map"] = new JsonObject(map.Select(pair => KeyValuePair.Create(
                pair.Name, (JsonNode?)JsonValue.Create(pair.File)))) }.ToJsonString());
}
