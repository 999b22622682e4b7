namespace Retro.Training;

/// <summary>The time of a run: how long it has trained, which leaves out what is written meanwhile, how fast it reads, and how long ago it has saved.</summary>
/// <param name="time">The clock.</param>
internal sealed class TrainingClock(TimeProvider time)
{
    private long? _started;
    private long? _paused; // while it stands
    private long _saved;
    private long _tokens;

    /// <summary>A moment, for <see cref="Since"/>.</summary>
    public long Now => time.GetTimestamp();

    /// <summary>Whether a run goes on.</summary>
    public bool IsRunning => _started is not null;

    /// <summary>Time that the run has trained; none where no run goes on.</summary>
    public TimeSpan Elapsed => _started is { } started ? time.GetElapsedTime(started, _paused ?? Now) : TimeSpan.Zero;

    /// <summary>Time since the run's last checkpoint, or its beginning.</summary>
    public TimeSpan SinceSaved => Since(_saved);

    /// <summary>Time since a moment.</summary>
    public TimeSpan Since(long moment) => time.GetElapsedTime(moment);

    /// <summary>Begins a run.</summary>
    /// <param name="tokens">Tokens read before it.</param>
    public void Start(long tokens)
    {
        _saved = Now;
        (_started, _tokens) = (_saved, tokens);
    }

    /// <summary>Ends the run.</summary>
    public void Stop() => _started = null;

    /// <summary>Has something written, which is no time of the training.</summary>
    public void Pause(Action write)
    {
        long began = Now;
        _paused = began;
        try
        {
            write();
        }
        finally
        {
            _paused = null;
            _started += Now - began;
        }
    }

    /// <summary>Notes that the run's checkpoint was written.</summary>
    public void NoteSaved() => _saved = Now;

    /// <summary>Tokens read per second since the run began; 0 where no run goes on.</summary>
    /// <param name="tokens">Tokens read in all.</param>
    public double TokensPerSecond(long tokens)
    {
        double seconds = Elapsed.TotalSeconds;
        return seconds > 0 ? (tokens - _tokens) / seconds : 0;
    }
}
