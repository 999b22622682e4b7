using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

public class RetroReferenceTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData(ScalarType.Float64, 1e-9)]
    [InlineData(ScalarType.Float32, 1e-4)]
    [InlineData(ScalarType.BFloat16, 0.1)]
    public void Logits_encoded_neighbors_loss_and_every_gradient_are_the_references(ScalarType dtype, double tolerance)
    {
        long values = 0;
        int tensors = 0;
        double worst = 0;
        IReadOnlyList<string> files = Fixtures.Files("retro-*.safetensors");
        foreach (string path in files)
        {
            output.WriteLine(path);
            using ReferenceFile file = new(path);
            using DisposeScope scope = NewDisposeScope();
            using RetroModel model = file.Model(dtype);
            Comparison comparison = new(file, path, dtype, tolerance);
            Tensor tokens = file.Tensor("tokens"), neighbors = file.Tensor("neighbours"), valid = file.Tensor("valid");

            using (no_grad())
            {
                comparison.Check("logits_off", model.call(tokens, null, null));
                comparison.Check("encoded", model.Encode(tokens, neighbors, valid), valid);
            }

            Tensor logits = model.call(tokens, neighbors, valid);
            comparison.Check("logits_on", logits.detach());
            long length = tokens.shape[1];
            Tensor exact = dtype == ScalarType.BFloat16 ? logits.to_type(ScalarType.Float32) : logits;
            Tensor loss = nn.functional.cross_entropy(
                exact.narrow(1, 0, length - 1).reshape(-1, model.Config.VocabularySize),
                tokens.narrow(1, 1, length - 1).reshape(-1));
            comparison.Check("loss", loss.detach().view(1).to_type(dtype));
            loss.backward();
            int gradients = 0;
            foreach ((string name, TorchSharp.Modules.Parameter parameter) in model.named_parameters())
            {
                comparison.Check($"gradients/{name}", parameter.grad ?? throw new InvalidDataException($"No gradient of {name}."));
                gradients++;
            }

            Assert.Equal(file.Names.Count(name => name.StartsWith("gradients/", StringComparison.Ordinal)), gradients);
            values += comparison.Values;
            tensors += comparison.Tensors;
            worst = Math.Max(worst, comparison.Worst);
        }

        output.WriteLine(
            $"{files.Count} files, {tensors} tensors, {values} values compared in {dtype}; the largest difference is {worst:e1} of a tensor's "
                + $"{(dtype == ScalarType.BFloat16 ? "length" : "largest value")}.");
    }

    private sealed class Comparison(ReferenceFile file, string path, ScalarType dtype, double tolerance)
    {
        public long Values { get; private set; }

        public int Tensors { get; private set; }

        public double Worst { get; private set; }

        public void Check(string name, Tensor came, Tensor? valid = null)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor expected = file.Tensor(name, ScalarType.Float64);
            Assert.Equal(expected.shape, came.shape);
            Assert.Equal(dtype, came.dtype);
            Tensor difference = (came.to_type(ScalarType.Float64) - expected).abs();
            if (valid is not null)
            {
                // What stands at padding has no meaning and is read by nothing.
                difference = difference * valid.unsqueeze(-1).to_type(ScalarType.Float64);
            }

            // The largest of thousands of roundings to 8 bits is chance, and another on every processor; the length of all of them together is not.
            Func<Tensor, Tensor> size = dtype == ScalarType.BFloat16 ? tensor => tensor.norm() : tensor => tensor.abs().max();
            double distance = size(difference).ToDouble(), scale = Math.Max(size(expected).ToDouble(), 1e-3);
            // Roundings to 8 bits add up on the way back through all layers, and less on the way forward.
            double bound = dtype == ScalarType.BFloat16 && !name.StartsWith("gradients/", StringComparison.Ordinal) ? tolerance / 5 : tolerance;
            Assert.True(distance <= bound * scale, $"{path}: {name} differs by {distance:e2} at a magnitude of {scale:e2}.");
            Worst = Math.Max(Worst, distance / scale);
            Values += expected.numel();
            Tensors++;
        }
    }
}
