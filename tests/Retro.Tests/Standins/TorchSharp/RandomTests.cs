using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Standins.TorchSharp;

public sealed class RandomTests
{
    [Fact]
    public void TheSameSeedGivesTheSameNumbers()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(5);
        Tensor first = randn(20);
        manual_seed(5);
        Assert.True(first.eq(randn(20)).all().item<bool>());
        Assert.Equal(5, initial_seed());
        Assert.False(first.eq(randn(20)).all().item<bool>());
    }

    [Fact]
    public void TheGlobalStateGoesRound()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(6);
        _ = randn(7);
        Tensor state = get_rng_state();
        Tensor first = rand(5);
        set_rng_state(state);
        Assert.True(first.eq(rand(5)).all().item<bool>());
        Assert.Equal(ScalarType.Byte, state.dtype);
    }

    [Fact]
    public void AGeneratorHasAStateOfItsOwn()
    {
        using DisposeScope scope = NewDisposeScope();
        using Generator generator = new(9);
        using Generator twin = new(9);
        Tensor globally = get_rng_state();
        Tensor first = rand([5], generator: generator);
        Assert.True(first.eq(rand([5], generator: twin)).all().item<bool>());
        Tensor state = generator.get_state();
        Tensor second = randint(1000, [5], generator: generator);
        generator.set_state(state);
        Assert.True(second.eq(randint(1000, [5], generator: generator)).all().item<bool>());
        Assert.True(globally.eq(get_rng_state()).all().item<bool>());
        generator.manual_seed(9);
        Assert.True(first.eq(rand([5], generator: generator)).all().item<bool>());
        Assert.Equal(9, generator.initial_seed());
        Tensor filled = zeros(5).normal_(0, 1, twin);
        Assert.False(filled.eq(0).any().item<bool>());
    }

    [Fact]
    public void AWrongStateIsRefused()
    {
        Assert.SkipUnless(LoadedLibraries.TorchIsStandin, "The original does not catch this one: it ends the process.");
        using DisposeScope scope = NewDisposeScope();
        Assert.Throws<System.Runtime.InteropServices.ExternalException>(() => set_rng_state(zeros([3], ScalarType.Byte)));
    }
}
