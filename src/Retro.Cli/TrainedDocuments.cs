using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Retro.Checkpoints;
using Retro.Database;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Cli;

/// <summary>
/// The documents that a model or an embedder was trained on, by half a hash of each one's id and text: kept beside it, since the database may be another by
/// the time that it is measured.
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

    /// <summary>Takes away what is there of a model that another is to replace: of the other it would say what is not so.</summary>
    /// <param name="model">The model's own folder.</param>
    public static void Forget(string model)
    {
        string path = Path.Combine(model, FileName);
        if (File.Exists(path))
        {
            File.Delete(path);
        }
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

    /// <summary>What has to be said of held-out documents that a model is measured on.</summary>
    /// <param name="documents">What the model was trained on; null: it is not known.</param>
    /// <param name="name">What the model is called.</param>
    /// <param name="heldOut">The held-out documents.</param>
    /// <param name="compared">Documents of which it is known that none of them nearly repeats a held-out one.</param>
    /// <returns>A sentence; null: the model has seen none of them, and nothing that nearly repeats one.</returns>
    public static string? Caveat(TrainedDocuments? documents, string name, ChunkDatabase heldOut, TrainedDocuments compared)
    {
        if (documents?.CountOf(heldOut) is { } count and > 0)
        {
            string of = Amount.Of(heldOut.Documents.Count, "held-out document");
            return $"{count:#,0} of {of} were in what {name} was trained on: what it remembers is measured, too.";
        }

        return documents is not { IsComplete: true } ? $"It is not known what {name} was trained on; it may have seen these documents."
            : documents._documents.IsSubsetOf(compared._documents) ? null
            : $"Some of what {name} was trained on is in no database that was looked through: by name or text none of these documents is in it, but something "
                + "may be that nearly repeats one.";
    }

    /// <summary>Whether a database holds nothing else.</summary>
    public bool HaveAll(ChunkDatabase database) => database.Documents.All(document => _documents.Contains(Key(document)));

    /// <summary>How many documents of a database are among them, by id or by text.</summary>
    private int CountOf(ChunkDatabase database)
    {
        HashSet<long> ids = [.. _documents.Select(one => one.Id)], texts = [.. _documents.Select(one => one.Text)];
        return database.Documents.Select(Key).Count(key => ids.Contains(key.Id) || texts.Contains(key.Text));
    }

    private static (long Id, long Text) Key(DocumentEntry document)
        => (Half(SHA256.HashData(Encoding.UTF8.GetBytes(document.Id))), Half(Convert.FromHexString(document.ContentHash.AsSpan(0, 16))));

    private static long Half(byte[] hash) => BinaryPrimitives.ReadInt64LittleEndian(hash);
}
