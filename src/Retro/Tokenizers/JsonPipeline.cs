using System.Text;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>What a <c>tokenizer.json</c> describes: added tokens, normalization, split, model, template and decoder.</summary>
internal sealed class JsonPipeline : TextPipeline
{
    // Characters above which a piece is encoded by sections.
    private const int Section = 1024;

    private readonly AddedTokens _added;
    private readonly Func<string, string> _normalize;
    private readonly Func<string, bool, string> _prepare;
    private readonly IReadOnlyList<PreTokenizer> _splits;
    private readonly IPieceModel _model;
    private readonly Func<List<string>, string> _decode;
    private readonly Dictionary<int, AddedToken> _addedById;
    private readonly Dictionary<string, int> _addedIds = new(StringComparer.Ordinal);

    /// <param name="added">The added tokens.</param>
    /// <param name="normalize">The normalizer.</param>
    /// <param name="prepare">What the splitters change in the text: spaces in front, spaces made visible. Told whether the text's start is in it.</param>
    /// <param name="splits">The splitters, one after another.</param>
    /// <param name="model">From pieces to tokens.</param>
    /// <param name="decode">From token texts to text.</param>
    /// <param name="before">The template's ids before a text.</param>
    /// <param name="after">The template's ids after a text.</param>
    /// <param name="addsSpace">Whether a text's first token brings a space that is not the text's.</param>
    public JsonPipeline(
        AddedTokens added,
        Func<string, string> normalize,
        Func<string, bool, string> prepare,
        IReadOnlyList<PreTokenizer> splits,
        IPieceModel model,
        Func<List<string>, string> decode,
        int[] before,
        int[] after,
        bool addsSpace)
    {
        (_added, _normalize, _prepare, _splits, _model, _decode) = (added, normalize, prepare, splits, model, decode);
        (Before, After, LeadingSpaces) = (before, after, addsSpace ? 1 : 0);
        _addedById = added.All.GroupBy(token => token.Id).ToDictionary(group => group.Key, group => group.Last());
        foreach (AddedToken token in added.All)
        {
            _addedIds.TryAdd(token.Content, token.Id);
        }

        VocabularySize = Math.Max(model.Size, added.All.Select(token => token.Id + 1).DefaultIfEmpty(0).Max());
    }

    public override int VocabularySize { get; }

    /// <summary>The BERT normalizer among its steps; null where there is none.</summary>
    public BertNormalizer? BertNormalizer { get; init; }

    /// <summary>Whether the normalizer takes a text's beginning away, where it counts whether a piece stands there; else null.</summary>
    public Func<string, bool>? LosesBeginning { get; init; }

    /// <summary>Whether every token brings a space: encoding takes those of a text away, and the decoder puts one between any two tokens.</summary>
    public bool BringsSpaces { get; init; }

    public override string Kind => _model.Kind;

    public override int IdOf(string token) => _addedIds.TryGetValue(token, out int id) ? id : _model.IdOf(token);

    public override int Recognized(string token) => _addedIds.GetValueOrDefault(token, -1);

    public override byte[] BytesOf(int id)
    {
        // An added token that is a piece of text, too, stands for that: some models are padded with an exclamation mark, others have runs of spaces among both.
        byte[] bytes = !_addedById.TryGetValue(id, out AddedToken? added) || _model.Gives(id) ? _model.BytesOf(id)
            : added.Special ? [] : _model.BytesOfAdded(added.Content);

        // A space before a byte that goes on with a character would break it.
        return BringsSpaces && bytes is [< 0x80 or > 0xBF, ..] ? [(byte)' ', .. bytes] : bytes;
    }

    // Whether a word of a vocabulary of words comes out of a text whole is the split's doing: BERT's cuts signs off, and special tokens begin with one.
    public override bool Gives(int id)
        => id == _model.Unknown || _model.Gives(id) || _addedById.GetValueOrDefault(id) is { Special: false, Content.Length: > 0 }
            || (_model is WordPieceModel or WordLevelModel && _model.TextOf(id) is { } text && EncodeToIds(text, recognizeSpecial: false).Contains(id));

    public override IEnumerable<string> SpecialTexts => _added.All.Where(token => token.Special).Select(token => token.Content);

    public override IEnumerable<string> SpelledTexts
        => _added.All.Where(token => !token.Special && token.Content.Length > 0 && !_model.Gives(token.Id)).Select(token => token.Content);

    protected override void Encode(string text, bool recognizeSpecial, char? mark, TokenOutput output)
    {
        bool start = true;
        foreach ((string written, AddedToken? rawToken) in mark is null ? _added.SplitRaw(text, recognizeSpecial) : _added.SplitMarked(text))
        {
            if (rawToken is not null)
            {
                Add(rawToken, written);
                continue;
            }

            // Where the normalizer takes the text's beginning away, what is left does not stand at the start.
            start = start && LosesBeginning?.Invoke(Unmarked(written)) != true;
            foreach ((string part, AddedToken? token) in _added.SplitNormalized(_normalize(written), recognizeSpecial && mark is null))
            {
                if (token is not null)
                {
                    Add(token, part);
                    continue;
                }

                string prepared = _prepare(Unmarked(part), start);
                foreach ((int offset, int length) in PieceSplits.Of(prepared, _splits))
                {
                    for (int begin = offset, end = offset + length, cut; begin < end; begin = cut)
                    {
                        // What is not split is as long as the text: it is encoded by sections that give the same tokens.
                        cut = end - begin <= Section ? end : begin + _model.NextCut(prepared.AsSpan(begin, end - begin), Section);
                        _model.Encode(prepared.AsSpan(begin, cut - begin), output.Length + begin, output.Tokens);
                        output.Settle();
                    }
                }

                output.Append(prepared);
                start = false;
            }
        }

        string Unmarked(string part) => mark is { } none ? part.Replace($"{none}", "", StringComparison.Ordinal) : part;

        void Add(AddedToken token, string written)
        {
            output.Tokens.Add(new EncodedToken(token.Id, token.Content, output.Length..(output.Length + written.Length)));
            output.Append(written);
            start = false;
        }
    }

    public override string Decode(IEnumerable<int> ids, bool skipSpecial)
    {
        List<string> texts = [];
        foreach (int id in ids)
        {
            if (_addedById.TryGetValue(id, out AddedToken? added))
            {
                if (!(skipSpecial && added.Special))
                {
                    texts.Add(added.Content);
                }
            }
            else if (_model.TextOf(id) is { } text)
            {
                texts.Add(text);
            }
        }

        return _decode(texts);
    }
}
