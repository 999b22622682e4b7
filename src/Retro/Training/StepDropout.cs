using Retro.Modeling;
using Retro.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Training;

/// <summary>
/// What a training's dropout drops: it follows from the seed and the step alone, on every device, so that no generator's state has to be kept.
/// </summary>
/// <param name="model">The model that drops.</param>
/// <param name="seed">The training's.</param>
/// <param name="together">The processes, which have the other batches of a step.</param>
internal sealed class StepDropout(RetroModel model, long seed, Together together)
{
    private bool _drops;

    private bool DropsOnGpu => _drops && model.Device.type == DeviceType.CUDA;

    /// <summary>
    /// Begins a step. What is returned, once disposed, gives GPUs' generators back, from which dropout takes its numbers there; null: it takes none of theirs.
    /// </summary>
    /// <param name="hasOwn">Whether the model has a custom branch or hook, which may drop by <see cref="SeededDropout"/> whatever the configuration
    /// says.</param>
    public IDisposable? BeginStep(bool hasOwn)
    {
        _drops = model.Config.HasDropout || hasOwn;
        return DropsOnGpu ? new GeneratorsOfGpu(model.Device) : null;
    }

    /// <summary>Begins a batch on this thread: until what is returned is disposed, the thread has numbers of its own.</summary>
    /// <param name="step">Number of the step.</param>
    /// <param name="batch">Number of the batch in this process's part of the step.</param>
    public IDisposable? Begin(long step, int batch)
    {
        IDisposable? numbers = _drops && !DropsOnGpu ? SeededDropout.Own() : null;
        Seed(step, batch);
        return numbers;
    }

    /// <summary>Says where the numbers of a batch begin, or of a layer of it that is computed again.</summary>
    /// <param name="step">Number of the step.</param>
    /// <param name="batch">Number of the batch in this process's part of the step.</param>
    /// <param name="layer">Number of the layer; null: the whole batch.</param>
    public void Seed(long step, int batch, int? layer = null)
    {
        if (!_drops)
        {
            return;
        }

        // The number that the batch has in the whole step, so that it drops the same whichever process has it.
        long number = together.NumberOf(batch);
        ulong mixed = SeededRandom.Mix(SeededRandom.Beginning(seed, Purpose.Dropout, step) + (ulong)number);
        long drawn = (long)((layer is { } of ? SeededRandom.Mix(mixed + (ulong)of) : mixed) >> 1);
        if (DropsOnGpu)
        {
            cuda.manual_seed_all(drawn);
        }
        else
        {
            SeededDropout.Seed(drawn);
        }
    }

    /// <summary>
    /// Gives the generators of GPUs back: what is drawn from them is no business of whoever uses them besides. Their state, which TorchSharp cannot read, goes
    /// on from a number that was drawn from them, so that it follows from their own seed as before.
    /// </summary>
    private sealed class GeneratorsOfGpu : IDisposable
    {
        private readonly long _next;

        public GeneratorsOfGpu(Device device)
        {
            using Tensor drawn = randint(long.MaxValue, 1, ScalarType.Int64, device);
            _next = drawn.item<long>();
        }

        public void Dispose() => cuda.manual_seed_all(_next);
    }
}
