using Retro.Search;

namespace Retro.Tests.Search;

public class RetrievedTokensTests
{
    /// <summary>It would be another's place, or that of another row.</summary>
    [Theory]
    [InlineData(2, 0, 0)]
    [InlineData(-1, 2, 3)]
    [InlineData(0, 3, 0)]
    [InlineData(1, -1, 0)]
    [InlineData(0, 0, 4)]
    [InlineData(1, 1, -1)]
    public void A_row_chunk_or_neighbor_that_there_is_not_is_refused(int row, int chunk, int neighbor)
    {
        RetrievedTokens retrieved = new(2, 3, 4, 5);
        Assert.Equal(retrieved.Tokens.Length - 5, retrieved.Offset(1, 2, 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => retrieved.Offset(row, chunk, neighbor));
        Assert.Throws<ArgumentOutOfRangeException>(() => retrieved.Passage(row, chunk, neighbor));
    }
}
