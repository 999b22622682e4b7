using System.Text.RegularExpressions;
using Retro.Database;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Answering;

/// <summary>
/// The passages that questions are answered from: the one that holds the answer, those that a source finds, and others that distract from it. It owns neither
/// database nor source.
/// </summary>
public sealed class QuestionPassages
{
    private const int Draws = 64;

    private readonly RetroTokenizer _tokenizer;
    private readonly Dictionary<string, long> _byId;
    private readonly string?[] _words;

    /// <summary>Creates the passages.</summary>
    /// <param name="database">A document for each passage, such as those of a <see cref="QuestionSet"/>.</param>
    /// <param name="tokenizer">The tokenizer of the database.</param>
    /// <param name="source">Finds passages of the database for a question's prompt; null: none are found, and all distractors are random.</param>
    /// <exception cref="DatabaseException">
    /// The database was made with another tokenizer, or has two passages of one id, such as two databases that were opened as one.
    /// </exception>
    /// <exception cref="ArgumentException">The source searches another database.</exception>
    public QuestionPassages(ChunkDatabase database, RetroTokenizer tokenizer, INeighborSource? source = null)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(tokenizer);
        database.RequireTokenizer(tokenizer);
        if (source is not null && !database.HasSameChunks(source.Database))
        {
            throw new ArgumentException(
                database.Unlike($"The source {source.Name} searches", source.Database, "the passages are in", "give one over them"), nameof(source));
        }

        (Database, _tokenizer, Source) = (database, tokenizer, source);
        _byId = new(StringComparer.Ordinal);
        foreach (DocumentEntry document in database.Documents)
        {
            if (!_byId.TryAdd(document.Id, document.FirstChunk))
            {
                throw new DatabaseException(
                    $"The database {database.Folder} has two passages \"{document.Id}\", so that it cannot be told which one holds an answer; open the "
                        + "databases of passages one by one, or build one of them all with ids that differ.");
            }
        }

