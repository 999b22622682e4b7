using System.Numerics;
using System.Runtime.CompilerServices;

namespace Retro.Vectors;

/// <content>The sums of products, in whole registers.</content>
internal sealed unsafe partial class ExactSearch
{
    /// <summary>Products of four queries with the vectors of a block, three at a time: twelve sums, and what they are made of, fill the registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Products(float* queries, float* some, int length, float* products)
    {
        int width = Vector<float>.Count, whole = dimensions / width * width;
        float* q0 = queries, q1 = q0 + dimensions, q2 = q1 + dimensions, q3 = q2 + dimensions;
        int v = 0;
        for (; v + VectorTile <= length; v += VectorTile)
        {
            float* v0 = some + (long)v * dimensions, v1 = v0 + dimensions, v2 = v1 + dimensions;
            Vector<float> s00 = default, s01 = default, s02 = default, s10 = default, s11 = default, s12 = default;
            Vector<float> s20 = default, s21 = default, s22 = default, s30 = default, s31 = default, s32 = default;
            for (int d = 0; d < whole; d += width)
            {
                Vector<float> x0 = Vector.Load(v0 + d), x1 = Vector.Load(v1 + d), x2 = Vector.Load(v2 + d);
                Vector<float> y = Vector.Load(q0 + d);
                s00 = Vector.MultiplyAddEstimate(y, x0, s00);
                s01 = Vector.MultiplyAddEstimate(y, x1, s01);
                s02 = Vector.MultiplyAddEstimate(y, x2, s02);
                y = Vector.Load(q1 + d);
                s10 = Vector.MultiplyAddEstimate(y, x0, s10);
                s11 = Vector.MultiplyAddEstimate(y, x1, s11);
                s12 = Vector.MultiplyAddEstimate(y, x2, s12);
                y = Vector.Load(q2 + d);
                s20 = Vector.MultiplyAddEstimate(y, x0, s20);
                s21 = Vector.MultiplyAddEstimate(y, x1, s21);
                s22 = Vector.MultiplyAddEstimate(y, x2, s22);
                y = Vector.Load(q3 + d);
                s30 = Vector.MultiplyAddEstimate(y, x0, s30);
                s31 = Vector.MultiplyAddEstimate(y, x1, s31);
                s32 = Vector.MultiplyAddEstimate(y, x2, s32);
            }

            float* to = products + v;
            (to[0], to[1], to[2]) = (Rest(q0, v0, whole, s00), Rest(q0, v1, whole, s01), Rest(q0, v2, whole, s02));
            to += _block;
            (to[0], to[1], to[2]) = (Rest(q1, v0, whole, s10), Rest(q1, v1, whole, s11), Rest(q1, v2, whole, s12));
            to += _block;
            (to[0], to[1], to[2]) = (Rest(q2, v0, whole, s20), Rest(q2, v1, whole, s21), Rest(q2, v2, whole, s22));
            to += _block;
            (to[0], to[1], to[2]) = (Rest(q3, v0, whole, s30), Rest(q3, v1, whole, s31), Rest(q3, v2, whole, s32));
        }

        for (; v < length; v++)
        {
            for (int q = 0; q < QueryTile; q++)
            {
                products[q * _block + v] = Product(queries + (long)q * dimensions, some + (long)v * dimensions);
            }
        }
    }

    /// <summary>Products of one query with the vectors of a block, four at a time.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void ProductsOfOne(float* query, float* some, int length, float* products)
    {
        int width = Vector<float>.Count, whole = dimensions / width * width;
        int v = 0;
        for (; v + 4 <= length; v += 4)
        {
            float* v0 = some + (long)v * dimensions, v1 = v0 + dimensions, v2 = v1 + dimensions, v3 = v2 + dimensions;
            Vector<float> s0 = default, s1 = default, s2 = default, s3 = default;
            for (int d = 0; d < whole; d += width)
            {
                Vector<float> y = Vector.Load(query + d);
                s0 = Vector.MultiplyAddEstimate(y, Vector.Load(v0 + d), s0);
                s1 = Vector.MultiplyAddEstimate(y, Vector.Load(v1 + d), s1);
                s2 = Vector.MultiplyAddEstimate(y, Vector.Load(v2 + d), s2);
                s3 = Vector.MultiplyAddEstimate(y, Vector.Load(v3 + d), s3);
            }

            float* to = products + v;
            (to[0], to[1], to[2], to[3]) = (Rest(query, v0, whole, s0), Rest(query, v1, whole, s1), Rest(query, v2, whole, s2), Rest(query, v3, whole, s3));
        }

        for (; v < length; v++)
        {
            products[v] = Product(query, some + (long)v * dimensions);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private float Product(float* a, float* b)
    {
        int width = Vector<float>.Count, whole = dimensions / width * width;
        Vector<float> sum = default;
        for (int d = 0; d < whole; d += width)
        {
            sum = Vector.MultiplyAddEstimate(Vector.Load(a + d), Vector.Load(b + d), sum);
        }

        return Rest(a, b, whole, sum);
    }

    /// <summary>A product from the sums of its whole registers and the numbers behind them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private float Rest(float* a, float* b, int from, Vector<float> sums)
    {
        float sum = Vector.Sum(sums);
        for (int d = from; d < dimensions; d++)
        {
            sum += a[d] * b[d];
        }

        return sum;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private float SquaredDistance(float* a, float* b)
    {
        int width = Vector<float>.Count, d = 0;
        Vector<float> sums = default;
        for (; d <= dimensions - width; d += width)
        {
            Vector<float> difference = Vector.Load(a + d) - Vector.Load(b + d);
            sums = Vector.MultiplyAddEstimate(difference, difference, sums);
        }

        float sum = Vector.Sum(sums);
        for (; d < dimensions; d++)
        {
            float difference = a[d] - b[d];
            sum += difference * difference;
        }

        return sum;
    }
}
