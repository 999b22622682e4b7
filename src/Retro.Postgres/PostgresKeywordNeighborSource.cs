using Retro.Database;
using Retro.Search;
using Retro.Tokenizers;

namespace Retro.Postgres;

/// <summary>
/// The chunks that share words with a chunk, by PostgreSQL's full text search: any word of the query is enough, and <c>ts_rank</c> ranks them, which counts how
/// often a chunk holds the query's words. That is not BM25, which <see cref="KeywordNeighborSource"/> computes: how rare a word is in the collection does not
/// enter, so that neighbors are worse where a text has many common words and the text search configuration keeps them. What labels hide and excluded
/// documents are conditions of the search itself. A chunk that shares no word never comes, and a query without a word finds nothing.
/// </summary>
public sealed class PostgresKeywordNeighborSource : INeighborSource
{
    private readonly PostgresSearch _search;
    private readonly RetroTokenizer _tokenizer;
    private readonly string _select;

    internal PostgresKeywordNeighborSource(PostgresSearch search, RetroTokenizer tokenizer, string textSearch)
    {
        (_search, _tokenizer) = (search, tokenizer);

        // Any of the different words, quoted as the type tsquery wants them.
        _select = $"""
            SELECT c.document, c.position, ts_rank(c.words, q.words)::double precision AS rank
            FROM {search.Tables.Chunks} c,
                (SELECT string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''', ' | ')::tsquery AS words
                FROM unnest(to_tsvector({PostgresTables.Literal(textSearch)}::regconfig, $1))) q
            """;
        Identity = NeighborQueries.Identity(Name, Database.Manifest.TokensHash, textSearch, "ts_rank");
    }

    /// <inheritdoc/>
    public string Name => "postgres-words";

    /// <summary>The copy on this machine, whose chunk numbers are found.</summary>
    public ChunkDatabase Database => _search.Copy;

    /// <inheritdoc/>
    public string Identity { get; }

    /// <inheritdoc/>
    /// <exception cref="PostgresDatabaseException">The server does not answer, or refuses.</exception>
    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
        => _search.Find(
            queries,
            count,
            chunks,
            scores,
            exact: true,
            [],
            question => _search.Command(
                _select,
                [PostgresSearch.TextOf(_tokenizer, queries[question.Query].Tokens.Span)],
                "c.words @@ q.words",
                "rank DESC",
                queries[question.Query],
                question.Limit),
            rank => rank,
            cancellationToken);
}
