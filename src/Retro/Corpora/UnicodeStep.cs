using System.Text;

namespace Retro.Corpora;

/// <summary>Unicode's form C; control characters go, but for newline and tab.</summary>
internal sealed class UnicodeStep : CleaningStep
{
    public override string Name => "unicode";

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

    private static string Plain(string text)
    {
        string composed = UnicodeForms.ToFormC(text);
        if (!composed.Any(IsControl))
        {
            return composed;
        }

        StringBuilder without = new(composed.Length);
        foreach (char character in composed)
        {
            if (!IsControl(character))
            {
                without.Append(character);
            }
        }

        // What a control character has parted may compose.
        return UnicodeForms.ToFormC(without.ToString());
    }

    private static bool IsControl(char character) => char.IsControl(character) && character is not ('\n' or '\t');
}
