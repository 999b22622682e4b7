using System.Buffers.Binary;
using System.Numerics;
using Google.Protobuf;
using Tensorboard;

namespace Retro.Training;

/// <summary>
/// Writes scalars as an event file, which TensorBoard draws. Each record is its length, a checksum of that, an Event message in protocol buffers, and a
/// checksum of it (TensorFlow's record_writer.h and event.proto).
/// </summary>
/// <remarks>What was written is there for readers after each scalar. Not safe for concurrent use.</remarks>
internal sealed class TensorBoardFile : IDisposable
{
    private readonly FileStream _stream;

    /// <summary>Begins a file.</summary>
    /// <param name="path">The file; TensorBoard reads those whose name has "tfevents" in it. Its folder is made where it is missing.</param>
    /// <param name="time">When the run began.</param>
    /// <exception cref="TrainingException">It is there already, or cannot be written.</exception>
    public TensorBoardFile(string path, DateTimeOffset time)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!);

            // What a full disk has refused must not be written, and fail, once more when the file is closed.
            _stream = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read, bufferSize: 0);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw Unwritable(path, fault);
        }

        Path = path;
        Write(time, new Event { FileVersion = "brain.Event:2" });
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>The name that TensorBoard's own writer gives a file.</summary>
    /// <param name="time">When the run begins.</param>
    /// <returns>"events.out.tfevents." with the time in seconds and this computer's name.</returns>
    public static string NameFor(DateTimeOffset time)
        => FormattableString.Invariant($"events.out.tfevents.{time.ToUnixTimeSeconds()}.{Environment.MachineName}");

    /// <summary>
    /// Says where the file takes the run over: of what those before it have, readers keep what comes before this step (_CheckForRestartAndMaybePurge of
    /// TensorBoard's event_accumulator, to which the first of a run says nothing).
    /// </summary>
    /// <param name="time">When it did.</param>
    /// <param name="step">The first step.</param>
    /// <exception cref="TrainingException">The file cannot be written.</exception>
    public void Begin(DateTimeOffset time, long step)
        => Write(time, new Event { Step = step, SessionLog = new() { Status = SessionLog.Types.SessionStatus.Start } });

    /// <summary>Writes a scalar.</summary>
    /// <param name="time">When it was measured.</param>
    /// <param name="step">The step, from 0.</param>
    /// <param name="tag">Its name; what stands before a slash is its group.</param>
    /// <param name="value">The value, which is rounded to float32.</param>
    /// <exception cref="TrainingException">The file cannot be written.</exception>
    public void Write(DateTimeOffset time, long step, string tag, double value)
    {
        ArgumentException.ThrowIfNullOrEmpty(tag);
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        Write(time, new Event { Step = step, Summary = new() { Value = { new Summary.Types.Value { Tag = tag, SimpleValue = (float)value } } } });
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private void Write(DateTimeOffset time, Event message)
    {
        message.WallTime = (time - DateTimeOffset.UnixEpoch).TotalSeconds;
        byte[] length = new byte[sizeof(ulong)], body = message.ToByteArray();
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)body.Length);
        try
        {
            // In one piece, so that a reader never finds half a record's head.
            _stream.Write([.. length, .. Checksum(length), .. body, .. Checksum(body)]);
            _stream.Flush();
        }
        catch (IOException fault)
        {
            throw Unwritable(Path, fault);
        }
    }

    /// <summary>CRC-32C, turned and moved as TensorFlow masks it (lib/hash/crc32c.h).</summary>
    private static byte[] Checksum(byte[] of)
    {
        uint checksum = ~of.Aggregate(uint.MaxValue, BitOperations.Crc32C);
        byte[] masked = new byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(masked, BitOperations.RotateRight(checksum, 15) + 0xa282ead8);
        return masked;
    }

    private static TrainingException Unwritable(string path, Exception fault)
        => new($"The event file {path} cannot be written ({fault.Message}); name one in a folder that this user may write.", fault);
}
