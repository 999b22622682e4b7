using Retro.Modeling;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

public class StepDropoutTests
{
    /// <summary>Trainings of several seeds are to tell how much chance decides: none may drop what another does, a step sooner or later.</summary>
    [Fact]
    public void No_step_batch_or_layer_drops_what_another_does_nor_what_one_of_another_seed_does()
    {
        using RetroModel model = new(SmallModel.Config with { Dropout = 0.5 });
        HashSet<string> seen = [];
        int drawn = 0;
        foreach (long seed in new long[] { -1, 0, 1, 2 })
        {
            StepDropout dropout = new(model, seed, new());
            for (int step = 0; step < 8; step++)
            {
                using IDisposable? begun = dropout.BeginStep(hasOwn: false);
                for (int batch = 0; batch < 3; batch++)
                {
                    using IDisposable? numbers = dropout.Begin(step, batch);
                    Draw();
                    for (int layer = 0; layer < 3; layer++)
                    {
                        dropout.Seed(step, batch, layer);
                        Draw();
                    }
                }
            }
        }

        Assert.Equal(4 * 8 * 3 * 4, drawn);
        Assert.Equal(drawn, seen.Count);

        void Draw()
        {
            using DisposeScope scope = NewDisposeScope();
            seen.Add(string.Concat(SeededDropout.Of(ones(96), 0.5).data<float>().ToArray().Select(kept => kept == 0 ? '0' : '1')));
            drawn++;
        }
    }
}
