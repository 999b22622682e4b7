using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>A tensor of libtorch: this object owns one reference to it.</summary>
    public partial class Tensor : IDisposable
    {
        private static long live;
        private static long peak;

        private nint handle;
        private long pressure;
        private DisposeScope? scope;

        internal Tensor(nint handle)
        {
            this.handle = handle;
            long count = Interlocked.Increment(ref live);
            long highest;
            while (count > (highest = Volatile.Read(ref peak)) && Interlocked.CompareExchange(ref peak, count, highest) != highest)
            {
            }

            DisposeScopeManager manager = DisposeScopeManager.OfThread;
            scope = manager.Current;
            if (scope is not null)
            {
                scope.Register(this);
                manager.Tensors.CreatedInScopeCount++;
            }
            else
            {
                manager.Tensors.CreatedOutsideScopeCount++;
                Weigh();
            }
        }

        // No tensor at all, as the original gives where there is no gradient.
        private Tensor() => GC.SuppressFinalize(this);

        ~Tensor() => Dispose(false);

        /// <summary>How many tensors there are now, over all threads.</summary>
        public static long TotalCount => Interlocked.Read(ref live);

        /// <summary>How many there were at most.</summary>
        public static long PeakCount => Interlocked.Read(ref peak);

        public nint Handle => handle != 0 ? handle : throw new InvalidOperationException("Tensor invalid -- empty handle.");

        public bool IsInvalid => handle == 0;

        internal static Tensor Nothing { get; } = new();

        /// <summary>The wrapper of a handle whose reference becomes the wrapper's.</summary>
        public static Tensor UnsafeCreateTensor(nint handle) => new(handle);

        public nint DecoupleFromNativeHandle()
        {
            nint owned = Handle;
            Unweigh();
            Leave();
            handle = 0;
            Interlocked.Decrement(ref live);
            GC.SuppressFinalize(this);
            return owned;
        }

        public void Dispose()
        {
            Leave();
            Dispose(true);
            GC.SuppressFinalize(this);
        }

        public Tensor MoveToOuterDisposeScope()
        {
            if (scope is not null)
            {
                Move(scope.Outer);
            }

            return this;
        }

        public Tensor DetachFromDisposeScope()
        {
            Move(null);
            return this;
        }

        public Tensor DetatchFromDisposeScope() => DetachFromDisposeScope();

        public Tensor MoveToOtherDisposeScope(Tensor other)
        {
            Move(other.scope);
            return this;
        }

        public Tensor MoveToOtherDisposeScope(DisposeScope other)
        {
            Move(other);
            return this;
        }

        /// <summary>Makes the scope the only one that owns this tensor; null makes it nobody's.</summary>
        internal void Move(DisposeScope? target)
        {
            if (ReferenceEquals(scope, target))
            {
                return;
            }

            LifetimeStatistics statistics = DisposeScopeManager.OfThread.Tensors;
            if (scope is not null)
            {
                scope.Forget(this);
                statistics.DetachedFromScopeCount++;
            }

            scope = target;
            if (target is not null)
            {
                target.Register(this);
                statistics.AttachedToScopeCount++;
                Unweigh();
            }
            else
            {
                Weigh();
            }
        }

        internal void Orphan() => scope = null;

        /// <summary>Disposes on the scope's behalf, which has let go of it already.</summary>
        internal void DisposeWithScope()
        {
            scope = null;
            if (handle != 0)
            {
                DisposeScopeManager.OfThread.Tensors.DisposedInScopeCount++;
            }

            Dispose(true);
            GC.SuppressFinalize(this);
        }

        protected virtual void Dispose(bool disposing)
        {
            nint going = Interlocked.Exchange(ref handle, 0);
            if (going == 0)
            {
                return;
            }

            Unweigh();
            Interlocked.Decrement(ref live);
            Native.rt_release(going);
        }

        private void Leave()
        {
            if (handle == 0 && scope is null)
            {
                return;
            }

            LifetimeStatistics statistics = DisposeScopeManager.OfThread.Tensors;
            if (scope is not null)
            {
                scope.Forget(this);
                scope = null;
                statistics.DisposedInScopeCount++;
            }
            else
            {
                statistics.DisposedOutsideScopeCount++;
            }
        }

        // A scope frees what it owns; the rest is left to the collector, which has to know what hangs on the small wrapper.
        private void Weigh()
        {
            if (pressure == 0 && handle != 0)
            {
                pressure = Native.rt_owned_bytes(handle);
                if (pressure > 0)
                {
                    GC.AddMemoryPressure(pressure);
                }
            }
        }

        private void Unweigh()
        {
            if (pressure > 0)
            {
                GC.RemoveMemoryPressure(pressure);
                pressure = 0;
            }
        }
    }
}
