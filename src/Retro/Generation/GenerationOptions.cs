using System.Collections.ObjectModel;

namespace Retro.Generation;

/// <summary>Changes the logits of a text's next token, such as a grammar that rules out what it cannot go on with.</summary>
/// <param name="tokens">The text so far, prompt and the token that begins it included.</param>
/// <param name="logits">
/// One number for each token of the tokenizer, to be changed in place, after all else that changes them; minus infinity rules a token out, as
/// <see cref="GenerationOptions.BannedTokens"/> are already. What <see cref="GenerationOptions.BannedStrings"/> refuse is told when it is drawn, and another
/// token drawn in its place.
/// </param>
public delegate void LogitsProcessor(ReadOnlySpan<int> tokens, Span<float> logits);

/// <summary>How <see cref="RetroGenerator"/> continues a prompt.</summary>
public sealed record GenerationOptions
{
    /// <summary>Tokens generated at most; the text may end before.</summary>
    /// <value>The default is 256.</value>
    public int MaximumNewTokens { get; init; } = 256;

    /// <summary>
    /// Divides the logits, or a mixture's log-probabilities, before the softmax: below 1 bolder choices count less; 0 always takes the most probable
    /// token. Null: 0.8, and 0 beside several <see cref="Beams"/>, which draw nothing.
    /// </summary>
    /// <value>The default is null.</value>
    public double? Temperature { get; init; }

    /// <summary>Only this many of the most probable tokens are drawn from; 0 for all.</summary>
    /// <value>The default is 0.</value>
    public int TopK { get; init; }

    /// <summary>
    /// Only the fewest most probable tokens that together reach this probability are drawn from (nucleus sampling, Holtzman et al., arXiv 1904.09751); 1 for
    /// all, 0 for the best one.
    /// </summary>
    /// <value>The default is 0.95.</value>
    public double TopP { get; init; } = 0.95;

    /// <summary>
    /// Only tokens that are at least so many times as probable as the best one, once divided by the temperature, are drawn from (min-p, Nguyen et al., arXiv
    /// 2407.01082), beside what <see cref="TopK"/> and <see cref="TopP"/> leave; 0 for all, 1 for the best one and its equals.
    /// </summary>
    /// <value>The default is 0.</value>
    public double MinP { get; init; }

    /// <summary>
    /// Makes tokens that the text already holds less probable: a positive logit is divided by it, a negative one multiplied (Keskar et al.,
    /// arXiv 1909.05858, section 4.1); a mixture's logits are its log-probabilities on the scale of its model's logits. 1 for none.
    /// </summary>
    /// <value>The default is 1.</value>
    public double RepetitionPenalty { get; init; } = 1;

    /// <summary>
    /// Is taken off a token's logit, on the scale of <see cref="RepetitionPenalty"/> and after it, for each time that it was generated already; what stands in
    /// the prompt does not count. OpenAI's is from -2 to 2.
    /// </summary>
    /// <value>The default is 0.</value>
    public double FrequencyPenalty { get; init; }

    /// <summary>Is taken off the logit of a token that was generated already, however often, as <see cref="FrequencyPenalty"/> is for each time.</summary>
    /// <value>The default is 0.</value>
    public double PresencePenalty { get; init; }

    /// <summary>What is added to the logits of tokens, by their ids, before any penalty.</summary>
    /// <value>The default is nothing.</value>
    public IReadOnlyDictionary<int, double> LogitBias { get; init; } = ReadOnlyDictionary<int, double>.Empty;

    /// <summary>
    /// Changes the logits last, for each token that is chosen. It is called for the texts of one call one after the other, and for those of several calls at
    /// once. How probable a token was by the model (<see cref="GeneratedPiece.LogProbability"/>) is told without it.
    /// </summary>
    /// <value>The default is null: nothing does.</value>
    public LogitsProcessor? LogitsProcessor { get; init; }

    /// <summary>Tokens generated at least: before, neither the model nor a stop string or token ends the text.</summary>
    /// <value>The default is 0.</value>
    public int MinimumNewTokens { get; init; }

    /// <summary>Ids of tokens that are never generated, as those that stand for no text, such as padding, never are.</summary>
    /// <value>The default is none.</value>
    public IReadOnlyList<int> BannedTokens { get; init; } = [];

