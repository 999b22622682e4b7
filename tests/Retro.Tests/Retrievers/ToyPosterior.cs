using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Retrievers;

/// <summary>
/// A discrete model so small that everything is enumerated: B contexts, K passages, targets of T tokens out of V. Prior, posterior tower and reader are tables
/// of logits; a reader's token depends on passage and place.
/// </summary>
internal sealed class ToyPosterior
{
    public const int B = 3, K = 5, T = 3, V = 4;

    private readonly double[,] _prior, _tower;
    private readonly double[,,,] _reader; // [B, K, T, V]
    private readonly int[,] _target;

    public ToyPosterior(int seed)
    {
        Random random = new(seed);
        double Next() => 2 * random.NextDouble() - 1;
        (_prior, _tower, _reader, _target) = (new double[B, K], new double[B, K], new double[B, K, T, V], new int[B, T]);
        for (int b = 0; b < B; b++)
        {
            for (int z = 0; z < K; z++)
            {
                (_prior[b, z], _tower[b, z]) = (Next(), Next());
                for (int i = 0; i < T * V; i++)
                {
                    _reader[b, z, i / V, i % V] = Next();
                }
            }

            for (int t = 0; t < T; t++)
            {
                _target[b, t] = random.Next(V);
            }
        }
    }

    /// <summary>p(z|x).</summary>
    public double Prior(int b, int z) => Softmax(_prior, b, z);

    /// <summary>q(z|x,y).</summary>
    public double Tower(int b, int z) => Softmax(_tower, b, z);

    /// <summary>p(v|x,z) at a place.</summary>
    public double Token(int b, int z, int t, int v)
        => Math.Exp(_reader[b, z, t, v]) / Enumerable.Range(0, V).Sum(other => Math.Exp(_reader[b, z, t, other]));

    /// <summary>p(y_t|x,z).</summary>
    public double Likelihood(int b, int z, int t) => Token(b, z, t, _target[b, t]);

    /// <summary>p(y|x,z).</summary>
    public double Likelihood(int b, int z) => Enumerable.Range(0, T).Aggregate(1.0, (product, t) => product * Likelihood(b, z, t));

    /// <summary>p(y|x).</summary>
    public double Evidence(int b) => Passages.Sum(z => Prior(b, z) * Likelihood(b, z));

    /// <summary>p(z|x,y), the true posterior.</summary>
    public double Posterior(int b, int z) => Prior(b, z) * Likelihood(b, z) / Evidence(b);

    public int Target(int b, int t) => _target[b, t];

    public static IEnumerable<int> Rows => Enumerable.Range(0, B);

    public static IEnumerable<int> Passages => Enumerable.Range(0, K);

    /// <summary>The prior's logits, [B, K], a leaf that takes gradients.</summary>
    public Tensor Scores() => Leaf([.. _prior.Cast<double>()], [B, K]);

    /// <summary>The posterior tower's logits, [B, K].</summary>
    public Tensor TowerScores() => Leaf([.. _tower.Cast<double>()], [B, K]);

    /// <summary>The reader's logits, [B, K, T, V], and what they make of the target, per token [B, K, T].</summary>
    public (Tensor Logits, Tensor Likelihoods) Reader()
    {
        Tensor logits = Leaf([.. _reader.Cast<double>()], [B, K, T, V]);
        Tensor targets = tensor([.. _target.Cast<int>().Select(token => (long)token)], [B, 1, T, 1]).expand(B, K, T, 1);
        return (logits, logits.log_softmax(3).gather(3, targets).squeeze(3));
    }

    /// <summary>The numbers of a table by function.</summary>
    public static double[] Table(Func<int, int, double> value) => [.. Rows.SelectMany(b => Passages.Select(z => value(b, z)))];

    public static void AssertNear(double[] expected, Tensor? came, double tolerance = 1e-9)
    {
        Assert.NotNull(came);
        double[] numbers = came.reshape(-1).data<double>().ToArray();
        Assert.Equal(expected.Length, numbers.Length);
        Assert.All(expected.Zip(numbers), pair => Assert.InRange(pair.Second, pair.First - tolerance, pair.First + tolerance));
    }

    private static Tensor Leaf(double[] values, long[] shape) => tensor(values, shape).requires_grad_();

    private static double Softmax(double[,] table, int b, int z) => Math.Exp(table[b, z]) / Passages.Sum(other => Math.Exp(table[b, other]));
}
