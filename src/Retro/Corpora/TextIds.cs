using System.Globalization;

namespace Retro.Corpora;

/// <summary>
/// Ids of the documents of one file that have none of their own: by their text, so that each keeps its own whatever is put before it or taken away. A line's
/// number would be another's then.
/// </summary>
/// <param name="name">The file's name.</param>
internal sealed class TextIds(string name)
{
    private readonly HashSet<ulong> _seen = [];
    private readonly Dictionary<ulong, int> _repeated = [];

    /// <summary>The id of the file's next document: "rows.jsonl#93a44bbb96c75121", of a text that was there before "rows.jsonl#93a44bbb96c75121-2".</summary>
    /// <param name="text">Its text.</param>
    public string Next(string text)
    {
        ulong hash = (ulong)TextHash.Of(text);
        string id = string.Create(CultureInfo.InvariantCulture, $"{name}#{hash:x16}");
        if (_seen.Add(hash))
        {
            return id;
        }

        int count = _repeated[hash] = _repeated.GetValueOrDefault(hash, 1) + 1;
        return string.Create(CultureInfo.InvariantCulture, $"{id}-{count}");
    }
}
