using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using Retro.Modeling;

namespace Retro.Generation;

/// <summary>
/// Texts of calls that run at the same time, computed as one batch: they join it at the next token after they came, and leave it when they end. What is wrong
/// with one call, or that it is given up, is no other's affair.
/// </summary>
/// <remarks>
/// Nothing computes by itself. Whoever asks for a piece that is not there yet computes a token of all texts, where nobody else does so already; the others'
/// pieces are kept until they are asked for.
/// </remarks>
/// <param name="model">The model.</param>
/// <param name="prefixes">Remembers texts that have ended; null: nothing does.</param>
internal sealed class SharedBatch(RetroModel model, PrefixCache? prefixes = null)
{
    /// <summary>
    /// Tokens of prompts that are read between two tokens of the texts that go on, which wait meanwhile; those of a call that has more are read by themselves,
    /// between two tokens all the same.
    /// </summary>
    private const int PromptTokens = 128;

    private readonly Lock _lock = new();
    private readonly List<Call> _calls = []; // in the order in which they came
    private BatchDecoding? _decoding;        // of whoever computes
    private bool _isComputing;

    /// <summary>Goes on with prompts.</summary>
    /// <param name="prompts">One text of each, for which was retrieved already, with its number, and how many texts go on from there, it and the next.</param>
    /// <param name="options">How each goes on.</param>
    /// <param name="cancellationToken">Ends the call before its next tokens.</param>
    /// <returns>The pieces of all texts, each with the number of its text.</returns>
    public async IAsyncEnumerable<(int Text, GeneratedPiece Piece)> ContinueAsync(
        IReadOnlyList<(GenerationSequence Text, int Number, int Count)> prompts,
        GenerationOptions options,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Call call = new(prompts, options, cancellationToken);
        lock (_lock)
        {
            _calls.Add(call);
        }

        try
        {
            while (await TakeAsync(call).ConfigureAwait(false) is { } piece)
            {
                yield return piece;
            }
        }
        finally
        {
            lock (_lock)
            {
                _calls.Remove(call);
                PassOn();
            }
        }
    }

    /// <summary>The next piece of a call; null: there is none any more.</summary>
    private async ValueTask<(int Text, GeneratedPiece Piece)?> TakeAsync(Call call)
    {
        while (true)
        {
            call.Cancellation.ThrowIfCancellationRequested();
            Task? others = null;
            lock (_lock)
            {
                if (call.Pieces.TryDequeue(out (int Text, GeneratedPiece Piece) piece))
                {
                    return piece;
                }

                call.Fault?.Throw();
                if (call.HasEnded)
                {
                    return null;
                }

                if (_isComputing)
                {
                    call.Turn = new(TaskCreationOptions.RunContinuationsAsynchronously);
                    others = call.Turn.Task;
                }

                _isComputing = true;
            }

            if (others is not null)
            {
                await others.WaitAsync(call.Cancellation).ConfigureAwait(false);
                continue;
            }

            try
            {
                await RetroGenerator.OnPool(Compute, call.Cancellation).ConfigureAwait(false);
            }
            finally
            {
                lock (_lock)
                {
                    _isComputing = false;
                    PassOn();
                }
            }
        }
    }

    /// <summary>
    /// Wakes the calls that wait for what has come, and where another one waits for what has not, one that computes next. Where no text goes on, nothing is
    /// kept.
    /// </summary>
    private void PassOn()
    {
        if (_isComputing)
        {
            return;
        }

        bool isAwaited = false;
        foreach (Call call in _calls)
        {
            bool hasCome = call.Pieces.Count > 0 || call.Fault is not null || call.HasEnded;
            if (call.Turn is not null && (hasCome || !isAwaited))
            {
                isAwaited |= !hasCome;
                call.Turn.SetResult();
                call.Turn = null;
            }
        }

        if (_calls.TrueForAll(call => call.Fault is not null || call.HasEnded))
        {
            Forget();
        }
    }

    private void Forget()
    {
        _decoding?.Dispose();
        _decoding = null;
    }

    /// <summary>Computes a token of each text that goes on, and reads prompts that wait.</summary>
    private bool Compute()
    {
        Call[] calls;
        lock (_lock)
        {
            calls = [.. _calls.Where(call => call.Fault is null && !call.HasEnded && !call.Cancellation.IsCancellationRequested)];
        }

        Go([.. calls.Where(call => call.IsRead)]);
        Begin(calls);
        foreach (Call call in calls)
        {
            call.Choose(_decoding);
        }

        lock (_lock)
        {
            foreach (Call call in calls)
            {
                call.HandOut();
            }
        }

        return true;
    }

    private void Go(Call[] calls)
    {
        Text[] texts = [.. calls.SelectMany(call => call.Texts)];
        if (texts.Length == 0)
        {
            Forget();
            return;
        }

        try
        {
            _decoding!.Go([.. texts.Select(text => text.Sequence)], [.. texts.Select(text => text.Row)]);
        }
        catch (Exception fault)
        {
            // The pass is everyone's, and what it left behind nobody's.
            Array.ForEach(calls, call => call.Fail(fault));
            Forget();
            return;
        }

        for (int row = 0; row < texts.Length; row++)
        {
            texts[row].Row = row;
        }
    }

