using Retro.Embedders;
using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Embedders;

public class EncoderActivationTests
{
    [Theory]
    [InlineData(ActivationKind.Gelu)]
    [InlineData(ActivationKind.GeluTanh)]
    [InlineData(ActivationKind.Relu)]
    [InlineData(ActivationKind.Silu)]
    public void Each_activation_is_what_its_formula_says(ActivationKind activation)
    {
        using DisposeScope scope = NewDisposeScope();
        using TextEncoder encoder = new(EmbeddingInputs.Tiny with { Activation = activation }, seed: 4);
        nn.Module<Tensor, Tensor> intermediate = (nn.Module<Tensor, Tensor>)encoder.named_modules()
            .Single(pair => pair.name == "encoder.layer.0.intermediate").module;
        Tensor x = linspace(-30, 30, 32 * 50).view(50, 32);
        float[] inner = nn.functional.linear(
            x, encoder.get_parameter("encoder.layer.0.intermediate.dense.weight")!, encoder.get_parameter("encoder.layer.0.intermediate.dense.bias")!)
            .detach()
            .data<float>()
            .ToArray();
        float[] actual = intermediate.call(x).detach().data<float>().ToArray();
        for (int i = 0; i < inner.Length; i++)
        {
            double v = inner[i];
            double expected = activation switch
            {
                ActivationKind.Relu => Math.Max(0, v),
                ActivationKind.Silu => v / (1 + Math.Exp(-v)),
                ActivationKind.GeluTanh => 0.5 * v * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (v + (0.044715 * v * v * v)))),
                _ => 0.5 * v * (1 + ErrorFunction(v / Math.Sqrt(2))),
            };
            Assert.True(Math.Abs(expected - actual[i]) <= 1e-5 * Math.Max(1, Math.Abs(v)), $"{activation}({v}) is {actual[i]}, expected {expected}.");
        }
    }

    [Theory]
    [InlineData("gelu", ActivationKind.Gelu)]
    [InlineData("gelu_python", ActivationKind.Gelu)]
    [InlineData("gelu_new", ActivationKind.GeluTanh)]
    [InlineData("gelu_pytorch_tanh", ActivationKind.GeluTanh)]
    [InlineData("gelu_fast", ActivationKind.GeluTanh)]
    [InlineData("relu", ActivationKind.Relu)]
    [InlineData("silu", ActivationKind.Silu)]
    [InlineData("swish", ActivationKind.Silu)]
    public void A_folder_s_activation_is_read_and_saved_under_any_of_its_names(string name, ActivationKind expected)
    {
        using TemporaryFolder folder = new();
        using TemporaryFolder copy = new();
        foreach (string file in Directory.EnumerateFiles(Path.Combine(Fixtures.Own, "pretrained", "bert")))
        {
            string content = Path.GetFileName(file) == "config.json"
                ? File.ReadAllText(file).Replace("\"hidden_act\": \"gelu\"", $"\"hidden_act\": \"{name}\"", StringComparison.Ordinal)
                : "";
            folder.File(Path.GetFileName(file), content.Length > 0 ? System.Text.Encoding.UTF8.GetBytes("\uFEFF" + content) : File.ReadAllBytes(file));
        }

        folder.File("1_Pooling/config.json", File.ReadAllBytes(Path.Combine(Fixtures.Own, "pretrained", "bert", "1_Pooling", "config.json")));
        using TextEmbedder embedder = TextEmbedder.Load(folder.Path);
        embedder.Save(copy.Path);
        using TextEmbedder loaded = TextEmbedder.Load(copy.Path);

        Assert.Equal((expected, expected), (embedder.Encoder.Config.Activation, loaded.Encoder.Config.Activation));
        Assert.Equal(embedder.Identity, loaded.Identity);
    }

    /// <summary>Abramowitz and Stegun 7.1.26, to 1.5e-7.</summary>
    private static double ErrorFunction(double x)
    {
        double t = 1 / (1 + (0.3275911 * Math.Abs(x)));
        double value = 1 - (((((((((1.061405429 * t) - 1.453152027) * t) + 1.421413741) * t) - 0.284496736) * t) + 0.254829592) * t * Math.Exp(-x * x));
        return Math.Sign(x) * value;
    }
}