        _words = new string?[database.Documents.Count];
    }

    /// <summary>The database.</summary>
    public ChunkDatabase Database { get; }

    /// <summary>Finds passages; null: none are found.</summary>
    public INeighborSource? Source { get; }

    /// <summary>The tokenizer.</summary>
    internal RetroTokenizer Tokenizer => _tokenizer;

    /// <summary>The passage that holds a question's answer.</summary>
    /// <param name="question">The question.</param>
    /// <returns>Its first chunk.</returns>
    /// <exception cref="ArgumentException">The database has no such passage.</exception>
    public long Oracle(Question question)
    {
        ArgumentNullException.ThrowIfNull(question);
        return _byId.TryGetValue(question.PassageId, out long chunk)
            ? chunk
            : throw new ArgumentException(
                $"The passage \"{question.PassageId}\" of the question \"{question.Id}\" is not in {Database.Folder}; build it with the question's passages.",
                nameof(question));
    }

    /// <summary>The passages that the source finds for a question, whether they hold its answer or not.</summary>
    /// <param name="question">The question.</param>
    /// <param name="count">How many at most.</param>
    /// <returns>Their first chunks, best first, each passage once.</returns>
    /// <exception cref="InvalidOperationException">There is no source.</exception>
    public IReadOnlyList<long> Found(Question question, int count) => [.. FoundWithScores(question, count).Select(one => one.Chunk)];

    /// <summary>The passages that the source finds for what is read of a question.</summary>
    /// <param name="prompt">What is read of it (<see cref="Question.Prompt"/>).</param>
    /// <param name="count">How many at most.</param>
    /// <param name="labels">The labels that whoever asks may see (<see cref="NeighborQuery.Labels"/>); null: all passages come.</param>
    /// <param name="excludedDocuments">Numbers of passages that must not come; null: none.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <returns>Their first chunks, best first, each passage once.</returns>
    /// <exception cref="InvalidOperationException">There is no source.</exception>
    public IReadOnlyList<long> Found(
        string prompt,
        int count,
        IReadOnlyList<string>? labels = null,
        IReadOnlyList<int>? excludedDocuments = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return [.. FoundWithScores(prompt, count, labels, excludedDocuments, cancellationToken).Select(one => one.Chunk)];
    }

    /// <summary>The passages that the source finds for a question, each with what the source says of the best of its chunks.</summary>
    internal IReadOnlyList<(long Chunk, float Score)> FoundWithScores(Question question, int count)
    {
        ArgumentNullException.ThrowIfNull(question);
        return FoundWithScores(question.Prompt, count, null, null, default);
    }

    private IReadOnlyList<(long Chunk, float Score)> FoundWithScores(
        string prompt, int count, IReadOnlyList<string>? labels, IReadOnlyList<int>? excludedDocuments, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        INeighborSource source = Source
            ?? throw new InvalidOperationException($"No source was given to find passages with; create the {nameof(QuestionPassages)} with one.");

        // A passage can have several chunks.
        IReadOnlyList<RetrievedNeighbor> found = source.Search(prompt, _tokenizer, 2 * count, labels, excludedDocuments, cancellationToken);
        return [.. found.Select(one => (one.Chunk - one.ChunkInDocument, one.Score)).DistinctBy(one => one.Item1).Take(count)];
    }

    /// <summary>Passages that do not hold the answer of a question.</summary>
    /// <param name="question">The question.</param>
    /// <param name="count">How many.</param>
    /// <param name="hardShare">
    /// Share of them that the source finds for the question, the better ones before the worse; the others are drawn at random. Which ones stand where is drawn
    /// place by place, so that it is the share of the first few of them too.
    /// </param>
    /// <param name="seed">Decides what is drawn, with <paramref name="place"/>.</param>
    /// <param name="place">Where they are used: another place has others drawn.</param>
    /// <returns>Their first chunks, each passage once; fewer than asked for where hardly any passage is without the answer.</returns>
    public IReadOnlyList<long> Distractors(Question question, int count, double hardShare = 0, long seed = 0, long place = 0)
    {
        ArgumentNullException.ThrowIfNull(question);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        SeededRandom random = new(seed, Purpose.Distractors, place);
        bool[] hard = [.. Enumerable.Range(0, Source is null ? 0 : count).Select(_ => random.NextDouble() < hardShare)];
        int most = hard.Count(one => one);
        Queue<long> found = new(most == 0 ? [] : Found(question, (2 * most) + 4).Where(chunk => !Holds(chunk, question)).Take(most));
        HashSet<long> chosen = [.. found];
        Queue<long> drawn = [];
        for (int draw = 0; draw < Draws * count && chosen.Count < count; draw++)
        {
            long chunk = Database.ChunksOf(random.Below(Database.Documents.Count)).First;
            if (!chosen.Contains(chunk) && !Holds(chunk, question))
            {
                chosen.Add(chunk);
                drawn.Enqueue(chunk);
            }
        }

        // Each place is by itself of one or the other, as far as there are such.
        return [.. chosen.Select((_, i) => (i < hard.Length && hard[i] && found.Count > 0) || drawn.Count == 0 ? found.Dequeue() : drawn.Dequeue())];
    }

    /// <summary>Whether a passage holds one of a question's answers, or is the one that the question was made of.</summary>
    /// <param name="chunk">A chunk of the passage.</param>
    /// <param name="question">The question.</param>
    public bool Holds(long chunk, Question question)
    {
        ArgumentNullException.ThrowIfNull(question);
        int document = Database.DocumentOf(chunk);
        return Database.Documents[document].Id == question.PassageId || HoldsAnswer(_words[document] ??= Words(Text(document)), question);
    }

    /// <summary>Whether what a reader gets of a passage holds one of a question's answers: a passage can be longer.</summary>
    internal bool Holds(long[] tokens, Question question)
        => HoldsAnswer(Words(_tokenizer.Decode(Array.ConvertAll(tokens, token => (int)token))), question);

    /// <summary>The tokens of a passage as a reader gets them.</summary>
    internal long[] Tokens(long chunk, int retrievedLength)
    {
        long[] tokens = new long[retrievedLength];
        bool[] valid = new bool[retrievedLength];
        Database.CopyRetrieved(chunk, tokens, valid);
        return [.. tokens.Where((_, place) => valid[place])];
    }

    /// <summary>
    /// The tokens of the passage with the answer, another one in its place: where it is a line, or a line but for its label, else where it stands behind the
    /// title, word for word. Null where there is no such place or more than one, of which none is known to be the answer's.
    /// </summary>
    internal long[]? Changed(long oracle, Question question, string answer, int retrievedLength)
    {
        int document = Database.DocumentOf(oracle);
        string text = Text(document), title = $"{Database.Documents[document].Title.Trim()}\n", right = question.Answers[0], escaped = Regex.Escape(right);
        int[] places = [.. Regex.Matches(text, $"(?<=^({Regex.Escape(question.Kind)}: )?){escaped}$", RegexOptions.Multiline).Select(match => match.Index)];
        if (places.Length == 0)
        {
            int behind = text.StartsWith(title, StringComparison.Ordinal) ? title.Length : 0;
            places = [.. Regex.Matches(text, $@"(?<![\p{{L}}\p{{N}}]){escaped}(?![\p{{L}}\p{{N}}])").Select(match => match.Index).Where(at => at >= behind)];
        }

        return places is not [int at] ? null :
        [
            .. new[] { _tokenizer.BeginOfText }.Concat(_tokenizer.Encode(text[..at] + answer + text[(at + right.Length)..])).Append(_tokenizer.EndOfText)
                .Take(retrievedLength).Select(token => (long)token),
        ];
    }

    private static string Words(string text) => $" {AnswerMatch.Normalize(text)} ";

    private static bool HoldsAnswer(string words, Question question)
        => question.Answers.Any(answer => words.Contains(Words(answer), StringComparison.Ordinal));

    private string Text(int document) => _tokenizer.Decode(Database.TokensOf(Database.Documents[document]));
}
