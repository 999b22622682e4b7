using System.Text.Json;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Tests.Modeling;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Training;

/// <summary>Every training-*.safetensors of the fixture folders through the trainer's own step; all sizes and hyper-parameters come from the file.</summary>
public class TrainingReferenceTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData(ScalarType.Float64, 1e-9)]
    [InlineData(ScalarType.Float32, 1e-4)]
    public void Losses_norms_rates_and_final_weights_are_those_of_the_reference(ScalarType dtype, double tolerance)
    {
        foreach (string path in Fixtures.Files("training-*.safetensors"))
        {
            output.WriteLine(path);
            using DisposeScope scope = NewDisposeScope();
            using Safetensors file = Safetensors.Open(path);
            using JsonDocument settings = JsonDocument.Parse(file.Metadata!["training"]);
            // Sizes of the retrieval are among the settings of the training here.
            RetroConfig config = ReferenceFile.Read(
                file.Metadata["config"], settings.RootElement.GetProperty("retrieved").GetInt32(), settings.RootElement.GetProperty("k").GetInt32());
            TrainingOptions options = ReadOptions(settings.RootElement);
            using RetroModel model = new(config, dtype);
            Dictionary<string, Tensor> weights = model.state_dict();
            Assert.Equal(Names(file, "initial/"), weights.Keys.Order(StringComparer.Ordinal));
            using (no_grad())
            {
                foreach ((string name, Tensor weight) in weights)
                {
                    weight.copy_(file.Read($"initial/{name}", dtype));
                }
            }

            double[] losses = Numbers(file, "losses"), norms = Numbers(file, "gradient_norms"), rates = Numbers(file, "learning_rates");
            Assert.Equal(options.Steps, losses.Length);
            Tensor tokens = file.Read("tokens"), neighbors = file.Read("neighbours"), valid = file.Read("valid");
            Assert.Equal([options.Steps, options.Accumulation], tokens.shape[..2]);
            using Trainer trainer = new(model, options);
            for (int step = 0; step < losses.Length; step++)
            {
                using DisposeScope stepScope = NewDisposeScope();
                TrainingProgress done = trainer.Step(
                [
                    .. Enumerable.Range(0, options.Accumulation)
                        .Select(micro => new TrainingBatch(tokens[step, micro], neighbors[step, micro], valid[step, micro])),
                ]);

                Assert.Equal(step + 1, done.Step);
                Near(losses[step], done.Loss, tolerance, $"{path}: loss of step {step}");
                Near(norms[step], done.GradientNorm, tolerance, $"{path}: gradient norm of step {step}");
                Near(rates[step], done.LearningRate, 1e-12, $"{path}: learning rate of step {step}");
            }

            Assert.Equal(Names(file, "final/"), weights.Keys.Order(StringComparer.Ordinal));
            foreach ((string name, Tensor weight) in weights)
            {
                double distance = (weight.detach().to_type(ScalarType.Float64) - file.Read($"final/{name}", ScalarType.Float64)).abs().max().item<double>();
                Assert.True(distance <= tolerance, $"{path}: {name} ends {distance} from the reference; expected at most {tolerance}.");
            }
        }
    }

    private static TrainingOptions ReadOptions(JsonElement training)
    {
        double Real(string name) => training.GetProperty(name).GetDouble();
        return new TrainingOptions
        {
            Steps = training.GetProperty("steps").GetInt64(),
            WarmupSteps = training.GetProperty("warmup_steps").GetInt64(),
            LearningRate = Real("peak_learning_rate"),
            FinalLearningRate = Real("final_learning_rate"),
            Accumulation = training.GetProperty("accumulation").GetInt32(),
            Optimizer = new RetroOptimizerOptions
            {
                Kind = OptimizerKind.AdamW,
                Beta1 = training.GetProperty("betas")[0].GetDouble(),
                Beta2 = training.GetProperty("betas")[1].GetDouble(),
                Epsilon = Real("epsilon"),
                WeightDecay = Real("weight_decay"),
                ClipNorm = Real("clip_norm"),
            },
        };
    }

    private static IEnumerable<string> Names(Safetensors file, string prefix)
        => file.Entries.Select(entry => entry.Name)
            .Where(name => name.StartsWith(prefix, StringComparison.Ordinal))
            .Select(name => name[prefix.Length..])
            .Order(StringComparer.Ordinal);

    private static double[] Numbers(Safetensors file, string name) => file.Read(name, ScalarType.Float64).data<double>().ToArray();

    private static void Near(double expected, double came, double tolerance, string what)
        => Assert.True(Math.Abs(expected - came) <= tolerance, $"{what} is {came:R}; expected {expected:R} within {tolerance}.");
}
