using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Checkpoints;

public sealed partial class Safetensors
{
    /// <summary>
    /// Writes tensors to a file, bit for bit, in the order of the original library: by type, wider ones first, then by name. The same tensors give the same
    /// bytes. The file is written beside its place and renamed when it is whole.
    /// </summary>
    /// <param name="path">The file; replaced where it exists.</param>
    /// <param name="tensors">Tensors by name, on any device, contiguous or not.</param>
    /// <param name="metadata">The file's own key-value pairs; null for none.</param>
    /// <param name="progress">Stage "save weights", in tensors; null: no reporting.</param>
    /// <param name="cancellationToken">Stops between two tensors; a file that was there stays.</param>
    /// <exception cref="CheckpointException">The file cannot be written, a name comes twice or is reserved, or a tensor is of a type that the format
    /// lacks, or has no values, on the device meta. Or names and metadata are no text, or more than the 100 MB that are read again.</exception>
    public static void Write(
        string path,
        IEnumerable<KeyValuePair<string, Tensor>> tensors,
        IReadOnlyDictionary<string, string>? metadata = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(tensors);
        KeyValuePair<string, Tensor>[] all = [.. tensors];
        StageCounter counter = Saving(all.Length, progress, cancellationToken);
        using StagedFiles staged = new(
            System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!, CheckpointException.Of);
        Stage(staged, path, all, metadata, counter);
        staged.Commit();
        counter.End();
    }