    /// <summary>
    /// Strings that the generated text never holds: a token that would complete one is not drawn. "\uFFFD" is all that is no whole character.
    /// </summary>
    /// <value>The default is none.</value>
    public IReadOnlyList<string> BannedStrings { get; init; } = [];

    /// <summary>
    /// Texts that are followed side by side, of which the best is taken (beam search). After each token the most probable continuations of all of them are
    /// kept, so many at most; a text that ends is set aside with its score, its log-probability divided by its length to the power
    /// <see cref="LengthPenalty"/>. The search ends when so many have ended, or when no text that goes on can become better than the best of them; nothing
    /// comes before. It draws nothing, so that <see cref="Temperature"/> has to be 0, or not set; 1 follows one text.
    /// </summary>
    /// <value>The default is 1.</value>
    public int Beams { get; init; } = 1;

    /// <summary>
    /// The power of a text's length in tokens, its end included, that its log-probability is divided by where <see cref="Beams"/> are compared: 0 looks for the
    /// most probable text, which tends to be a short one; 1 for the most probable tokens on average (Wu et al., arXiv 1609.08144, section 7, in its simplest
    /// form).
    /// </summary>
    /// <value>The default is 1.</value>
    public double LengthPenalty { get; init; } = 1;

    /// <summary>How many of the most probable tokens each piece names beside its own.</summary>
    /// <value>The default is 0.</value>
    public int Alternatives { get; init; }

    /// <summary>
    /// Texts that are generated for each prompt, which is read once for all of them where a model alone goes on with it; their tokens are drawn independently
    /// of each other. A list of prompts takes several, and the texts come with their numbers.
    /// </summary>
    /// <value>The default is 1.</value>
    public int Samples { get; init; } = 1;

    /// <summary>
    /// Seeds the drawing of tokens: the same seed, weights, database, machine and number of threads give the same text. Texts of one call draw with seeds that
    /// follow from it and from their numbers, the first with itself.
    /// </summary>
    /// <value>The default is 0.</value>
    public long Seed { get; init; }

    /// <summary>The text ends before the first of these strings; none of them is part of it.</summary>
    /// <value>The default is none.</value>
    public IReadOnlyList<string> Stop { get; init; } = [];

    /// <summary>
    /// Whether white space in front of the text is passed over, since a model likes to begin an answer with a space or an empty line: it is no part of the
    /// text, and a stop string of white space alone does not end the text there.
    /// </summary>
    /// <value>The default is false.</value>
    public bool SkipsLeadingSpace { get; init; }

    /// <summary>Ids of tokens that end the text, beside those that end it by the tokenizer; none of them is part of it.</summary>
    /// <value>The default is none.</value>
    public IReadOnlyList<int> StopTokens { get; init; } = [];

    /// <summary>Neighbors read at once; null for as many as the model's configuration names, or the reader reads: it reads no more.</summary>
    /// <value>The default is null.</value>
    public int? Neighbors { get; init; }

    /// <summary>Whether the text reads from the database; if not, the model runs without its cross-attention altogether, and nothing is copied.</summary>
    /// <value>The default is true.</value>
    public bool Retrieval { get; init; } = true;

    /// <summary>
    /// Passages that are read in place of what would be found: after each chunk the same, best first, each as far as the model reads a neighbor, and no more
    /// than <see cref="Neighbors"/> says or a reader reads; a RETRO reads as many as there are. They need no database.
    /// </summary>
    /// <value>The default is none: neighbors are found.</value>
    public IReadOnlyList<string> Passages { get; init; } = [];

    /// <summary>
    /// s: neighbors are found anew after every s tokens of the text, by its last chunk's length of tokens; a RETRO takes a divisor of its chunk length, and
    /// counts its chunks from the last such place, so that it reads its text anew each time, filled up at its beginning with begin-of-text tokens. Null: after
    /// each chunk, as in training, or as often as the reader asks.
    /// </summary>
    /// <value>The default is null.</value>
    public int? RetrievalStride { get; init; }

    /// <summary>
    /// Ids of documents that are not read from, such as the one that the prompt was taken from: neither they nor their copies, documents of the same text, come
    /// as neighbors, as in training (RETRO, section 2.3). An id that no document of the database has excludes none.
    /// </summary>
    /// <value>The default is none: whatever the database holds may be read.</value>
    public IReadOnlyList<string> ExcludedDocuments { get; init; } = [];

