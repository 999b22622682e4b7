using Retro.Search;

namespace Retro.Readers;

/// <summary>Passages in front of a text, in tokens: how they are put together, and which of the text's tokens follow.</summary>
/// <remarks>
/// What is read of a text is decided chunk by chunk: all of a chunk's targets, and of the last token before it the chunk's first, have one prompt, whose
/// window ends with the chunk even where the text does not yet, so that a longer text changes nothing.
/// </remarks>
internal sealed class PassagePrompt
{
    private readonly InContextOptions _options;
    private readonly int _begin, _end;
    private readonly int[] _before, _between, _after;
    private readonly int _room;
    private int _chunkLength = 1;

    /// <param name="options">Settings, which are valid.</param>
    /// <param name="begin">The token at the very beginning; where the text begins with it, its own stands there.</param>
    /// <param name="end">The token that ends a document.</param>
    /// <param name="before">In front of the passages.</param>
    /// <param name="between">Between two of them.</param>
    /// <param name="after">Between the passages and the text.</param>
    /// <param name="maximumLength">Most tokens that the model takes; null: any number.</param>
    /// <exception cref="RetroOptionsException">The template alone takes the budget, or the budget all that the model takes.</exception>
    public PassagePrompt(InContextOptions options, int begin, int end, int[] before, int[] between, int[] after, int? maximumLength)
    {
        (_options, _begin, _end, _before, _between, _after) = (options, begin, end, before, between, after);
        WindowLength = Math.Min(options.WindowLength, maximumLength ?? int.MaxValue);
        _room = options.PrefixLength - 1 - before.Length - after.Length;
        OptionFaults faults = new(nameof(InContextOptions));
        faults.Require(
            _room > 0,
            options.PrefixLength,
            $"more than {options.PrefixLength - _room}, the tokens of the template with the begin-of-text token",
            nameof(InContextOptions.PrefixLength));
        faults.Require(
            options.PrefixLength < WindowLength,
            options.PrefixLength,
            $"less than {maximumLength}, the tokens that the model takes at once",
            nameof(InContextOptions.PrefixLength));
        faults.Throw();
    }

    /// <summary>The same, with less of one passage than there is room for, so that its prefix is whole chunks, where it is a chunk and more.</summary>
    /// <param name="chunkLength">M.</param>
    public PassagePrompt OfWholeChunks(int chunkLength)
    {
        PassagePrompt same = (PassagePrompt)MemberwiseClone();
        same._chunkLength = chunkLength;
        return same;
    }

    /// <summary>Most tokens that are read at once.</summary>
    public int WindowLength { get; }

    /// <summary>Tokens of text that have room behind the longest prefix.</summary>
    public int Room => WindowLength - _options.PrefixLength;

    /// <summary>Most tokens of one prompt with so many of text.</summary>
    public int LongestFor(int length) => (int)Math.Min(WindowLength, _options.PrefixLength + (long)length);

    /// <summary>Makes sure that a chunk of text has room behind the passages; where whole chunks stand in front of the text and begin it, some more.</summary>
    /// <exception cref="ArgumentException">It has not.</exception>
    public void RequireRoomFor(int chunkLength, string name, bool wholeChunks = false)
    {
        if (Room < (wholeChunks ? (3 * chunkLength) - 2 : chunkLength))
        {
            throw new ArgumentException(
                $"{name} reads {WindowLength} tokens at once, of which {_options.PrefixLength} may stand in front of the text: no room is left for a chunk of "
                    + $"{chunkLength}{(wholeChunks ? ", with up to two of them lost to whole ones" : "")}; lower {nameof(InContextOptions.PrefixLength)}.",
                nameof(chunkLength));
        }
    }

    /// <summary>What stands in front of a text.</summary>
    /// <param name="passages">Best first; those without text count as none.</param>
    /// <returns>The tokens from the begin-of-text token on; none where there is no passage.</returns>
    public long[] Prefix(IEnumerable<long[]> passages)
    {
        long[][] all = [.. passages];
        List<long[]> kept = [.. all.Zip(Fit(all), (passage, read) => passage[read]).Where(part => part.Length > 0)];
        if (kept.Count == 0)
        {
            return [];
        }

        kept.Reverse(); // the best one stands next to the text
        List<long> prefix = [_begin, .. _before];
        for (int i = 0; i < kept.Count; i++)
        {
            prefix.AddRange(i == 0 ? [] : Array.ConvertAll(_between, token => (long)token));
            prefix.AddRange(kept[i]);
        }

        prefix.AddRange(Array.ConvertAll(_after, token => (long)token));
        return [.. prefix];
    }

