using System.Text.Json.Serialization;
using Retro.Modeling;

namespace Retro.Embedders;

/// <summary>The sizes of a <see cref="TextEncoder"/>, and how its states become one vector.</summary>
/// <param name="VocabularySize">Rows of the token embedding (V).</param>
/// <param name="Width">Width of the states (D), and of the vectors where <see cref="Dense"/> makes no others of them.</param>
/// <param name="Layers">Number of layers.</param>
/// <param name="Heads">Attention heads (H); they share the width evenly.</param>
/// <param name="FeedForwardSize">Inner width of the feed-forward sub-layers.</param>
/// <param name="MaximumPositions">Rows of the position embedding where there is one: no sequence is longer.</param>
/// <param name="TokenTypes">Rows of the token-type embedding; 0: there is none.</param>
/// <param name="LayerNormEpsilon">Added to the variance in every layer norm.</param>
/// <param name="MaximumLength">Tokens a text is cut to, its frame ([CLS] and [SEP]) included.</param>
/// <param name="Pooling">How the states become one vector.</param>
/// <param name="Normalize">Whether vectors are scaled to length 1.</param>
/// <param name="Activation">The function within the feed-forward sub-layers, which are gated in <see cref="Modern"/> layers alone.</param>
public sealed record TextEncoderConfig(
    int VocabularySize,
    int Width,
    int Layers,
    int Heads,
    int FeedForwardSize,
    int MaximumPositions = 512,
    int TokenTypes = 2,
    double LayerNormEpsilon = 1e-12,
    int MaximumLength = 512,
    TextPooling Pooling = TextPooling.Mean,
    bool Normalize = false,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] ActivationKind Activation = ActivationKind.Gelu)
{
    /// <summary>
    /// The row of the position embedding that a text's first token has: 0, or 2 in RoBERTa and MPNet, whose tables begin with rows for padding.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public int FirstPosition { get; init; }

    /// <summary>
    /// Whether each head adds a learned number to an attention score, by the distance of the two tokens: 32 of them, for single distances and, beyond 7 on each
    /// side, for ranges that grow up to 128 (Raffel et al., arXiv 1910.10683, section 2.1), the same in all layers. MPNet has it.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public bool RelativePositions { get; init; }

    /// <summary>ModernBERT's layers; null: BERT's.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public ModernLayers? Modern { get; init; }

    /// <summary>What becomes of a pooled vector before it is scaled to length 1, as the folder says that the encoder was loaded from; null: nothing.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public TextDense? Dense { get; internal init; }

    /// <summary>Width of the vectors.</summary>
    internal int VectorWidth => Dense?.Width ?? Width;

    /// <summary>Tokens of the longest sequence.</summary>
    internal int LongestSequence => MaximumPositions - FirstPosition;

    /// <summary>The small encoder that is trained on the corpus itself: 4 layers of width 128, at most 128 tokens, vectors of length 1.</summary>
    /// <param name="vocabularySize">The tokenizer's vocabulary size.</param>
    /// <returns>The configuration.</returns>
    public static TextEncoderConfig Small(int vocabularySize)
        => new(
            vocabularySize, Width: 128, Layers: 4, Heads: 4, FeedForwardSize: 512, MaximumPositions: 128, TokenTypes: 1, MaximumLength: 128, Normalize: true);

    /// <summary>Checks that the values fit together.</summary>
    /// <returns>This configuration.</returns>
    /// <exception cref="RetroOptionsException">Something does not fit; the exception lists every fault.</exception>
    public TextEncoderConfig Validate()
    {
        OptionFaults faults = new(nameof(TextEncoderConfig));
        faults.Between(VocabularySize, 1);
        faults.Between(Width, 1);
        faults.Between(Layers, 1);
        faults.Between(Heads, 1);
        faults.Between(FeedForwardSize, 1);
        faults.Between(MaximumPositions, 1);
        faults.Between(TokenTypes, 0);
        faults.Between(FirstPosition, 0);
        if (Modern is not null)
        {
            Modern.Check(faults.Of(nameof(Modern)), this);
        }
        else if (RelativePositions ? (FirstPosition, TokenTypes) != (2, 0) : TokenTypes == 0 && (FirstPosition > 0 || LayerNormEpsilon != 1e-12))
        {
            faults.Add(
                $"FirstPosition {FirstPosition}, TokenTypes {TokenTypes}, LayerNormEpsilon {LayerNormEpsilon}, RelativePositions {RelativePositions} are of no known family: with relative positions (MPNet) the first two are 2 and 0; else without token types (DistilBERT) the first three are 0, 0 and 1e-12.");
        }

        if (Heads > 0 && Width % Heads != 0)
        {
            faults.Add($"Width {Width} does not divide by Heads {Heads}.");
        }

        faults.Positive(LayerNormEpsilon);
        if (MaximumLength < 3 || MaximumLength > LongestSequence)
        {
            faults.Add(
                $"MaximumLength {MaximumLength} has to lie between 3 (a token and its frame) and MaximumPositions {MaximumPositions}{(FirstPosition > 0 ? $" less FirstPosition {FirstPosition}" : "")}.");
        }

        faults.Defined(Pooling);
        faults.Between(VectorWidth, 1);
        faults.Require(
            Enum.IsDefined(Activation) && Activation is not (ActivationKind.SwiGlu or ActivationKind.GeGlu or ActivationKind.GeGluTanh),
            Activation,
            "a function without a gate");
        faults.Throw();
        return this;
    }

    /// <summary>Name and shape of every weight but those of <see cref="Dense"/>, which lie apart, without making any.</summary>
    internal IEnumerable<(string Name, long[] Shape)> Weights() => Modern?.Weights(this) ?? BertWeights();

    private IEnumerable<(string Name, long[] Shape)> BertWeights()
    {
        yield return ("embeddings.word_embeddings.weight", [VocabularySize, Width]);
        yield return ("embeddings.position_embeddings.weight", [MaximumPositions, Width]);
        if (TokenTypes > 0)
        {
            yield return ("embeddings.token_type_embeddings.weight", [TokenTypes, Width]);
        }

        yield return ("embeddings.LayerNorm.weight", [Width]);
        yield return ("embeddings.LayerNorm.bias", [Width]);
        if (RelativePositions)
        {
            yield return ("encoder.relative_attention_bias.weight", [TextEncoder.Distances, Heads]);
        }

        for (int i = 0; i < Layers; i++)
        {
            string layer = $"encoder.layer.{i}";
            (string Name, long Output, long Input)[] maps =
            [
                ("attention.self.query", Width, Width),
                ("attention.self.key", Width, Width),
                ("attention.self.value", Width, Width),
                ("attention.output.dense", Width, Width),
                ("intermediate.dense", FeedForwardSize, Width),
                ("output.dense", Width, FeedForwardSize),
            ];
            foreach ((string name, long output, long input) in maps)
            {
                yield return ($"{layer}.{name}.weight", [output, input]);
                yield return ($"{layer}.{name}.bias", [output]);
            }

            foreach (string norm in new[] { "attention.output.LayerNorm", "output.LayerNorm" })
            {
                yield return ($"{layer}.{norm}.weight", [Width]);
                yield return ($"{layer}.{norm}.bias", [Width]);
            }
        }
    }
}
