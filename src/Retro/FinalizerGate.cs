using System.Collections;
using System.Reflection;
using System.Runtime.CompilerServices;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro;

/// <summary>Keeps finalizers from running while torch computes, so that a layer may be written with plain x + y or x * 0.5.</summary>
/// <remarks>
/// <para>TorchSharp hands the address of a number to native code without keeping its object alive, the hidden 1 of x + y included. When another thread causes a
/// collection during the call, the finalizer thread frees the number under the reader: the training dies, or computes something else. While the gate is closed
/// the finalizer thread waits in it, and what has been collected stays as it is.</para>
/// <para>Retro's own layers hold their numbers and do not need it. Trainer, RetroGenerator and BitsPerByte close the gate for a model that has a module or a
/// hook of other origin, and RetrieverTrainer for a custom objective. A custom model in a custom loop is safe where the loop closes it around each step, the
/// optimizer's included:</para>
/// <code>using (FinalizerGate.Close())
/// {
///     loss(model.call(x)).backward();
///     optimizer.step();
/// }</code>
/// <para>Closing costs a collection of the youngest generation. Several threads may hold the gate at once; a step that computes on several threads closes it
/// once, around all of them. While a text is generated it stays closed from token to token, for some seconds at most. Code inside must neither wait for
/// finalizers (<see cref="GC.WaitForPendingFinalizers"/>) nor end the process (<see cref="Environment.Exit"/>, which waits for the finalizer thread): it would
/// wait until the gate opens by itself, which it does after ten minutes.</para>
/// </remarks>
public static class FinalizerGate
{
    private static readonly TimeSpan s_longestClosed = TimeSpan.FromMinutes(10);

    // Steps of several threads can overlap without end: once the gate has been closed for so long, a thread that comes waits until it has been open, but not
    // for ever.
    private static readonly TimeSpan s_fairClosed = TimeSpan.FromSeconds(5), s_longestWait = TimeSpan.FromSeconds(60);

    // Between two tokens of a text the gate stays closed: to close it takes several times as long as a small model's token. Between two steps of a training it
    // opens at once, since what they leave to finalizers may be large.
    private static readonly TimeSpan s_linger = TimeSpan.FromMilliseconds(20);
    private static readonly Timer s_openLater = new(_ => OpenUnheld());

    // Modules of TorchSharp that make no numbers of their own while they compute.
    private static readonly HashSet<Type> s_safe = [
        typeof(Linear), typeof(TorchSharp.Modules.Embedding), typeof(LayerNorm), typeof(Dropout), typeof(Sequential)
    ];

    private static readonly string[] s_hookFields = ["pre_hooks", "post_hooks", "module_pre_hooks", "module_post_hooks"];

    private static readonly object s_gate = new();
    private static Closing? s_closing;
    private static int s_holders;

    [ThreadStatic]
    private static int s_depth;

    /// <summary>Closes the gate; disposing what is returned opens it, unless another thread still holds it.</summary>
    /// <returns>The hold. It cannot leave its method, so that the thread that closed the gate opens it.</returns>
    public static Hold Close() => Close(true);

    /// <summary>Closes the gate where it is needed.</summary>
    /// <param name="needed">What <see cref="IsNeededFor"/> says.</param>
    /// <param name="lingers">Whether it opens only some milliseconds after the last hold, for work that is likely to close it again before.</param>
    internal static Hold Close(bool needed, bool lingers = false)
    {
        if (!needed)
        {
            return default; // holds nothing
        }

        if (s_depth++ == 0)
        {
            lock (s_gate)
            {
                long waitedSince = Environment.TickCount64;
                while (s_closing is { } closed && closed.Age > s_fairClosed && Environment.TickCount64 - waitedSince < s_longestWait.TotalMilliseconds)
                {
                    if (s_holders == 0)
                    {
                        Open();
                    }
                    else
                    {
                        Monitor.Wait(s_gate, s_longestWait);
                    }
                }

                s_holders++;
                if (s_closing is null)
                {
                    s_closing = new Closing();
                    s_closing.Close();
                }
            }
        }

        return new Hold(lingers);
    }

