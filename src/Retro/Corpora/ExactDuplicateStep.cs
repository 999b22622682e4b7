using System.Runtime.InteropServices;

namespace Retro.Corpora;

/// <summary>Of documents of one text the first stays, and each that some may see who may see no earlier one.</summary>
internal sealed class ExactDuplicateStep : CleaningStep
{
    /// <summary>Its name, as a cleaning's and so a database's has it.</summary>
    public const string Called = "exact duplicates";

    public override string Name => Called;

    public override IEnumerable<Document> Apply(IEnumerable<Document> documents, CleaningStepReport report)
    {
        // The texts that everybody may see, and the labels of the others.
        HashSet<UInt128> open = [];
        Dictionary<UInt128, List<IReadOnlyList<string>>> labeled = [];
        foreach (Document document in documents)
        {
            UInt128 text = TextHash.Of(document.Text);
            if (open.Contains(text) || (labeled.TryGetValue(text, out List<IReadOnlyList<string>>? kept) && kept.Exists(document.HasAll)))
            {
                report.Remove(document, "an earlier document has the same text");
                continue;
            }

            if (document.Labels.Count == 0)
            {
                open.Add(text);
            }
            else
            {
                (CollectionsMarshal.GetValueRefOrAddDefault(labeled, text, out _) ??= []).Add(document.Labels);
            }

            yield return document;
        }
    }
}
