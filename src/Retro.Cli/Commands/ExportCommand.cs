using System.CommandLine;
using System.Text.Json.Nodes;
using Retro.Database;
using Retro.Cli.Workflow;

namespace Retro.Cli.Commands;

/// <summary>`retro export`: a database as JSON lines.</summary>
internal sealed class ExportCommand : Verb
{
    private readonly PathOption _database = CommonOptions.Database(required: true);
    private readonly PathOption _tokenizer = CommonOptions.Tokenizer();
    private readonly PathOption _out = new("--out", "FILE") { Description = "The file to write, such as documents.jsonl.", Required = true };
    private readonly Option<bool> _chunks = new("--chunks") { Description = "List each document's chunks, with tokens and text." };

    public ExportCommand()
        : base(
            "export",
            $"Writes the documents of a database as JSON lines, with the texts that their tokens stand for; {Tool.Name} build reads them.",
            "retro export --database work --out documents.jsonl")
        => AddOptions(_database, _out, _chunks, _tokenizer);

    protected override IEnumerable<(string Name, string? File)> Written(ParseResult parsed) => [.. base.Written(parsed), (_out.Name, parsed.GetValue(_out))];

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        using Sources sources = new(parsed.GetValue(_database)!, parsed.GetValue(_tokenizer), null, 0, null, cancellationToken);
        string file = parsed.GetValue(_out)!;
        Stages.Run("write documents", progress => DatabaseExport.WriteJsonLines(
            sources.Database, sources.Tokenizer, file, parsed.GetValue(_chunks), progress, cancellationToken));
        Screen.Line($"{file}: {Amount.Of(sources.Database.Documents.Count, "document")}, {Amount.OfBytes(new FileInfo(file).Length)}");
        WriteJson(parsed, new JsonObject { ["documents"] = sources.Database.Documents.Count });
        return Task.CompletedTask;
    }
}
