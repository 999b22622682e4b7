using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Retro.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Distributed;

/// <summary>Processes that were started together, by OpenMPI's mpirun or another launcher that it knows, and exchange gradients over it.</summary>
/// <remarks>
/// <code>using MpiExchange exchange = MpiExchange.Start();
/// using Trainer trainer = new(model, options, exchange: exchange);</code>
/// A process that an exception ends ends the others, and its rank, host and exception are written to the standard error stream; so does one that is disposed
/// while others have something to exchange. A program that catches what happens outside of the trainer calls <see cref="Abort"/> itself, since disposing waits
/// for the others. A program that was not started by mpirun is one process alone. Tensors of GPUs are exchanged by way of the processor; see
/// <see cref="NcclExchange"/>.
/// </remarks>
public sealed unsafe class MpiExchange : IGradientExchange, IDisposable
{
    /// <summary>Bytes of a call: as many as stay in a processor's cache while they are summed; MPI itself counts in 32 bits.</summary>
    private const int MostBytes = 4 << 20;

    /// <summary>Room for a list of processors.</summary>
    private const int ListBytes = 1024;

    // How long the others are waited for awake, and then asleep: a sixteenth of what was waited already, which that can add to the wait, and no longer than
    // makes looking cost nothing.
    private static readonly TimeSpan s_awake = TimeSpan.FromMilliseconds(0.5), s_longestSleep = TimeSpan.FromMilliseconds(50);

    // For a process that leaves the others for an exception, which ends all once it is told.
    private static readonly TimeSpan s_told = TimeSpan.FromSeconds(10);

    private static readonly object s_started = new();
    private static bool s_used;

    private readonly object _calls = new();
    private readonly int[] _comes = GC.AllocateArray<int>(2, pinned: true);
    private bool _isDisposed, _isApart; // it came to leave while others did not

    private MpiExchange()
    {
        Mpi.Require(Mpi.Rank(Mpi.World, out int rank), "MPI_Comm_rank");
        Mpi.Require(Mpi.Size(Mpi.World, out int size), "MPI_Comm_size");
        (Rank, Size) = (rank, size);
        (LocalRank, string[] here) = OfThisMachine(rank);
        IsRemote = here.Length != size;
        Place = $"rank {rank} of {size} on {Environment.MachineName}";
        TakeThreads(here);
        if (size == 1 && Unjoined(Environment.GetEnvironmentVariable) is { } said)
        {
            Console.Error.WriteLine(
                $"Retro: {said} says that several processes were started, and OpenMPI joins this one with none, so that each would train alone: start them "
                    + "with OpenMPI's own mpirun, or with srun --mpi=pmix.");
        }

        AppDomain.CurrentDomain.UnhandledException += EndOthers;
    }

    /// <inheritdoc/>
    public int Rank { get; }

    /// <inheritdoc/>
    public int Size { get; }

    /// <summary>Number of this process among those of its machine, from 0: which of its GPUs it takes, for instance.</summary>
    public int LocalRank { get; }

    /// <inheritdoc/>
    public string Place { get; }

    /// <summary>Whether there are processes on several machines.</summary>
    public bool IsRemote { get; }

    /// <summary>
    /// Joins the processes that mpirun has started. A process joins once. Torch then computes on its share of the cores that it may use, unless
    /// OMP_NUM_THREADS or MKL_NUM_THREADS is set; a program that wants another number sets it afterwards. That a launcher keeps the processes from half of the
    /// cores or more is written to the standard error stream.
    /// </summary>
    /// <returns>The exchange; disposing it leaves them, once all do.</returns>
    /// <exception cref="ExchangeException">OpenMPI is missing or cannot be used, or this process has joined before; the message says what to do.</exception>
    public static MpiExchange Start()
    {
        lock (s_started)
        {
            Mpi.Load();
            if (s_used)
            {
                throw new ExchangeException("This process has joined the others before, which MPI allows once; keep the exchange of the first time.");
            }

            Mpi.Require(Mpi.Initialized(out int initialized), "MPI_Initialized");
            if (initialized != 0)
            {
                throw new ExchangeException("Something else in this process has started MPI before; let MpiExchange start it.");
            }

            s_used = true;
            Mpi.Require(Mpi.InitThread(0, 0, Mpi.ThreadSerialized, out int provided), "MPI_Init_thread");
            if (provided < Mpi.ThreadSerialized)
            {
                throw new ExchangeException(
                    $"This OpenMPI was built without threads (level {provided}, {Mpi.ThreadSerialized} needed); use the distribution's.");
            }

            return new();
        }
    }

