using System.Globalization;
using System.Runtime.InteropServices;
using Retro.Cli.Workflow;

namespace Retro.Cli.Serving;

/// <summary>
/// What fails in a server, and is no request's own fault: said to whoever runs it, but not each time. A device that is broken fails every request, and a log
/// that grows with them fills the disk.
/// </summary>
/// <param name="output">Where it is said.</param>
/// <param name="clock">When.</param>
internal sealed class FaultLog(TextWriter output, TimeProvider clock)
{
    /// <summary>Different faults that are said in one minute.</summary>
    public const int Most = 20;

    private static readonly TimeSpan s_minute = TimeSpan.FromMinutes(1);

    private readonly Lock _lock = new();
    private readonly HashSet<string> _said = []; // in this minute
    private long _begun = clock.GetTimestamp(), _unsaid, _count;

    /// <summary>Requests that failed.</summary>
    public long Count => Interlocked.Read(ref _count);

    /// <summary>Counts a request that failed, and says why, unless the same was said in this minute.</summary>
    /// <param name="request">What was asked for.</param>
    /// <param name="fault">Why it failed.</param>
    public void Add(string request, Exception fault)
    {
        Interlocked.Increment(ref _count);

        // What the library and libtorch say is a sentence; of anything else, as of a fault of the tool's own, the place tells more.
        string what = fault is RetroException or ExternalException
            ? $"{fault.GetType().Name}: {fault.Message.Split('\n')[0]}"
            : fault.ToString();
        lock (_lock)
        {
            if (clock.GetElapsedTime(_begun) >= s_minute)
            {
                if (_unsaid > 0)
                {
                    Say($"{Amount.Of(_unsaid, "more request")} failed like those before.");
                }

                _said.Clear();
                (_begun, _unsaid) = (clock.GetTimestamp(), 0);
            }

            if (_said.Count == Most || !_said.Add(what))
            {
                _unsaid++;
                return;
            }

            Say($"{request} failed: {what}");
        }
    }

    private void Say(string what)
    {
        try
        {
            output.WriteLine(Printable.Of(string.Create(CultureInfo.InvariantCulture, $"{clock.GetUtcNow():yyyy-MM-dd HH:mm:ss}Z {what}")));
        }
        catch (IOException)
        {
            // As of a file on a full disk; whoever asked is to have an answer all the same.
        }
    }
}
