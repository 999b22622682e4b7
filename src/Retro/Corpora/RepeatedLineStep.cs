using System.Globalization;
using System.Runtime.InteropServices;

namespace Retro.Corpora;

/// <summary>Lines that stand in many documents go from all of them. A first pass counts, by the hashes of the lines.</summary>
internal sealed class RepeatedLineStep : CleaningStep
{
    private readonly int _documents;
    private readonly int _characters;

    public RepeatedLineStep(int documents, int characters)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(documents, 2);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(characters);
        (_documents, _characters) = (documents, characters);
    }

    /// <summary>The hashes of lines that go from documents to come, however few of these have them: what they are added to is without them.</summary>
    public IReadOnlySet<UInt128> Known { get; set; } = new HashSet<UInt128>();

    /// <summary>The hashes of the lines that went when documents were last cleaned, with those that are known.</summary>
    public IReadOnlySet<UInt128> Gone { get; private set; } = new HashSet<UInt128>();

    public override string Name => string.Create(CultureInfo.InvariantCulture, $"lines in {_documents} documents, of {_characters} characters");

    public override IEnumerable<Document> Apply(IEnumerable<Document> documents, CleaningStepReport report)
    {
        Dictionary<UInt128, int> counts = [];
        HashSet<UInt128> own = [];
        foreach (Document document in documents)
        {
            own.Clear();
            foreach (string line in document.Text.Split('\n'))
            {
                if (Key(line) is { } key && own.Add(key))
                {
                    CollectionsMarshal.GetValueRefOrAddDefault(counts, key, out _)++;
                }
            }
        }

        HashSet<UInt128> repeated = [.. Known, .. counts.Where(pair => pair.Value >= _documents).Select(pair => pair.Key)];
        Gone = repeated;
        counts.Clear();
        foreach (Document document in documents)
        {
            string[] lines = document.Text.Split('\n');
            string? gone = Array.Find(lines, IsRepeated);
            if (gone is null)
            {
                yield return document;
                continue;
            }

            string[] left = [.. lines.Where(line => !IsRepeated(line))];
            report.Change(document, string.Create(CultureInfo.InvariantCulture, $"{lines.Length - left.Length} lines such as '{gone.Trim()}'"));
            yield return document with { Text = string.Join('\n', left).Trim() };
        }

        bool IsRepeated(string line) => Key(line) is { } key && repeated.Contains(key);
    }

    private UInt128? Key(string line)
    {
        ReadOnlySpan<char> trimmed = line.AsSpan().Trim();
        return trimmed.Length < _characters ? null : TextHash.Of(trimmed);
    }
}
