using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using static TorchSharp.torch;

namespace TorchSharp.Interop;

/// <summary>An ATen operator, found by name and overload at its first call.</summary>
internal sealed unsafe class Op(string name, string overload = "")
{
    private const int ScratchBytes = 512;

    private nint handle;

    public string Name => overload.Length == 0 ? name : $"{name}.{overload}";

    /// <summary>Whether this libtorch has the operator.</summary>
    public bool Exists => handle != 0 || (handle = Native.rt_op("aten::" + name, overload)) != 0;

    /// <summary>Calls the operator, whose one result is a tensor.</summary>
    public Tensor Call(params ReadOnlySpan<Arg> args)
    {
        NativeArg result;
        Run(args, &result, 1);
        return new Tensor((nint)result.Bits);
    }

    /// <summary>Calls the operator for what it does to a tensor that it is given; what it returns is that tensor again.</summary>
    public void Apply(params ReadOnlySpan<Arg> args) => Run(args, null, 0);

    /// <summary>Calls the operator, whose first two results are tensors.</summary>
    public (Tensor, Tensor) Call2(params ReadOnlySpan<Arg> args)
    {
        NativeArg* results = stackalloc NativeArg[2];
        Run(args, results, 2);
        return (new Tensor((nint)results[0].Bits), new Tensor((nint)results[1].Bits));
    }

    /// <summary>Calls the operator, whose first three results are tensors.</summary>
    public (Tensor, Tensor, Tensor) Call3(params ReadOnlySpan<Arg> args)
    {
        NativeArg* results = stackalloc NativeArg[3];
        Run(args, results, 3);
        return (new Tensor((nint)results[0].Bits), new Tensor((nint)results[1].Bits), new Tensor((nint)results[2].Bits));
    }

    /// <summary>Calls the operator, whose one result is a list of tensors.</summary>
    public Tensor[] CallList(params ReadOnlySpan<Arg> args)
    {
        NativeArg result;
        Run(args, &result, 1);
        Tensor[] tensors = new Tensor[result.Count];
        nint* handles = (nint*)result.Bits;
        for (int i = 0; i < tensors.Length; i++)
        {
            tensors[i] = new Tensor(handles[i]);
        }

        Native.rt_free((nint)result.Bits);
        return tensors;
    }

    /// <summary>Calls the operator, whose one result is a number or a truth value.</summary>
    public NativeArg CallValue(params ReadOnlySpan<Arg> args)
    {
        NativeArg result;
        Run(args, &result, 1);
        return result;
    }

    [SkipLocalsInit]
    private void Run(ReadOnlySpan<Arg> args, NativeArg* results, int capacity)
    {
        if (handle == 0 && !Exists)
        {
            throw new NotSupportedException($"{Native.LastError()}: libtorch {Marshal.PtrToStringUTF8(Native.rt_version())} has no such operator.");
        }

        NativeArg* native = stackalloc NativeArg[args.Length];
        byte* scratch = stackalloc byte[ScratchBytes];
        Scratch memory = new(scratch, ScratchBytes);
        try
        {
            for (int i = 0; i < args.Length; i++)
            {
                ref readonly Arg arg = ref args[i];
                native[i].Tag = arg.Tag;
                native[i].Count = 0;
                native[i].Bits = arg.Object is null ? arg.Bits : memory.Write(arg, ref native[i].Count);
            }

            Native.Check(Native.rt_call(handle, native, args.Length, results, capacity));
        }
        finally
        {
            memory.Free();
        }
    }

    /// <summary>Where lists and texts lie during one call: on the stack, and what does not fit there on the heap.</summary>
    private ref struct Scratch(byte* bytes, int left)
    {
        private byte* next = bytes;
        private List<nint>? heap;

        public long Write(in Arg arg, ref int count)
        {
            switch (arg.Tag)
            {
                case Tag.Tensor:
                    return ((Tensor)arg.Object!).Handle;
                case Tag.Generator:
                    return ((Generator)arg.Object!).Handle;
                case Tag.Ints:
                    return Copy((long[])arg.Object!, ref count);
                case Tag.Doubles:
                    return Copy((double[])arg.Object!, ref count);
                case Tag.Bools:
                    return Copy((bool[])arg.Object!, ref count);
                case Tag.String:
                    return Copy(Encoding.UTF8.GetBytes((string)arg.Object!), ref count);
                default:
                    Tensor?[] tensors = (Tensor?[])arg.Object!;
                    nint* handles = (nint*)Take(tensors.Length * sizeof(nint));
                    for (int i = 0; i < tensors.Length; i++)
                    {
                        handles[i] = tensors[i]?.Handle ?? 0;
                    }

                    count = tensors.Length;
                    return (long)handles;
            }
        }

        public readonly void Free()
        {
            if (heap is not null)
            {
                foreach (nint block in heap)
                {
                    NativeMemory.Free((void*)block);
                }
            }
        }

        private long Copy<T>(T[] values, ref int count)
            where T : unmanaged
        {
            byte* target = Take(values.Length * sizeof(T));
            values.CopyTo(new Span<T>(target, values.Length));
            count = values.Length;
            return (long)target;
        }

        private byte* Take(int size)
        {
            size = (size + 7) & ~7;
            if (size <= left)
            {
                byte* taken = next;
                next += size;
                left -= size;
                return taken;
            }

            void* block = NativeMemory.Alloc((nuint)size);
            (heap ??= []).Add((nint)block);
            return (byte*)block;
        }
    }
}
