using System.Text;

namespace Retro.Corpora;

/// <summary>Unicode's form C; control characters that part lines or words become newlines and spaces, the others go, but for newline and tab.</summary>
internal sealed class UnicodeStep : CleaningStep
{
    /// <summary>Its name, as a cleaning's and so a database's has it.</summary>
    public const string Called = "unicode";

    public override string Name => Called;

    public override IEnumerable<Document> Apply(IEnumerable<Document> documents, CleaningStepReport report)
    {
        foreach (Document document in documents)
        {
            Document plain = document with { Title = Plain(document.Title), Text = Plain(document.Text).Trim() };
            if (plain.Title != document.Title || plain.Text != document.Text)
            {
                int at = document.Text.AsSpan().CommonPrefixLength(plain.Text);
                report.Change(document, at < document.Text.Length ? FormattableString.Invariant($"U+{(int)document.Text[at]:X4} at {at}") : "the title");
                yield return plain;
            }
            else
            {
                yield return document;
            }
        }
    }

    /// <summary>A text as the step leaves it.</summary>
    public static string Plain(string text)
    {
        string composed = UnicodeForms.ToFormC(text);
        if (!composed.Any(IsControl))
        {
            return composed;
        }

        StringBuilder without = new(composed.Length);
        foreach (char character in composed.Replace("\r\n", "\n", StringComparison.Ordinal))
        {
            // A soft line break of word processors is a vertical tab, a page's end a form feed; the four separators of information part fields.
            char plain = character switch
            {
                '\r' or '\v' or '\f' or '\u0085' => '\n',
                >= '\u001C' and <= '\u001F' => ' ',
                _ => character,
            };
            if (!IsControl(plain))
            {
                without.Append(plain);
            }
        }

        // What a control character has parted may compose.
        return UnicodeForms.ToFormC(without.ToString());
    }

    private static bool IsControl(char character) => char.IsControl(character) && character is not ('\n' or '\t');
}
