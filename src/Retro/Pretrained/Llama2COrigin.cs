using System.Buffers.Binary;
using Retro.Checkpoints;
using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>A llama2.c file that a decoder came from.</summary>
internal sealed class Llama2COrigin : PretrainedOrigin
{
    private const int Piece = 1 << 27; // values: spans count bytes in 32 bits

    private const string FamilyName = "llama2.c";

    private readonly int[] _header;

    private Llama2COrigin(
        string path,
        string hash,
        IReadOnlyDictionary<string, ParameterHash> parameters,
        int[] header,
        IReadOnlyList<StoredTensor> tensors,
        IReadOnlyDictionary<string, StoredBuffer> buffers)
        : base(path, FamilyName, hash, parameters, header[6], tensors, tensors.ToDictionary(tensor => tensor.Name, _ => "F32"), buffers)
        => _header = header;

    /// <summary>What a file's header says.</summary>
    public static PretrainedDescription Describe(string path)
    {
        using Llama2CFile file = Llama2CFile.Open(path);
        return new(FamilyName, file.Configure(), file.Header[6], ["F32"]);
    }

    /// <summary>Reads a file.</summary>
    public static (RetroModel Model, PretrainedOrigin Origin) Load(
        string path, ScalarType dtype, Device? device, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        using Llama2CFile file = Llama2CFile.Open(path);
        RetroConfig config = file.Configure();
        List<StoredTensor> tensors = [.. Llama2CFile.Tensors(config, file.Header)];
        (RetroModel model, string hash, IReadOnlyDictionary<string, ParameterHash> parameters)
            = PretrainedDecoder.Fill(config, tensors, file, dtype, device, progress, cancellationToken);
        Dictionary<string, StoredBuffer> buffers = [];
        foreach (string name in file.Names.Where(Llama2CFile.IsFrequencies))
        {
            using Tensor buffer = file.Read(name);
            buffers.Add(name, StoredBuffer.Of(path, name, buffer));
        }

        return (model, new Llama2COrigin(path, hash, parameters, file.Header, tensors, buffers));
    }

    private protected override StoredWeights OpenStored() => Llama2CFile.Open(Path);

    private protected override string FolderOf(string path) => System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!;

    private protected override void StageFiles(StagedFiles staged, Weights weights, string path, StageCounter counter)
        => staged.Write(
            path,
            stream =>
            {
                byte[] header = new byte[_header.Length * sizeof(int)];
                for (int i = 0; i < _header.Length; i++)
                {
                    BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(i * sizeof(int)), _header[i]);
                }

                stream.Write(header);
                foreach ((string name, _) in Llama2CFile.Layout(_header))
                {
                    counter.Next();
                    using DisposeScope scope = NewDisposeScope();
                    Tensor flat = weights.Read(name).view(-1);
                    for (long done = 0; done < flat.numel(); done += Piece)
                    {
                        stream.Write(flat.narrow(0, done, Math.Min(Piece, flat.numel() - done)).bytes);
                    }
                }
            });
}
