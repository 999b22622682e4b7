using Retro.Corpora;

namespace Retro.Tests.Corpora;

/// <summary>The sets that are compared: all that are similar, and of the others few.</summary>
public sealed class SimilarSetsTests
{
    /// <summary>Grams of a form that each copy has.</summary>
    private const int FormGrams = 200;

    [Theory]
    [InlineData(0.3)]
    [InlineData(0.8)]
    [InlineData(1)]
    public void Every_set_that_is_similar_is_a_candidate(double similarity)
    {
        Random random = new(3);
        List<ulong[]> sets = [];
        for (int i = 0; i < 300; i++)
        {
            // Some are new, some a changed copy of one before.
            IEnumerable<ulong> grams = i == 0 || random.Next(2) == 0
                ? Enumerable.Range(0, random.Next(1, 40)).Select(_ => (ulong)random.Next(100))
                : sets[random.Next(i)].Select(gram => random.Next(10) == 0 ? (ulong)random.Next(100) : gram);
            sets.Add([.. grams.Distinct().Order()]);
        }

        SimilarSets index = new(similarity);
        int found = 0, candidates = 0;
        for (int i = 0; i < sets.Count; i++)
        {
            (ulong, int)[] prefix = [.. sets[i].Take(index.PrefixLength(sets[i].Length)).Select((gram, place) => (gram, place))];
            int[] came = [.. index.Candidates(sets[i].Length, prefix)], alike = [.. Enumerable.Range(0, i).Where(other => Alike(sets[i], sets[other]))];
            Assert.Equal(came.Length, came.Distinct().Count());
            Assert.Empty(alike.Except(came));
            (found, candidates) = (found + alike.Length, candidates + came.Length);
            index.Add(i, sets[i].Length, prefix);
        }

        Assert.InRange(candidates, found, 300 * 299 / 4);
        Assert.NotEqual(0, found);

        bool Alike(ulong[] one, ulong[] other) => (double)one.Intersect(other).Count() / one.Union(other).Count() >= similarity;
    }

    /// <summary>
    /// Copies of a form, of which some are written on so little that they repeat others, and most so much that they stay: each was compared with nearly each.
    /// </summary>
    [Theory]
    [InlineData(500)]
    [InlineData(1000)]
    [InlineData(4000)]
    public void Of_forms_that_are_filled_in_hardly_any_is_compared_in_vain(int count)
    {
        const double Similarity = 0.8;
        Random random = new(5);
        SimilarSets index = new(Similarity);
        List<int> own = [];
        int vain = 0, kept = 0, repeated = 0;
        for (int i = 0; i < count; i++)
        {
            own.Add(random.Next(FormGrams / 20, 3 * FormGrams / 10)); // grams of its own, which come before those of the form, as they are rarer
            int size = FormGrams + own[i];
            int known = Math.Max(0, index.PrefixLength(size) - own[i]);
            (ulong, int)[] prefix = [.. Enumerable.Range(0, known).Select(gram => ((ulong)gram, own[i] + gram))];
            bool isRepeated = false;
            foreach (int other in index.Candidates(size, prefix))
            {
                isRepeated = FormGrams >= Similarity * (FormGrams + own[i] + own[other]);
                if (isRepeated)
                {
                    break;
                }

                vain++;
            }

            if (isRepeated)
            {
                repeated++;
                continue;
            }

            kept++;
            index.Add(i, size, prefix);
        }

        Assert.InRange(repeated, count / 5, count / 2);
        Assert.Equal(count, kept + repeated);
        Assert.InRange(vain, 0, count / 10);
    }

    /// <summary>The same with what is held out: a text of which a copy holds the form, and that holds too much else, is no candidate for it.</summary>
    [Fact]
    public void Of_held_out_forms_hardly_any_is_compared_in_vain()
    {
        Random random = new(6);
        ulong next = FormGrams;
        List<ulong[]> heldOut = [.. Enumerable.Range(0, 400).Select(_ => Form(0.3, 0.6))];
        NearDuplicateIndex index = new(heldOut, new());
        int vain = 0, found = 0;
        for (int i = 0; i < 1000; i++)
        {
            ulong[] form = Form(0.05, 0.6);
            foreach (int text in index.Candidates(form))
            {
                if (WordGrams.Common(form, heldOut[text]) >= 0.8 * Math.Min(form.Length, heldOut[text].Length))
                {
                    found++;
                    break;
                }

                vain++;
            }

            Assert.Equal(form.Length <= FormGrams / 0.8, index.Finds(form));
        }

        Assert.InRange(found, 200, 500);
        Assert.InRange(vain, 0, 100);

        ulong[] Form(double least, double most)
        {
            int own = (int)(FormGrams * (least + ((most - least) * random.NextDouble())));
            return [.. Enumerable.Range(0, FormGrams).Select(gram => (ulong)gram), .. Enumerable.Range(0, own).Select(_ => next++)];
        }
    }
}
