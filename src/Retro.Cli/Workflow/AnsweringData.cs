using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Retro;
using Retro.Answering;
using Retro.Corpora;
using Retro.Database;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Cli.Workflow;

/// <summary>The questions that documents give, and the passages that answer them, with a database and an index of their own.</summary>
internal sealed class AnsweringData : IDisposable
{
    /// <summary>K: passages of a question where nothing is said, of which one has the answer in training.</summary>
    public const int UsualPassages = 5;

    /// <summary>Tokens of a passage, where a chunk has as many and the marks of its ends.</summary>
    private const int PassageTokens = 60;

    /// <summary>In retro.json: the passages of a model's folder, and which documents they were cut from.</summary>
    private const string Section = "passages", Corpus = "corpus", MadeFrom = "madeFrom";

    private readonly Lazy<QuestionSet> _set;

    private AnsweringData(Lazy<QuestionSet> set, ChunkDatabase database, KeywordNeighborSource keyword, RetroTokenizer tokenizer)
        => (_set, Database, Keyword, Tokenizer, Passages) = (set, database, keyword, tokenizer, new QuestionPassages(database, tokenizer, keyword));

    /// <summary>Passages and questions; made of the documents when it is first asked for, which who asks a model does not.</summary>
    /// <exception cref="CorpusException">The documents give no question.</exception>
    public QuestionSet Set => _set.Value;

    /// <summary>The database of the passages.</summary>
    public ChunkDatabase Database { get; }

    /// <summary>Finds passages by their words.</summary>
    public KeywordNeighborSource Keyword { get; }

    /// <summary>The tokenizer.</summary>
    public RetroTokenizer Tokenizer { get; }

    /// <summary>The passages.</summary>
    public QuestionPassages Passages { get; }

    /// <summary>
    /// Makes questions of a database's documents, and a database of their passages in a model's folder; those that lie there of the same documents are taken,
    /// and no text is looked at where no questions are needed.
    /// </summary>
    /// <param name="sources">The database, and its tokenizer.</param>
    /// <param name="model">The model's folder.</param>
    /// <param name="asks">Whether questions are needed, and not passages alone, which any documents give.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="CorpusException">Questions are needed, and the documents give none.</exception>
    public static AnsweringData Of(Sources sources, Workspace model, bool asks, CancellationToken cancellationToken)
    {
        (ChunkDatabase documents, RetroTokenizer tokenizer) = (sources.Database, sources.Tokenizer);
        Lazy<QuestionSet> set = new(() => MakeQuestions([.. Documents(documents, tokenizer)], tokenizer, documents.ChunkLength, cancellationToken));
        if (asks)
        {
            _ = set.Value; // before anything that is there is replaced
        }

        string from = IdentityOf(documents);
        JsonObject? known = model.Section(Section);
        if (known?[MadeFrom]?.ToString() == from
            && File.Exists(Path.Combine(model.Passages, DatabaseManifest.FileName))
            && known[Corpus]?.ToString() == DatabaseManifest.Load(model.Passages).CorpusHash)
        {
            return Open(set, ChunkDatabase.Open(model.Passages, cancellationToken: cancellationToken), tokenizer, cancellationToken);
        }

        // One document after the other, and without questions: a server would hold the whole corpus for as long as it runs.
        QuestionOptions options = Options(documents.ChunkLength);
        IEnumerable<Document> passages = asks
            ? set.Value.Passages
            : [.. Documents(documents, tokenizer).SelectMany(
                document => QuestionBuilder.Build([document], tokenizer, options, cancellationToken: cancellationToken).Passages)];
        AnsweringData made = Cut(model.Passages, set, passages, tokenizer, documents.ChunkLength, cancellationToken);
        try
        {
            model.Write(Section, new() { [MadeFrom] = from, [Corpus] = made.Database.Manifest.CorpusHash });
        }
        catch (RetroException)
        {
            // Nothing may be written there: whoever asks looks at all documents each time.
        }

        return made;
    }

    /// <summary>Makes questions of documents, and a database of their passages.</summary>
    /// <param name="folder">The database's folder, which is replaced.</param>
    /// <param name="documents">The documents.</param>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="chunkLength">Tokens of a chunk.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="CorpusException">The documents give no question.</exception>
    public static AnsweringData Build(
        string folder, IReadOnlyList<Document> documents, RetroTokenizer tokenizer, int chunkLength, CancellationToken cancellationToken)
        => Open(folder, MakeQuestions(documents, tokenizer, chunkLength, cancellationToken), tokenizer, chunkLength, cancellationToken);

    /// <summary>Makes a database of passages.</summary>
    public static AnsweringData Open(string folder, QuestionSet set, RetroTokenizer tokenizer, int chunkLength, CancellationToken cancellationToken)
        => Cut(folder, new(set), set.Passages, tokenizer, chunkLength, cancellationToken);

