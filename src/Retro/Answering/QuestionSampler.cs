using System.Globalization;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;

namespace Retro.Answering;

/// <summary>
/// Training examples of question answering: a question, its answer, the passage that holds it and others that distract, in a share of the examples without the
/// former (RAFT, arXiv 2403.10131, section 3). Only the answer's tokens are targets. Passages stand in front of the question, or are neighbors that the model's
/// cross-attention reads, in a random order.
/// </summary>
/// <remarks>RAFT's answers, which a large model writes, are chains of thought that quote the passage; here the answer is what stands there alone.</remarks>
public sealed class QuestionSampler : ITrainingData
{
    private readonly QuestionPassages _passages;
    private readonly PassagePrompt? _prompt;
    private readonly Question[] _questions;
    private readonly int _stretch, _retrievedLength;

    /// <summary>Creates the sampler. It owns nothing that it is given.</summary>
    /// <param name="questions">Questions about documents that may be trained on.</param>
    /// <param name="passages">Passages of such documents alone.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    /// <exception cref="RetroOptionsException">A setting is outside its range, or the template does not fit.</exception>
    /// <exception cref="TrainingException">There is no question, or all are longer than the window.</exception>
    /// <exception cref="ArgumentException">The passage of a question is not among the passages, or what stands in front of a question leaves no room for a
    /// chunk of it.</exception>
    public QuestionSampler(IReadOnlyList<Question> questions, QuestionPassages passages, QuestionSamplerOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(questions);
        ArgumentNullException.ThrowIfNull(passages);
        Options = (options ?? new()).Validate();
        (_passages, _stretch) = (passages, passages.Database.ChunkLength);
        _retrievedLength = passages.Database.RetrievedLength(Options.RetrievedLength ?? Options.InContext?.RetrievedLength);
        InContextOptions? prompt = Options.InContext is { } context && Options.Neighbors > 0 ? context with { Neighbors = Options.Neighbors } : null;
        _prompt = prompt?.PromptFor(passages.Tokenizer, null);
        _prompt?.RequireRoomFor(_stretch, nameof(QuestionSampler));
        int room = Options.WindowLength - (prompt?.PrefixLength ?? 0), left = _prompt is null ? 0 : 1; // the begin-of-text token, which passages have
        _questions = [.. questions.Where(question => Prompt(question).Length - left + Answer(question).Length <= room)];
        LeftOut = questions.Count - _questions.Length;
        if (_questions.Length == 0)
        {
            throw new TrainingException(questions.Count == 0
                ? "There is no question to train on; make some of other documents, or with other templates."
                : $"None of {questions.Count} questions fits, with its answer, the {room} tokens that passages leave of a window of {Options.WindowLength}; "
                    + "take longer windows or shorter questions.");
        }

        // A passage that is not there is told before any training.
        Array.ForEach(Options.Neighbors > 0 ? _questions : [], question => passages.Oracle(question));
        string asked = IdentityHash.Of(IdentityHash.SourceEnd, [.. _questions.SelectMany(one => new[] { one.Id, one.Prompt, one.Answers[0] })]);
        TokenizerHash = passages.Database.Manifest.TokenizerHash;

        // By which rule a passage holds an answer and is no distractor: another one draws others.
        string rule = Options.Neighbors > 0 ? "distractors without the answer's words, " : "";
        Identity = string.Create(
            CultureInfo.InvariantCulture,
            $"questions {asked}, passages {passages.Database.Manifest.TokensHash}, source {passages.Source?.Identity ?? "none"}, {rule}")
            + InvariantText.Of(Options);
    }

    /// <summary>The settings.</summary>
    public QuestionSamplerOptions Options { get; }

    /// <summary>Questions that examples are made of.</summary>
    public int Count => _questions.Length;

    /// <summary>Questions that are left out because they are, with their answers, longer than the window.</summary>
    public int LeftOut { get; }

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    public string TokenizerHash { get; }

    /// <inheritdoc/>
    public TokenBatch Batch(long index, double progress)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        (int[] Tokens, int Answer, IReadOnlyList<long> Passages)[] rows =
            [.. Enumerable.Range(0, Options.BatchSize).Select(row => Example(checked((index * Options.BatchSize) + row)))];
        int length = rows.Max(row => row.Tokens.Length), most = rows.Max(row => row.Passages.Count);
        TokenBatch batch = new(rows.Length, length) { ChunkLength = _stretch };
        Array.Clear(batch.LossMask);
        if (_prompt is null && most > 0)
        {
            batch.Retrieved = new(rows.Length, length / _stretch, Options.Neighbors, _retrievedLength);
        }

        for (int row = 0; row < rows.Length; row++)
        {
            (int[] tokens, int answer, IReadOnlyList<long> passages) = rows[row];
            Array.ConvertAll(tokens, token => (long)token).CopyTo(batch.Tokens, row * length);
            batch.LossMask.AsSpan((row * length) + answer, tokens.Length - answer).Fill(true);
            batch.Padding.AsSpan((row * length) + tokens.Length, length - tokens.Length).Fill(true);
            for (int stretch = 0; batch.Retrieved is not null && stretch < tokens.Length / _stretch; stretch++)
            {
                batch.Retrieved.Take(row, stretch, _passages.Database, [.. passages]);
            }
        }

        return batch;
    }

    /// <summary>The passages of an example, in the order in which they are read.</summary>
    internal (Question Question, long[] Passages) Draw(long example)
    {
        (long epoch, long place) = Math.DivRem(example, _questions.Length);
        Question question = _questions[new SeededPermutation(_questions.Length, Options.Seed, Purpose.QuestionOrder, epoch).At(place)];
        SeededRandom random = new(Options.Seed, Purpose.QuestionExamples, example);
        bool none = Options.Neighbors == 0 || random.NextDouble() < Options.WithoutPassages, oracle = random.NextDouble() >= Options.WithoutOracle;
        if (none)
        {
            return (question, []);
        }

        List<long> passages =
        [
            .. oracle ? new[] { _passages.Oracle(question) } : [],
            .. _passages.Distractors(question, Options.Neighbors - (oracle ? 1 : 0), Options.HardShare, Options.Seed, example),
        ];
        for (int i = passages.Count - 1; i > 0; i--)
        {
            int other = random.Below(i + 1);
            (passages[i], passages[other]) = (passages[other], passages[i]);
        }

        return (question, [.. passages]);
    }

    /// <summary>An example: what is read, from which token on it is the answer, and its neighbors.</summary>
    private (int[] Tokens, int Answer, IReadOnlyList<long> Passages) Example(long example)
    {
        (Question question, long[] passages) = Draw(example);
        int[] text = Prompt(question), answer = Answer(question);
        if (_prompt is null)
        {
            return ([.. text, .. answer], text.Length, passages);
        }

        long[] prefix = _prompt.Prefix(passages.Select(chunk => _passages.Tokens(chunk, _retrievedLength)));
        int from = _prompt.TextStart(prefix.Length, Array.ConvertAll(text, token => (long)token), text.Length + _stretch - 1);
        int[] before = [.. prefix.Select(token => (int)token), .. text.AsSpan(from)];
        return ([.. before, .. answer], before.Length, []);
    }

    // What has no passages has no stretch to fill, as in evaluation.
    private int[] Prompt(Question question) => QuestionText.Prompt(_passages.Tokenizer, question.Prompt, Options.Neighbors == 0 ? 1 : _stretch);

    private int[] Answer(Question question) => QuestionText.Answer(_passages.Tokenizer, question.Prompt, question.Answers[0]);
}