    /// <inheritdoc/>
    /// <exception cref="ExchangeException">The type is none that can be summed, or the tensor is not contiguous.</exception>
    public void Sum(Tensor values, int? onlyTo = null)
    {
        ArgumentNullException.ThrowIfNull(values);
        nint type = values.dtype switch
        {
            ScalarType.Float32 => Mpi.Float,
            ScalarType.Float64 => Mpi.Double,
            ScalarType.Int64 => Mpi.Int64,
            _ => throw new ExchangeException($"A tensor of {values.dtype} came to be summed; expected float32, float64 or int64."),
        };
        int size = (int)values.element_size();
        Each(values, reads: true, changes: onlyTo is null || onlyTo == Rank, bytes =>
        {
            fixed (byte* place = bytes)
            {
                int count = bytes.Length / size;
                if (onlyTo is not { } root)
                {
                    Mpi.Require(Mpi.Allreduce(Mpi.InPlace, place, count, type, Mpi.Sum, Mpi.World), "MPI_Allreduce");
                    return;
                }

                void* send = Rank == root ? Mpi.InPlace : place, receive = Rank == root ? place : null;
                Mpi.Require(Mpi.Reduce(send, receive, count, type, Mpi.Sum, root, Mpi.World), "MPI_Reduce");
            }
        });
    }

    /// <inheritdoc/>
    /// <exception cref="ExchangeException">The tensor is not contiguous.</exception>
    public void Broadcast(Tensor values, int from)
    {
        ArgumentNullException.ThrowIfNull(values);
        Each(values, reads: from == Rank, changes: from != Rank, bytes =>
        {
            fixed (byte* place = bytes)
            {
                Mpi.Require(Mpi.Broadcast(place, bytes.Length, Mpi.Byte, from, Mpi.World), "MPI_Bcast");
            }
        });
    }

    /// <inheritdoc/>
    public IReadOnlyList<string> Gather(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        byte[] own = Encoding.UTF8.GetBytes(text);
        int length = own.Length;
        int[] lengths = new int[Size], places = new int[Size];
        lock (_calls)
        {
            Meet();
            fixed (int* all = lengths)
            {
                Mpi.Require(Mpi.Allgather(&length, sizeof(int), Mpi.Byte, all, sizeof(int), Mpi.Byte, Mpi.World), "MPI_Allgather");
            }

            for (int i = 1; i < Size; i++)
            {
                places[i] = checked(places[i - 1] + lengths[i - 1]);
            }

            byte[] gathered = new byte[checked(places[^1] + lengths[^1])];
            fixed (byte* sent = own, received = gathered)
            fixed (int* counts = lengths, starts = places)
            {
                Mpi.Require(Mpi.AllgatherVarying(sent, length, Mpi.Byte, received, counts, starts, Mpi.Byte, Mpi.World), "MPI_Allgatherv");
            }

            return [.. lengths.Select((count, i) => Encoding.UTF8.GetString(gathered, places[i], count))];
        }
    }

    /// <inheritdoc/>
    public void Abort(string reason)
    {
        Console.Error.WriteLine($"Retro: {Place} ends the training of all processes: {reason}");
        Console.Error.Flush();
        _ = Mpi.Abort(Mpi.World, 1); // without the lock: whoever holds it may wait for ever
    }

    /// <summary>Leaves the others; waits until they leave, too. Where they have something to exchange first, they are ended.</summary>
    public void Dispose()
    {
        lock (_calls)
        {
            if (!_isDisposed)
            {
                bool together = LeaveTogether();
                _isDisposed = true;

                // Where an exception brought this process here, before the others and maybe before anybody was told, it is still to end them.
                if (together)
                {
                    AppDomain.CurrentDomain.UnhandledException -= EndOthers;
                    Mpi.Require(Mpi.Finish(), "MPI_Finalize");
                }
            }
        }
    }

    /// <summary>
    /// Waits until all come to leave something, which they do together or not at all. Where others have something to exchange first, they end all, unless the
    /// exception that brought this one here does.
    /// </summary>
    /// <returns>Whether all have come to leave.</returns>
    internal bool LeaveTogether()
    {
        lock (_calls)
        {
            _isApart = _isApart || _isDisposed || Come(toLeave: true) is not null;
            return !_isApart;
        }
    }

    /// <summary>The variable by which MPICH's or Slurm's launcher says that it started several processes; null: none does.</summary>
    /// <param name="variable">Gives a variable of the environment.</param>
    internal static string? Unjoined(Func<string, string?> variable)
        => new[] { "PMI_SIZE", "SLURM_STEP_NUM_TASKS" }.FirstOrDefault(name => int.TryParse(
            variable(name), NumberStyles.None, CultureInfo.InvariantCulture, out int started) && started > 1);

