using System.CommandLine;
using System.Text.Json.Nodes;
using Retro.Database;
using Retro.Search;

namespace Retro.Cli.Commands;

/// <summary>`retro inspect`: documents, their chunks, and the neighbors of a chunk or of a text.</summary>
internal sealed class InspectCommand : Verb
{
    private const int RanksShown = 100;

    private readonly PathOption _database = CommonOptions.Database(required: true);
    private readonly PathOption _tokenizer = CommonOptions.Tokenizer();
    private readonly PathOption _embedder = CommonOptions.Embedder();
    private readonly Option<string> _source = CommonOptions.Source("bm25");
    private readonly Option<int> _k = CommonOptions.Whole("--k", "Neighbors shown.", 5, 1, 1024);
    private readonly Option<string?> _document = new("--document") { Description = "Show the chunks of the document with this id.", HelpName = "ID" };
    private readonly Option<int?> _chunk = CommonOptions.WholeOrNone(
        "--chunk", "Show this chunk and its neighbors: its number in the database, or with --document in the document, from 1.", 1, int.MaxValue);

    private readonly Option<string?> _text = new("--text") { Description = "Show the neighbors of this text.", HelpName = "TEXT" };
    private readonly Option<bool> _ofHeldOut = new("--of-held-out") { Description = "Look at the held-out documents; their neighbors are in the database." };
    private readonly Option<string[]> _beside = CommonOptions.Beside();

    private readonly Option<string[]> _labels = CommonOptions.Labels();
    private readonly Option<int> _most = CommonOptions.Whole("--most", "Documents or chunks listed at most.", 20, 1, int.MaxValue);
    private readonly Option<long> _seed = CommonOptions.Seed();
    private readonly Option<int> _threads = CommonOptions.Threads();

    public InspectCommand()
        : base(
            "inspect",
            "Shows what a database holds: its documents, the chunks of one, or the neighbors of a chunk with rank, score and overlap (the share of the chunk "
                + "that stands in the neighbor or its continuation, as one run of tokens).",
            "retro inspect --database work",
            "retro inspect --database work --document river.md --chunk 3 --source bm25",
            "retro inspect --database work --text \"a bridge over the river\"")
        => AddOptions(_database, _document, _chunk, _text, _ofHeldOut, _source, _beside, _k, _labels, _embedder, _tokenizer, _most, _seed, _threads);

