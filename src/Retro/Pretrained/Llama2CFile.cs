using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Retro.Checkpoints;
using Retro.Modeling;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>
/// A model file of llama2.c, version 0 (https://github.com/karpathy/llama2.c): seven int32 (width, inner width, layers, heads, key/value heads, vocabulary,
/// context length), then float32 weights in a fixed order. A vocabulary below zero says that the head is not the embedding. Heads rotate neighboring features
/// as pairs, so rows of queries and keys are put in the order of rotated halves.
/// </summary>
internal sealed class Llama2CFile : StoredWeights
{
    private const int HeaderBytes = 28;
    private const int FloatBytes = sizeof(float);
    private const uint VersionedMagic = 0x616b3432;

    // As llama2.c has it.
    private const double NormEpsilon = 1e-5;

    // Spans count in 32 bits.
    private const int Piece = 1 << 28;

    private readonly MappedFile _weights;
    private readonly Dictionary<string, (long Begin, long[] Shape)> _places = new(StringComparer.Ordinal);
    private readonly List<string> _names = [];

    private Llama2CFile(string path, int[] header, MappedFile weights)
    {
        Place = path;
        Header = header;
        _weights = weights;
        long begin = HeaderBytes;
        foreach ((string name, long[] shape) in Layout(header))
        {
            _names.Add(name);
            _places.Add(name, (begin, shape));
            begin += shape.Aggregate((long)FloatBytes, (product, size) => product * size);
        }
    }

    public override string Place { get; }

    public override IReadOnlyList<string> Names => _names;

    /// <summary>The seven numbers.</summary>
    public int[] Header { get; }

    private bool IsTied => Header[5] > 0;

    /// <summary>Opens a file.</summary>
    /// <exception cref="CheckpointException">It is a pickle, another version, or its size is not what its header says.</exception>
    public static Llama2CFile Open(string path)
    {
        try
        {
            return OpenChecked(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"{path} cannot be read: {exception.Message}", exception);
        }
    }

    public override long[] Shape(string name) => _places[name].Shape;

    public override string Dtype(string name) => "F32";

    public override Tensor Read(string name)
    {
        (long begin, long[] shape) = _places[name];
        Tensor tensor = empty(shape, ScalarType.Float32, CPU);
        using Tensor flat = tensor.view(-1);
        for (long done = 0, count = flat.numel(); done < count; done += Piece)
        {
            int size = (int)Math.Min(Piece, count - done);
            using Tensor piece = flat.narrow(0, done, size);
            MemoryMarshal.AsBytes(_weights.Values<float>(begin + (done * FloatBytes), size)).CopyTo(piece.bytes);
        }

        return tensor;
    }

    public override void Dispose() => _weights.Dispose();

    /// <summary>The configuration that the header says.</summary>
    public RetroConfig Configure() => new()
    {
        Width = Header[0],
        FeedForwardSize = Header[1],
        Layers = Header[2],
        Heads = Header[3],
        KeyValueHeads = Header[4],
        HeadSize = Header[0] / Header[3],
        VocabularySize = Math.Abs(Header[5]),
        Norm = NormKind.RmsNorm,
        NormEpsilon = NormEpsilon,
        Activation = ActivationKind.SwiGlu,
        Positions = PositionKind.Rotary,
        TieEmbeddings = IsTied,
    };

    /// <summary>How the file's tensors are ours.</summary>
    public static IEnumerable<StoredTensor> Tensors(RetroConfig config, int[] header)
    {
        Dictionary<string, string> targets = new()
        {
            ["rms_att"] = "attn.norm",
            ["wq"] = "attn.q",
            ["wk"] = "attn.k",
            ["wv"] = "attn.v",
            ["wo"] = "attn.o",
            ["rms_ffn"] = "ffw.norm",
            ["w1"] = "ffw.gate",
            ["w2"] = "ffw.down",
            ["w3"] = "ffw.up",
        };
        long size = config.HeadSize;
        foreach ((string name, long[] shape) in Layout(header))
        {
            string[] parts = name.Split('.');
            if (IsFrequencies(name))
            {
                continue;
            }

            string target = parts.Length == 2 ? $"decoder.{parts[1]}.{targets[parts[0]]}.weight" : name switch
            {
                "tok_embeddings" => "embedding.weight",
                "rms_final" => "decoder.norm.weight",
                _ => "head.weight",
            };
            yield return parts[0] is "wq" or "wk"
                ? new(
                    name,
                    shape,
                    [target],
                    tensor => [tensor.view(-1, size / 2, 2, shape[1]).transpose(1, 2).reshape(shape)],
                    joined => joined[0].reshape(-1, 2, size / 2, shape[1]).transpose(1, 2).reshape(shape))
                : StoredTensor.Same(name, target, shape);
        }
    }

    /// <summary>Whether a tensor is a table of the rotation, which follows from the sizes.</summary>
    public static bool IsFrequencies(string name) => name.StartsWith("freq_", StringComparison.Ordinal);

