using Retro.Modeling;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Pretrained;

/// <summary>
/// RETROfitting (section 4.2 of arXiv 2112.04426): a pretrained decoder with a fresh retrieval encoder and chunked cross-attention, whose outputs are zero at
/// first, so that the model predicts what the decoder does, bit for bit, with retrieval and without. By default the decoder's own parameters are frozen: they
/// get no gradient, optimizers leave them out, and without retrieval the model stays the original for ever.
/// </summary>
public sealed partial class Retrofit : IDisposable
{
    private readonly HashSet<string> _base;

    // The decoder's parameters that are not trained. Whether they are as they were is asked of their values: whoever frees one, and freezes it again, has
    // changed it all the same.
    private readonly HashSet<string> _frozen = [];

    private Retrofit(RetroModel model, PretrainedOrigin origin, RetroConfig decoder, RetrofitUnfreeze unfreeze)
    {
        Model = model;
        Origin = origin;
        Unfreeze = unfreeze;
        IReadOnlyList<ParameterShape> parameters = decoder.Parameters();
        _base = [.. parameters.Select(parameter => parameter.Name)];
        HashSet<string> trained = [.. parameters.Where(parameter => IsTrained(parameter, unfreeze)).Select(parameter => parameter.Name)];
        foreach ((string name, Parameter parameter) in model.named_parameters())
        {
            parameter.requires_grad = !_base.Contains(name) || trained.Contains(name);
            if (!parameter.requires_grad)
            {
                _frozen.Add(name);
            }
        }
    }

    /// <summary>The model: the decoder and what was added. Train it as any other.</summary>
    public RetroModel Model { get; }

    /// <summary>Where the decoder came from.</summary>
    public PretrainedOrigin Origin { get; }

    /// <summary>What of the decoder is trained.</summary>
    public RetrofitUnfreeze Unfreeze { get; }

    /// <summary>Names of the parameters that were added.</summary>
    internal IReadOnlyList<string> Added => [.. Model.named_parameters().Select(pair => pair.name).Where(name => !_base.Contains(name))];

    /// <summary>Adds retrieval to a decoder. The additions are drawn from TorchSharp's generator (manual_seed decides them).</summary>
    /// <param name="decoder">The decoder; its weights are copied, and it stays the caller's, but where it is taken.</param>
    /// <param name="retrieval">What to add; null: <see cref="RetrievalConfig.For"/>. Its cross-attention changes nothing at first: its outputs are zero, or
    /// behind a <see cref="RetrievalConfig.Gate"/>.</param>
    /// <param name="unfreeze">What of the decoder is trained too.</param>
    /// <param name="take">Whether the decoder's weights become the model's instead of being copied, so that they lie in memory once. The decoder is disposed
    /// then; where this throws, it stays as it was.</param>
    /// <exception cref="RetroOptionsException">The additions do not fit the decoder, or the decoder retrieves already; every fault is listed.</exception>
    public static Retrofit From(
        PretrainedDecoder decoder, RetrievalConfig? retrieval = null, RetrofitUnfreeze unfreeze = RetrofitUnfreeze.Nothing, bool take = false)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        if (decoder.Model.Config.HasRetrieval)
        {
            throw new RetroOptionsException(nameof(RetroConfig), ["The decoder retrieves already; RETROfitting starts from one that does not."]);
        }

        if (!Enum.IsDefined(unfreeze))
        {
            throw new ArgumentOutOfRangeException(nameof(unfreeze), unfreeze, $"Expected one of {string.Join(", ", Enum.GetNames<RetrofitUnfreeze>())}.");
        }

        retrieval ??= RetrievalConfig.For(decoder.Model.Config);
        RetroConfig config = decoder.Model.Config with { Retrieval = retrieval with { ZeroOutput = !retrieval.Gate } };
        config.Validate();
        using IDisposable skipped = Initialization.SkipDecoder();
        Retrofit retrofit = Make(decoder, config, unfreeze, _ => take);
        if (take)
        {
            decoder.Dispose();
        }

        return retrofit;
    }

    /// <summary>Frees the model.</summary>
    public void Dispose() => Model.Dispose();

    // Whether a parameter of the decoder is trained.
    private static bool IsTrained(ParameterShape parameter, RetrofitUnfreeze unfreeze)
        => unfreeze == RetrofitUnfreeze.All || (unfreeze == RetrofitUnfreeze.Norms && parameter.Kind == ParameterKind.Norm);

    // The decoder's parameters are copied, or are the same memory where they are shared, so that a decoder that is given away is never there twice; those that
    // were added are as they were made.
    private static Retrofit Make(PretrainedDecoder decoder, RetroConfig config, RetrofitUnfreeze unfreeze, Func<string, bool> isShared)
    {
        RetroModel model = new(config, decoder.Model.Dtype, decoder.Model.Device)
        {
            TokenizerHash = decoder.Model.TokenizerHash, TokenizerHashes = decoder.Model.TokenizerHashes,
        };
        try
        {
            Dictionary<string, Parameter> parameters = model.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter);
            using (no_grad())
            {
                foreach ((string name, Parameter parameter) in decoder.Model.Undisposed.named_parameters())
                {
                    _ = isShared(name) ? parameters[name].set_(parameter) : parameters[name].copy_(parameter);
                }
            }

            model.eval();
            return new(model, decoder.Origin, decoder.Model.Config, unfreeze);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }
}
