using Retro.Modeling;
using Retro.Optimization;
using Retro.Tests.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Optimization;

public class MuonTests
{
    [Theory]
    [InlineData(4, 4)]
    [InlineData(3, 7)]
    [InlineData(9, 5)]
    public void Orthogonalization_equals_the_literal_iteration_of_each_matrix(int rows, int columns)
    {
        using DisposeScope scope = NewDisposeScope();
        Random random = new(rows * 31 + columns);
        double[][,] matrices = [.. Enumerable.Range(0, 3).Select(_ => RandomMatrix(random, rows, columns))];
        Tensor batch = tensor(matrices.SelectMany(matrix => matrix.Cast<double>()).ToArray(), [3, rows, columns]);

        double[] came = Muon.Orthogonalize(batch, ScalarType.Float64).contiguous().data<double>().ToArray();

        double[] expected = [.. matrices.SelectMany(matrix => LiteralOrthogonalize(matrix).Cast<double>())];
        Assert.Equal(expected, came, (a, b) => Math.Abs(a - b) < 1e-6);
    }

    [Theory]
    [InlineData(ScalarType.Float64)]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void Singular_values_come_near_one_whatever_type_the_products_have(ScalarType products)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(5);
        Tensor came = Muon.Orthogonalize(randn(2, 16, 40, dtype: ScalarType.Float64), products);
        Assert.Equal(ScalarType.Float64, came.dtype);
        Tensor product = came.bmm(came.transpose(1, 2));
        for (int matrix = 0; matrix < 2; matrix++)
        {
            double[] values = linalg.eigvalsh(product.select(0, matrix)).data<double>().ToArray();
            Assert.All(values, value => Assert.InRange(Math.Sqrt(value), 0.6, 1.3));
        }
    }

    [Fact]
    public void Long_matrices_of_falling_singular_values_are_orthogonalized_as_by_the_iteration()
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(6);
        // As gradients have them, down to a hundred-thousandth of the largest. A stack of squares takes the iteration as it is written.
        Tensor turned = linalg.qr(randn(2, 24, 24, dtype: ScalarType.Float64)).Q;
        Tensor values = exp(linspace(0, -11.5, 24, ScalarType.Float64));
        Tensor square = (turned * values).bmm(linalg.qr(randn(2, 24, 24, dtype: ScalarType.Float64)).Q);
        Tensor wide = linalg.qr(randn(2, 60, 24, dtype: ScalarType.Float64)).Q.transpose(1, 2); // rows of length one

        Tensor came = Muon.Orthogonalize(square.bmm(wide).to_type(ScalarType.Float32), ScalarType.Float32).to_type(ScalarType.Float64);

        Tensor expected = Muon.Orthogonalize(square, ScalarType.Float64).bmm(wide);
        Assert.InRange(((came - expected).norm() / expected.norm()).item<double>(), 0, 1e-3);
    }

    [Fact]
    public void Large_matrices_in_float32_alone_are_rounded_for_their_products_where_that_is_faster()
    {
        Assert.Equal(ScalarType.BFloat16, Muon.Products(ScalarType.Float32, 128, bfloat16IsFaster: true));
        Assert.Equal(ScalarType.Float32, Muon.Products(ScalarType.Float32, 128, bfloat16IsFaster: false));
        Assert.Equal(ScalarType.Float32, Muon.Products(ScalarType.Float32, 127, bfloat16IsFaster: true));
        Assert.Equal(ScalarType.Float64, Muon.Products(ScalarType.Float64, 512, bfloat16IsFaster: true));
        Assert.Equal(ScalarType.BFloat16, Muon.Products(ScalarType.BFloat16, 4, bfloat16IsFaster: false));
    }

    /// <summary>Each moves the same matrices, which would drift apart.</summary>
    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public void Processes_round_for_their_products_where_it_is_faster_in_all_of_them(bool first, bool second)
    {
        bool[] faster = [first, second];
        byte[] expected = Moved(first && second, null), other = Moved(!(first && second), null);
        Assert.NotEqual(other, expected);
        byte[][] came = new byte[2][];
        Exception?[] thrown = InProcessExchange.Run(InProcessExchange.Of(2), exchange => came[exchange.Rank] = Moved(faster[exchange.Rank], exchange));
        Assert.All(thrown, Assert.Null);
        Assert.All(came, moved => Assert.Equal(expected, moved));

        static byte[] Moved(bool faster, IGradientExchange? exchange)
        {
            using DisposeScope scope = NewDisposeScope();
            using Generator generator = new(3);
            Parameter matrix = new(zeros(128, 128));
            using RetroOptimizer optimizer = new([("matrix", matrix, ParameterKind.Matrix)], new() { Kind = OptimizerKind.Muon }, exchange: exchange)
            {
                MultipliesBFloat16 = faster,
            };
            matrix.grad = randn([128, 128], ScalarType.Float32, generator: generator);
            optimizer.Step(0.1, 0.1);
            return matrix.detach().bytes.ToArray();
        }
    }

    [Fact]
    public void A_matrix_of_zeros_stays_zero()
    {
        using DisposeScope scope = NewDisposeScope();
        Assert.All(Muon.Orthogonalize(zeros(1, 4, 3), ScalarType.Float32).contiguous().data<float>().ToArray(), value => Assert.Equal(0, value));
    }

    [Fact]
    public void Other_than_three_dimensions_are_refused()
    {
        using DisposeScope scope = NewDisposeScope();
        ShapeException exception = Assert.Throws<ShapeException>(() => Muon.Orthogonalize(zeros(4, 3), ScalarType.Float32));
        Assert.Contains("[4, 3]", exception.Message, StringComparison.Ordinal);
    }

    /// <summary>The iteration as the recipe states it, one number at a time.</summary>
    internal static double[,] LiteralOrthogonalize(double[,] matrix)
    {
        bool tall = matrix.GetLength(0) > matrix.GetLength(1);
        double[,] x = tall ? Transpose(matrix) : (double[,])matrix.Clone();
        double norm = Math.Sqrt(x.Cast<double>().Sum(value => value * value));
        x = Combine(1 / norm, x, 0, x);
        for (int round = 0; round < 5; round++)
        {
            double[,] a = Multiply(x, Transpose(x));
            x = Combine(3.4445, x, 1, Multiply(Combine(-4.7750, a, 2.0315, Multiply(a, a)), x));
        }

        return tall ? Transpose(x) : x;
    }

    internal static double[,] RandomMatrix(Random random, int rows, int columns)
    {
        double[,] matrix = new double[rows, columns];
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                matrix[row, column] = random.NextDouble() * 2 - 1;
            }
        }

        return matrix;
    }

    private static double[,] Transpose(double[,] matrix)
        => Build(matrix.GetLength(1), matrix.GetLength(0), (row, column) => matrix[column, row]);

    private static double[,] Multiply(double[,] left, double[,] right)
        => Build(
            left.GetLength(0),
            right.GetLength(1),
            (row, column) => Enumerable.Range(0, left.GetLength(1)).Sum(inner => left[row, inner] * right[inner, column]));

    private static double[,] Combine(double weight, double[,] left, double otherWeight, double[,] right)
        => Build(left.GetLength(0), left.GetLength(1), (row, column) => weight * left[row, column] + otherWeight * right[row, column]);

    private static double[,] Build(int rows, int columns, Func<int, int, double> value)
    {
        double[,] matrix = new double[rows, columns];
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                matrix[row, column] = value(row, column);
            }
        }

        return matrix;
    }
}
