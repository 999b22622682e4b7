using System.Buffers;

namespace Microsoft.ML.Tokenizers;

/// <summary>Text to token ids and back.</summary>
public abstract class Tokenizer
{
    protected Tokenizer()
    {
    }

    public virtual PreTokenizer? PreTokenizer => null;

    public virtual Normalizer? Normalizer => null;

    public IReadOnlyList<int> EncodeToIds(string text, bool considerPreTokenization = true, bool considerNormalization = true)
        => EncodeToIds(text, text.AsSpan(), Settings(considerPreTokenization, considerNormalization)).Tokens;

    public IReadOnlyList<int> EncodeToIds(ReadOnlySpan<char> text, bool considerPreTokenization = true, bool considerNormalization = true)
        => EncodeToIds(null, text, Settings(considerPreTokenization, considerNormalization)).Tokens;

    public IReadOnlyList<int> EncodeToIds(string text, int maxTokenCount, out string? normalizedText, out int charsConsumed, bool considerPreTokenization = true, bool considerNormalization = true)
        => Limited(text, text.AsSpan(), maxTokenCount, out normalizedText, out charsConsumed, considerPreTokenization, considerNormalization);

    public IReadOnlyList<int> EncodeToIds(ReadOnlySpan<char> text, int maxTokenCount, out string? normalizedText, out int charsConsumed, bool considerPreTokenization = true, bool considerNormalization = true)
        => Limited(null, text, maxTokenCount, out normalizedText, out charsConsumed, considerPreTokenization, considerNormalization);

    public IReadOnlyList<EncodedToken> EncodeToTokens(string text, out string? normalizedText, bool considerPreTokenization = true, bool considerNormalization = true)
    {
        EncodeResults<EncodedToken> results = EncodeToTokens(text, text.AsSpan(), Settings(considerPreTokenization, considerNormalization));
        normalizedText = results.NormalizedText;
        return results.Tokens;
    }

    public IReadOnlyList<EncodedToken> EncodeToTokens(ReadOnlySpan<char> text, out string? normalizedText, bool considerPreTokenization = true, bool considerNormalization = true)
    {
        EncodeResults<EncodedToken> results = EncodeToTokens(null, text, Settings(considerPreTokenization, considerNormalization));
        normalizedText = results.NormalizedText;
        return results.Tokens;
    }

    public int CountTokens(string text, bool considerPreTokenization = true, bool considerNormalization = true)
        => CountTokens(text, text.AsSpan(), Settings(considerPreTokenization, considerNormalization));

    public int CountTokens(ReadOnlySpan<char> text, bool considerPreTokenization = true, bool considerNormalization = true)
        => CountTokens(null, text, Settings(considerPreTokenization, considerNormalization));

    public int GetIndexByTokenCount(string text, int maxTokenCount, out string? normalizedText, out int tokenCount, bool considerPreTokenization = true, bool considerNormalization = true)
        => GetIndexByTokenCount(text, text.AsSpan(), Settings(considerPreTokenization, considerNormalization, maxTokenCount), fromEnd: false, out normalizedText, out tokenCount);

    public int GetIndexByTokenCount(ReadOnlySpan<char> text, int maxTokenCount, out string? normalizedText, out int tokenCount, bool considerPreTokenization = true, bool considerNormalization = true)
        => GetIndexByTokenCount(null, text, Settings(considerPreTokenization, considerNormalization, maxTokenCount), fromEnd: false, out normalizedText, out tokenCount);

    public int GetIndexByTokenCountFromEnd(string text, int maxTokenCount, out string? normalizedText, out int tokenCount, bool considerPreTokenization = true, bool considerNormalization = true)
        => GetIndexByTokenCount(text, text.AsSpan(), Settings(considerPreTokenization, considerNormalization, maxTokenCount), fromEnd: true, out normalizedText, out tokenCount);

    public int GetIndexByTokenCountFromEnd(ReadOnlySpan<char> text, int maxTokenCount, out string? normalizedText, out int tokenCount, bool considerPreTokenization = true, bool considerNormalization = true)
        => GetIndexByTokenCount(null, text, Settings(considerPreTokenization, considerNormalization, maxTokenCount), fromEnd: true, out normalizedText, out tokenCount);

    public virtual string Decode(IEnumerable<int> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        List<int> list = ids.ToList();
        char[] buffer = new char[Math.Max(256, list.Count * 8)];
        OperationStatus status = Decode(list, buffer, out _, out int written);
        while (status == OperationStatus.DestinationTooSmall)
        {
            buffer = new char[buffer.Length * 2];
            status = Decode(list, buffer, out _, out written);
        }

        return status == OperationStatus.Done
            ? new string(buffer, 0, written)
            : throw new InvalidOperationException("The ids cannot be decoded.");
    }

    public abstract OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten);

    protected abstract EncodeResults<EncodedToken> EncodeToTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings);

    protected virtual EncodeResults<int> EncodeToIds(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        EncodeResults<EncodedToken> results = EncodeToTokens(text, textSpan, settings);
        int[] ids = new int[results.Tokens.Count];
        for (int i = 0; i < ids.Length; i++)
        {
            ids[i] = results.Tokens[i].Id;
        }

        return new EncodeResults<int> { Tokens = ids, NormalizedText = results.NormalizedText, CharsConsumed = results.CharsConsumed };
    }

    protected virtual int CountTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
        => EncodeToIds(text, textSpan, settings).Tokens.Count;

    protected virtual int GetIndexByTokenCount(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings, bool fromEnd, out string? normalizedText, out int tokenCount)
    {
        int limit = settings.MaxTokenCount;
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(limit, "maxTokenCount");
        if (!fromEnd)
        {
            EncodeResults<int> results = EncodeToIds(text, textSpan, settings);
            normalizedText = results.NormalizedText;
            tokenCount = results.Tokens.Count;
            return results.CharsConsumed;
        }

        settings.MaxTokenCount = int.MaxValue;
        EncodeResults<EncodedToken> all = EncodeToTokens(text, textSpan, settings);
        normalizedText = all.NormalizedText;
        int first = TokenLimit.FirstFromEnd(all.Tokens, limit);
        tokenCount = all.Tokens.Count - first;
        return first == 0 ? 0 : tokenCount == 0 ? (normalizedText?.Length ?? textSpan.Length) : all.Tokens[first].Offset.Start.Value;
    }

    private IReadOnlyList<int> Limited(string? text, ReadOnlySpan<char> span, int maxTokenCount, out string? normalizedText, out int charsConsumed, bool considerPreTokenization, bool considerNormalization)
    {
        EncodeResults<int> results = EncodeToIds(text, span, Settings(considerPreTokenization, considerNormalization, maxTokenCount));
        normalizedText = results.NormalizedText;
        charsConsumed = results.CharsConsumed;
        return results.Tokens;
    }

    private static EncodeSettings Settings(bool considerPreTokenization, bool considerNormalization, int maxTokenCount = int.MaxValue)
    {
        if (maxTokenCount <= 0)
        {
            throw new ArgumentOutOfRangeException(nameof(maxTokenCount), "The maximum number of tokens must be greater than zero.");
        }

        return new EncodeSettings { ConsiderPreTokenization = considerPreTokenization, ConsiderNormalization = considerNormalization, MaxTokenCount = maxTokenCount };
    }
}