    /// <summary>Counts tensors that are written.</summary>
    internal static StageCounter Saving(long tensors, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
        => new("save weights", tensors, progress, cancellationToken);

    /// <summary>Writes tensors beside a file's place.</summary>
    internal static void Stage(
        StagedFiles staged,
        string path,
        IReadOnlyCollection<KeyValuePair<string, Tensor>> tensors,
        IReadOnlyDictionary<string, string>? metadata,
        StageCounter counter)
    {
        List<(string Name, string Dtype, Tensor Tensor)> list = InOrder(path, tensors);
        staged.Write(path, stream =>
        {
            stream.Write(Header(path, list, metadata));
            foreach ((_, _, Tensor tensor) in list)
            {
                counter.Next();
                EachPiece(tensor, bytes =>
                {
                    stream.Write(bytes);
                    return true;
                });
            }
        });
    }

    /// <summary>Whether a file is already what <see cref="Stage"/> would write, to the byte. It is read up to the first difference.</summary>
    /// <param name="path">The file.</param>
    /// <param name="tensors">The tensors.</param>
    /// <param name="metadata">See <see cref="Write"/>.</param>
    /// <param name="known">
    /// Files that were compared before with these very tensors, which have not changed since: of such a one the header alone is read while nobody has touched
    /// it. Takes this one where it is the same. Null: the tensors may change.
    /// </param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    internal static bool IsWritten(
        string path,
        IReadOnlyCollection<KeyValuePair<string, Tensor>> tensors,
        IReadOnlyDictionary<string, string>? metadata,
        HashSet<string>? known,
        CancellationToken cancellationToken)
    {
        if (!FileIdentity.IsFile(path))
        {
            return false;
        }

        List<(string Name, string Dtype, Tensor Tensor)> list = InOrder(path, tensors);
        byte[] header = Header(path, list, metadata);
        try
        {
            string state = FileIdentity.StateOf(path); // before it is opened: what comes in its place then is another
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
            if (stream.Length != header.Length + list.Sum(item => item.Tensor.numel() * item.Tensor.element_size()))
            {
                return false;
            }

            byte[] buffer = new byte[1 << 20];
            if (!IsNext(header))
            {
                return false;
            }

            bool isSame = known?.Contains(state) == true || list.TrueForAll(item =>
            {
                cancellationToken.ThrowIfCancellationRequested();
                return EachPiece(item.Tensor, IsNext);
            });
            if (isSame)
            {
                known?.Add(state);
            }

            return isSame;

            bool IsNext(ReadOnlySpan<byte> bytes)
            {
                for (; bytes.Length > 0; bytes = bytes[Math.Min(buffer.Length, bytes.Length)..])
                {
                    Span<byte> read = buffer.AsSpan(0, Math.Min(buffer.Length, bytes.Length));
                    if (stream.ReadAtLeast(read, read.Length, throwOnEndOfStream: false) < read.Length || !bytes.StartsWith(read))
                    {
                        return false;
                    }
                }

                return true;
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false; // what cannot be read is written anew
        }
    }

    /// <summary>Whether a tensor of the file has the type, shape and bytes of another.</summary>
    internal bool Holds(string name, Tensor tensor)
    {
        SafetensorsEntry entry = Entry(name);
        long done = 0;
        return entry.Dtype == SafetensorsTypes.ToName(tensor.dtype) && entry.Shape.AsSpan().SequenceEqual(tensor.shape) && EachPiece(tensor, bytes =>
        {
            bool isSame = bytes.SequenceEqual(Bytes(name, done, bytes.Length));
            done += bytes.Length;
            return isSame;
        });
    }

    private static List<(string Name, string Dtype, Tensor Tensor)> InOrder(string path, IEnumerable<KeyValuePair<string, Tensor>> tensors)
    {
        List<(string Name, string Dtype, Tensor Tensor)> list = [];
        HashSet<string> names = new(StringComparer.Ordinal) { "__metadata__" };
        foreach ((string name, Tensor tensor) in tensors)
        {
            if (!names.Add(name))
            {
                throw new CheckpointException($"{path} cannot hold a second tensor named \"{name}\".");
            }

            if (tensor.device_type == DeviceType.META)
            {
                throw new CheckpointException($"Tensor \"{name}\" lies on the device meta, where it has a shape and no values, and cannot be written.");
            }

            string dtype = SafetensorsTypes.ToName(tensor.dtype)
                ?? throw new CheckpointException(
                    $"Tensor \"{name}\" is of type {tensor.dtype}, which cannot be written; writable are {SafetensorsTypes.Readable}.");
            list.Add((name, dtype, tensor));
        }

        return [.. list.OrderBy(item => SafetensorsTypes.Place(item.Dtype)).ThenBy(item => item.Name, StringComparer.Ordinal)];
    }

    private static byte[] Header(string path, List<(string Name, string Dtype, Tensor Tensor)> list, IReadOnlyDictionary<string, string>? metadata)
    {
        using MemoryStream json = new();
        json.Write(stackalloc byte[SafetensorsHeader.LengthBytes]);
        using (Utf8JsonWriter writer = new(json, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            if (metadata is not null)
            {
                writer.WriteStartObject("__metadata__");
                foreach ((string key, string value) in metadata.OrderBy(pair => pair.Key, StringComparer.Ordinal))
                {
                    writer.WriteString(Text(key), Text(value));
                }

                writer.WriteEndObject();
            }

            long start = 0;
            foreach ((string name, string dtype, Tensor tensor) in list)
            {
                writer.WriteStartObject(Text(name));
                writer.WriteString("dtype", dtype);
                writer.WriteStartArray("shape");
                foreach (long size in tensor.shape)
                {
                    writer.WriteNumberValue(size);
                }

                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(start);
                start += tensor.numel() * tensor.element_size();
                writer.WriteNumberValue(start);
                writer.WriteEndArray();
                writer.WriteEndObject();
            }

            writer.WriteEndObject();
        }

        while (json.Length % 8 != 0)
        {
            json.WriteByte((byte)' ');
        }

        long length = json.Length - SafetensorsHeader.LengthBytes;
        if (length > SafetensorsHeader.LargestHeader)
        {
            throw new CheckpointException(
                $"{path} would have a header of {length} bytes, and no more than {SafetensorsHeader.LargestHeader} are read; write fewer tensors into a "
                    + "file, and less metadata.");
        }

        byte[] header = json.ToArray();
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)length);
        return header;

        // A sign of replacement for the half could make two names one.
        string Text(string text) => TextDecoding.IsText(text)
            ? text
            : throw new CheckpointException($"{path} cannot hold a name or metadata with half a surrogate pair, which is no text; give it another.");
    }

    /// <summary>Gives the bytes of a tensor, as they lie in a file, piece by piece for as long as they are wanted.</summary>
    /// <returns>Whether all were.</returns>
    private static bool EachPiece(Tensor tensor, WantsNext isWanted)
    {
        if (tensor.numel() == 0)
        {
            return true;
        }

        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGrad = no_grad();
        Tensor flat = tensor.detach().cpu().contiguous().view(-1);
        long step = Piece / flat.element_size();
        for (long done = 0; done < flat.numel(); done += step)
        {
            using Tensor piece = flat.narrow(0, done, Math.Min(step, flat.numel() - done));
            if (!isWanted(piece.bytes))
            {
                return false;
            }
        }

        return true;
    }

    private delegate bool WantsNext(ReadOnlySpan<byte> piece);
}