    private static QuestionSet MakeQuestions(
        IReadOnlyList<Document> documents, RetroTokenizer tokenizer, int chunkLength, CancellationToken cancellationToken)
    {
        QuestionOptions options = Options(chunkLength);
        QuestionSet set = Stages.Run("make questions", progress => QuestionBuilder.Build(documents, tokenizer, options, progress, cancellationToken));
        return set.Questions.Count > 0
            ? set
            : throw new CorpusException(
                $"No question could be made of {documents.Count} documents: none has lines \"label: value\", headings, definitions or a title of its own that "
                    + $"{options.LeastOfAKind} of them share in kind; take documents that say what they are about.");
    }

    /// <summary>How passages are cut: a short chunk holds none, and one of those has two.</summary>
    private static QuestionOptions Options(int chunkLength) => new() { PassageTokens = Math.Max(8, Math.Min(PassageTokens, (2 * chunkLength) - 4)) };

    private static AnsweringData Cut(
        string folder,
        Lazy<QuestionSet> set,
        IEnumerable<Document> passages,
        RetroTokenizer tokenizer,
        int chunkLength,
        CancellationToken cancellationToken)
    {
        ChunkDatabaseOptions options = new() { ChunkLength = chunkLength, StartOver = true };
        return Open(
            set,
            Stages.Make(
                "cut passages",
                progress => ChunkDatabaseBuilder.Build(folder, passages, tokenizer, options, progress, cancellationToken),
                cancellationToken),
            tokenizer,
            cancellationToken);
    }

    private static AnsweringData Open(Lazy<QuestionSet> set, ChunkDatabase database, RetroTokenizer tokenizer, CancellationToken cancellationToken)
    {
        try
        {
            return new(
                set,
                database,
                Stages.Make(
                    "index passages",
                    progress => KeywordNeighborSource.Build(database, progress: progress, cancellationToken: cancellationToken),
                    cancellationToken),
                tokenizer);
        }
        catch
        {
            database.Dispose();
            throw;
        }
    }

    /// <summary>What passages are made from: every document, by the hash of its text, the tokenizer, and this version of the library.</summary>
    private static string IdentityOf(ChunkDatabase database)
    {
        using IncrementalHash all = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append($"{typeof(QuestionBuilder).Module.ModuleVersionId} {database.Manifest.TokenizerHash} {database.ChunkLength}");
        foreach (DocumentEntry document in database.Documents)
        {
            Append(JsonSerializer.Serialize<string[]>([document.Id, document.Title, document.Location, document.ContentHash, .. document.Labels]));
        }

        return Convert.ToHexStringLower(all.GetHashAndReset());

        void Append(string text) => all.AppendData(Encoding.UTF8.GetBytes(text));
    }

    /// <summary>The documents of a database, as their tokens say them.</summary>
    public static IEnumerable<Document> Documents(ChunkDatabase database, RetroTokenizer tokenizer) => database.Documents.Select(
        entry => new Document(entry.Id, entry.Title, tokenizer.Decode(database.TokensOf(entry)), entry.Location) { Labels = entry.Labels });

    /// <summary>The id of the document that a passage was cut from.</summary>
    /// <param name="passage">The passage's id.</param>
    public static string DocumentOf(string passage) => passage[..passage.LastIndexOf('#')];

    /// <summary>Which of the passages of its document one is, from 0.</summary>
    /// <param name="passage">The passage's id.</param>
    public static int NumberOf(string passage) => int.Parse(passage.AsSpan(passage.LastIndexOf('#') + 1), CultureInfo.InvariantCulture);

    /// <summary>How passages are written in front of a question: nearly whole ones, as many as a window has room for, one at least.</summary>
    /// <param name="passages">How many at most.</param>
    /// <param name="chunkLength">Tokens of a chunk.</param>
    /// <param name="window">Tokens of the window.</param>
    public static InContextOptions InContext(int passages, int chunkLength, int window)
    {
        // A passage with the marks of its ends and a line's end; the question takes a chunk or two, and its answer some of another.
        int passage = Math.Min(PassageTokens, 2 * chunkLength) + 4, room = window - (3 * chunkLength);
        int whole = Math.Clamp((int)Math.Round((room - 8) / (double)passage), 1, passages);
        return new() { Neighbors = whole, PrefixLength = Math.Max(2, Math.Min((whole * passage) + 8, room)), WindowLength = window };
    }

    /// <summary>Some questions, document after document one of each, so that all documents have as many as can be.</summary>
    /// <param name="questions">The questions.</param>
    /// <param name="count">How many at most.</param>
    /// <param name="seed">Decides which of a document's.</param>
    public static Question[] Choose(IEnumerable<Question> questions, int count, long seed)
    {
        Random random = new((int)(seed ^ (seed >> 32)));
        return [.. questions.GroupBy(question => question.DocumentId)
            .SelectMany(group => group.OrderBy(_ => random.Next()).Select((question, turn) => (question, turn)))
            .OrderBy(pair => pair.turn)
            .Select(pair => pair.question)
            .Take(count)];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Keyword.Dispose();
        Database.Dispose();
    }
}
