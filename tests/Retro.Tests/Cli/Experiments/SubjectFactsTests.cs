using Retro.Answering;
using Retro.Cli.Experiments;
using Retro.Corpora;
using Retro.Tests.Answering;
using Retro.Tests.Embedders;
using Retro.Tokenizers;

namespace Retro.Tests.Cli.Experiments;

/// <summary>Facts of documents that come and go, asked for by title and label.</summary>
public class SubjectFactsTests
{
    [Fact]
    public async Task What_all_documents_say_alike_is_no_fact_to_be_right_about()
    {
        using TemporaryFolder folder = new();
        Document[] added =
            [.. Enumerable.Range(0, 6).Select(i => new Document($"river/{i}", $"River {i}", $"River {i}\n\nLength: {100 + i} km\nKind: river", ""))];
        RetroTokenizer tokenizer = EmbeddingInputs.TrainTokenizer(added.Select(document => document.Text), 300);
        SubjectFacts facts = new([new Document("land", "Land", "Of something else.", "")], added, tokenizer, folder["facts"], 1, default);
        TextsReader knowing = new(tokenizer, 1, (prompt, _, answer) => added.Any(document =>
            prompt.Contains($"{document.Title}\nLength:", StringComparison.Ordinal)
            && document.Text.Contains($"Length: {answer}\n", StringComparison.Ordinal)) ? -1 : -2);

        await facts.AskAsync("added", true, default, ("knowing", knowing));

        string table = facts.ToMarkdown();
        Assert.Contains("| knowing | added | 1.00", table, StringComparison.Ordinal);
        Assert.Contains("| - |", table, StringComparison.Ordinal); // it writes nothing
        Assert.Contains("6 facts, asked for", table, StringComparison.Ordinal);
    }
}
