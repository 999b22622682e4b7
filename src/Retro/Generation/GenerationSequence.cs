using Retro.Modeling;
using Retro.Tokenizers;
using TorchSharp;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>One text while it is generated: its tokens, the model's cache, and what is held back of the output.</summary>
internal sealed class GenerationSequence : IDisposable
{
    private readonly RetroModel _model;
    private readonly RetroTokenizer _tokenizer;
    private readonly ChunkRetriever? _retriever;
    private readonly GenerationOptions _options;
    private readonly List<int> _tokens;
    private readonly int _promptLength;
    private readonly TokenSampler _sampler;
    private readonly TokenTextStream _text;
    private readonly StopStrings _stops;
    private readonly DecodingCache _cache;
    private readonly bool _gated;
    private float[] _logits = [];
    private GenerationEnd? _end;

    public GenerationSequence(RetroModel model, RetroTokenizer tokenizer, ChunkRetriever? retriever, GenerationOptions options, int[] prompt)
    {
        _model = model;
        _tokenizer = tokenizer;
        _retriever = retriever;
        _options = options;
        _tokens = [.. prompt];
        _promptLength = prompt.Length;
        _sampler = new TokenSampler(options);
        _sampler.See(prompt.AsSpan(1)); // the document's beginning is no repetition
        _text = new TokenTextStream(tokenizer, atBeginning: prompt.All(tokenizer.IsSpecial));
        _stops = new StopStrings(options.Stop);
        _end = options.MaximumNewTokens == 0 ? GenerationEnd.MaximumNewTokens : null;
        _cache = model.NewCache(1, Math.Max(64, prompt.Length));
        _gated = FinalizerGate.IsNeededFor(model);
    }

    /// <summary>Reads the prompt.</summary>
    /// <returns>What was retrieved for its chunks.</returns>
    public IReadOnlyList<GeneratedPiece> Read(CancellationToken cancellationToken)
    {
        int chunks = _retriever is null ? 0 : _tokens.Count / _retriever.ChunkLength;
        ChunkRetriever.Found? found = chunks == 0 ? null : _retriever!.Find(_tokens, 0, chunks, cancellationToken);
        if (_end is null)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor tokens = torch.tensor(_tokens.Select(token => (long)token).ToArray(), [1, _tokens.Count], ScalarType.Int64, _model.Device);
            (Tensor? neighbors, Tensor? valid) = found?.Tokens.ToTensors(_model.Device) ?? default;
            using FinalizerGate.Hold gate = FinalizerGate.Close(_gated);
            Keep(_model.Prefill(_cache, tokens, null, neighbors, valid));
        }

        return found?.PerChunk.Select(retrieved => new GeneratedPiece("", null, retrieved)).ToArray() ?? [];
    }

    /// <summary>Generates the next token, or ends the text.</summary>
    public GeneratedPiece Next(CancellationToken cancellationToken)
    {
        if (_end is null)
        {
            int token = _sampler.Next(_logits.AsSpan(0, _tokenizer.VocabularySize));
            if (token == _tokenizer.EndOfText)
            {
                _end = GenerationEnd.EndOfText;
            }
            else
            {
                return Add(token, cancellationToken);
            }
        }

        string rest = _stops.Add(_text.Flush());
        return new GeneratedPiece(rest + _stops.Flush(), End: _stops.Found ? GenerationEnd.StopString : _end);
    }

    public void Dispose() => _cache.Dispose();

    private GeneratedPiece Add(int token, CancellationToken cancellationToken)
    {
        _tokens.Add(token);
        _sampler.See([token]);
        string text = _stops.Add(_text.Add(token));
        _end = _stops.Found ? GenerationEnd.StopString
            : _tokens.Count - _promptLength == _options.MaximumNewTokens ? GenerationEnd.MaximumNewTokens
            : _tokens.Count > _model.Config.MaximumLength ? GenerationEnd.MaximumLength
            : null;
        if (_end is not null)
        {
            return new GeneratedPiece(text, token);
        }

        // The token that completes a chunk is the first to read the chunk's neighbors, so they are found before it is computed.
        ChunkRetriever.Found? found = _retriever is not null && _tokens.Count % _retriever.ChunkLength == 0
            ? _retriever.Find(_tokens, _tokens.Count / _retriever.ChunkLength - 1, 1, cancellationToken)
            : null;
        using DisposeScope scope = NewDisposeScope();
        Tensor input = torch.tensor(new[] { (long)token }, [1], ScalarType.Int64, _model.Device);
        (Tensor? neighbors, Tensor? valid) = found?.Tokens.ToTensors(_model.Device) ?? default;
        using FinalizerGate.Hold gate = FinalizerGate.Close(_gated);
        Keep(_model.Step(_cache, input, neighbors?.squeeze(1), valid?.squeeze(1)));
        return new GeneratedPiece(text, token, found?.PerChunk[0]);
    }

    private void Keep(Tensor logits)
    {
        using TensorAccessor<float> data = logits.view(-1).to(ScalarType.Float32).cpu().data<float>();
        _logits = data.ToArray();
    }
}
