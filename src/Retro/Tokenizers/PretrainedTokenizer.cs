using System.Buffers;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>
/// The tokenizer of a pretrained model, as its folder holds it: a Hugging Face <c>tokenizer.json</c> or a SentencePiece
/// <c>tokenizer.model</c>. Ids and texts are those of the libraries that wrote the files.
/// </summary>
/// <remarks>
/// <see cref="Tokenizer.EncodeToIds(string, bool, bool)"/> recognizes special tokens that are written in a text and adds none, as
/// those libraries do with <c>add_special_tokens=False</c>; <see cref="EncodeWithSpecialTokens"/> adds what the file has for that.
/// Safe for use from many threads.
/// </remarks>
public sealed class PretrainedTokenizer : Tokenizer
{
    private readonly TextPipeline _pipeline;

    internal PretrainedTokenizer(TextPipeline pipeline) => _pipeline = pipeline;

    /// <summary>One more than the highest id.</summary>
    public int VocabularySize => _pipeline.VocabularySize;

    /// <summary>Loads a tokenizer.</summary>
    /// <param name="path">A folder with <c>tokenizer.json</c> or <c>tokenizer.model</c>, or such a file.</param>
    /// <exception cref="CorpusException">There is none, it is malformed, or it asks for something that is not supported, which is named.</exception>
    public static PretrainedTokenizer Load(string path) => Load(path, null, []);

    /// <summary>Loads a tokenizer, of which further tokens are special, or recognized otherwise.</summary>
    /// <param name="path">The folder or file.</param>
    /// <param name="special">What the files beside it call special tokens; null: nothing.</param>
    /// <param name="flagged">How they say that added tokens are recognized.</param>
    internal static PretrainedTokenizer Load(string path, IReadOnlySet<string>? special, IReadOnlyList<AddedToken> flagged)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        string file = path;
        if (Directory.Exists(path))
        {
            file = new[] { TokenizerJson.FileName, SentencePiecePipeline.FileName }.Select(name => Path.Combine(path, name)).FirstOrDefault(File.Exists)
                ?? throw new CorpusException(
                    $"The folder {path} holds neither {TokenizerJson.FileName} nor {SentencePiecePipeline.FileName}. Name the folder of a pretrained "
                        + $"model.{SentencePiecePipeline.Instead(path)}");
        }

