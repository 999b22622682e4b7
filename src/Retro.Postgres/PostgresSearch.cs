using System.Globalization;
using System.Text;
using Npgsql;
using Retro.Database;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Vectors;

namespace Retro.Postgres;

/// <summary>
/// Asks the server for neighbors and gives them the numbers of the copy. Equal scores are asked for to the last (WITH TIES) and ordered here, by number. What
/// was added to the server since the copy was made has no number: it is passed over, by asking for more until there are enough or no more.
/// </summary>
internal sealed class PostgresSearch
{
    // Queries that are sent in one go.
    private const int Block = 64;

    // Chunks of the same value as the last that is wanted which are sent at most: so many are one as good as the other.
    private const int MostTies = 1 << 12;

    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly PostgresServer _server;
    private readonly Guid[] _documents;
    private readonly Dictionary<Guid, long> _firstChunks;

    /// <param name="server">The server.</param>
    /// <param name="tables">Its tables.</param>
    /// <param name="copy">The copy of its documents.</param>
    /// <param name="documents">What names each document of the copy, by number.</param>
    public PostgresSearch(PostgresServer server, PostgresTables tables, ChunkDatabase copy, Guid[] documents)
    {
        (_server, Tables, Copy, _documents) = (server, tables, copy, documents);
        _firstChunks = new(documents.Length);
        for (int document = 0; document < documents.Length; document++)
        {
            _firstChunks.Add(documents[document], copy.ChunksOf(document).First);
        }
    }

    /// <summary>One question to the server.</summary>
    /// <param name="Query">The number of the query.</param>
    /// <param name="Limit">How many are asked for.</param>
    /// <param name="Exact">Whether all that may be seen is to be compared.</param>
    public readonly record struct Question(int Query, int Limit, bool Exact);

    public PostgresTables Tables { get; }

    public ChunkDatabase Copy { get; }

    /// <summary>Whether PostgreSQL can hold a text.</summary>
    public static bool IsStorable(string text)
    {
        try
        {
            return !text.Contains('\0', StringComparison.Ordinal) && s_strict.GetByteCount(text) >= 0;
        }
        catch (EncoderFallbackException)
        {
            return false;
        }
    }

    /// <summary>The text of tokens, as the words of a chunk and those of a query are made of it.</summary>
    public static string TextOf(RetroTokenizer tokenizer, ReadOnlySpan<int> tokens) => tokenizer.Decode(tokens).Replace('\0', ' ');

    /// <summary>Finds neighbors.</summary>
    /// <param name="queries">The queries.</param>
    /// <param name="count">K.</param>
    /// <param name="chunks"><c>[n, K]</c> numbers to fill.</param>
    /// <param name="scores"><c>[n, K]</c> scores to fill.</param>
    /// <param name="exact">Whether the first question compares all; if not, what comes short is asked for again so.</param>
    /// <param name="setup">Statements before the questions, in the same transaction.</param>
    /// <param name="commandOf">
    /// A question as a statement that gives document, position and a double that says how good it is, at most as many rows as its limit and the ties of the
    /// last; null where nothing can be found.
    /// </param>
    /// <param name="scoreOf">The score of that double.</param>
    /// <param name="cancellationToken">Stops it.</param>
    public void Find(
        IReadOnlyList<NeighborQuery> queries,
        int count,
        Span<long> chunks,
        Span<float> scores,
        bool exact,
        IReadOnlyList<string> setup,
        Func<Question, NpgsqlBatchCommand?> commandOf,
        Func<double, double> scoreOf,
        CancellationToken cancellationToken)
    {
        NeighborQueries.Check(queries, count, chunks, scores);
        chunks.Fill(-1);
        scores.Fill(float.NaN);
        double[] best = new double[count];
        Queue<Question> open = new(Enumerable.Range(0, queries.Count).Select(query => new Question(query, count, exact)));
        while (open.Count > 0)
        {
            cancellationToken.ThrowIfCancellationRequested();
            List<(Question Question, NpgsqlBatchCommand Command)> asked = [];
            while (asked.Count < Block && open.TryDequeue(out Question question))
            {
                if (commandOf(question) is { } command)
                {
                    asked.Add((question, command));
                }
            }

            List<(Guid Document, int Position, double Value)>[] answers = Ask(setup, asked, cancellationToken);
            for (int i = 0; i < answers.Length; i++)
            {
                Question question = asked[i].Question;
                List<(Guid Document, int Position, double Value)> rows = answers[i];
                int known = rows.Count(row => _firstChunks.ContainsKey(row.Document));
                if (rows.Count < question.Limit && !question.Exact)
                {
                    open.Enqueue(question with { Exact = true });
                }
                else if (known < count && rows.Count >= question.Limit)
                {
                    open.Enqueue(question with { Limit = (int)Math.Min(2L * rows.Count, int.MaxValue) });
                }
                else
                {
                    Span<long> row = chunks.Slice(question.Query * count, count);
                    Ranking ranking = new(row, best);
                    foreach ((Guid document, int position, double value) in rows)
                    {
                        if (_firstChunks.TryGetValue(document, out long first))
                        {
                            ranking.Offer(first + position, scoreOf(value));
                        }
                    }

                    ranking.Finish(scores.Slice(question.Query * count, count));
                }
            }
        }
    }

