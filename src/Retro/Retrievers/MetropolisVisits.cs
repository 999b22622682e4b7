namespace Retro.Retrievers;

/// <summary>What a chain of <see cref="MetropolisSampler"/> did.</summary>
/// <param name="Frequencies">Which share of the steps ended at each passage, [K]; 1 in sum.</param>
/// <param name="Last">Where the chain is now: what the next run of the same example begins with.</param>
/// <param name="AcceptanceRate">Share of the proposals that were taken; one of the passage where the chain is counts as taken.</param>
internal sealed record MetropolisVisits(IReadOnlyList<double> Frequencies, int Last, double AcceptanceRate);
