namespace Retro.Tests.Vectors;

/// <summary>Random vectors and the plainest possible search among them.</summary>
internal static class TestVectors
{
    public static float[] Random(int count, int dimensions, int seed)
    {
        Random random = new(seed);
        return Enumerable.Range(0, count * dimensions).Select(_ => (float)(random.NextDouble() * 2 - 1)).ToArray();
    }

    /// <summary>Vectors around a few centers, as keys of text lie.</summary>
    public static float[] Clustered(int count, int dimensions, int clusters, int seed)
    {
        Random random = new(seed);
        float[] centers = Random(clusters, dimensions, seed + 1);
        float[] result = new float[count * dimensions];
        for (int i = 0; i < count; i++)
        {
            int center = random.Next(clusters);
            for (int j = 0; j < dimensions; j++)
            {
                result[i * dimensions + j] = centers[center * dimensions + j] + (float)(random.NextDouble() - 0.5) * 0.8f;
            }
        }

        return result;
    }

    /// <summary>The nearest vectors of one query by comparing with all of them in double precision; ties by number.</summary>
    public static (long Id, double Distance)[] Nearest(float[] vectors, ReadOnlySpan<float> query, int count)
    {
        int dimensions = query.Length;
        (long Id, double Distance)[] all = new (long, double)[vectors.Length / dimensions];
        for (int i = 0; i < all.Length; i++)
        {
            double sum = 0;
            for (int j = 0; j < dimensions; j++)
            {
                double difference = (double)query[j] - vectors[i * dimensions + j];
                sum += difference * difference;
            }

            all[i] = (i, sum);
        }

        return all.OrderBy(pair => pair.Distance).ThenBy(pair => pair.Id).Take(count).ToArray();
    }
}