    /// <summary>
    /// The labels that whoever the text is for may see: no document is read, found for the prompt or copied from that has another one
    /// (<see cref="Search.NeighborQuery.Labels"/>). They come from the caller, whatever the prompt says.
    /// </summary>
    /// <value>The default is null: everything in the database may be seen.</value>
    public IReadOnlyList<string>? Labels { get; init; }

    /// <summary>The temperature that is drawn with.</summary>
    internal double DrawnTemperature => Temperature ?? (Beams > 1 ? 0 : 0.8);

    /// <summary>Whether several <see cref="Beams"/> could be followed: nothing is drawn, and a token is as probable as the model says.</summary>
    public bool TakesBeams
        => DrawnTemperature == 0 && RepetitionPenalty == 1 && FrequencyPenalty == 0 && PresencePenalty == 0 && LogitBias is null or { Count: 0 }
            && LogitsProcessor is null;

    /// <summary>How a text of several is generated: its draws are its own.</summary>
    /// <param name="text">Its number, from 0.</param>
    internal GenerationOptions OfText(int text)
        => text == 0 ? this : this with { Seed = unchecked((long)SeededRandom.Beginning(Seed, Purpose.GeneratedTexts, text)) };

    /// <summary>Checks the values.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">Something does not fit; the exception lists every fault.</exception>
    public GenerationOptions Validate()
    {
        OptionFaults faults = new(nameof(GenerationOptions));
        faults.Between(MaximumNewTokens, 0);
        faults.NotNegative(DrawnTemperature, nameof(Temperature));
        faults.Between(TopK, 0);
        faults.Share(TopP);
        faults.Share(MinP);
        faults.Positive(RepetitionPenalty);
        faults.Finite(FrequencyPenalty);
        faults.Finite(PresencePenalty);
        faults.Require(
            LogitBias is not null && LogitBias.All(bias => bias.Key >= 0 && double.IsFinite(bias.Value)),
            LogitBias is null ? null : string.Join(", ", LogitBias.Select(bias => FormattableString.Invariant($"{bias.Key}: {bias.Value}"))),
            $"finite numbers by ids, none of which is negative; {nameof(BannedTokens)} rules tokens out",
            nameof(LogitBias));
        faults.Require(Neighbors is null or > 0, Neighbors, $"at least 1; set {nameof(Retrieval)} to false to read none");
        faults.Require(HasTexts(Stop), Stop, "no empty text, before which every text would end at once");
        faults.Require(
            ExcludedDocuments is not null && ExcludedDocuments.All(id => id is not null), ExcludedDocuments, "ids alone; leave it empty to exclude nothing");
        faults.Require(Labels is null || Labels.All(label => label is not null), Labels, "labels alone, or not set, to see everything");
        faults.Require(
            MinimumNewTokens >= 0 && MinimumNewTokens <= Math.Max(0, MaximumNewTokens),
            MinimumNewTokens,
            $"0 to {nameof(MaximumNewTokens)}, {MaximumNewTokens}");
        RequireIds(BannedTokens, nameof(BannedTokens));
        RequireIds(StopTokens, nameof(StopTokens));
        faults.Require(HasTexts(BannedStrings), BannedStrings, "no empty text, which every text holds");
        faults.Between(Beams, 1);
        if (Beams > 1 && !TakesBeams)
        {
            faults.Add(
                $"Beams is {Beams}; expected Temperature 0, RepetitionPenalty 1 and nothing else that changes logits beside it: beams look for the best text.");
        }

        faults.Between(Samples, 1);
        if (Beams > 1 && Samples > 1)
        {
            faults.Add($"Beams is {Beams}; expected Samples 1 beside it, since beams find one text.");
        }

        faults.NotNegative(LengthPenalty);
        faults.Between(Alternatives, 0);
        faults.Require(
            HasTexts(Passages),
            Passages is null ? null : "a list with an empty text", // and not all the others
            "texts; leave it empty to have neighbors found",
            nameof(Passages));
        faults.Require(RetrievalStride is null or > 0, RetrievalStride, "at least 1, or not set, to ask after each chunk");
        faults.Throw();
        return this;

        void RequireIds(IReadOnlyList<int>? ids, string name) => faults.Require(
            ids is not null && ids.All(token => token >= 0), ids is null ? null : string.Join(", ", ids), "ids, none of them negative", name);

        static bool HasTexts(IReadOnlyList<string>? texts) => texts is not null && !texts.Any(string.IsNullOrEmpty);
    }
}
