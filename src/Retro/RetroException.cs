namespace Retro;

/// <summary>A fault that Retro found and can name: what was expected, what came, and what to do.</summary>
/// <param name="message">What was expected, what came, and what to do.</param>
/// <param name="innerException">The fault behind it, if any.</param>
public class RetroException(string message, Exception? innerException = null) : Exception(message, innerException);

/// <summary>A corpus cannot be read: missing, empty, badly encoded or badly formed.</summary>
public sealed class CorpusException(string message, Exception? innerException = null) : RetroException(message, innerException)
{
    /// <summary>What is broken, without what to do about it.</summary>
    internal string What { get; private init; } = message;

    /// <summary>Makes one where a sentence and the fault behind it are known.</summary>
    internal static CorpusException Of(string message, Exception? innerException) => new(message, innerException);

    /// <summary>Makes one of what may be left out, in which case there is nothing to do.</summary>
    /// <param name="what">What is broken, and why; a sentence.</param>
    /// <param name="remedy">What to do; another one.</param>
    /// <param name="innerException">The fault behind it, if any.</param>
    internal static CorpusException Broken(string what, string remedy, Exception? innerException = null)
        => new($"{what} {remedy}", innerException) { What = what };
}

/// <summary>A retrieval database cannot be opened or built: it is damaged, or made with other settings.</summary>
public sealed class DatabaseException(string message, Exception? innerException = null) : RetroException(message, innerException)
{
    /// <summary>In what the finished database that is there differs from the one that was to be built; none where the fault is another.</summary>
    public DatabaseDifference Difference { get; internal init; }

    /// <summary>
    /// Who is changing the folder, such as "process 12 (retro) on ada, which is to index words", where that is the fault; null where it is another. What was to
    /// be done can be done once they have ended, and is done already where they did the same.
    /// </summary>
    public string? Holder { get; internal init; }

    /// <summary>Makes one where a sentence and the fault behind it are known.</summary>
    internal static DatabaseException Of(string message, Exception? innerException) => new(message, innerException);
}

/// <summary>In what a finished database differs from the one that a build of the same folder asks for.</summary>
public enum DatabaseDifference
{
    /// <summary>In nothing, as far as it is known.</summary>
    None,

    /// <summary>In settings, such as the length of its chunks or its cleaning, and perhaps in the tokenizer.</summary>
    Settings,

    /// <summary>In the tokenizer alone; its documents were not compared.</summary>
    Tokenizer,

    /// <summary>Documents were added to it or removed from it since it was built.</summary>
    Changes,

    /// <summary>In its documents alone.</summary>
    Documents,
}

/// <summary>A checkpoint or weight file cannot be read, or does not fit the model.</summary>
public sealed class CheckpointException(string message, Exception? innerException = null) : RetroException(message, innerException)
{
    /// <summary>Makes one where a sentence and the fault behind it are known.</summary>
    internal static CheckpointException Of(string message, Exception? innerException) => new(message, innerException);
}

/// <summary>Training cannot go on: there is nothing to train, the data do not suffice, or the loss has diverged.</summary>
public sealed class TrainingException(string message, Exception? innerException = null) : RetroException(message, innerException)
{
    /// <summary>Makes one where a sentence and the fault behind it are known.</summary>
    internal static TrainingException Of(string message, Exception? innerException) => new(message, innerException);
}

/// <summary>The native half of TorchSharp cannot be loaded: its package is missing, the system is too old for it, or a file is damaged.</summary>
public sealed class TorchLibraryException(string message, Exception? innerException = null) : RetroException(message, innerException);

/// <summary>A tensor has another shape than the layer takes.</summary>
public sealed class ShapeException : ArgumentException
{
    /// <summary>Creates the exception.</summary>
    /// <param name="parameter">The argument's name.</param>
    /// <param name="expected">The expected shape in dimension letters and numbers, such as "[B, T, 512]".</param>
    /// <param name="actual">The shape that came.</param>
    public ShapeException(string parameter, string expected, ReadOnlySpan<long> actual)
        : base($"Expected {parameter} of shape {expected}, got [{string.Join(", ", actual.ToArray())}].", parameter)
    {
    }
}
