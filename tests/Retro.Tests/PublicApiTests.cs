using Retro.Modeling;

namespace Retro.Tests;

/// <summary>The public surface is what PublicApi.approved.txt says: what is added to it or taken from it is added or taken there too, on purpose.</summary>
public class PublicApiTests
{
    [Fact]
    public void The_public_surface_is_the_approved_one() => PublicApi.RequireApproved(typeof(RetroModel).Assembly);
}