        byte[] bytes = TokenizerFiles.Read(file);
        return new PretrainedTokenizer(file.EndsWith(".json", StringComparison.OrdinalIgnoreCase)
            ? TokenizerJson.Parse(bytes, file, special, flagged)
            : SentencePiecePipeline.Parse(bytes, file, special));
    }

    /// <summary>
    /// The ids of a text with the special tokens that the file puts around one: those of the template in a <c>tokenizer.json</c>; of a <c>tokenizer.model</c>,
    /// which has none, begin and end, as SentencePiece adds them (<c>bos:eos</c>). For what a decoder is to go on with, leave out the end.
    /// </summary>
    /// <param name="text">The text.</param>
    public IReadOnlyList<int> EncodeWithSpecialTokens(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return [.. _pipeline.Before, .. EncodeToIds(text), .. _pipeline.After];
    }

    /// <summary>The text of ids, special tokens included.</summary>
    /// <param name="ids">The ids; those outside the vocabulary are left out.</param>
    public override string Decode(IEnumerable<int> ids) => Decode(ids, skipSpecialTokens: false);

    /// <summary>The text of ids.</summary>
    /// <param name="ids">The ids; those outside the vocabulary are left out.</param>
    /// <param name="skipSpecialTokens">Whether special tokens are left out.</param>
    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens)
    {
        ArgumentNullException.ThrowIfNull(ids);
        return _pipeline.Decode(ids, skipSpecialTokens);
    }

    /// <inheritdoc/>
    public override OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten)
    {
        ArgumentNullException.ThrowIfNull(ids);
        int[] all = ids.ToArray();
        string text = _pipeline.Decode(all, false), whole = text;
        int count = all.Length;
        if (text.Length > destination.Length)
        {
            // The first ids that fit, between so many that do and so many that do not.
            (count, text) = (0, "");
            for (int below = 0, above = all.Length; above - below > 1;)
            {
                int middle = (below + above) / 2;
                (int kept, string some) = BeforeCharacter(middle);
                (below, above) = some.Length <= destination.Length ? (middle, above) : (below, middle);
                (count, text) = below == middle ? (kept, some) : (count, text);
            }
        }

        text.CopyTo(destination);
        (idsConsumed, charsWritten) = (count, text.Length);
        return count == all.Length ? OperationStatus.Done : OperationStatus.DestinationTooSmall;

        // Within a character, whose last bytes come with the next ids, the text so far is not how the whole begins: at most three ids are left for later.
        (int Count, string Text) BeforeCharacter(int first)
        {
            string some = _pipeline.Decode(all.Take(first), false);
            for (int least = Math.Max(first - 3, 0); first > least && !whole.StartsWith(some, StringComparison.Ordinal);)
            {
                some = _pipeline.Decode(all.Take(--first), false);
            }

            return (first, some);
        }
    }

    /// <inheritdoc/>
    protected override EncodeResults<EncodedToken> EncodeToTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        List<EncodedToken> tokens = _pipeline.Encode(text ?? textSpan.ToString(), recognizeSpecial: true, out string normalized);
        int kept = WholeFirst(tokens, settings.MaxTokenCount);
        int consumed = kept == tokens.Count ? normalized.Length : kept == 0 ? 0 : tokens[kept - 1].Offset.End.Value;
        tokens.RemoveRange(kept, tokens.Count - kept);
        return new EncodeResults<EncodedToken> { Tokens = tokens, NormalizedText = normalized, CharsConsumed = consumed };
    }

    /// <inheritdoc/>
    protected override int GetIndexByTokenCount(
        string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings, bool fromEnd, out string? normalizedText, out int tokenCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(settings.MaxTokenCount);
        List<EncodedToken> tokens = _pipeline.Encode(text ?? textSpan.ToString(), recognizeSpecial: true, out string normalized);
        normalizedText = normalized;
        if (!fromEnd)
        {
            tokenCount = WholeFirst(tokens, settings.MaxTokenCount);
            return tokenCount == tokens.Count ? normalized.Length : tokenCount == 0 ? 0 : tokens[tokenCount - 1].Offset.End.Value;
        }

        int first = Math.Max(0, tokens.Count - settings.MaxTokenCount);
        while (first < tokens.Count && IsWithinCharacter(tokens[first]))
        {
            first++;
        }

        tokenCount = tokens.Count - first;
        return first == 0 ? 0 : first == tokens.Count ? normalized.Length : tokens[first].Offset.Start.Value;
    }

    /// <summary>How it works inside.</summary>
    internal TextPipeline Pipeline => _pipeline;

    /// <summary>The ids of a text in which special tokens are plain characters.</summary>
    internal int[] EncodePlain(string text) => _pipeline.EncodeToIds(text, recognizeSpecial: false);

    // How many of the first tokens stand for whole characters: one may have several tokens, and a text that is cut within it cannot be put together again.
    private int WholeFirst(List<EncodedToken> tokens, int most)
    {
        int count = Math.Min(tokens.Count, most);
        while (count > 0 && count < tokens.Count && IsWithinCharacter(tokens[count]))
        {
            count--;
        }

        return count;
    }

    // By its bytes, since one token may end a character and hold the next; by its place where an unknown byte of a character has one token more.
    private bool IsWithinCharacter(EncodedToken token)
        => token.Offset.Start.Equals(token.Offset.End) || _pipeline.BytesOf(token.Id) is [>= 0x80 and <= 0xBF, ..];
}
