using System.Globalization;
using System.Text;
using Retro.Answering;
using Retro.Cli.Workflow;
using Retro.Corpora;
using Retro.Evaluation;
using Retro.Readers;
using Retro.Tokenizers;

namespace Retro.Cli.Experiments;

/// <summary>Facts of documents, asked for by title and label: who knows them before the documents are there, with them, and when they are gone again.</summary>
internal sealed class SubjectFacts
{
    /// <summary>Facts that are asked for, wrong answers beside each right one, and passages of a fact.</summary>
    private const int MostFacts = 60, WrongAnswers = 4, FactPassages = 5;

    private readonly RetroTokenizer _tokenizer;
    private readonly string _folder;
    private readonly QuestionSet _known;
    private readonly QuestionSet _added;
    private readonly ILookup<string, string> _values;
    private readonly Question[] _facts;
    private readonly List<(string Reader, string State, MeanInterval Right, MeanInterval Written)> _rows = [];

    /// <summary>Makes questions of documents.</summary>
    /// <param name="known">Documents that are always there.</param>
    /// <param name="added">Documents that come and go; these are asked about.</param>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="folder">Where passages are written.</param>
    /// <param name="seed">Chooses the facts.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public SubjectFacts(Document[] known, Document[] added, RetroTokenizer tokenizer, string folder, long seed, CancellationToken cancellationToken)
    {
        QuestionOptions asking = new() { LeastOfAKind = 2, Templates = QuestionTemplates.Fields };
        _known = QuestionBuilder.Build(known, tokenizer, asking, cancellationToken: cancellationToken);
        _added = QuestionBuilder.Build(added, tokenizer, asking, cancellationToken: cancellationToken);
        _values = _added.Questions.Select(one => (one.Kind, Value: one.Answers[0])).Distinct().ToLookup(one => one.Kind, one => one.Value);

        // Of a value that all documents have nothing is wrong, so that nobody can be right.
        _facts = AnsweringData.Choose(_added.Questions.Where(one => Wrong(one).Any()), MostFacts, seed);
        _tokenizer = tokenizer;
        _folder = folder;
    }

    /// <summary>The passages of the documents that come and go.</summary>
    public IReadOnlyList<Document> Passages => _added.Passages;

    /// <summary>Asks readers for all facts.</summary>
    /// <param name="state">What the row says of the documents.</param>
    /// <param name="isAdded">Whether the documents are there.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="readers">The readers, with the names of their rows.</param>
    public async Task AskAsync(string state, bool isAdded, CancellationToken cancellationToken, params (string Name, IReader Reader)[] readers)
    {
        if (_facts.Length == 0)
        {
            return;
        }

        using AnsweringData data = AnsweringData.Open(
            _folder, new([.. _known.Passages, .. isAdded ? _added.Passages : []], _facts), _tokenizer, 64, cancellationToken);
        foreach ((string name, IReader reader) in readers)
        {
            QuestionReader asked = new(reader, data.Passages);
            List<(string, double)> right = [], written = [];
            foreach (Question fact in _facts)
            {
                IReadOnlyList<long> found = reader.Neighbors == 0 ? [] : data.Passages.Found(fact, Math.Min(FactPassages, reader.Neighbors));
                double[] likelihoods = asked.LogLikelihoods(fact, found, [fact.Answers[0], .. Wrong(fact).Take(WrongAnswers)]);
                string? answer = await asked.AnswerAsync(fact, found, cancellationToken: cancellationToken).ConfigureAwait(false);
                right.Add((fact.DocumentId, likelihoods[0] > likelihoods[1..].Max() ? 1 : 0));
                if (answer is not null)
                {
                    written.Add((fact.DocumentId, AnswerMatch.Exact(answer, fact.Answers)));
                }
            }

            _rows.Add((name, state, MeanInterval.Of(right, least: 0, most: 1), MeanInterval.Of(written, least: 0, most: 1)));
        }
    }

    private IEnumerable<string> Wrong(Question fact) => _values[fact.Kind].Where(value => AnswerMatch.Exact(value, fact.Answers) == 0);

    /// <summary>Which facts were known, as a table.</summary>
    public string ToMarkdown()
    {
        if (_facts.Length == 0)
        {
            return "No two of the added documents have lines \"label: value\" of one label and two values, so that there is no fact to ask for.\n";
        }

        StringBuilder text = new();
        text.Append(MarkdownTable.Of(
            ["reader", "documents", "likelier than wrong answers", "written"],
            _rows.Select(row => (string[])[row.Reader, row.State, $"{row.Right}", $"{row.Written}"])));
        text.AppendLine().Append(CultureInfo.InvariantCulture, $"""
            {_facts.Length:#,0} facts, asked for by title and label, with the {FactPassages} passages that BM25 finds; share of them whose value is likelier than up to
            {WrongAnswers} other values of its label, and of those whose value is what is written. What was trained on stays in the weights when its documents are removed.

            """);
        return text.ToString();
    }
}
