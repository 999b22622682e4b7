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
    /// <summary>Passages that are looked at for each distractor at most, be they drawn or found.</summary>
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

    /// <param name="prompt">What is read of the question.</param>
    /// <param name="count">How many passages at most.</param>
    /// <param name="labels">The labels that whoever asks may see; null: all passages come.</param>
    /// <param name="excludedDocuments">Numbers of passages that must not come; null: none.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <param name="admits">Which passages count, by their first chunks; null: all.</param>
    /// <param name="most">Chunks that are asked for at most, for that many passages; null: all there are.</param>
    private (long Chunk, float Score)[] FoundWithScores(
        string prompt,
        int count,
        IReadOnlyList<string>? labels,
        IReadOnlyList<int>? excludedDocuments,
        CancellationToken cancellationToken,
        Func<long, bool>? admits = null,
        int? most = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        INeighborSource source = Source
            ?? throw new InvalidOperationException($"No source was given to find passages with; create the {nameof(QuestionPassages)} with one.");
        NeighborQuery query = NeighborQuery.Of(prompt, Database, _tokenizer) with { ExcludedDocuments = excludedDocuments ?? [], Labels = labels };
        Func<int, bool>? admitted = admits is null ? null : document => admits(Database.Documents[document].FirstChunk);
        return
        [
            .. RankedDocuments.Of(source, [query], count, admitted, most, cancellationToken)[0]
                .Select(one => (Database.Documents[one.Document].FirstChunk, one.Score)),
        ];
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
        Queue<long> found = new(most == 0 ? [] : FoundWithScores(
            question.Prompt, most, null, null, default, chunk => !Holds(chunk, question), (int)Math.Min((long)Draws * most, int.MaxValue))
            .Select(one => one.Chunk));
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

    /// <summary>
    /// Whether a passage holds one of a question's answers, or is the one that the question was made of. An answer is held where its words stand one behind the
    /// other, as DPR counts it (Karpukhin and others, arXiv 2004.04906, has_answer): words are runs of letters, digits and marks, whatever their case and their
    /// normal form, and every other sign is one by itself, as is every character of a script that puts no spaces between words.
    /// </summary>
    /// <param name="chunk">A chunk of the passage.</param>
    /// <param name="question">The question.</param>
    public bool Holds(long chunk, Question question)
    {
        ArgumentNullException.ThrowIfNull(question);
        int document = Database.DocumentOf(chunk);
        return Database.Documents[document].Id == question.PassageId || HoldsAnswer(_words[document] ??= TextWords.Of(Text(document)), question);
    }

    /// <summary>Whether what a reader gets of a passage holds one of a question's answers: a passage can be longer.</summary>
    internal bool Holds(long[] tokens, Question question)
        => HoldsAnswer(TextWords.Of(_tokenizer.Decode(Array.ConvertAll(tokens, token => (int)token))), question);

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
    /// title (<see cref="TextWords.Places"/>). Null where there is no such place or more than one, of which none is known to be the answer's.
    /// </summary>
    internal long[]? Changed(long oracle, Question question, string answer, int retrievedLength)
    {
        int document = Database.DocumentOf(oracle);
        string text = Text(document), title = $"{Database.Documents[document].Title.Trim()}\n", label = $"{question.Kind}: ";
        int behind = text.StartsWith(title, StringComparison.Ordinal) ? title.Length : 0;
        (int Start, int End)[] all = [.. TextWords.Places(text, question.Answers[0])], places = [.. all.Where(IsLine)];
        return (places.Length > 0 ? places : [.. all.Where(place => place.Start >= behind)]) is not [(int start, int end)] ? null :
        [
            .. new[] { _tokenizer.BeginOfText }.Concat(_tokenizer.Encode(text[..start] + answer + text[end..])).Append(_tokenizer.EndOfText)
                .Take(retrievedLength).Select(token => (long)token),
        ];

        bool IsLine((int Start, int End) place)
            => text[(text.LastIndexOf('\n', place.Start) + 1)..place.Start] is var before && (before.Length == 0 || before == label)
                && (place.End == text.Length || text[place.End] == '\n');
    }

    private static bool HoldsAnswer(string words, Question question) => question.Answers.Any(answer => TextWords.Hold(words, answer));

    private string Text(int document) => _tokenizer.Decode(Database.TokensOf(Database.Documents[document]));
}
