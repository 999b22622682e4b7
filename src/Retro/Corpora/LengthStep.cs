using System.Globalization;

namespace Retro.Corpora;

/// <summary>Documents shorter or longer than some lengths go.</summary>
internal sealed class LengthStep : CleaningStep
{
    private readonly int _least;
    private readonly int _most;
    private readonly int _leastWords;

    public LengthStep(int least, int most, int leastWords)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(least);
        ArgumentOutOfRangeException.ThrowIfLessThan(most, least);
        ArgumentOutOfRangeException.ThrowIfNegative(leastWords);
        (_least, _most, _leastWords) = (least, most, leastWords);
    }

    public override string Name => string.Create(CultureInfo.InvariantCulture, $"length {_least} to {_most}, {_leastWords} words");

    public override IEnumerable<Document> Apply(IEnumerable<Document> documents, CleaningStepReport report)
    {
        foreach (Document document in documents)
        {
            if (document.Text.Length < _least || document.Text.Length > _most)
            {
                report.Remove(document, string.Create(CultureInfo.InvariantCulture, $"{document.Text.Length} characters"));
            }
            else if (Words(document.Text) is var words && words < _leastWords)
            {
                report.Remove(document, string.Create(CultureInfo.InvariantCulture, $"{words} words"));
            }
            else
            {
                yield return document;
            }
        }
    }

    private static int Words(string text)
    {
        int words = 0;
        for (int i = 0; i < text.Length; i++)
        {
            words += !char.IsWhiteSpace(text[i]) && (i == 0 || char.IsWhiteSpace(text[i - 1])) ? 1 : 0;
        }

        return words;
    }
}
