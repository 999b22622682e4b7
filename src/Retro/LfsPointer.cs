namespace Retro;

/// <summary>What Git LFS leaves in the place of a file that it did not fetch: a few lines that say where the file's content is.</summary>
internal static class LfsPointer
{
    /// <summary>What such a file is, and what is to be done.</summary>
    public const string Said = "a pointer of Git LFS in place of the file, which has to be fetched (git lfs pull)";

    /// <summary>As many bytes of a file as say for certain whether it is one.</summary>
    public const int HeadBytes = 32;

    private static ReadOnlySpan<byte> Start => "version https://git-lfs"u8;

    /// <summary>Whether a file is one.</summary>
    /// <param name="start">At least the first eight bytes; of fewer nothing is said.</param>
    public static bool Is(ReadOnlySpan<byte> start)
        => start.Length >= 8 && Start.StartsWith(start[..Math.Min(start.Length, Start.Length)]);
}
