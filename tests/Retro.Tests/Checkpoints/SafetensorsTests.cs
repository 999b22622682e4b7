using System.Text;
using Retro.Checkpoints;
using Retro.Pretrained;
using Retro.Tests.Pretrained;
using Retro.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Checkpoints;

public class SafetensorsTests
{
    private static readonly ScalarType[] s_types =
        [
            ScalarType.Float64, ScalarType.Float32, ScalarType.Float16, ScalarType.BFloat16, ScalarType.Int64, ScalarType.Int32, ScalarType.Int16,
            ScalarType.Int8, ScalarType.Byte, ScalarType.Bool
        ];

    [Fact]
    public void Tensors_of_every_type_come_back_bit_for_bit()
    {
        using TemporaryFolder folder = new();
        using DisposeScope scope = NewDisposeScope();
        manual_seed(1);
        string file = Path.Combine(folder.Path, "a.safetensors");
        Dictionary<string, Tensor> tensors = s_types.ToDictionary(type => $"name \"{type}\" é", type => (randn(3, 5) * 3).to_type(type));
        tensors["scalar"] = tensor(2.5f);
        tensors["empty"] = zeros(0, 4);
        tensors["transposed"] = randn(4, 6).transpose(0, 1);
        tensors["not finite"] = tensor(new[] { float.NaN, float.PositiveInfinity, -0f, float.Epsilon });

        Safetensors.Write(file, tensors, new Dictionary<string, string> { ["format"] = "pt" });

        using Safetensors opened = Safetensors.Open(file);
        Assert.Equal(tensors.Count, opened.Entries.Count);
        Assert.Equal("pt", opened.Metadata!["format"]);
        foreach ((string name, Tensor written) in tensors)
        {
            Tensor read = opened.Read(name);
            Assert.Equal(written.dtype, read.dtype);
            Assert.Equal(written.shape, read.shape);
            Assert.True(written.contiguous().bytes.SequenceEqual(read.bytes), name);
        }
    }

    [Fact]
    public void The_same_tensors_give_the_same_bytes_whatever_their_order()
    {
        using TemporaryFolder folder = new();
        using DisposeScope scope = NewDisposeScope();
        string first = Path.Combine(folder.Path, "1"), second = Path.Combine(folder.Path, "2");
        KeyValuePair<string, Tensor>[] tensors = [new("b", ones(2)), new("a", ones(3)), new("c", ones(1, dtype: ScalarType.Int64))];
        Dictionary<string, string> metadata = new() { ["x"] = "1", ["a"] = "2" };

        Safetensors.Write(first, tensors, metadata);
        Safetensors.Write(second, tensors.Reverse(), metadata.Reverse().ToDictionary());

        Assert.Equal(File.ReadAllBytes(first), File.ReadAllBytes(second));
        Assert.False(File.Exists(first + ".tmp"));
    }

    [Fact]
    public void The_header_is_laid_out_as_the_original_writes_it()
    {
        using TemporaryFolder folder = new();
        using Tensor a = tensor(new[] { 1f, 2f }), b = tensor(new[] { 3L });
        string file = Path.Combine(folder.Path, "a");

        Safetensors.Write(file, [new("a", a), new("b", b)], new Dictionary<string, string> { ["k"] = "v" });

        byte[] bytes = File.ReadAllBytes(file);
        int length = BitConverter.ToInt32(bytes);
        Assert.Equal(0, length % 8);
        Assert.Equal(
            "{\"__metadata__\":{\"k\":\"v\"},\"b\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
            Encoding.UTF8.GetString(bytes, 8, length).TrimEnd(' '));
        Assert.Equal(3, BitConverter.ToInt64(bytes, 8 + length));
    }

    [Fact]
    public void Reading_converts_when_asked()
    {
        using TemporaryFolder folder = new();
        using DisposeScope scope = NewDisposeScope();
        string file = Path.Combine(folder.Path, "a");
        Safetensors.Write(file, [new("a", tensor(new[] { 1.5f, -2f }).to_type(ScalarType.BFloat16))]);

        using Safetensors opened = Safetensors.Open(file);
        Tensor read = opened.Read("a", ScalarType.Float64);

        Assert.Equal([1.5, -2], read.data<double>().ToArray());
    }

    [Fact]
    public void Reading_leaves_no_tensor_behind_but_the_result()
    {
        using TemporaryFolder folder = new();
        string file = Path.Combine(folder.Path, "a");
        using (Tensor tensor = ones(4))
        {
            Safetensors.Write(file, [new("a", tensor)]);
        }

        using Safetensors opened = Safetensors.Open(file);
        long before = LiveTensors.Settled();
        Tensor read = opened.Read("a", ScalarType.Float64);

        Assert.Equal(before + 1, Tensor.TotalCount);
        read.Dispose();
    }

