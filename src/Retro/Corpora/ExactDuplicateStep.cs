using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Retro.Corpora;

/// <summary>Of documents of one text the first stays.</summary>
internal sealed class ExactDuplicateStep : CleaningStep
{
    public override string Name => "exact duplicates";

    public override IEnumerable<Document> Apply(IEnumerable<Document> documents, CleaningStepReport report)
    {
        // Half a SHA-256 tells texts apart and is small.
        HashSet<UInt128> seen = [];
        foreach (Document document in documents)
        {
            if (seen.Add(MemoryMarshal.Read<UInt128>(SHA256.HashData(Encoding.UTF8.GetBytes(document.Text)))))
            {
                yield return document;
            }
            else
            {
                report.Remove(document, "an earlier document has the same text");
            }
        }
    }
}
