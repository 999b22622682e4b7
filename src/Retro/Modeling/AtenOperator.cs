using System.Runtime.InteropServices;
using System.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>
/// An operator of libtorch that TorchSharp does not bind, called by its name through the C interface that libtorch_cpu exports and means to keep stable.
/// </summary>
/// <remarks>
/// <para>Autograd, devices and types are those of libtorch, as if TorchSharp had called. The interface takes one 64-bit slot an argument: see
/// <see cref="AtenArgument"/>.</para>
/// <para>Whether the operator is there and takes its arguments in this way is found out once, on a trial with tiny arguments, and before anything of a caller's
/// is handed over: a call takes over what is in the slots when it fails within the operator, but not when it finds no operator, and does not say which it
/// was.</para>
/// <para>libtorch tells the reason of a failure to the standard error stream alone.</para>
/// </remarks>
internal sealed unsafe class AtenOperator
{
    private readonly string _name;
    private readonly int _results;
    private readonly Lazy<Exports?> _exports;

    /// <summary>Names an operator; nothing is loaded before it is asked for.</summary>
    /// <param name="name">Name with namespace, such as "aten::relu"; the overload without a name of its own is meant.</param>
    /// <param name="results">How many tensors it returns.</param>
    /// <param name="trial">Makes arguments of a few bytes that the operator must take.</param>
    /// <param name="library">The library that exports the interface.</param>
    public AtenOperator(string name, int results, Func<AtenArgument[]> trial, string library = "torch_cpu")
    {
        _name = name;
        _results = results;
        _exports = new(() => Try(trial, library));
    }

    /// <summary>Whether this libtorch has the interface and the operator.</summary>
    public bool IsAvailable => _exports.Value is not null;

    /// <summary>Calls the operator.</summary>
    /// <param name="arguments">All its arguments, in the order of its schema; those with a default too. They stay the caller's.</param>
    /// <returns>Its results, in the current dispose scope.</returns>
    /// <exception cref="AtenException">The operator is not available, or refused its arguments; nothing of the call is left.</exception>
    public Tensor[] Call(params ReadOnlySpan<AtenArgument> arguments)
        => Call(
            _exports.Value
                ?? throw new AtenException(
                    $"Expected a libtorch with the operator {_name} and the C interface to call it by, found libtorch {__version__} without; ask "
                        + $"{nameof(IsAvailable)} first."),
            arguments);

    private Exports? Try(Func<AtenArgument[]> trial, string library)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        AtenArgument[] arguments = trial(); // which has TorchSharp load libtorch, where it has not yet
        if (Exports.Find(library) is not { } exports)
        {
            return null;
        }

        try
        {
            Call(exports, arguments);
            return exports;
        }
        catch (AtenException)
        {
            return null;
        }
    }

    private Tensor[] Call(Exports exports, ReadOnlySpan<AtenArgument> arguments)
    {
        foreach (AtenArgument argument in arguments)
        {
            // A tensor that has been disposed of throws here, before there is anything to give back.
            argument.Check();
        }

        ulong* slots = stackalloc ulong[Math.Max(arguments.Length, _results)];
        for (int i = 0; i < arguments.Length; i++)
        {
            slots[i] = arguments[i].ToSlot(exports);
        }

        fixed (byte* name = Encoding.UTF8.GetBytes(_name + "\0"), overload = "\0"u8)
        {
            if (exports.CallDispatcher(name, overload, slots) != 0)
            {
                throw new AtenException(
                    $"The operator {_name} of libtorch {__version__} refused its arguments; libtorch has told the standard error stream why.");
            }
        }

        Tensor[] results = new Tensor[_results];
        for (int i = 0; i < results.Length; i++)
        {
            results[i] = Tensor.UnsafeCreateTensor((nint)slots[i]);
        }

        return results;
    }

    /// <summary>The functions of the interface that are used here. Each gives zero where it succeeds.</summary>
    internal sealed class Exports
    {
        private Exports()
        {
        }

        public delegate* unmanaged<byte*, byte*, ulong*, int> CallDispatcher { get; private init; }

        public delegate* unmanaged<nint, nint*, int> NewTensorHandle { get; private init; }

        public delegate* unmanaged<nuint, nint*, int> NewList { get; private init; }

        public delegate* unmanaged<nint, ulong, int> PushBack { get; private init; }

        public static Exports? Find(string library)
            => NativeLibrary.TryLoad(library, typeof(Tensor).Assembly, null, out nint loaded)
                && NativeLibrary.TryGetExport(loaded, "aoti_torch_call_dispatcher", out nint call)
                && NativeLibrary.TryGetExport(loaded, "aoti_torch_new_tensor_handle", out nint newTensor)
                && NativeLibrary.TryGetExport(loaded, "torch_new_list_reserve_size", out nint newList)
                && NativeLibrary.TryGetExport(loaded, "torch_list_push_back", out nint pushBack)
                ? new()
                {
                    CallDispatcher = (delegate* unmanaged<byte*, byte*, ulong*, int>)call,
                    NewTensorHandle = (delegate* unmanaged<nint, nint*, int>)newTensor,
                    NewList = (delegate* unmanaged<nuint, nint*, int>)newList,
                    PushBack = (delegate* unmanaged<nint, ulong, int>)pushBack,
                }
                : null;
    }
}

