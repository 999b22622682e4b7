using System.Globalization;
using CustomLayer;
using Retro.Modeling;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

int steps = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : 150;
RetroConfig config = RetroConfig.Tiny with { VocabularySize = 64, ChunkLength = 8, RetrievedLength = 16 };
manual_seed(1);
using GatedRetro model = new(config);
using RetroOptimizer optimizer = new(model.named_parameters());
Console.WriteLine($"Chance is {Math.Log(config.VocabularySize):F3} nats a token; the neighbors tell every one of them.");
for (int step = 1; step <= steps; step++)
{
    using DisposeScope scope = NewDisposeScope();
    (Tensor tokens, Tensor neighbors, Tensor valid) = CopyTask.Draw(config, 8, 4);
    Tensor loss = CopyTask.Loss(config, model.call(tokens, neighbors, valid), tokens);
    loss.backward();
    optimizer.Step(5e-3);
    if (step == 1 || step % 25 == 0)
    {
        double open = model.Cross.get_parameter("offset")!.abs().mean().item<float>();
        Console.WriteLine($"step {step,4}: loss {loss.item<float>():F3}, gate opened by {open:F3} on average");
    }
}
