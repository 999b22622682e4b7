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
                -1, Temperature = double.NaN, TopK = -2, TopP = 1.5, MinP = -0.1, RepetitionPenalty = 0, Neighbors = 0, Stop = ["x", ""],
            ExcludedDocuments = ["a", null!], Labels = [null!],
            MinimumNewTokens = 5, BannedTokens = [-1], StopTokens = [3, -2], BannedStrings = [""], Alternatives = -1, Passages = [""], RetrievalStride = 0,
            Samples = 0, FrequencyPenalty = double.NaN, PresencePenalty = double.NegativeInfinity,
            LogitBias = new Dictionary<int, double> { [3] = 0.5, [-1] = 1, [4] = double.PositiveInfinity },
        }.Validate());

        Assert.Equal(
            [
                "MaximumNewTokens is -1; expected at least 0.",
                "Temperature is NaN; expected a finite number of at least 0.",
                "TopK is -2; expected at least 0.",
                "TopP is 1.5; expected 0 to 1.",
                "MinP is -0.1; expected 0 to 1.",
                "RepetitionPenalty is 0; expected a finite number above 0.",
                "FrequencyPenalty is NaN; expected a finite number.",
                "PresencePenalty is -Infinity; expected a finite number.",
                "LogitBias is 3: 0.5, -1: 1, 4: Infinity; expected finite numbers by ids, none of which is negative; BannedTokens rules tokens out.",
                "Neighbors is 0; expected at least 1; set Retrieval to false to read none.",
                "Stop is \"x\", \"\"; expected no empty text, before which every text would end at once.",
                "ExcludedDocuments is \"a\", \"\"; expected ids alone; leave it empty to exclude nothing.",
                "Labels is \"\"; expected labels alone, or not set, to see everything.",
                "MinimumNewTokens is 5; expected 0 to MaximumNewTokens, -1.",
                "BannedTokens is -1; expected ids, none of them negative.",
                "StopTokens is 3, -2; expected ids, none of them negative.",
                "BannedStrings is \"\"; expected no empty text, which every text holds.",
                "Samples is 0; expected at least 1.",
                "Alternatives is -1; expected at least 0.",
                "Passages is a list with an empty text; expected texts; leave it empty to have neighbors found.",
                "RetrievalStride is 0; expected at least 1, or not set, to ask after each chunk.",
            ],
            exception.Faults);
    }

    [Fact]
    public void The_defaults_are_fine() => Assert.Equal(new GenerationOptions(), new GenerationOptions().Validate());
}
