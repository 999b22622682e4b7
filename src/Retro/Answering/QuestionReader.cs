using Retro.Evaluation;
using Retro.Generation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Answering;

/// <summary>
/// Answers questions with a reader, from passages that are given: what it writes, and how likely an answer is. A question is laid out as in
/// <see cref="QuestionSampler"/>.
/// </summary>
public sealed class QuestionReader
{
    /// <summary>Rows that are read at once.</summary>
    private const int Together = 16;

    /// <summary>Questions that are measured one after the other, so that their rows are sorted by length among many.</summary>
    private const int Block = 256;

    private const int LongestAnswer = 32;

    private readonly QuestionPassages _passages;
    private readonly ReadingPlan _plan;
    private readonly bool _writes;

    /// <summary>Creates it.</summary>
    /// <param name="reader">The reader, which stays the caller's.</param>
    /// <param name="passages">The passages, which stay the caller's.</param>
    /// <exception cref="ArgumentException">The reader's chunks do not fit the database's.</exception>
    /// <exception cref="RetroException">The reader's model was trained with another tokenizer than the database's.</exception>
    public QuestionReader(IReader reader, QuestionPassages passages)
    {
        ArgumentNullException.ThrowIfNull(reader);
        ArgumentNullException.ThrowIfNull(passages);
        _plan = ReadingPlan.OfChunks(reader, passages.Database, passages.Database);
        reader.RequireTokenizer(passages.Database.Manifest.TokenizerHash);
        (Reader, _passages) = (reader, passages);

        // What it copies from anywhere in another database could not be told as a source of what it writes.
        _writes = reader.Model is not null
            && !(reader is CopyReader { Index.Database: { } copied } && !copied.HasSameChunks(passages.Database));
    }

    /// <summary>The reader.</summary>
    public IReader Reader { get; }

    /// <summary>
    /// A question's prompt, in whole stretches. A reader that takes any reads behind the prompt, wherever it ends, which is then one stretch by itself (or some
    /// of equal length, where it is longer than a chunk); what reads no neighbors has none to fill.
    /// </summary>
    private (int[] Tokens, int Stretch) Prompt(string question)
    {
        RetroTokenizer tokenizer = _passages.Tokenizer;
        if (Reader.Neighbors == 0)
        {
            return (QuestionText.Prompt(tokenizer, question, 1), _plan.Stride);
        }

        if (Reader.TakesAnyChunks)
        {
            int[] begun = QuestionText.Prompt(tokenizer, question, 1);
            int count = (int)Math.Ceiling((double)begun.Length / _passages.Database.ChunkLength), stretch = (begun.Length + count - 1) / count;
            return ([.. Enumerable.Repeat(tokenizer.BeginOfText, (count * stretch) - begun.Length), .. begun], stretch);
        }

        return (QuestionText.Prompt(tokenizer, question, Reader.Model?.Config.Retrieval?.ChunkLength ?? _plan.Stride), _plan.Stride);
    }

