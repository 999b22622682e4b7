namespace Retro.Readers;

/// <summary>
/// The share and the temperature under which some tokens are most likely. In the share the log-likelihood is concave, so that it is found by halving; the
/// temperature is searched over a wide grid and then closer.
/// </summary>
internal sealed class NearestNeighborFit
{
    private const double MostShare = 0.999;

    private readonly List<(double LogP, double[] Distances, bool[] Hits)> _places = [];

    /// <summary>Adds a token; where no state was found the model is read alone, whatever the share.</summary>
    /// <param name="logP">Its log-likelihood under the model.</param>
    /// <param name="distances">Squared distances of the states found.</param>
    /// <param name="hits">Which of them it followed.</param>
    public void Add(double logP, double[] distances, bool[] hits)
    {
        if (distances.Length > 0)
        {
            _places.Add((logP, distances, hits));
        }
    }

    /// <summary>Fits.</summary>
    /// <returns>Share of what was found, 0 where it helps in no way or no token found a state; and the temperature.</returns>
    public (double Share, double Temperature) Find()
    {
        if (_places.Count == 0)
        {
            return (0, 1);
        }

        // Temperatures on the scale of the distances.
        double[] spread = [.. _places.Select(place => place.Distances.Average()).Where(mean => mean > 0)];
        double scale = spread.Length == 0 ? 1 : spread.Order().ElementAt(spread.Length / 2);
        double[] grid = [.. Enumerable.Range(-20, 29).Select(half => scale * Math.Pow(2, half / 2.0))];
        (double Temperature, double Share, double Value) best = grid.Select(Look).MaxBy(one => one.Value);

        // By golden section between the neighbors on the grid, where one top is taken for granted.
        double golden = (Math.Sqrt(5) - 1) / 2, middle = Math.Log(best.Temperature), low = middle - (Math.Log(2) / 2), high = middle + (Math.Log(2) / 2);
        double one = high - (golden * (high - low)), other = low + (golden * (high - low));
        double ofOne = At(Math.Exp(one)).Value, ofOther = At(Math.Exp(other)).Value;
        for (int i = 0; i < 30; i++)
        {
            // One of the two inner places is the other one of what is left.
            if (ofOne > ofOther)
            {
                (high, other, ofOther) = (other, one, ofOne);
                one = high - (golden * (high - low));
                ofOne = At(Math.Exp(one)).Value;
            }
            else
            {
                (low, one, ofOne) = (one, other, ofOther);
                other = low + (golden * (high - low));
                ofOther = At(Math.Exp(other)).Value;
            }
        }

        (double Temperature, double Share, double Value) closer = Look(Math.Exp((low + high) / 2));
        best = closer.Value > best.Value ? closer : best;
        return (best.Share, best.Temperature);

        (double Temperature, double Share, double Value) Look(double temperature)
        {
            (double share, double value) = At(temperature);
            return (temperature, share, value);
        }
    }

    /// <summary>The best share at a temperature, and the mean log-likelihood with it.</summary>
    public (double Share, double Value) At(double temperature)
    {
        double[] found = [.. _places.Select(place => Probability(place.Distances, place.Hits, temperature))];
        double low = 0, high = MostShare;
        if (Slope(found, 0) <= 0)
        {
            return (0, Value(found, 0));
        }

        for (int i = 0; i < 50; i++)
        {
            double middle = (low + high) / 2;
            (low, high) = Slope(found, middle) > 0 ? (middle, high) : (low, middle);
        }

        return (low, Value(found, low));
    }

    /// <summary>The share of softmax(-distance / temperature) that fell to some of the states.</summary>
    public static double Probability(ReadOnlySpan<double> distances, ReadOnlySpan<bool> hits, double temperature)
    {
        double least = double.PositiveInfinity, all = 0, hit = 0;
        foreach (double distance in distances)
        {
            least = Math.Min(least, distance);
        }

        for (int i = 0; i < distances.Length; i++)
        {
            double weight = Math.Exp((least - distances[i]) / temperature);
            all += weight;
            hit += hits[i] ? weight : 0;
        }

        return all == 0 ? 0 : hit / all;
    }

    private double Value(double[] found, double share)
        => _places.Zip(found, (place, probability) => PointerReader.Mix(place.LogP, share, probability)).Average();

    /// <summary>The derivative of the sum of log-likelihoods by the share.</summary>
    private double Slope(double[] found, double share)
    {
        double sum = 0;
        for (int i = 0; i < found.Length; i++)
        {
            // (q − p) / ((1 − λ) p + λ q), with both over q where there is some: p may be too small for a double.
            double ratio = found[i] > 0 ? Math.Exp(_places[i].LogP - Math.Log(found[i])) : double.PositiveInfinity;
            sum += double.IsInfinity(ratio) ? -1 / (1 - share) : (1 - ratio) / (((1 - share) * ratio) + share);
        }

        return sum;
    }
}
