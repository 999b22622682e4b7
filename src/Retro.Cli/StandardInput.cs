using System.Text;

namespace Retro.Cli;

/// <summary>Text that is piped into the tool, in place of one that is typed.</summary>
internal static class StandardInput
{
    /// <summary>What is typed where the text is piped.</summary>
    public const string Name = "-";

    /// <summary>The whole text, as a document is read: without the mark at its head, with one kind of line end, and nothing that is no text.</summary>
    /// <param name="open">Opens what is piped.</param>
    /// <param name="cancellationToken">Ends the wait for it: whoever has forgotten the pipe can stop all the same.</param>
    /// <exception cref="RetroException">It is no text.</exception>
    public static Task<string> ReadAsync(Func<Stream> open, CancellationToken cancellationToken)
        => Task.Run(() => Read(open), cancellationToken).WaitAsync(cancellationToken);

    private static string Read(Func<Stream> open)
    {
        const string Fault = "The standard input is no text in UTF-8, nor in UTF-16 or UTF-32 with a mark at its head; convert it first, such as with iconv.";
        using StreamReader input = new(open(), new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true));
        try
        {
            string text = input.ReadToEnd();
            return text.Contains('\0', StringComparison.Ordinal)
                ? throw new RetroException(Fault)
                : text.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        }
        catch (DecoderFallbackException fault)
        {
            throw new RetroException(Fault, fault);
        }
    }
}