    /// <summary>Names and shapes in the order of the file.</summary>
    public static IEnumerable<(string Name, long[] Shape)> Layout(int[] header)
    {
        long width = header[0], inner = header[1], heads = header[3], vocabulary = Math.Abs(header[5]), size = width / heads, keys = header[4] * size;
        yield return ("tok_embeddings", [vocabulary, width]);
        (string Name, long[] Shape)[] perLayer =
        [
            ("rms_att", [width]), ("wq", [width, width]), ("wk", [keys, width]), ("wv", [keys, width]), ("wo", [width, width]),
            ("rms_ffn", [width]), ("w1", [inner, width]), ("w2", [width, inner]), ("w3", [inner, width]),
        ];
        foreach ((string name, long[] shape) in perLayer)
        {
            for (int layer = 1; layer <= header[2]; layer++)
            {
                yield return ($"{name}.{layer}", shape);
            }
        }

        yield return ("rms_final", [width]);
        yield return ("freq_cis_real", [header[6], size / 2]);
        yield return ("freq_cis_imag", [header[6], size / 2]);
        if (header[5] < 0)
        {
            yield return ("wcls", [vocabulary, width]);
        }
    }

    protected override void AppendBytes(string name, IncrementalHash hash)
    {
        (long begin, long[] shape) = _places[name];
        long count = shape.Aggregate(1L, (product, size) => product * size);
        for (long done = 0; done < count; done += Piece)
        {
            hash.AppendData(MemoryMarshal.AsBytes(_weights.Values<float>(begin + (done * FloatBytes), (int)Math.Min(Piece, count - done))));
        }
    }

    private static Llama2CFile OpenChecked(string path)
    {
        byte[] start = new byte[HeaderBytes];
        long length;
        using (FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read))
        {
            length = stream.Length;
            if (stream.ReadAtLeast(start, HeaderBytes, throwOnEndOfStream: false) < HeaderBytes)
            {
                throw new CheckpointException($"{path} has {length} bytes, too few for a llama2.c model, whose header alone has {HeaderBytes}.");
            }
        }

        if (start.AsSpan().StartsWith("PK\x03\x04"u8) || (start[0] == 0x80 && start[1] is >= 1 and <= 5))
        {
            throw StoredWeights.Pickle(path);
        }

        if (start.AsSpan().StartsWith("GGUF"u8))
        {
            throw new CheckpointException(
                $"{path} is a GGUF file, which is not read here; get the same model as a Hugging Face folder (config.json, model.safetensors and the "
                    + "tokenizer's files), and name that.");
        }

        if (BinaryPrimitives.ReadUInt32LittleEndian(start) == VersionedMagic)
        {
            throw new CheckpointException(
                $"{path} is a llama2.c model of version {BinaryPrimitives.ReadInt32LittleEndian(start.AsSpan(4))}; version 0 is supported: write it with "
                    + "llama2.c's export.py --version 0.");
        }

        int[] header = [.. Enumerable.Range(0, HeaderBytes / 4).Select(i => BinaryPrimitives.ReadInt32LittleEndian(start.AsSpan(4 * i)))];
        bool plausible = header.Where((_, i) => i != 5).All(number => number is > 0 and < 1 << 24) && Math.Abs((long)header[5]) is > 0 and < 1 << 24
            && header[0] % header[3] == 0 && header[3] % header[4] == 0 && header[0] / header[3] % 2 == 0;
        Int128 expected = plausible ? HeaderBytes + (ExpectedValues(header) * FloatBytes) : 0;
        if (!plausible && start[0] == '{')
        {
            throw new CheckpointException(
                $"{path} is JSON, of which a model has several files; name the folder that holds it, {Path.GetDirectoryName(Path.GetFullPath(path))}.");
        }

        return !plausible
            ? throw new CheckpointException(
                $"{path} is no llama2.c model: its header says [{string.Join(", ", header)}] for width, inner width, layers, heads, key/value heads, "
                    + "vocabulary and context length.")
            : expected != length
                ? throw new CheckpointException(
                    $"{path} has {length} bytes, but its header [{string.Join(", ", header)}] (llama2.c, version 0) says {expected}; it is cut off or of "
                        + "another format.")
            : new(path, header, MappedFile.Open(path, length, CheckpointException.Of));
    }

    // Not by way of the layout: a hostile header may say millions of layers.
    private static Int128 ExpectedValues(int[] header)
    {
        Int128 width = header[0], inner = header[1], layers = header[2], size = width
            / header[3], keys = header[4] * size, vocabulary = Math.Abs((long)header[5]);
        Int128 layer = (2 * width) + (2 * width * width) + (2 * keys * width) + (3 * inner * width);
        return (vocabulary * width * (header[5] < 0 ? 2 : 1)) + (layers * layer) + width + (header[6] * size);
    }
}
