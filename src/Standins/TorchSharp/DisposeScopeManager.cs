namespace TorchSharp;

/// <summary>The scopes of a thread, the innermost on top, and its counts.</summary>
public class DisposeScopeManager
{
    [ThreadStatic]
    private static DisposeScopeManager? ofThread;

    private readonly List<DisposeScope> scopes = [];
    private readonly ThreadDisposeScopeStatistics statistics = new();

    public static ThreadDisposeScopeStatistics Statistics => OfThread.statistics;

    internal static DisposeScopeManager OfThread => ofThread ??= new DisposeScopeManager();

    internal DisposeScope? Current => scopes.Count == 0 ? null : scopes[^1];

    internal LifetimeStatistics Tensors => statistics.TensorStatistics;

    internal DisposeScope Open()
    {
        DisposeScope scope = new(this, Current);
        scopes.Add(scope);
        return scope;
    }

    internal void Remove(DisposeScope scope) => scopes.Remove(scope);
}
