using Retro.Generation;

namespace Retro.Tests.Generation;

public class GenerationOptionsTests
{
    [Fact]
    public void Every_fault_is_named()
    {
        RetroOptionsException exception = Assert.Throws<RetroOptionsException>(() => new GenerationOptions
        {
            MaximumNewTokens =
                -1, Temperature = double.NaN, TopK = -2, TopP = 0, RepetitionPenalty = 0, Neighbors = 0, Stop = ["x", ""], ExcludedDocuments = ["a", null!],
            Labels = [null!],
            MinimumNewTokens = 5, BannedTokens = [-1], BannedStrings = [""], Alternatives = -1, Passages = [""], RetrievalStride = 0,
        }.Validate());

        Assert.Equal(
            [
                "MaximumNewTokens -1 must not be negative.",
                "Temperature NaN has to be 0 (the most probable token) or positive.",
                "TopK -2 has to be 0 (all tokens) or positive.",
                "TopP 0 has to lie in (0, 1].",
                "RepetitionPenalty 0 has to be positive.",
                "Neighbors 0 has to be positive; set Retrieval to false to read none.",
                "Stop must not hold an empty string: every text would end at once.",
                "ExcludedDocuments must not hold null: leave it empty to exclude nothing.",
                "Labels must not hold null: leave them out to see everything.",
                "MinimumNewTokens 5 has to lie between 0 and MaximumNewTokens, -1.",
                "BannedTokens must hold no negative id.",
                "BannedStrings must not hold an empty string: every text holds it.",
                "Alternatives -1 must not be negative.",
                "Passages must not hold an empty passage: leave it empty to have neighbors found.",
                "RetrievalStride 0 has to be positive; null asks after each chunk.",
            ],
            exception.Faults);
    }

    [Fact]
    public void The_defaults_are_fine() => Assert.Equal(new GenerationOptions(), new GenerationOptions().Validate());
}
