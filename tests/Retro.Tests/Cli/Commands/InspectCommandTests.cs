using Retro.Database;

namespace Retro.Tests.Cli.Commands;

/// <summary>`retro inspect`: what is found in a database, and who may see it.</summary>
public sealed class InspectCommandTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    /// <summary>The same characters, composed or not, are the same text.</summary>
    [Fact]
    public void A_question_finds_the_same_in_whatever_form_it_is_typed()
    {
        _retro.WriteFile("docs/a.txt", "Un café près du pont, où le garçon dort.");
        _retro.WriteFile("docs/b.txt", "Une forêt au-delà du fleuve, où personne ne va.");
        _retro.WriteFile("docs/c.txt", "La montagne et la vallée, sous la neige.");
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "8", "--held-out-share", "0");
        Assert.Equal(Found("un caf\u00E9 pr\u00E8s du pont"), Found("un cafe\u0301 pre\u0300s du pont"));

        string Found(string text)
        {
            _retro.Done("inspect", "--database", "work", "--text", text, "--json", "found.json");
            return _retro.Json("found.json")["neighbors"]!.ToJsonString();
        }
    }

    [Fact]
    public void What_labels_hide_is_not_found()
    {
        _retro.WriteFile("docs/river.jsonl", """
            {"id": "open", "text": "The river runs to the harbor, past the old bridge."}
            {"id": "secret", "text": "The river runs to the harbor, past the new bridge.", "labels": ["secret"]}
            """);
        _retro.Done("build", "--corpus", "docs", "--out", "work", "--vocabulary", "300", "--chunk", "8", "--held-out-share", "0", "--labels", "staff");
        Assert.Contains("secret, staff", _retro.Done("inspect", "--database", "work"), StringComparison.Ordinal);
        Assert.Equal(["open", "secret"], Found());
        Assert.Equal(["open"], Found("--labels", "staff"));
        Assert.Equal(["open", "secret"], Found("--labels", "staff", "--labels", "secret"));
        Assert.Empty(Found("--labels", "secret"));
        Assert.Empty(Found("--labels", ""));

        // Neither are its name and its text shown.
        Assert.Equal(["open"], Listed("--labels", "staff"));
        Assert.Empty(Listed("--labels", ""));
        foreach (string[] asked in new[] { new[] { "--document", "secret" }, ["--document", "secret", "--chunk", "1"] })
        {
            ChildProcess.Outcome hidden = _retro.Run(["inspect", "--database", "work", "--labels", "staff", .. asked]);
            Assert.Equal(1, hidden.ExitCode);
            Assert.Contains("no document with the id 'secret'", hidden.Errors, StringComparison.Ordinal);
        }

        int last;
        using (ChunkDatabase database = _retro.Database())
        {
            last = (int)database.ChunkCount;
        }

        string refused = _retro.Run("inspect", "--database", "work", "--labels", "staff", "--chunk", $"{last}").Errors;
        Assert.Contains("of a document that has other labels than may be seen", refused, StringComparison.Ordinal);
        _retro.Done("inspect", "--database", "work", "--labels", "staff", "--labels", "secret", "--chunk", $"{last}");

        IEnumerable<string> Listed(params string[] labels)
        {
            _retro.Done(["inspect", "--database", "work", "--json", "listed.json", .. labels]);
            return _retro.Json("listed.json")["documents"]!.AsArray().Select(document => (string)document!["id"]!);
        }

        IEnumerable<string> Found(params string[] labels)
        {
            _retro.Done(["inspect", "--database", "work", "--text", "the river runs", "--k", "9", "--json", "found.json", .. labels]);
            return _retro.Json("found.json")["neighbors"]!.AsArray().Select(neighbor => (string)neighbor!["document"]!).Distinct().Order();
        }
    }
}