    protected override IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said)
    {
        bool isText = said(_text) is not null;
        if (!isText && said(_chunk) is null)
        {
            return Because($"neighbors are shown of {_text.Name} and of {_chunk.Name} alone", _source, _k, _beside, _embedder, _seed);
        }

        bool needsKeys = $"{said(_source)} {said(_beside)}".Split(' ').Any(Sources.NeedsKeys);
        return
        [
            .. Because($"there is no list; {_k.Name} is how many neighbors are shown", _most),
            .. isText ? Because("a text is in neither database", _ofHeldOut) : [],
            .. needsKeys ? [] : Because(Sources.NoKeys, _embedder),
        ];
    }

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        if (parsed.GetValue(_text) is not null && (parsed.GetValue(_document) is not null || parsed.GetValue(_chunk) is not null))
        {
            throw new UsageException($"{_text.Name} is a text of its own; leave out {_document.Name} and {_chunk.Name}.");
        }

        if (parsed.GetValue(_beside)!.Append(parsed.GetValue(_source)!).Any(Sources.NeedsKeys))
        {
            CommonOptions.Compute("cpu", parsed.GetValue(_threads)); // which keys of the text, or of all chunks, are made with
        }

        using Sources sources = new(
            parsed.GetValue(_database)!, parsed.GetValue(_tokenizer), parsed.GetValue(_embedder), parsed.GetValue(_threads), null, cancellationToken);
        using ChunkDatabase? heldOut = parsed.GetValue(_ofHeldOut)
            ? sources.HeldOut() ?? throw new RetroException($"There are no held-out documents beside {sources.Database.Folder}.")
            : null;
        ChunkDatabase shown = heldOut ?? sources.Database;
        DocumentEntry? document = parsed.GetValue(_document) is { } id
            ? shown.FindDocument(id) is { } entry && IsSeen(parsed, entry) ? entry
                : throw new RetroException($"{shown.Folder} has no document with the id '{id}'; without {_document.Name}, {Tool.Name} inspect lists them.")
            : null;
        JsonObject result = parsed.GetValue(_text) is { } text
            ? Neighbors(parsed, sources, NeighborQuery.Of(text, sources.Database, sources.Tokenizer), cancellationToken)
            : parsed.GetValue(_chunk) is { } number ? Chunk(parsed, sources, shown, document, number, cancellationToken)
            : document is not null ? Chunks(parsed, sources, shown, document)
            : Documents(parsed, shown);
        WriteJson(parsed, result);
        return Task.CompletedTask;
    }

    private JsonObject Documents(ParseResult parsed, ChunkDatabase database)
    {
        DocumentEntry[] seen = [.. database.Documents.Where(document => IsSeen(parsed, document))];
        DocumentEntry[] listed = [.. seen.Take(parsed.GetValue(_most))];
        Screen.Table(
            null,
            ["document", "title", "chunks", "bytes", "location", "labels"],
            listed.Select(document => (string[])
            [
                document.Id, Passages.Shorten(document.Title, 60), $"{document.ChunkCount:#,0}", $"{document.ByteCount:#,0}", document.Location,
                string.Join(", ", document.Labels)
            ]),
            1,
            4,
            5);
        More(listed.Length, seen.Length, "documents");
        return new() { ["total"] = seen.Length, ["documents"] = new JsonArray([.. listed.Select(Describe)]) };
    }

    private JsonObject Chunks(ParseResult parsed, Sources sources, ChunkDatabase database, DocumentEntry document)
    {
        JsonArray chunks = [];
        int count = Math.Min(document.ChunkCount, parsed.GetValue(_most));
        Screen.Table(
            $"{Passages.Name(document.Title, document.Id)}, {document.Location}",
            ["chunk", "in the database", "text"],
            Enumerable.Range(0, count).Select(i =>
            {
                string text = database.Text(document.FirstChunk + i, sources.Tokenizer);
                chunks.Add(new JsonObject { ["chunk"] = i + 1, ["inDatabase"] = document.FirstChunk + i + 1, ["text"] = text });
                return (string[])[$"{i + 1}", $"{document.FirstChunk + i + 1}", Passages.Shorten(text, 120)];
            }),
            2);
        More(count, document.ChunkCount, "chunks");
        return new() { ["document"] = Describe(document), ["chunks"] = chunks };
    }

    private JsonObject Chunk(ParseResult parsed, Sources sources, ChunkDatabase shown, DocumentEntry? document, int number, CancellationToken cancellationToken)
    {
        long most = document?.ChunkCount ?? shown.ChunkCount;
        if (number > most)
        {
            throw new UsageException($"{_chunk.Name} takes a number from 1 to {most} here, not {number}.");
        }

        long chunk = (document?.FirstChunk ?? 0) + number - 1;
        DocumentEntry owner = shown.Documents[shown.DocumentOf(chunk)];
        if (!IsSeen(parsed, owner))
        {
            throw new RetroException($"Chunk {number} is of a document that has other labels than may be seen ({_labels.Name}).");
        }

        string text = shown.Text(chunk, sources.Tokenizer);
        Screen.Line($"{Passages.Name(owner.Title, owner.Id)}, chunk {chunk - owner.FirstChunk + 1} of {owner.ChunkCount}, {owner.Location}:");
        Screen.Line($"{text}\n");

        // A chunk's own document is left out, and its copies, as in training.
        int[] excluded = new ExcludedDocuments(shown, sources.Database, cancellationToken).Of([owner.Id]);
        JsonObject result = Neighbors(parsed, sources, new(shown.OwnTokens(chunk).ToArray(), excluded), cancellationToken);
        result["document"] = Describe(owner);
        result["chunk"] = chunk - owner.FirstChunk + 1;
        result["text"] = text;
        return result;
    }

    private JsonObject Neighbors(ParseResult parsed, Sources sources, NeighborQuery query, CancellationToken cancellationToken)
    {
        if (query.Tokens.IsEmpty)
        {
            throw new UsageException($"{_text.Name} needs some text.");
        }

        INeighborSource source = sources.Open(parsed.GetValue(_source)!, parsed.GetValue(_seed));
        ChunkDatabase database = sources.Database;
        int k = parsed.GetValue(_k);
        query = query with { Labels = CommonOptions.Seen(parsed, _labels) };
        (long[] found, float[] scores) = Found(source, k);
        string[] names = parsed.GetValue(_beside) ?? [];
        long[][] others = [.. names.Select(name => Found(sources.Open(name, parsed.GetValue(_seed)), Math.Max(k, RanksShown)).Chunks)];
        JsonArray neighbors = [];
        Screen.Table(
            $"neighbors by {source.Name}",
            ["rank", "score", "overlap", "document", "chunk", "text", .. names.Select(name => $"rank by {name}")],
            found.TakeWhile(neighbor => neighbor >= 0).Select((neighbor, rank) =>
            {
                DocumentEntry document = database.Documents[database.DocumentOf(neighbor)];
                string text = database.Text(neighbor, sources.Tokenizer);
                double overlap = Passages.Overlap(query.Tokens.Span, database, neighbor);
                int[] ranks = [.. others.Select(other => Array.IndexOf(other, neighbor) + 1)];
                neighbors.Add(new JsonObject
                {
                    ["rank"] = rank + 1,
                    ["score"] = scores[rank],
                    ["overlap"] = overlap,
                    ["document"] = document.Id,
                    ["location"] = document.Location,
                    ["chunk"] = neighbor - document.FirstChunk + 1,
                    ["text"] = text,
                    ["ranks"] = new JsonObject(names.Zip(ranks, (name, other) => KeyValuePair.Create(name, (JsonNode?)(other == 0 ? null : other)))),
                });
                return (string[])
                [
                    $"{rank + 1}",
                    $"{scores[rank]:0.00}",
                    $"{overlap:0 %}",
                    Passages.Shorten(Passages.Name(document.Title, document.Id), 40),
                    $"{neighbor - document.FirstChunk + 1}",
                    Passages.Shorten(text, 100),
                    .. ranks.Select(other => other == 0 ? "-" : $"{other}"),
                ];
            }),
            3,
            5);
        if (neighbors.Count == 0)
        {
            Screen.Note($"{source.Name} finds nothing.");
        }

        return new() { ["source"] = source.Name, ["neighbors"] = neighbors };

        (long[] Chunks, float[] Scores) Found(INeighborSource from, int count)
        {
            (long[] chunks, float[] values) = (new long[count], new float[count]);
            from.Find([query], count, chunks, values, cancellationToken);
            return (chunks, values);
        }
    }

    private bool IsSeen(ParseResult parsed, DocumentEntry document)
        => CommonOptions.Seen(parsed, _labels) is not { } labels || document.Labels.All(labels.Contains);

    private void More(int shown, int all, string what)
    {
        if (shown < all)
        {
            Screen.Line($"{shown:#,0} of {all:#,0} {what}; {_most.Name} shows more.");
        }
    }

    private static JsonObject Describe(DocumentEntry document) => new()
    {
        ["id"] = document.Id,
        ["title"] = document.Title,
        ["location"] = document.Location,
        ["chunks"] = document.ChunkCount,
        ["bytes"] = document.ByteCount,
        ["labels"] = new JsonArray([.. document.Labels.Select(label => JsonValue.Create(label))]),
    };
}
