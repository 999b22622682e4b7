using Retro.Answering;
using Retro.Evaluation;

namespace Retro.Tests.Answering;

public sealed class AnswerResultTests
{
    /// <summary>Of questions that differ much, two readers whose own intervals overlap differ for certain where each question differs.</summary>
    [Fact]
    public void Two_readers_are_compared_question_by_question()
    {
        Random random = new(1);
        double[] bits = [.. Enumerable.Range(0, 60).Select(_ => random.NextDouble() * 40)];
        AnswerResult one = Result("one", i => new(bits[i] + 1 + (i / 2 % 2), i % 3 == 0 ? "right" : "wrong"));
        AnswerResult other = Result("other", i => new(bits[i], "wrong"));
        MeanInterval difference = one.Difference(other, answer => answer.Bits);
        Assert.Equal(1.5, difference.Value, 1e-9);
        Assert.InRange(difference.Low, 1.2, 1.5);
        Assert.InRange(difference.High, 1.5, 1.8);
        Assert.True(one.Bits.Low < other.Bits.High);
        Assert.Equal(-1.5, other.Difference(one, answer => answer.Bits).Value, 1e-9);
        Assert.Equal(1 / 3.0, one.Difference(other, answer => answer.ExactMatch).Value, 1e-9);
        Assert.Equal(one.ExactMatch.Value, one.Difference(other, answer => answer.F1).Value, 1e-9);

        // In another order they are the same questions; what one cannot write is not compared.
        Assert.Equal(difference.Value, one.Difference(other with { Reader = "again" }, answer => answer.Bits).Value, 1e-9);
        AnswerResult turned = new("turned", "none", [.. other.Answers.Reverse()]);
        Assert.Equal(difference, one.Difference(turned, answer => answer.Bits));
        AnswerResult silent = Result("silent", i => new(bits[i], i < 30 ? null : "right"));
        Assert.Equal(2 / 3.0, silent.Difference(one, answer => answer.ExactMatch).Value, 1e-9);
        Assert.Equal("0.00 [-0.12, 0.12]", $"{other.Difference(other, answer => answer.ExactMatch, most: 1)}");
        Assert.Equal("-", $"{Result("rule", i => new(bits[i], null)).Difference(one, answer => answer.ExactMatch)}");
    }

    [Fact]
    public void Answers_to_other_questions_are_not_compared()
    {
        AnswerResult all = Result("all", i => new(i, "right")), fewer = new("fewer", "none", [.. all.Answers.Skip(1)]);
        AnswerResult others = new("others", "none", [.. all.Answers.Select(one => one with { Question = one.Question with { Id = $"x{one.Question.Id}" } })]);
        Assert.All([(all, fewer), (fewer, all), (all, others)], pair => Assert.Contains(
            "not all of them the same",
            Assert.Throws<ArgumentException>(() => pair.Item1.Difference(pair.Item2, one => one.Bits)).Message,
            StringComparison.Ordinal));
    }

    private static AnswerResult Result(string reader, Func<int, (double Bits, string? Answer)> of) => new(
        reader,
        "none",
        [
            .. Enumerable.Range(0, 60).Select(i => new AnsweredQuestion(
                new($"q{i}", "?", ["right"], "kind", $"d{i / 2}", $"d{i / 2}#0"), of(i).Answer, of(i).Bits, false)),
        ]);
}
