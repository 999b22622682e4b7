using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>What the machine can do at most, measured as the benchmarks begin: what they reach is a share of it.</summary>
internal sealed class MachineLimits
{
    private readonly Device _device;
    private readonly Dictionary<ScalarType, double> _products = [];

    private MachineLimits(Device device) => _device = device;

    /// <summary>Bytes read and written in a second by a copy of 256 MB.</summary>
    public double CopiedBytes { get; private set; }

    /// <summary>Bytes read in a second by a sum of 256 MB.</summary>
    public double ReadBytes { get; private set; }

    /// <summary>Floating-point operations in a second by the fastest of some matrix products of the models' shapes.</summary>
    public double Operations(ScalarType dtype) => _products[dtype];

    /// <summary>Measures and prints the limits.</summary>
    public static MachineLimits Measure(Device device)
    {
        using DisposeScope scope = NewDisposeScope();
        MachineLimits limits = new(device);
        Measuring.Head("The machine", "what", "limit");
        foreach (ScalarType dtype in Measuring.Types(device))
        {
            // Rows are the tokens of a step or of its neighbors, columns the widths of Mini and Small and what they multiply with.
            (long Rows, long Inner, long Columns)[] shapes = [(1024, 512, 2048), (1024, 2048, 512), (4096, 512, 2048), (1024, 512, 8192), (1024, 1024, 1024)];
            (limits._products[dtype], (long Rows, long Inner, long Columns) best) = shapes.Select(shape => (limits.Product(shape, dtype), shape)).Max();
            Measuring.Row($"matrix products in {dtype}, best at {best.Rows} x {best.Inner} x {best.Columns}", $"{limits._products[dtype] / 1e9:#,0} GFLOP/s");
        }

        if (!limits._products.ContainsKey(ScalarType.BFloat16))
        {
            Tensor square = randn(512, 512, dtype: ScalarType.BFloat16, device: device);
            double seconds = limits.Time(() => square.mm(square).Dispose(), times: 1);
            Measuring.Row($"matrix products in BFloat16, which the processor emulates and nothing below computes in, 512 x 512 x 512",
                $"{2 * Math.Pow(512, 3) / seconds / 1e9:0.0} GFLOP/s");
        }

        Tensor large = zeros(64L << 20, device: device), other = zeros(64L << 20, device: device);
        double bytes = large.numel() * sizeof(float);
        limits.CopiedBytes = 2 * bytes / limits.Time(() => other.copy_(large));
        limits.ReadBytes = bytes / limits.Time(() => large.sum().Dispose());
        Measuring.Row($"copy of 256 MB, bytes read and written", $"{limits.CopiedBytes / 1e9:0.0} GB/s");
        Measuring.Row($"sum of 256 MB, bytes read", $"{limits.ReadBytes / 1e9:0.0} GB/s");
        return limits;
    }

    /// <summary>The median time of some work, in seconds, until the device has done it.</summary>
    public double Time(Action work, int times = 7) => Measuring.Median(times, () =>
    {
        work();
        if (_device.type == DeviceType.CUDA)
        {
            cuda.synchronize(_device);
        }
    });

    private double Product((long Rows, long Inner, long Columns) shape, ScalarType dtype)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor a = randn(shape.Rows, shape.Inner, dtype: dtype, device: _device), b = randn(shape.Inner, shape.Columns, dtype: dtype, device: _device);
        const int Times = 5;
        double seconds = Time(() =>
        {
            for (int i = 0; i < Times; i++)
            {
                a.mm(b).Dispose();
            }
        });
        return Times * 2.0 * shape.Rows * shape.Inner * shape.Columns / seconds;
    }
}