    /// <summary>
    /// Texts of one call of <see cref="WriteAsync"/> that are computed at once, at most, where several are (<see cref="RetroGenerator.TextsAtOnce"/>).
    /// </summary>
    /// <value>The default is null: all of them.</value>
    /// <exception cref="ArgumentOutOfRangeException">It is not positive.</exception>
    public int? TextsAtOnce
    {
        get;
        init
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(value ?? 1, nameof(value));
            field = value;
        }
    }

    /// <summary>
    /// How many tokens are read of a question before its answer begins, as it is laid out: what fills it up counts, and the passages that stand in front of it.
    /// Neighbors, which are no part of the text, do not.
    /// </summary>
    /// <param name="prompt">What is read of the question (<see cref="Question.Prompt"/>).</param>
    /// <param name="passages">Chunks that passages begin with, as of <see cref="WriteAsync"/>.</param>
    /// <returns>At least 1; of several prompts that are mixed, the longest one's.</returns>
    public int CountTokens(string prompt, IReadOnlyList<long> passages)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        ArgumentNullException.ThrowIfNull(passages);
        (int[] tokens, int stretch) = Prompt(prompt);
        return Reader is PromptReader prompts && passages.Count > 0
            ? PromptDecoding.Prompts(prompts, tokens, Retrieved(prompts, Texts(Ranked(passages))), stretch).Max(one => one.Tokens.Length)
            : tokens.Length;
    }

    /// <summary>R: tokens of a passage that it gets.</summary>
    internal int RetrievedLength => _plan.RetrievedLength;

    /// <summary>Answers a question by the most probable token, again and again, up to the end of the first line that says something, or of the text.</summary>
    /// <param name="question">The question.</param>
    /// <param name="passages">
    /// Chunks that passages begin with, the best first; one that is given twice is read once, and those beyond what the reader reads are left. Their rank is
    /// their score, as with a <see cref="GivenNeighborSource"/>, where a reader weighs passages.
    /// </param>
    /// <param name="longest">Tokens at most.</param>
    /// <param name="cancellationToken">Ends it before the next token.</param>
    /// <returns>The answer; null where the reader cannot write, such as a rule, or one that copies from anywhere in another database.</returns>
    public Task<string?> AnswerAsync(
        Question question, IReadOnlyList<long> passages, int longest = LongestAnswer, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(question);
        ArgumentNullException.ThrowIfNull(passages);
        return AnswerAsync(question, Ranked(passages), longest, cancellationToken);
    }

    private async Task<string?> AnswerAsync(
        Question question, IReadOnlyList<(long Chunk, float Score)> passages, int longest, CancellationToken cancellationToken)
    {
        if (!_writes)
        {
            return null;
        }

        (RetroGenerator generator, int[] prompt, int stretch, GenerationOptions options) = LayOut(question.Prompt, passages, Greedy(longest));
        options = options with { RetrievalStride = stretch };
        GeneratedText answer = await GeneratedText.OfAsync(generator.ContinueAsync(prompt, options, cancellationToken)).ConfigureAwait(false);
        return answer.Text.TrimEnd();
    }

    /// <summary>
    /// Writes answers to a question piece by piece, laid out as for <see cref="AnswerAsync(Question, IReadOnlyList{long}, int, CancellationToken)"/>, which
    /// gives the whole of the same text.
    /// </summary>
    /// <param name="prompt">What is read of the question, such as "Algeria\nCapital: name:" (<see cref="Question.Prompt"/>).</param>
    /// <param name="passages">
    /// Chunks that passages begin with, the best first; one that is given twice is read once, and those beyond what the reader reads are left.
    /// </param>
    /// <param name="options">
    /// How they are written; null: the most probable token, again and again, 32 at most. Each ends with the first line that says something whatever is said,
    /// and what is read are the passages, but for those of labels that may not be seen. Whose passages are read, how many and when is not theirs to say.
    /// </param>
    /// <param name="cancellationToken">Ends it before the next token.</param>
    /// <returns>The pieces of as many answers as <see cref="GenerationOptions.Samples"/> says, each with the number of its answer.</returns>
    /// <exception cref="RetroOptionsException">The options contradict themselves, or are not for this reader.</exception>
    /// <exception cref="ArgumentException">The question is longer than the model takes.</exception>
    /// <exception cref="InvalidOperationException">The reader cannot write.</exception>
    public IAsyncEnumerable<(int Text, GeneratedPiece Piece)> WriteAsync(
        string prompt, IReadOnlyList<long> passages, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        ArgumentNullException.ThrowIfNull(passages);
        if (!_writes)
        {
            throw new InvalidOperationException($"{Reader.Name} cannot write from these passages; give a reader of a model that reads what it is given.");
        }

        (RetroGenerator generator, int[] tokens, int stretch, GenerationOptions settings) = LayOut(
            prompt, Ranked(passages), options ?? Greedy(LongestAnswer));
        return generator.ContinueAsync(tokens, settings, stretch, cancellationToken);
    }

    private static GenerationOptions Greedy(int longest) => new() { MaximumNewTokens = longest, Temperature = 0 };

    private (RetroGenerator Generator, int[] Prompt, int Stretch, GenerationOptions Options) LayOut(
        string question, IReadOnlyList<(long Chunk, float Score)> passages, GenerationOptions options)
    {
        OptionFaults faults = new(nameof(GenerationOptions));
        faults.Require(options.Passages.Count == 0, options.Passages.Count, "none: what is read are the chunks that are given", nameof(options.Passages));
        faults.Require(options.Neighbors is null, options.Neighbors, "not set: as many are read as are given, up to what the reader reads");
        faults.Require(
            options.ExcludedDocuments.Count == 0,
            options.ExcludedDocuments.Count,
            "none: a document is left out by giving no passage of it",
            nameof(options.ExcludedDocuments));
        faults.Require(options.RetrievalStride is null, options.RetrievalStride, "not set: the passages stay the same");
        faults.Throw();

        // Without a passage a RETRO is off; what looks up in a database of its own goes on doing so, as where likelihoods are asked for.
        bool reads = passages.Count > 0 || Reader.Neighbors == 0 || Reader.Database is not null;
        (int[] prompt, int stretch) = Prompt(question);
        INeighborSource? source = Reader.Neighbors == 0 ? null : GivenNeighborSource.WithScores(_passages.Database, [.. passages.Take(Reader.Neighbors)]);
        options = options with
        {
            Stop = [.. options.Stop, "\n"], SkipsLeadingSpace = true, Retrieval = reads && options.Retrieval,
        };
        return (new(Reader, _passages.Tokenizer, source) { TextsAtOnce = TextsAtOnce }, prompt, stretch, options);
    }

    /// <summary>How likely answers are.</summary>
    /// <param name="question">The question.</param>
    /// <param name="passages">
    /// Chunks that passages begin with, the best first; one that is given twice is read once, and those beyond what the reader reads are left. Their rank is
    /// their score, as with a <see cref="GivenNeighborSource"/>, where a reader weighs passages.
    /// </param>
    /// <param name="answers">The answers.</param>
    /// <returns>The log-likelihood of each with its end, in nats.</returns>
    /// <exception cref="ArgumentException">Question and answer are longer than the model takes.</exception>
    /// <exception cref="RetroException">A log-likelihood is not a number.</exception>
    public double[] LogLikelihoods(Question question, IReadOnlyList<long> passages, IReadOnlyList<string> answers)
    {
        ArgumentNullException.ThrowIfNull(question);
        return LogLikelihoods(question.Prompt, passages, answers);
    }

    /// <summary>How likely answers are.</summary>
    /// <param name="prompt">What is read of the question (<see cref="Question.Prompt"/>).</param>
    /// <param name="passages">Chunks that passages begin with, as of a question.</param>
    /// <param name="answers">The answers.</param>
    /// <inheritdoc cref="LogLikelihoods(Question, IReadOnlyList{long}, IReadOnlyList{string})"/>
    public double[] LogLikelihoods(string prompt, IReadOnlyList<long> passages, IReadOnlyList<string> answers)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        ArgumentNullException.ThrowIfNull(passages);
        ArgumentNullException.ThrowIfNull(answers);
        return LogLikelihoods([(prompt, Texts(Ranked(passages)), answers)], true, default)[0];
    }

    /// <summary>Measures answers.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="questions">The questions, about documents that were not trained on (<see cref="QuestionSet.RequireHeldOut"/>).</param>
    /// <param name="passages">The passages.</param>
    /// <param name="choose">
    /// Chooses the passages of a question, the best first, each of which is read once, their rank their score; null: those that the source finds, as many as
    /// the reader reads, with the source's scores.
    /// </param>
    /// <param name="given">What that is called in reports; null: the source's name, "none" for a reader that reads no passages.</param>
    /// <param name="progress">Receives the number of questions done.</param>
    /// <param name="cancellationToken">Stops between two questions.</param>
    /// <returns>What was measured.</returns>
    /// <exception cref="ArgumentException">There is no question, or one is longer than the model takes.</exception>
    /// <exception cref="RetroException">A log-likelihood is not a number.</exception>
    public static async Task<AnswerResult> MeasureAsync(
        IReader reader,
        IReadOnlyList<Question> questions,
        QuestionPassages passages,
        Func<Question, IReadOnlyList<long>>? choose = null,
        string? given = null,
        IProgress<StageProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(questions);
        QuestionReader asked = new(reader, passages);
        RequireSome(questions);
        Func<Question, IReadOnlyList<(long Chunk, float Score)>> find = choose is not null ? question => Ranked(choose(question))
            : question => reader.Neighbors == 0 ? [] : passages.FoundWithScores(question, reader.Neighbors);
        List<AnsweredQuestion> answered = [];
        foreach (Question[] block in questions.Chunk(Block))
        {
            IReadOnlyList<(long Chunk, float Score)>[] chosen = Array.ConvertAll(block, question =>
            {
                cancellationToken.ThrowIfCancellationRequested();
                return find(question);
            });
            IReadOnlyList<(long[] Tokens, float Score)>[] texts = Array.ConvertAll(chosen, asked.Texts);
            double[][] likelihoods = asked.LogLikelihoods(
                [.. block.Zip(texts, (question, some) => (question.Prompt, some, (IReadOnlyList<string>)[question.Answers[0]]))], false, cancellationToken);
            for (int i = 0; i < block.Length; i++)
            {
                string? answer = await asked.AnswerAsync(block[i], chosen[i], LongestAnswer, cancellationToken).ConfigureAwait(false);
                answered.Add(new(block[i], answer, -likelihoods[i][0] / Math.Log(2), asked.Holds(texts[i], block[i])));
                progress?.Report(new StageProgress($"answer with {reader.Name}", answered.Count, questions.Count));
            }
        }

        return new(reader.Name, given ?? (reader.Neighbors == 0 ? null : passages.Source?.Name) ?? "none", answered);
    }

    /// <summary>Makes sure that there is something to measure.</summary>
    /// <exception cref="ArgumentException">There is no question.</exception>
    internal static void RequireSome(IReadOnlyList<Question> questions)
    {
        if (questions.Count == 0)
        {
            throw new ArgumentException("There is no question to measure; make some of other documents, or with other templates.", nameof(questions));
        }
    }

    /// <summary>Whether what the reader reads of passages holds one of a question's answers: a prompt need not have room for all of them.</summary>
    internal bool Holds(IReadOnlyList<(long[] Tokens, float Score)> passages, Question question)
    {
        IEnumerable<long[]> read = passages.Select(one => one.Tokens);
        if (Reader is PromptReader prompts)
        {
            read = read.Zip(prompts.ReadOf(Retrieved(prompts, passages), 0, 0), (tokens, part) => tokens[part]);
        }

        return read.Any(tokens => _passages.Holds(tokens, question));
    }

    private RetrievedTokens Retrieved(PromptReader prompts, IReadOnlyList<(long[] Tokens, float Score)> passages)
    {
        RetrievedTokens retrieved = new(1, 1, prompts.Neighbors, RetrievedLength);
        retrieved.Take(0, 0, passages);
        return retrieved;
    }

    /// <summary>The tokens of passages, with their scores.</summary>
    private IReadOnlyList<(long[] Tokens, float Score)> Texts(IEnumerable<(long Chunk, float Score)> passages)
        => [.. passages.Take(Reader.Neighbors).Select(one => (_passages.Tokens(one.Chunk, RetrievedLength), one.Score))];

    /// <summary>
    /// Each passage that is given once, whatever is asked of it. Their order is all that is known of them, and the score says it, as that of a
    /// <see cref="GivenNeighborSource"/>.
    /// </summary>
    private static IReadOnlyList<(long Chunk, float Score)> Ranked(IReadOnlyList<long> passages)
        => [.. passages.Distinct().Select((chunk, rank) => (chunk, (float)-rank))];

    /// <summary>How likely answers are, of several questions with passages of any text.</summary>
    /// <param name="asked">The questions, each with what is read and its answers.</param>
    /// <param name="withEnds">
    /// Whether the token that ends an answer counts: it tells an answer from a longer one that begins with it, and costs what never saw a text end there more
    /// than the answer.
    /// </param>
    /// <param name="cancellationToken">Stops between batches.</param>
    /// <returns>For each question the log-likelihood of each of its answers.</returns>
    internal double[][] LogLikelihoods(
        IReadOnlyList<(string Prompt, IReadOnlyList<(long[] Tokens, float Score)> Passages, IReadOnlyList<string> Answers)> asked,
        bool withEnds,
        CancellationToken cancellationToken)
    {
        RetroTokenizer tokenizer = _passages.Tokenizer;
        double[][] results = [.. asked.Select(one => new double[one.Answers.Count])];
        (int Question, int Answer, int[] Prompt, int Stretch, int[] Tokens)[] rows =
        [
            .. asked.SelectMany((one, question) =>
            {
                (int[] prompt, int stretch) = Prompt(one.Prompt);
                return one.Answers.Select((answer, number) => (question, number, prompt, stretch, QuestionText.Answer(tokenizer, one.Prompt, answer)));
            }),
        ];

        // Rows of one length stand side by side, so that little is computed for padding.
        (int Question, int Answer, int[] Prompt, int Stretch, int[] Tokens)[][] batches =
        [
            .. rows.GroupBy(row => row.Stretch)
                .SelectMany(alike => alike.OrderByDescending(row => row.Prompt.Length + row.Tokens.Length).Chunk(Together))
                .OrderByDescending(batch => batch.Length * batch[0].Prompt.Length),
        ];
        TorchThreads.Run(batches.Length, Reader.Device, i => Read(batches[i]), cancellationToken: cancellationToken);
        return results;

        void Read((int Question, int Answer, int[] Prompt, int Stretch, int[] Tokens)[] some)
        {
            int length = some.Max(row => row.Prompt.Length + row.Tokens.Length - 1), stride = some[0].Stretch;
            ReadingBatch batch = new(some.Length, length, stride);
            if (Reader.Neighbors > 0)
            {
                batch.Retrieved = new(some.Length, length / stride, Reader.Neighbors, RetrievedLength);
            }

            for (int i = 0; i < some.Length; i++)
            {
                (int question, _, int[] prompt, _, int[] answer) = some[i];
                int[] text = [.. prompt, .. answer];
                for (int place = 0; place < text.Length - 1; place++)
                {
                    batch.Tokens[(i * length) + place] = text[place];
                    batch.Targets[(i * length) + place] = place < prompt.Length - 1 ? LogLikelihood.NoTarget : text[place + 1];
                }

                for (int stretch = 0; batch.Retrieved is not null && stretch < (text.Length - 1) / stride; stretch++)
                {
                    batch.Retrieved.Take(i, stretch, asked[question].Passages);
                }
            }

            double[] likelihoods = ReaderChecks.LogLikelihoods(Reader, batch);
            for (int i = 0; i < some.Length; i++)
            {
                (int question, int answer, int[] prompt, _, int[] tokens) = some[i];
                results[question][answer] = likelihoods.AsSpan((i * length) + prompt.Length - 1, tokens.Length - (withEnds ? 0 : 1)).ToArray().Sum();
            }
        }
    }
}