    /// <summary>Reads the prompts of the calls that came first.</summary>
    private void Begin(Call[] calls)
    {
        List<Call> some = [];
        foreach (Call call in calls.Where(call => !call.IsRead))
        {
            if (some.Count > 0 && call.PromptTokens + some.Sum(one => one.PromptTokens) > PromptTokens)
            {
                break;
            }

            some.Add(call);
        }

        if (some.Count > 0)
        {
            Read(some, calls);
        }
    }

    /// <param name="calls">Those whose prompts are read.</param>
    /// <param name="all">These, and those that go on.</param>
    private void Read(List<Call> calls, Call[] all)
    {
        Text[] texts = [.. calls.SelectMany(call => call.Texts).Where(text => text.Sequence.WantsLogits)];
        int rows = _decoding?.Rows ?? 0;
        try
        {
            if (texts.Length > 0)
            {
                _decoding ??= new(model, prefixes);
                int row = rows;

                // Of several, which are short, none ends the others' reading.
                _decoding.Begin([.. texts.Select(text => text.Sequence)], calls.Count == 1 ? calls[0].Cancellation : default);
                Array.ForEach(texts, text => text.Row = row++);
            }

            calls.ForEach(call => call.GoOn());
        }
        catch (Exception fault)
        {
            if (_decoding?.Rows < rows)
            {
                // They could not be joined, and nothing is left of those that they were to join.
                Array.ForEach([.. all.Where(call => call.IsRead)], call => call.Fail(fault));
            }

            if (calls.Count == 1)
            {
                calls[0].Fail(fault);
                return;
            }

            // Whose fault it is shows when each is read by itself.
            calls.ForEach(call => Read([call], all));
        }
    }

    /// <summary>A text that has not ended.</summary>
    /// <param name="Number">Its number in its call.</param>
    /// <param name="Sequence">The text.</param>
    /// <param name="Count">How many texts go on from its prompt.</param>
    private sealed record Text(int Number, GenerationSequence Sequence, int Count = 1)
    {
        /// <summary>The row of the batch that it goes on from; -1: nothing was to be read of it.</summary>
        public int Row { get; set; } = -1;
    }

    /// <summary>The texts of one call. What is not said to be of the lock is of whoever computes.</summary>
    private sealed class Call(
        IReadOnlyList<(GenerationSequence Text, int Number, int Count)> prompts, GenerationOptions options, CancellationToken cancellationToken)
    {
        private readonly List<(int Text, GeneratedPiece Piece)> _chosen = [];
        private ExceptionDispatchInfo? _fault;

        public CancellationToken Cancellation => cancellationToken;

        /// <summary>Those that have not ended; before the prompts were read, one of each.</summary>
        public List<Text> Texts { get; private set; } = [.. prompts.Select(prompt => new Text(prompt.Number, prompt.Text, prompt.Count))];

        public long PromptTokens { get; } = prompts.Sum(prompt => (long)prompt.Text.Tokens.Count);

        /// <summary>Whether the prompts were read.</summary>
        public bool IsRead { get; private set; }

        /// <summary>What was not asked for yet; of the lock.</summary>
        public Queue<(int Text, GeneratedPiece Piece)> Pieces { get; } = [];

        /// <summary>What comes after the pieces; of the lock.</summary>
        public ExceptionDispatchInfo? Fault { get; private set; }

        /// <summary>Whether nothing comes after the pieces; of the lock.</summary>
        public bool HasEnded { get; private set; } = prompts.Count == 0;

        /// <summary>Awaited until something has come, or this call may compute; null: it is not. Of the lock.</summary>
        public TaskCompletionSource? Turn { get; set; }

        /// <summary>After the prompts were read: the other texts of each go on from there.</summary>
        public void GoOn()
        {
            IsRead = true;
            Texts =
            [
                .. Texts.SelectMany(text => Enumerable.Range(text.Number, text.Count).Select(number => number == text.Number
                    ? text
                    : new Text(number, text.Sequence.Fork(options.OfText(number))) { Row = text.Row })),
            ];
        }

        public void Fail(Exception fault) => _fault ??= ExceptionDispatchInfo.Capture(fault);

        /// <summary>Chooses the next token of each text.</summary>
        /// <param name="decoding">Has read them; null: nothing was to be read.</param>
        public void Choose(BatchDecoding? decoding)
        {
            try
            {
                for (int i = 0; IsRead && _fault is null && i < Texts.Count; i++)
                {
                    GeneratedPiece piece = Texts[i].Sequence.Next(cancellationToken);
                    _chosen.Add((Texts[i].Number, piece));
                    if (piece.End is null && !Texts[i].Sequence.WantsLogits)
                    {
                        _chosen.Add((Texts[i].Number, piece = Texts[i].Sequence.Next(cancellationToken)));
                    }

                    if (piece.End is not null)
                    {
                        if (Texts[i].Row >= 0)
                        {
                            decoding!.Keep(Texts[i].Sequence, Texts[i].Row);
                        }

                        Texts.RemoveAt(i--);
                    }
                }
            }
            catch (Exception fault)
            {
                Fail(fault);
            }
        }

        /// <summary>Gives what was chosen to whoever asks.</summary>
        public void HandOut()
        {
            _chosen.ForEach(Pieces.Enqueue);
            _chosen.Clear();
            Fault = _fault;
            HasEnded = IsRead && Texts.Count == 0;
        }
    }
}