/// <summary>
/// An argument of an <see cref="AtenOperator"/>. In its 64-bit slot stand an integer, the bits of a double, 0 or 1 for a bool, or a pointer that the call takes
/// over: to a new handle of a tensor, to a list of slots, or to a slot on the heap for an optional value, null for none.
/// </summary>
internal readonly unsafe struct AtenArgument
{
    private readonly ulong _bits;
    private readonly Tensor? _tensor;
    private readonly AtenArgument[]? _list;
    private readonly bool _optional;

    private AtenArgument(ulong bits, Tensor? tensor, AtenArgument[]? list, bool optional)
    {
        _bits = bits;
        _tensor = tensor;
        _list = list;
        _optional = optional;
    }

    /// <summary>No value of an optional parameter.</summary>
    public static AtenArgument None => default;

    public static implicit operator AtenArgument(Tensor tensor) => new(0, tensor, null, false);

    public static implicit operator AtenArgument(double value) => new(BitConverter.DoubleToUInt64Bits(value), null, null, false);

    public static implicit operator AtenArgument(bool value) => new(value ? 1UL : 0, null, null, false);

    public static implicit operator AtenArgument(Tensor[] tensors) => new(0, null, Array.ConvertAll(tensors, tensor => (AtenArgument)tensor), false);

    public static implicit operator AtenArgument(long[] values)
        => new(0, null, Array.ConvertAll(values, value => new AtenArgument(unchecked((ulong)value), null, null, false)), false);

    /// <summary>A value of an optional parameter.</summary>
    public static AtenArgument Some(AtenArgument value) => new(value._bits, value._tensor, value._list, true);

    /// <summary>Throws where a tensor has been disposed of.</summary>
    public void Check()
    {
        _ = _tensor?.Handle;
        foreach (AtenArgument element in _list ?? [])
        {
            element.Check();
        }
    }

    /// <summary>What stands in the slot.</summary>
    public ulong ToSlot(AtenOperator.Exports exports)
    {
        ulong slot = _bits;
        nint made;
        if (_tensor is not null)
        {
            Require(exports.NewTensorHandle(_tensor.Handle, &made));
            GC.KeepAlive(_tensor);
            slot = (ulong)made;
        }
        else if (_list is not null)
        {
            Require(exports.NewList((nuint)_list.Length, &made));
            foreach (AtenArgument element in _list)
            {
                Require(exports.PushBack(made, element.ToSlot(exports)));
            }

            slot = (ulong)made;
        }

        if (_optional)
        {
            // libtorch frees it with C++'s delete, which is the C runtime's free.
            ulong* value = (ulong*)NativeMemory.Alloc(sizeof(ulong));
            *value = slot;
            slot = (ulong)value;
        }

        return slot;
    }

    private static void Require(int code)
    {
        if (code != 0)
        {
            throw new AtenException("libtorch could not take over the arguments of an operator; it has told the standard error stream why.");
        }
    }
}

/// <summary>An operator called by name is not there, or failed.</summary>
/// <param name="message">What was expected, what came, and what to do.</param>
internal sealed class AtenException(string message) : RetroException(message);
