using Retro.Database;
using Retro.Search;

namespace Retro.Tests.Search;

/// <summary>A source around another, as callers write them, that forgets what a query excludes and which labels it shows.</summary>
internal sealed class HeedlessSource(INeighborSource source) : INeighborSource
{
    public string Name => "heedless";

    public ChunkDatabase? Database => source.Database;

    public string Identity => $"heedless {source.Identity}";

    public void Find(IReadOnlyList<NeighborQuery> queries, int count, Span<long> chunks, Span<float> scores, CancellationToken cancellationToken = default)
        => source.Find([.. queries.Select(query => new NeighborQuery(query.Tokens, []))], count, chunks, scores, cancellationToken);
}