    [Theory]
    [InlineData("U16", "a", "U16")]
    [InlineData("F8_E4M3", "a", "F8_E4M3")]
    [InlineData("F32", "b", "holds no tensor \"b\"")]
    [InlineData("BOOL", "a", "bytes other than 0 and 1")]
    public void What_cannot_be_read_is_named(string dtype, string name, string expected)
    {
        using TemporaryFolder folder = new();
        string file = Path.Combine(folder.Path, "a");
        int count = dtype switch { "F32" => 1, "U16" => 2, _ => 4 };
        byte[] json = Encoding.UTF8.GetBytes($"{{\"a\":{{\"dtype\":\"{dtype}\",\"shape\":[{count}],\"data_offsets\":[0,4]}}}}");
        File.WriteAllBytes(file, [.. BitConverter.GetBytes((long)json.Length), .. json, 1, 2, 3, 4]);

        using Safetensors opened = Safetensors.Open(file);
        CheckpointException exception = Assert.Throws<CheckpointException>(() => opened.Read(name));

        Assert.Contains(expected, exception.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("PK\u0003\u0004archive/data.pkl", "a Python pickle, as torch.save writes it")]
    [InlineData("GGUF\u0003\0\0\0\u0001", "a GGUF file")]
    [InlineData("<!DOCTYPE html><html>", "it begins as a page of HTML does")]
    public void Other_kinds_of_files_are_told_as_such(string content, string expected)
    {
        using TemporaryFolder folder = new();
        string file = folder.File("model.safetensors", content), message = Assert.Throws<CheckpointException>(() => Safetensors.Open(file)).Message;
        Assert.Contains(expected, message, StringComparison.Ordinal);
        Assert.Contains(file, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_pointer_in_place_of_a_file_is_told_as_one()
    {
        string pointer = $"version https://git-lfs.github.com/spec/v1\noid sha256:{new string('0', 64)}\nsize 5\n";
        foreach (string name in new[] { "model.safetensors", "config.json", "tokenizer.json" })
        {
            using TemporaryFolder folder = PretrainedDecoderTests.Copy("gpt2-no-prefix");
            string file = folder.File(name, pointer), message = Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(folder.Path)).Message;
            Assert.Contains("a pointer of Git LFS in place of the file, which has to be fetched (git lfs pull)", message, StringComparison.Ordinal);
            Assert.Contains(file, message, StringComparison.Ordinal);
        }

        foreach (string name in new[] { "tokenizer.json", "tokenizer.model", "vocab.txt" })
        {
            using TemporaryFolder folder = new();
            string file = folder.File(name, pointer), message = Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder.Path)).Message;
            Assert.Contains("git lfs pull", message, StringComparison.Ordinal);
            Assert.Contains(file, message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("0,4611686018427387904,4611686018427387904")]
    [InlineData("4611686018427387904,4611686018427387904,0")]
    [InlineData("9223372036854775808,0")]
    public void A_tensor_without_values_whose_strides_cannot_be_counted_is_named(string shape)
    {
        using TemporaryFolder folder = new();
        byte[] json = Encoding.UTF8.GetBytes($"{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{shape}],\"data_offsets\":[0,0]}}}}");
        string file = folder.File("a", [.. BitConverter.GetBytes((long)json.Length), .. json]);
        CheckpointException? fault = Record.Exception(() =>
        {
            using Safetensors opened = Safetensors.Open(file);
            opened.Read("a").Dispose();
        }) as CheckpointException;
        Assert.Contains(shape.Replace(",", ", ", StringComparison.Ordinal), fault!.Message, StringComparison.Ordinal);
    }

    /// <summary>The order of the types in the original, downwards: https://github.com/huggingface/safetensors (Dtype).</summary>
    [Fact]
    public void Types_stand_in_the_order_of_the_original()
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        ScalarType[] types =
        [
            ScalarType.Float64, ScalarType.Int64, ScalarType.Float32, ScalarType.Int32, ScalarType.BFloat16, ScalarType.Float16, ScalarType.Int16,
            ScalarType.Bool, ScalarType.Int8, ScalarType.Byte,
        ];
        Safetensors.Write(folder["a"], types.Select(type => KeyValuePair.Create(type.ToString(), zeros([1], type))));
        using Safetensors read = Safetensors.Open(folder["a"]);
        Assert.Equal("I64 F64 F32 I32 BF16 F16 I16 I8 U8 BOOL", string.Join(' ', read.Entries.OrderBy(entry => entry.Begin).Select(entry => entry.Dtype)));
    }

    [Theory]
    [InlineData("{\"a\":[\"F32\",[1],[0,4]]}", true)]
    [InlineData("{\"a\":[\"F32\",[1],[0,4],1]}", false)]
    [InlineData("{\"a\":{\"dtype\":{\"F32\":null},\"shape\":[1],\"data_offsets\":[0,4]}}", true)]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[-0],\"data_offsets\":[0,4]}}", false)]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":\"\\ud800\"}}", false)]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1e999}}", false)]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":{\"y\":[1,{\"z\":[]}]}}}", true)]
    [InlineData("{\"a\":{\"dtype\":\"F4\",\"shape\":[8],\"data_offsets\":[0,4]}}", true)]
    [InlineData("{\"a\":{\"dtype\":\"F4\",\"shape\":[7],\"data_offsets\":[0,4]}}", false)]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[0,4]}}", false)]
    public void Rare_spellings_are_judged_as_the_original_judges_them(string json, bool valid)
    {
        using TemporaryFolder folder = new();
        string file = Path.Combine(folder.Path, "a");
        byte[] header = Encoding.UTF8.GetBytes(json);
        File.WriteAllBytes(file, [.. BitConverter.GetBytes((long)header.Length), .. header, 0, 0, 0, 0]);

        Exception? exception = Record.Exception(() => Safetensors.Open(file).Dispose());

        Assert.Equal(valid ? null : typeof(CheckpointException), exception?.GetType());
    }

    [Fact]
    public void Faults_of_writing_are_named_and_leave_nothing_behind()
    {
        using TemporaryFolder folder = new();
        using Tensor tensor = ones(1);
        string blocked = Path.Combine(folder.Path, "file", "a");
        File.WriteAllText(Path.Combine(folder.Path, "file"), "");

        Assert.Contains(blocked, Assert.Throws<CheckpointException>(() => Safetensors.Write(blocked, [new("a", tensor)])).Message, StringComparison.Ordinal);
        Assert.Contains(
            "second",
            Assert.Throws<CheckpointException>(() => Safetensors.Write(Path.Combine(folder.Path, "b"), [new("a", tensor), new("a", tensor)])).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "__metadata__",
            Assert.Throws<CheckpointException>(() => Safetensors.Write(Path.Combine(folder.Path, "b"), [new("__metadata__", tensor)])).Message,
            StringComparison.Ordinal);
        using Tensor empty = ones(1, device: META);
        Assert.Contains(
            "\"a\" lies on the device meta",
            Assert.Throws<CheckpointException>(() => Safetensors.Write(Path.Combine(folder.Path, "b"), [new("a", empty)])).Message,
            StringComparison.Ordinal);
        Assert.Equal(["file"], Directory.EnumerateFileSystemEntries(folder.Path).Select(Path.GetFileName));
    }

    /// <summary>What is refused when it is read again must not take the place of what can be.</summary>
    [Fact]
    public void Names_and_metadata_that_could_not_be_read_again_are_refused_and_leave_what_was_there()
    {
        using TemporaryFolder folder = new();
        using Tensor tensor = ones(1);
        string file = folder["a"], million = new('x', 1_000_000);
        Safetensors.Write(file, [new("a", tensor)]);
        byte[] before = File.ReadAllBytes(file);

        Assert.Contains("100000000", Fault("a", Enumerable.Range(0, 100).ToDictionary(number => $"{number}", _ => million)), StringComparison.Ordinal);
        Assert.Contains("half a surrogate pair", Fault("a\ud800", []), StringComparison.Ordinal);
        Assert.Contains("half a surrogate pair", Fault("a", new() { ["\udc00"] = "" }), StringComparison.Ordinal);
        Assert.Contains("half a surrogate pair", Fault("a", new() { ["k"] = "\ud800\ud800" }), StringComparison.Ordinal);
        Safetensors.Write(folder["b"], [new("\ud83d\ude00", tensor)]);
        Assert.Equal(before, File.ReadAllBytes(file));
        Assert.Equal(["a", "b"], Directory.EnumerateFileSystemEntries(folder.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));

        string Fault(string name, Dictionary<string, string> metadata)
            => Assert.Throws<CheckpointException>(() => Safetensors.Write(file, [new(name, tensor)], metadata)).Message;
    }

    [Fact]
    public void More_of_a_tensor_than_a_span_holds_is_refused_by_name()
    {
        using TemporaryFolder folder = new();
        const long Length = (1L << 31) + 8;
        byte[] header = System.Text.Encoding.UTF8.GetBytes($"{{\"x\":{{\"dtype\":\"U8\",\"shape\":[{Length}],\"data_offsets\":[0,{Length}]}}}}");
        string path = folder["sparse.safetensors"];
        using (FileStream stream = File.Create(path))
        {
            stream.Write([.. BitConverter.GetBytes((long)header.Length), .. header]);
            stream.SetLength(stream.Position + Length);
        }

        using Safetensors file = Safetensors.Open(path);
        Assert.Contains($"\"x\" of {path}", Assert.Throws<CheckpointException>(() => file.Bytes("x").Length).Message, StringComparison.Ordinal);
        Assert.Equal(8, file.Bytes("x", Length - 8).Length);
    }

    [Fact]
    public void A_missing_file_is_named()
    {
        Assert.Contains("/no/such/file", Assert.Throws<CheckpointException>(() => Safetensors.Open("/no/such/file")).Message, StringComparison.Ordinal);
    }
}
