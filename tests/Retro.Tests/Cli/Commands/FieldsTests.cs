namespace Retro.Tests.Cli.Commands;

/// <summary>Documents of tables, whose columns are called otherwise than here.</summary>
public sealed class FieldsTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    [Fact]
    public void A_table_is_built_and_added_to_by_the_names_that_its_columns_have()
    {
        _retro.WriteFile("pages.csv", "_id,body\nferry,\"The ferry crosses the river, at dawn.\"\nmill,The mill grinds grain by the old bridge.\n");
        string[] sizes = ["--vocabulary", "300", "--chunk", "8", "--held-out-share", "0"];
        string refused = _retro.Run(["build", "--corpus", "pages.csv", "--out", "work", .. sizes]).Errors;
        Assert.Contains("\"_id\", \"body\"", refused, StringComparison.Ordinal);
        Assert.Contains("(--fields)", refused, StringComparison.Ordinal);
        refused = _retro.Run(["build", "--corpus", "pages.csv", "--fields", "body", "--out", "work", .. sizes]).Errors;
        Assert.Contains("not 'body'", refused, StringComparison.Ordinal);
        _retro.Done(["build", "--corpus", "pages.csv", "--fields", "text=body", "--fields", "id=_id", "--out", "work", .. sizes]);
        Assert.Contains("mill", _retro.Done("inspect", "--database", "work", "--text", "grinds grain"), StringComparison.Ordinal);

        // What is added later is read in the same way.
        _retro.WriteFile("more.csv", "_id,body\nbell,The bell rings over the harbor.\n");
        _retro.Done("update", "--database", "work", "--add", "more.csv");
        Assert.Contains("bell", _retro.Done("inspect", "--database", "work", "--text", "bell rings"), StringComparison.Ordinal);
    }
}
