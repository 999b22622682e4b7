namespace Retro.Tests;

/// <summary>A clock that moves on by a step each time it is read, and when it is told to.</summary>
internal sealed class SteppingClock(TimeSpan step) : TimeProvider
{
    private long _ticks;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp()
    {
        long now = _ticks;
        _ticks += step.Ticks;
        return now;
    }

    public void Advance(TimeSpan time) => _ticks += time.Ticks;
}
