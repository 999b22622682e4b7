namespace Retro.Distributed.Tests;

/// <summary>The public surface is what PublicApi.approved.txt says.</summary>
public class PublicApiTests
{
    [Fact]
    public void The_public_surface_is_the_approved_one() => PublicApi.RequireApproved(typeof(MpiExchange).Assembly);
}