    /// <summary>Whether a model computes anything that is not Retro's: a module of other origin, or a hook on one of Retro's.</summary>
    /// <param name="model">The model.</param>
    internal static bool IsNeededFor(nn.Module model)
        => model.modules().Prepend(model).Any(IsCustom);

    /// <summary>Whether a module is of other origin, or a hook runs around it; what it holds is not looked at.</summary>
    /// <param name="module">The module.</param>
    internal static bool IsCustom(nn.Module module)
        => (module.GetType().Assembly != typeof(FinalizerGate).Assembly && !s_safe.Contains(module.GetType())) || HasHook(module);

    /// <summary>Whether a function is of other origin than Retro.</summary>
    /// <param name="function">The function.</param>
    internal static bool IsCustom(Delegate function) => function.Method.Module.Assembly != typeof(FinalizerGate).Assembly;

    private static void Leave(bool lingers)
    {
        if (--s_depth == 0)
        {
            lock (s_gate)
            {
                if (--s_holders > 0)
                {
                    return;
                }

                if (lingers)
                {
                    s_openLater.Change(s_linger, Timeout.InfiniteTimeSpan);
                }
                else
                {
                    Open();
                }
            }
        }
    }

    private static void OpenUnheld()
    {
        lock (s_gate)
        {
            if (s_holders == 0 && s_closing is not null)
            {
                Open();
            }
        }
    }

    private static void Open()
    {
        s_closing!.Open();
        s_closing = null;
        Monitor.PulseAll(s_gate);
    }

    // TorchSharp keeps hooks where only derived classes see them. Where it no longer keeps them there, a hook is taken for granted.
    internal static bool HasHook(nn.Module module)
    {
        for (Type? type = module.GetType(); type is not null && type != typeof(nn.Module); type = type.BaseType)
        {
            if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(nn.HookableModule<,>))
            {
                return Array.Exists(
                    s_hookFields,
                    name => type.GetField(name, BindingFlags.Instance | BindingFlags.NonPublic)?.GetValue(module) is not ICollection { Count: 0 });
            }
        }

        return false;
    }

    /// <summary>A hold on the gate; disposed where the numbers are no longer needed.</summary>
    public ref struct Hold
    {
        private readonly bool _lingers;
        private bool _held = true;

        internal Hold(bool lingers) => _lingers = lingers;

        /// <summary>Lets the gate open.</summary>
        public void Dispose()
        {
            if (_held)
            {
                _held = false;
                Leave(_lingers);
            }
        }
    }

    // One closing: from the first hold to the last.
    private sealed class Closing
    {
        private readonly long _since = Environment.TickCount64;
        private bool _arrived;
        private bool _open;

        public TimeSpan Age => TimeSpan.FromMilliseconds(Environment.TickCount64 - _since);

        /// <summary>
        /// Leaves an object to the collector in whose finalizer the finalizer thread waits, and comes back when it is there; it has finalized by then what was
        /// collected before.
        /// </summary>
        public void Close()
        {
            // An object that another collection met while it was made is in an older generation, so a later attempt looks further.
            for (int attempt = 0; Age < s_longestWait; attempt++)
            {
                LeaveSentinel();
                GC.Collect(Math.Min(attempt, GC.MaxGeneration), GCCollectionMode.Forced, blocking: true);
                lock (this)
                {
                    if (_arrived || Monitor.Wait(this, TimeSpan.FromMilliseconds(100)))
                    {
                        return;
                    }
                }
            }
        }

        public void Open()
        {
            lock (this)
            {
                _open = true;
                Monitor.PulseAll(this);
            }
        }

        // In a method of its own, so that no local of the caller's keeps it alive.
        [MethodImpl(MethodImplOptions.NoInlining)]
        private void LeaveSentinel() => _ = new Sentinel(this);

        private void Wait()
        {
            lock (this)
            {
                _arrived = true;
                Monitor.PulseAll(this);
                while (!_open)
                {
                    if (!Monitor.Wait(this, s_longestClosed))
                    {
                        _open = true;
                    }
                }
            }
        }

        private sealed class Sentinel(Closing closing)
        {
            ~Sentinel() => closing.Wait();
        }
    }
}
