namespace Retro.Cli.Workflow;

/// <summary>Text of models and documents as a terminal may have it.</summary>
internal static class Printable
{
    /// <summary>
    /// The text with the picture (U+2400 and on) of each control character but line ends and tabs: a model that gives bytes can give an escape, which would not
    /// be shown but obeyed.
    /// </summary>
    public static string Of(string text) => string.Create(text.Length, text, (span, from) =>
    {
        for (int i = 0; i < span.Length; i++)
        {
            span[i] = from[i] switch
            {
                '\n' or '\t' => from[i],
                < ' ' => (char)('\u2400' + from[i]),
                '\u007f' => '\u2421',
                >= '\u0080' and < '\u00a0' => '\ufffd',
                _ => from[i],
            };
        }
    });
}
