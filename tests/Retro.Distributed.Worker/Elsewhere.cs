using Retro.Optimization;
using static TorchSharp.torch;

namespace Retro.Distributed.Worker;

/// <summary>Processes of one machine as if each had a machine of its own.</summary>
internal sealed class Elsewhere(IGradientExchange exchange) : IGradientExchange
{
    public int Rank => exchange.Rank;

    public int Size => exchange.Size;

    public string Place => exchange.Place;

    public bool IsRemote => true;

    public void Sum(Tensor values, int? onlyTo = null) => exchange.Sum(values, onlyTo);

    public void Broadcast(Tensor values, int from) => exchange.Broadcast(values, from);

    public IReadOnlyList<string> Gather(string text) => exchange.Gather(text);

    public void Abort(string reason) => exchange.Abort(reason);
}