    /// <summary>A statement that looks among what a query may see.</summary>
    /// <param name="select">What it selects of <c>chunks c</c>; parameters begin at $1.</param>
    /// <param name="parameters">The parameters of that.</param>
    /// <param name="where">What has to hold besides.</param>
    /// <param name="order">How the best come first.</param>
    /// <param name="query">The query.</param>
    /// <param name="limit">How many.</param>
    public NpgsqlBatchCommand Command(string select, IReadOnlyList<object> parameters, string where, string order, in NeighborQuery query, int limit)
    {
        StringBuilder sql = new($"{select} WHERE {where}");
        NpgsqlBatchCommand command = new();
        foreach (object parameter in parameters)
        {
            command.Parameters.Add(new() { Value = parameter });
        }

        if (NeighborQueries.LabelsOf(query) is { } labels)
        {
            // No document has a label that cannot be stored.
            Add("c.labels <@ $", labels.Where(IsStorable).ToArray());
        }

        if (NeighborQueries.Excluded(Copy, query).Count > 0)
        {
            int[] excluded = [.. query.ExcludedDocuments];
            Add("c.document <> ALL($", Array.ConvertAll(excluded, document => _documents[document]), ")");
        }

        // Ties are told apart by number, here, as far as they are sent.
        sql.Append(CultureInfo.InvariantCulture, $" ORDER BY {order} FETCH FIRST {limit} ROWS WITH TIES");
        sql.Insert(0, "SELECT * FROM (").Append(CultureInfo.InvariantCulture, $") best LIMIT {limit + (long)MostTies}");
        command.CommandText = sql.ToString();
        return command;

        void Add(string condition, object value, string end = "")
        {
            command.Parameters.Add(new() { Value = value });
            sql.Append(CultureInfo.InvariantCulture, $" AND {condition}{command.Parameters.Count}{end}");
        }
    }

    private List<(Guid Document, int Position, double Value)>[] Ask(
        IReadOnlyList<string> setup, List<(Question Question, NpgsqlBatchCommand Command)> asked, CancellationToken cancellationToken)
        => asked.Count == 0
            ? []
            : _server.Use(
                "search",
                connection =>
                {
                    // Settings hold for a transaction; without them there is nothing to end.
                    using NpgsqlTransaction? transaction = setup.Count > 0 ? connection.BeginTransaction() : null;
                    using NpgsqlBatch batch = new(connection, transaction);
                    foreach (string statement in setup)
                    {
                        batch.BatchCommands.Add(new(statement));
                    }

                    asked.ForEach(one => batch.BatchCommands.Add(one.Command));
                    List<(Guid Document, int Position, double Value)>[] answers = [.. asked.Select(_ => new List<(Guid, int, double)>())];
                    using (cancellationToken.Register(batch.Cancel))
                    using (NpgsqlDataReader rows = batch.ExecuteReader())
                    {
                        for (int i = 0; i < answers.Length; i++)
                        {
                            while (rows.Read())
                            {
                                answers[i].Add((rows.GetGuid(0), rows.GetInt32(1), rows.GetDouble(2)));
                            }

                            rows.NextResult();
                        }
                    }

                    transaction?.Commit();
                    return answers;
                },
                cancellationToken);
}
