using System.CommandLine;
using Retro.Cli;
using Retro.Generation;

namespace Retro.Tests.Cli;

/// <summary>What a command line says of how a text is written.</summary>
public class ReadingOptionsTests
{
    [Fact]
    public void All_that_is_typed_of_how_a_text_is_written_is_how_it_is_written()
    {
        ReadingOptions reading = new(tokens: 256, temperature: 0.8);
        RootCommand command = new();
        Array.ForEach(reading.Options, command.Add);

        GenerationOptions drawn = reading.Generation(
            command.Parse(
            [
                "--model", "m", "--source", "none", "--k", "3", "--tokens", "7", "--temperature", "0.5", "--top-k", "4", "--top-p", "0.9",
                "--min-p", "0.1", "--repetition-penalty", "1.3", "--frequency-penalty", "0.4", "--presence-penalty", "-0.5", "--stop", "x", "--ban", "e",
                "--ban", "f", "--exclude", "d", "--labels", "staff", "--seed", "9",
            ]),
            "\n");

        Assert.Equal((7, 0.5, 4, 0.9, 1.3), (drawn.MaximumNewTokens, drawn.Temperature, drawn.TopK, drawn.TopP, drawn.RepetitionPenalty));
        Assert.Equal((0.1, 0.4, -0.5), (drawn.MinP, drawn.FrequencyPenalty, drawn.PresencePenalty));
        Assert.Equal((1, 3, false, 9L), (drawn.Beams, drawn.Neighbors, drawn.Retrieval, drawn.Seed));
        Assert.Equal(["\n", "x"], drawn.Stop);
        Assert.Equal(["e", "f"], drawn.BannedStrings);
        Assert.Equal(["d"], drawn.ExcludedDocuments);
        Assert.Equal(["staff"], drawn.Labels);

        GenerationOptions searched = reading.Generation(command.Parse(["--model", "m", "--beams", "4"]));
        Assert.Equal((4, 0.0, 256), (searched.Beams, searched.Temperature, searched.MaximumNewTokens));
        Assert.Equal((null, null, true), (searched.Labels, searched.Neighbors, searched.Retrieval));
    }
}
