using System.Diagnostics;
using Retro.Modeling;
using Retro.Tokenizers;
using TorchSharp;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace Retro.Generation;

/// <summary>One text while it is generated: its tokens, the reading of them, and what is held back of the output.</summary>
internal sealed class GenerationSequence : IDisposable
{
    private readonly RetroModel _model;
    private readonly RetroTokenizer _tokenizer;
    private readonly StretchRetriever? _retriever;
    private readonly GenerationOptions _options;
    private readonly List<int> _tokens;
    private readonly int _promptLength;
    private readonly TokenSampler _sampler;
    private readonly TokenTextStream _text;
    private readonly StopStrings _stops;
    private readonly IDecoding _decoding;
    private readonly bool _gated;
    private float[] _logits = [];
    private GenerationEnd? _end;

    public GenerationSequence(
        RetroModel model,
        Func<int, IDecoding> decoding,
        RetroTokenizer tokenizer,
        StretchRetriever? retriever,
        GenerationOptions options,
        int[] prompt)
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
        _decoding = decoding(Math.Max(64, prompt.Length));
        _gated = FinalizerGate.IsNeededFor(model);
    }

    /// <summary>The activity that this is part of, which is not the current one between two tokens; null: nobody listens.</summary>
    public Activity? Activity { get; init; }

    /// <summary>Reads the prompt.</summary>
    /// <returns>What was retrieved for its stretches.</returns>
    public IReadOnlyList<GeneratedPiece> Read(CancellationToken cancellationToken)
    {
        int stretches = _retriever is null ? 0 : _tokens.Count / _retriever.Stride, first = _decoding.ReadsWholePrompt ? 0 : stretches - 1;
        StretchRetriever.Found? found = stretches == 0 ? null : Retrieve(first, stretches - first, cancellationToken);
        if (_end is null)
        {
            Decode("prefill", found);
        }

        return found?.PerStretch.Select(retrieved => new GeneratedPiece("", null, retrieved)).ToArray() ?? [];
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

    public void Dispose() => _decoding.Dispose();

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

        // The token that completes a stretch is the first to read the stretch's neighbors, so they are found before it is computed.
        StretchRetriever.Found? found = _retriever is not null && _tokens.Count % _retriever.Stride == 0
            ? Retrieve(_tokens.Count / _retriever.Stride - 1, 1, cancellationToken)
            : null;
        Decode("step", found);
        return new GeneratedPiece(text, token, found?.PerStretch[0]);
    }

    private StretchRetriever.Found Retrieve(int first, int count, CancellationToken cancellationToken)
    {
        using Activity? activity = RetroTelemetry.Activities.StartActivity("retro.retrieve", ActivityKind.Internal, Activity?.Context ?? default);
        activity?.SetTag("retro.stretches", count);
        return RetroTelemetry.Timed(
            RetroTelemetry.GenerationDuration, "retro.stage", "retrieve", () => _retriever!.Find(_tokens, first, count, cancellationToken));
    }

    private void Decode(string stage, StretchRetriever.Found? found)
        => _logits = RetroTelemetry.Timed(RetroTelemetry.GenerationDuration, "retro.stage", stage, () => Logits(found));

    private float[] Logits(StretchRetriever.Found? found)
    {
        using DisposeScope scope = NewDisposeScope();
        using FinalizerGate.Hold gate = FinalizerGate.Close(_gated);
        using TensorAccessor<float> data = _decoding.Read(_tokens, found?.Tokens).view(-1).to(ScalarType.Float32).cpu().data<float>();
        return data.ToArray();
    }
}