    // Asked of MPI, since each launcher says it in variables of its own, and some in none.
    private static (int Rank, string[] Processors) OfThisMachine(int rank)
    {
        Mpi.Require(Mpi.Split(Mpi.World, Mpi.TypeShared, rank, Mpi.NoInfo, out nint machine), "MPI_Comm_split_type");
        Mpi.Require(Mpi.Rank(machine, out int local), "MPI_Comm_rank");
        Mpi.Require(Mpi.Size(machine, out int here), "MPI_Comm_size");
        byte[] own = new byte[ListBytes], all = new byte[here * ListBytes];
        Encoding.ASCII.GetBytes(Processors.Own.Length > ListBytes ? "" : Processors.Own, own);
        fixed (byte* sent = own, received = all)
        {
            Mpi.Require(Mpi.Allgather(sent, ListBytes, Mpi.Byte, received, ListBytes, Mpi.Byte, machine), "MPI_Allgather");
        }

        Mpi.Require(Mpi.Free(ref machine), "MPI_Comm_free");
        return (local, [.. all.Chunk(ListBytes).Select(list => Encoding.ASCII.GetString(list).TrimEnd('\0'))]);
    }

    /// <summary>Under mpirun, MKL gives torch a single thread, and OpenMPI binds each of one or two processes to a core.</summary>
    private void TakeThreads(string[] here)
    {
        if (new[] { "OMP_NUM_THREADS", "MKL_NUM_THREADS" }.All(name => string.IsNullOrEmpty(Environment.GetEnvironmentVariable(name))))
        {
            try
            {
                TorchLibrary.Require();
                set_num_threads(Processors.Threads(Processors.Own, here, Environment.ProcessorCount, Processors.CoreOf));
            }
            catch (TorchLibraryException)
            {
                // Whoever wants to compute is told; processes can meet without.
            }
        }

        if (LocalRank == 0 && Processors.LeavesHalf(here, Processors.OfMachine, Processors.CoreOf))
        {
            Console.Error.WriteLine(
                $"Retro: {Place}: the processes of this machine may use {Processors.Cores(string.Join(',', here), Processors.CoreOf)} of its "
                    + $"{Processors.Cores(Processors.OfMachine, Processors.CoreOf)} cores; where mpirun has bound them, start it with --bind-to none.");
        }
    }

    /// <summary>Waits until all processes have come to exchange something; whoever calls it holds the calls.</summary>
    private void Meet()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (Come(toLeave: false) is { } leaving)
        {
            Thread.Sleep(s_told);
            string reason = $"rank {leaving} of {Size} left while others had something to exchange; what it says itself says why.";
            Abort(reason);
            throw new ExchangeException(reason);
        }
    }

    /// <summary>
    /// Waits until all processes have come. While MPI itself waits it keeps a core busy, needed by those that it waits for, or other threads for backward:
    /// what is exchanged begins when all are there.
    /// </summary>
    /// <param name="toLeave">Whether this one comes to leave, and not to exchange something.</param>
    /// <returns>One that leaves while others do not; null: all came for the same.</returns>
    private int? Come(bool toLeave)
    {
        long start = Stopwatch.GetTimestamp();
        int own = toLeave ? Rank + 1 : 0;
        (_comes[0], _comes[1]) = (own, -own); // the largest of all, and the smallest by its sign
        int* comes = (int*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_comes));
        Mpi.Require(Mpi.BeginAllreduce(Mpi.InPlace, comes, 2, Mpi.Int32, Mpi.Largest, Mpi.World, out nint request), "MPI_Iallreduce");
        while (true)
        {
            Mpi.Require(Mpi.Test(ref request, out int isDone, 0), "MPI_Test");
            if (isDone != 0)
            {
                return _comes[0] > 0 && _comes[1] == 0 ? _comes[0] - 1 : null;
            }

            TimeSpan waited = Stopwatch.GetElapsedTime(start);
            if (waited > s_awake)
            {
                Thread.Sleep(TimeSpan.FromMilliseconds(Math.Clamp(waited.TotalMilliseconds / 16, 1, s_longestSleep.TotalMilliseconds)));
            }
        }
    }

    private void EndOthers(object sender, UnhandledExceptionEventArgs arguments) => Abort(arguments.ExceptionObject.ToString() ?? "an unknown exception");

    /// <summary>Exchanges a tensor piece by piece, that of a GPU through a copy.</summary>
    /// <param name="values">The tensor.</param>
    /// <param name="reads">Whether its numbers are sent.</param>
    /// <param name="changes">Whether they become others.</param>
    /// <param name="exchanged">Exchanges a piece.</param>
    private void Each(Tensor values, bool reads, bool changes, BytesAction exchanged)
    {
        if (!values.is_contiguous())
        {
            throw new ExchangeException("A tensor that is not contiguous came to be exchanged; give its contiguous() form.");
        }

        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        Tensor flat = values.detach().view(-1);
        Tensor here = flat.device.type == DeviceType.CPU ? flat : reads ? flat.cpu() : empty(flat.shape, flat.dtype, CPU);
        long piece = MostBytes / here.element_size();
        lock (_calls)
        {
            Meet();
            for (long start = 0; start < here.numel(); start += piece)
            {
                exchanged(here.narrow(0, start, Math.Min(piece, here.numel() - start)).bytes);
            }
        }

        if (changes && !ReferenceEquals(here, flat))
        {
            flat.copy_(here);
        }
    }

    private delegate void BytesAction(Span<byte> bytes);
}
