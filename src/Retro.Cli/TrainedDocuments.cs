using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Retro.Checkpoints;
using Retro.Database;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Cli;

/// <summary>
/// The documents that a model was trained on, by half a hash of each one's id and text: kept beside the model, since the database may be another by the time
/// that the model is measured.
/// </summary>
internal sealed class TrainedDocuments
{
    /// <summary>The file in a model's folder: int64 [documents, 2], of the id and of the text.</summary>
    public const string FileName = "trained-on.safetensors";

    private const string Documents = "documents", Complete = "complete";

    private readonly HashSet<(long Id, long Text)> _documents;

    private TrainedDocuments(HashSet<(long Id, long Text)> documents, bool isComplete)
    {
        _documents = documents;
        IsComplete = isComplete;
    }

    /// <summary>Whether it is known that the model was trained on nothing else.</summary>
    public bool IsComplete { get; }

    /// <summary>Those of a database, which is all that is trained on.</summary>
    public static TrainedDocuments Of(ChunkDatabase database) => new([.. database.Documents.Select(Key)], true);

    /// <summary>These, and what the model was trained on before.</summary>
    /// <param name="before">What that was; null: it is not known.</param>
    public TrainedDocuments And(TrainedDocuments? before)
        => new([.. _documents, .. before?._documents ?? []], IsComplete && before is { IsComplete: true });

    /// <summary>Reads what a model was trained on.</summary>
    /// <param name="model">The model's own folder.</param>
    /// <returns>The documents; null: it is not known.</returns>
    /// <exception cref="CheckpointException">The file is damaged.</exception>
    public static TrainedDocuments? Load(string model)
    {
        string path = Path.Combine(model, FileName);
        if (!File.Exists(path))
        {
            return null;
        }

        using Safetensors file = Safetensors.Open(path);
        if (!file.Contains(Documents) || file.Entry(Documents) is not { Dtype: "I64", Shape: [_, 2] })
        {
            throw new CheckpointException(
                $"{path} holds no int64 \"{Documents}\" of two columns; delete it, and it is not known what the model was trained on.");
        }

        using Tensor read = file.Read(Documents);
        long[] numbers = read.data<long>().ToArray();
        return new(
            [.. Enumerable.Range(0, numbers.Length / 2).Select(i => (numbers[2 * i], numbers[(2 * i) + 1]))],
            file.Metadata?.GetValueOrDefault(Complete) == "true");
    }

    /// <summary>Writes it beside a model.</summary>
    /// <param name="model">The model's own folder.</param>
    /// <exception cref="CheckpointException">It cannot be written.</exception>
    public void Save(string model)
    {
        using Tensor written = tensor(_documents.SelectMany(one => new[] { one.Id, one.Text }).ToArray(), dtype: ScalarType.Int64).reshape(-1, 2);
        Safetensors.Write(
            Path.Combine(model, FileName), [new(Documents, written)], new Dictionary<string, string> { [Complete] = IsComplete ? "true" : "false" });
    }

    /// <summary>How many documents of a database are among them, by id or by text.</summary>
    public int CountOf(ChunkDatabase database)
    {
        HashSet<long> ids = [.. _documents.Select(one => one.Id)], texts = [.. _documents.Select(one => one.Text)];
        return database.Documents.Select(Key).Count(key => ids.Contains(key.Id) || texts.Contains(key.Text));
    }

    /// <summary>Whether a database holds nothing else.</summary>
    public bool HaveAll(ChunkDatabase database) => database.Documents.All(document => _documents.Contains(Key(document)));

    private static (long Id, long Text) Key(DocumentEntry document)
        => (Half(SHA256.HashData(Encoding.UTF8.GetBytes(document.Id))), Half(Convert.FromHexString(document.ContentHash.AsSpan(0, 16))));

    private static long Half(byte[] hash) => BinaryPrimitives.ReadInt64LittleEndian(hash);
}
