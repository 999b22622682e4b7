using System.Text;

namespace Retro.Corpora;

/// <summary>What names a person gives way to a tag. The report tells kinds and counts, and nothing of what was found.</summary>
internal sealed class PersonalDataStep : CleaningStep
{
    private readonly PersonalDataKinds _kinds;

    public PersonalDataStep(PersonalDataKinds kinds)
        => _kinds = kinds is not PersonalDataKinds.None && (kinds & ~PersonalDataKinds.All) == 0
            ? kinds
            : throw new ArgumentOutOfRangeException(nameof(kinds), kinds, "Name one or more kinds of personal data.");

    public override string Name => $"personal data ({_kinds})";

    public override IEnumerable<Document> Apply(IEnumerable<Document> documents, CleaningStepReport report)
    {
        foreach (Document document in documents)
        {
            List<PersonalDataSearch.Found> inText = PersonalDataSearch.In(document.Text, _kinds), inTitle = PersonalDataSearch.In(document.Title, _kinds);
            if (inText.Count + inTitle.Count == 0)
            {
                yield return document;
                continue;
            }

            IEnumerable<string> counts = inText.Concat(inTitle)
                .GroupBy(found => found.Kind)
                .OrderBy(group => group.Key)
                .Select(group => $"{group.Count()} {Tag(group.Key)}");
            report.Change(document, string.Join(", ", counts));
            yield return document with { Title = Tagged(document.Title, inTitle), Text = Tagged(document.Text, inText) };
        }
    }

    private static string Tag(PersonalDataKinds kind) => kind switch
    {
        PersonalDataKinds.Email => "<email>",
        PersonalDataKinds.Phone => "<phone>",
        PersonalDataKinds.Iban => "<iban>",
        PersonalDataKinds.Card => "<card>",
        _ => "<ip>",
    };

    private static string Tagged(string text, List<PersonalDataSearch.Found> found)
    {
        StringBuilder tagged = new(text.Length);
        int done = 0;
        foreach (PersonalDataSearch.Found one in found)
        {
            tagged.Append(text, done, one.Start - done).Append(Tag(one.Kind));
            done = one.End;
        }

        return tagged.Append(text, done, text.Length - done).ToString();
    }
}
