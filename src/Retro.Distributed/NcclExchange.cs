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
/// What it does is queued behind what torch has queued on the GPU's default stream, and the processor does not wait for it. A link that fails meanwhile ends
/// all processes within seconds: what waits for it would wait for ever.
/// </remarks>
public sealed unsafe class NcclExchange : IGradientExchange, IDisposable
{
    private const string Visible = "CUDA_VISIBLE_DEVICES";

    private static readonly TimeSpan s_looks = TimeSpan.FromSeconds(3);

    private readonly MpiExchange _mpi;
    private readonly object _looking = new();
    private readonly Timer _looks;
    private nint _communicator;

    private NcclExchange(MpiExchange mpi, nint communicator)
    {
        _mpi = mpi;
        _communicator = communicator;
        _looks = new(_ => Look(), null, s_looks, s_looks);
    }

    /// <inheritdoc/>
    public int Rank => _mpi.Rank;

    /// <inheritdoc/>
    public int Size => _mpi.Size;

    /// <inheritdoc/>
    public string Place => _mpi.Place;

    /// <summary>
    /// Joins the GPUs of the processes. Each takes the GPU whose number is its <see cref="MpiExchange.LocalRank"/>, of those in CUDA_VISIBLE_DEVICES where that
    /// lists several, by setting it: so this comes before anything uses a GPU. Where it names one, that is taken. An MPI that was built for CUDA uses them
    /// itself: under it the launcher has to set the variable for each process.
    /// </summary>
    /// <param name="mpi">The processes; it stays the caller's, and is disposed after what is returned.</param>
    /// <returns>The exchange; disposing it leaves the others.</returns>
    /// <exception cref="ExchangeException">NCCL is missing, or a process finds no GPU, or several since they were used before, or the list has fewer than its
    /// machine has processes; the message says what to do. Where the GPUs cannot be joined though each process has one, all processes are ended.</exception>
    public static NcclExchange Start(MpiExchange mpi) => Start(mpi, () => torch.cuda.is_available() ? torch.cuda.device_count() : 0);

    /// <summary>The same, with what counts the GPUs that this process sees.</summary>
    internal static NcclExchange Start(MpiExchange mpi, Func<int> count)
    {
        ArgumentNullException.ThrowIfNull(mpi);
        string? given = Environment.GetEnvironmentVariable(Visible);
        string[] listed = given?.Split(',') ?? [];
        Require(mpi, listed.Length <= 1 || mpi.LocalRank < listed.Length ? "" : Lacks(mpi.Place, mpi.LocalRank, $"{Visible} lists {listed.Length} GPUs"));
        Nccl.Load();
        if (listed.Length != 1)
        {
            string own = listed.ElementAtOrDefault(mpi.LocalRank) ?? mpi.LocalRank.ToString(CultureInfo.InvariantCulture);
            _ = Nccl.SetEnvironment(Visible, own, overwrite: 1);
        }

        Require(mpi, FaultOfCount(mpi.Place, mpi.LocalRank, given, count()));

        Nccl.UniqueId id = default;
        if (mpi.Rank == 0)
        {
            Nccl.Require(Nccl.GetUniqueId(&id), "ncclGetUniqueId");
        }

        string shared = mpi.Gather(Convert.ToHexString(MemoryMarshal.AsBytes(new Span<Nccl.UniqueId>(ref id))))[0];
        Convert.FromHexString(shared).CopyTo(MemoryMarshal.AsBytes(new Span<Nccl.UniqueId>(ref id)));
        int code = Nccl.Join(out nint communicator, mpi.Size, id, mpi.Rank);
        if (code != 0)
        {
            string fault = Nccl.Fault(code, "ncclCommInitRank");
            mpi.Abort(fault); // others may wait for this one where nothing else can tell them
            throw new ExchangeException(fault);
        }

        return new(mpi, communicator);
    }

    /// <summary>What is wrong with how many GPUs a process sees once it has chosen one; empty: nothing.</summary>
    /// <param name="place">The process in words.</param>
    /// <param name="localRank">Its number on its machine.</param>
    /// <param name="given">CUDA_VISIBLE_DEVICES as it was given; null: it was not.</param>
    /// <param name="count">How many GPUs it sees.</param>
    internal static string FaultOfCount(string place, int localRank, string? given, int count) => count switch
    {
        1 => "",
        0 => Lacks(place, localRank, $"finds no GPU, {Visible} being {(given is null ? "unset" : $"\"{given}\"")}")
            + " Where there is one, the program may have no libtorch for it (TorchSharp-cuda-linux).",
        _ => $"{place} sees {count} GPUs after it has chosen one by {Visible}: its MPI, or the program, has used CUDA before, which reads the variable once. "
            + $"Have the launcher set {Visible} for each process.",
    };

    private static string Lacks(string place, int localRank, string what)
        => $"{place} is number {localRank} of its machine, from 0, and {what}; start at most as many processes on a machine as it has GPUs.";

    /// <summary>Throws in all processes what is wrong in one: the others would wait for it. A GPU that a process has not may be another job's.</summary>
    private static void Require(MpiExchange mpi, string lacking)
    {
        if (mpi.Gather(lacking).FirstOrDefault(said => said.Length > 0) is { } fault)
        {
            throw new ExchangeException(fault);
        }
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

    /// <summary>Leaves the others; waits until they leave, too. Where they have something to exchange first, they are ended.</summary>
    public void Dispose()
    {
        nint communicator;
        lock (_looking)
        {
            (communicator, _communicator) = (_communicator, 0);
        }

        _looks.Dispose();

        // Destroying it waits for the others, natively: one that leaves alone would wait for ever, and nobody would be told why.
        if (communicator != 0 && _mpi.LeaveTogether())
        {
            Nccl.Require(Nccl.Leave(communicator), "ncclCommDestroy");
        }
    }

    private void Look()
    {
        lock (_looking)
        {
            if (_communicator != 0 && Nccl.AsynchronousFault(_communicator) is { } fault)
            {
                _mpi.Abort(fault);
            }
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
