using System.Globalization;
using System.Runtime.InteropServices;
using Retro.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Distributed;

/// <summary>Processes with a GPU each, which exchange gradients over NCCL from GPU to GPU; what lies elsewhere goes over MPI.</summary>
/// <remarks>
/// <code>using MpiExchange mpi = MpiExchange.Start();
/// using NcclExchange exchange = NcclExchange.Start(mpi);
/// using Trainer trainer = new(model, options, exchange: exchange);</code>
/// What it does is queued behind what torch has queued on the GPU's default stream, and the processor does not wait for it.
/// </remarks>
public sealed unsafe class NcclExchange : IGradientExchange, IDisposable
{
    private readonly MpiExchange _mpi;
    private nint _communicator;

    private NcclExchange(MpiExchange mpi, nint communicator)
    {
        _mpi = mpi;
        _communicator = communicator;
    }

    /// <inheritdoc/>
    public int Rank => _mpi.Rank;

    /// <inheritdoc/>
    public int Size => _mpi.Size;

    /// <inheritdoc/>
    public string Place => _mpi.Place;

    /// <summary>
    /// Joins the GPUs of the processes. Each takes the GPU whose number is its <see cref="MpiExchange.LocalRank"/>, of those in CUDA_VISIBLE_DEVICES where that
    /// lists several, by setting it: so this comes before anything uses a GPU. Where it names one, that is taken.
    /// </summary>
    /// <param name="mpi">The processes; it stays the caller's, and is disposed after what is returned.</param>
    /// <returns>The exchange; disposing it leaves the others.</returns>
    /// <exception cref="ExchangeException">NCCL is missing, or finds no GPU, or the list has fewer than this machine has processes; the message says what to
    /// do.</exception>
    public static NcclExchange Start(MpiExchange mpi)
    {
        ArgumentNullException.ThrowIfNull(mpi);
        const string Visible = "CUDA_VISIBLE_DEVICES";
        string[] listed = Environment.GetEnvironmentVariable(Visible)?.Split(',') ?? [];

        // The GPU that has its number by itself is another job's. Told to all, since the others would wait for this one.
        string lacking = listed.Length <= 1 || mpi.LocalRank < listed.Length ? ""
            : $"{mpi.Place} is number {mpi.LocalRank} of its machine, from 0, and {Visible} lists {listed.Length} GPUs; start at most as many processes on a "
                + "machine as it has GPUs.";
        if (mpi.Gather(lacking).FirstOrDefault(said => said.Length > 0) is { } fault)
        {
            throw new ExchangeException(fault);
        }

        Nccl.Load();
        if (listed.Length != 1)
        {
            string own = listed.ElementAtOrDefault(mpi.LocalRank) ?? mpi.LocalRank.ToString(CultureInfo.InvariantCulture);
            _ = Nccl.SetEnvironment(Visible, own, overwrite: 1);
        }

        Nccl.UniqueId id = default;
        if (mpi.Rank == 0)
        {
            Nccl.Require(Nccl.GetUniqueId(&id), "ncclGetUniqueId");
        }

        string shared = mpi.Gather(Convert.ToHexString(MemoryMarshal.AsBytes(new Span<Nccl.UniqueId>(ref id))))[0];
        Convert.FromHexString(shared).CopyTo(MemoryMarshal.AsBytes(new Span<Nccl.UniqueId>(ref id)));
        Nccl.Require(Nccl.Join(out nint communicator, mpi.Size, id, mpi.Rank), "ncclCommInitRank");
        return new(mpi, communicator);
    }

    /// <inheritdoc/>
    /// <exception cref="ExchangeException">The type is none that can be summed, or the tensor is not contiguous.</exception>
    public void Sum(Tensor values, int? onlyTo = null)
    {
        if (!IsHere(values))
        {
            _mpi.Sum(values, onlyTo);
            return;
        }

        int type = values.dtype switch
        {
            ScalarType.Float32 => Nccl.Float,
            ScalarType.Float64 => Nccl.Double,
            ScalarType.Int64 => Nccl.Int64,
            _ => throw new ExchangeException($"A tensor of {values.dtype} came to be summed; expected float32, float64 or int64."),
        };
        void* place = Nccl.Data(values.Handle);
        nuint count = (nuint)values.numel();
        if (onlyTo is { } root)
        {
            Nccl.Require(Nccl.Reduce(place, place, count, type, Nccl.Sum, root, _communicator, 0), "ncclReduce");
        }
        else
        {
            Nccl.Require(Nccl.AllReduce(place, place, count, type, Nccl.Sum, _communicator, 0), "ncclAllReduce");
        }
    }

    /// <inheritdoc/>
    /// <exception cref="ExchangeException">The tensor is not contiguous.</exception>
    public void Broadcast(Tensor values, int from)
    {
        if (!IsHere(values))
        {
            _mpi.Broadcast(values, from);
            return;
        }

        void* place = Nccl.Data(values.Handle);
        Nccl.Require(
            Nccl.Broadcast(place, place, (nuint)(values.numel() * values.element_size()), Nccl.Byte, from, _communicator, 0), "ncclBroadcast");
    }

    /// <inheritdoc/>
    public IReadOnlyList<string> Gather(string text) => _mpi.Gather(text);

    /// <inheritdoc/>
    public void Abort(string reason) => _mpi.Abort(reason);

    /// <summary>Leaves the others.</summary>
    public void Dispose()
    {
        if (_communicator != 0)
        {
            Nccl.Require(Nccl.Leave(_communicator), "ncclCommDestroy");
            _communicator = 0;
        }
    }

    private bool IsHere(Tensor values)
    {
        ArgumentNullException.ThrowIfNull(values);
        ObjectDisposedException.ThrowIf(_communicator == 0, this);
        if (values.device.type != DeviceType.CUDA)
        {
            return false;
        }

        return values.is_contiguous()
            ? true
            : throw new ExchangeException("A tensor that is not contiguous came to be exchanged; give its contiguous() form.");
    }
}
