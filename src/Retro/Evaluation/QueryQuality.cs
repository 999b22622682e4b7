namespace Retro.Evaluation;

/// <summary>What a source finds for one query, up to a cutoff k, as trec_eval measures it (https://github.com/usnistgov/trec_eval).</summary>
/// <param name="Id">The query's.</param>
/// <param name="Recall">Share of all that is relevant which is found (recall_k).</param>
/// <param name="ReciprocalRank">1 / place of the first that is relevant, from 1; 0 where none is (recip_rank, of the first k).</param>
/// <param name="Ndcg">
/// The discounted cumulative gain Σ grade / log₂(place + 1) over the first k, divided by that of the best ranking there can be (ndcg_cut_k): the measure of
/// Järvelin and Kekäläinen ("Cumulated gain-based evaluation of IR techniques", 2002), whose gain is the grade, with the discount that has become usual, from
/// the second place on. Others take 2^grade - 1 for the gain (Burges and others, 2005); with grades of 0 and 1 both are the same.
/// </param>
public sealed record QueryQuality(string Id, double Recall, double ReciprocalRank, double Ndcg)
{
    /// <summary>1 where anything relevant is found, else 0 (success_k).</summary>
    public double Success => ReciprocalRank > 0 ? 1 : 0;

    /// <summary>Compares a ranking with what was judged, something relevant among it.</summary>
    internal static QueryQuality Of<T>(string id, IEnumerable<T> ranking, IReadOnlyDictionary<T, int> grades, int cutoff)
        where T : notnull
    {
        int[] found = [.. ranking.Distinct().Take(cutoff).Select(one => Math.Max(0, grades.GetValueOrDefault(one)))];
        int[] best = [.. grades.Values.Where(grade => grade > 0).OrderDescending()];
        int first = Array.FindIndex(found, grade => grade > 0);
        return new(
            id, (double)found.Count(grade => grade > 0) / best.Length, first < 0 ? 0 : 1.0 / (first + 1), Gain(found) / Gain(best.Take(cutoff)));

        static double Gain(IEnumerable<int> grades) => grades.Select((grade, place) => grade / Math.Log2(place + 2)).Sum();
    }
}
