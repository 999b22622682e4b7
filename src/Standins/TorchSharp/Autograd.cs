using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>No gradients are recorded on this thread until the result is disposed.</summary>
    public static IDisposable no_grad() => new GradMode(false);

    public static IDisposable enable_grad(bool enabled = true) => new GradMode(enabled);

    public static IDisposable set_grad_enabled(bool mode = true) => new GradMode(mode);

    public static IDisposable inference_mode(bool mode = true) => new InferenceMode(mode);

    public static bool is_grad_enabled() => Native.rt_grad_enabled() != 0;

    public static bool is_inference_mode_enabled() => Native.rt_inference_enabled() != 0;

    public static unsafe partial class autograd
    {
        public static IList<Tensor> grad(IList<Tensor> outputs, IList<Tensor> inputs, IList<Tensor>? grad_outputs = null, bool retain_graph = false, bool create_graph = false, bool allow_unused = false)
        {
            nint[] from = Handles.Of(outputs);
            nint[] to = Handles.Of(inputs);
            nint[] seeds = Handles.Of(grad_outputs);
            nint[] results = new nint[to.Length];
            fixed (nint* fromPointer = from, toPointer = to, seedPointer = seeds, resultPointer = results)
            {
                Native.Check(Native.rt_gradients(fromPointer, from.Length, toPointer, to.Length, seedPointer, seeds.Length, retain_graph || create_graph ? 1 : 0, create_graph ? 1 : 0, allow_unused ? 1 : 0, resultPointer));
            }

            GC.KeepAlive(outputs);
            GC.KeepAlive(inputs);
            GC.KeepAlive(grad_outputs);
            return [.. results.Select(handle => handle == 0 ? Tensor.Nothing : new Tensor(handle))];
        }

        public static void backward(IList<Tensor> tensors, IList<Tensor>? grad_tensors = null, bool? retain_graph = null, bool create_graph = false, IList<Tensor>? inputs = null)
        {
            nint[] roots = Handles.Of(tensors);
            nint[] seeds = Handles.Of(grad_tensors);
            nint[] leaves = Handles.Of(inputs);
            fixed (nint* rootPointer = roots, seedPointer = seeds, leafPointer = leaves)
            {
                Native.Check(Native.rt_backward(rootPointer, roots.Length, seedPointer, seeds.Length, retain_graph ?? create_graph ? 1 : 0, create_graph ? 1 : 0, leafPointer, leaves.Length));
            }

            GC.KeepAlive(tensors);
            GC.KeepAlive(grad_tensors);
            GC.KeepAlive(inputs);
        }

        public static void backward(Tensor tensor, IList<Tensor>? grad_tensors = null, bool? retain_graph = null, bool create_graph = false, IList<Tensor>? inputs = null) =>
            backward([tensor], grad_tensors, retain_graph, create_graph, inputs);

        public static void backward(Tensor tensor, Tensor grad_tensor, bool? retain_graph = null, bool create_graph = false, IList<Tensor>? inputs = null) =>
            backward([tensor], [grad_tensor], retain_graph, create_graph, inputs);
    }

    private sealed class GradMode : IDisposable
    {
        private readonly bool before = is_grad_enabled();
        private bool open = true;

        public GradMode(bool enabled) => Native.rt_set_grad_enabled(enabled ? 1 : 0);

        public void Dispose()
        {
            if (open)
            {
                open = false;
                Native.rt_set_grad_enabled(before ? 1 : 0);
            }
        }
    }

    private sealed class InferenceMode(bool enabled) : IDisposable
    {
        private nint guard = Native.rt_inference_begin(enabled ? 1 : 0);

        public void Dispose()
        {
            nint ending = Interlocked.Exchange(ref guard, 0);
            if (ending != 0)
            {
                Native.rt_inference_end(ending);
            }
        }
    }
}
