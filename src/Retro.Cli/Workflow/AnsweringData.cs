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

    private AnsweringData(QuestionSet set, ChunkDatabase database, KeywordNeighborSource keyword, RetroTokenizer tokenizer)
        => (Set, Database, Keyword, Tokenizer, Passages) = (set, database, keyword, tokenizer, new QuestionPassages(database, tokenizer, keyword));

    /// <summary>Passages and questions.</summary>
    public QuestionSet Set { get; }

    /// <summary>The database of the passages.</summary>
    public ChunkDatabase Database { get; }

    /// <summary>Finds passages by their words.</summary>
    public KeywordNeighborSource Keyword { get; }

    /// <summary>The tokenizer.</summary>
    public RetroTokenizer Tokenizer { get; }

    /// <summary>The passages.</summary>
    public QuestionPassages Passages { get; }

    /// <summary>Makes questions of a database's documents, and a database of their passages in a model's folder.</summary>
    /// <inheritdoc cref="Build"/>
    public static AnsweringData Of(Sources sources, Workspace model, CancellationToken cancellationToken) => Build(
        model.Passages, [.. Documents(sources.Database, sources.Tokenizer)], sources.Tokenizer, sources.Database.ChunkLength, cancellationToken);

    /// <summary>Makes questions of documents, and a database of their passages.</summary>
    /// <param name="folder">The database's folder, which is replaced.</param>
    /// <param name="documents">The documents.</param>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="chunkLength">Tokens of a chunk.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="CorpusException">The documents give no question.</exception>
    public static AnsweringData Build(
        string folder, IReadOnlyList<Document> documents, RetroTokenizer tokenizer, int chunkLength, CancellationToken cancellationToken)
    {
        // A short chunk holds no passage; then it has two.
        QuestionOptions options = new() { PassageTokens = Math.Max(8, Math.Min(PassageTokens, (2 * chunkLength) - 4)) };
        QuestionSet set = Stages.Run("make questions", progress => QuestionBuilder.Build(documents, tokenizer, options, progress, cancellationToken));
        if (set.Questions.Count == 0)
        {
            throw new CorpusException(
                $"No question could be made of {documents.Count} documents: none has lines \"label: value\", headings, definitions or a title of its own that "
                    + $"{options.LeastOfAKind} of them share in kind; take documents that say what they are about.");
        }

        return Open(folder, set, tokenizer, chunkLength, cancellationToken);
    }

    /// <summary>Makes a database of passages.</summary>
    public static AnsweringData Open(string folder, QuestionSet set, RetroTokenizer tokenizer, int chunkLength, CancellationToken cancellationToken)
    {
        ChunkDatabaseOptions options = new() { ChunkLength = chunkLength, StartOver = true };
        ChunkDatabase database = Stages.Make(
            "cut passages",
            progress => ChunkDatabaseBuilder.Build(folder, set.Passages, tokenizer, options, progress, cancellationToken),
            cancellationToken);
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

    /// <summary>The documents of a database, as their tokens say them.</summary>
    public static IEnumerable<Document> Documents(ChunkDatabase database, RetroTokenizer tokenizer) => database.Documents.Select(
        entry => new Document(entry.Id, entry.Title, tokenizer.Decode(database.TokensOf(entry)), entry.Location) { Labels = entry.Labels });

    /// <summary>The id of the document that a passage was cut from.</summary>
    /// <param name="passage">The passage's id.</param>
    public static string DocumentOf(string passage) => passage[..passage.LastIndexOf('#')];

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