    /// <summary>From which place on a text follows a prefix: from its beginning, or with as many tokens as the window has room for.</summary>
    /// <param name="prefixLength">Tokens of the prefix; 0: there is none.</param>
    /// <param name="text">The tokens of the text that all of the prompt's targets are predicted from.</param>
    /// <param name="windowEnd">The place after the last one that the prompt can get to see.</param>
    /// <returns>The place; where the text begins with begin-of-text tokens, behind them, or without a prefix at the last of them.</returns>
    public int TextStart(int prefixLength, ReadOnlySpan<long> text, int windowEnd)
    {
        int other = text.IndexOfAnyExcept((long)_begin), begins = other < 0 ? text.Length : other;
        return Math.Max(prefixLength > 0 ? begins : begins - 1, Math.Max(0, windowEnd - WindowLength + prefixLength));
    }

    /// <summary>
    /// Fills a prefix up at its beginning, where it is less than a chunk or the text's own begin-of-text token is left out, and leaves out a little more of
    /// the text, so that the text's chunks are the prompt's.
    /// </summary>
    /// <param name="prefix">The prefix, made by <see cref="OfWholeChunks"/>; none where it is empty.</param>
    /// <param name="text">The tokens of the text that all of the prompt's targets are predicted from.</param>
    /// <param name="windowEnd">The place after the last one that the prompt can get to see.</param>
    /// <param name="chunkLength">M.</param>
    /// <returns>The prefix, and the place from which on the text follows.</returns>
    public (long[] Prefix, int From) InWholeChunks(long[] prefix, ReadOnlySpan<long> text, int windowEnd, int chunkLength)
    {
        int from = prefix.Length > 0 ? TextStart(prefix.Length, text, 0) : 0, missing = Missing(from);
        if (windowEnd - from + prefix.Length + missing > WindowLength)
        {
            missing = Missing(0);
            from = (windowEnd + prefix.Length + missing - WindowLength + chunkLength - 1) / chunkLength * chunkLength;
        }

        return ([.. Enumerable.Repeat((long)_begin, missing), .. prefix], from);

        // A fraction of a chunk, so that prefix and text from there on are as many tokens as the text in front of it, up to whole chunks.
        int Missing(int place) => prefix.Length == 0 ? 0 : (((place - prefix.Length) % chunkLength) + chunkLength) % chunkLength;
    }

    /// <summary>
    /// Where the text of a passage stands, its first place and its tokens: behind the token that begins its document and before the one that ends it. These say
    /// to a decoder that what stands before has nothing to do with what follows.
    /// </summary>
    /// <param name="passage">The tokens of a chunk and what follows it of its document.</param>
    public (int Start, int Length) TextOf(long[] passage)
    {
        int start = passage.Length > 0 && passage[0] == _begin ? 1 : 0, length = passage.Length - start;
        return (start, length > 0 && passage[^1] == _end ? length - 1 : length);
    }

    /// <summary>Which of its tokens are read of each passage: none where it has no text, or the better ones leave it no room.</summary>
    /// <param name="passages">Their tokens, best first.</param>
    public Range[] Fit(IReadOnlyList<long[]> passages)
    {
        Range[] kept = new Range[passages.Count];
        (int Start, int Length)[] texts = [.. passages.Select(TextOf)];
        int[] filled = [.. Enumerable.Range(0, kept.Length).Where(i => texts[i].Length > 0)];

        // As many as have a token each.
        int[] read = [.. filled.Take((_room + _between.Length) / (1 + _between.Length))];

        // What the shorter ones leave of their shares is the longer ones'.
        int left = _room - ((read.Length - 1) * _between.Length), longer = read.Length;
        foreach (int length in read.Select(i => texts[i].Length).Order().TakeWhile(length => length <= left / longer))
        {
            (left, longer) = (left - length, longer - 1);
        }

        int share = longer > 0 ? left / longer : int.MaxValue;
        foreach (int i in read)
        {
            kept[i] = texts[i].Start..(texts[i].Start + Whole(Math.Min(share, texts[i].Length)));
        }

        return kept;

        // A few tokens of a passage are worth less than a prefix that is filled up to the next chunk costs.
        int Whole(int length)
        {
            int around = _options.PrefixLength - _room, beyond = (around + length) % _chunkLength;
            return around + length >= _chunkLength && beyond < length ? length - beyond : length;
        }
    }
}
