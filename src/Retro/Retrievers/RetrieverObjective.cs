using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Retrievers;

/// <summary>What a <see cref="RetrieverTrainer"/> minimizes: one of <see cref="RetrieverObjectives"/>, or a custom function.</summary>
/// <remarks>
/// The reader stays as it is, and its log-likelihoods are constants: of a method that trains reader and retriever together this is the retriever's half.
/// </remarks>
public sealed class RetrieverObjective
{
    /// <summary>Rows of a step have places of their own among the sampler's runs, as long as they are fewer than two to the power of this.</summary>
    private const int RowBits = 24;

    private readonly Func<RetrieverBatch, Tensor> _loss;

    /// <summary>Takes a function.</summary>
    /// <param name="name">Names it in checkpoints, which are resumed under the same name alone: name its settings, too.</param>
    /// <param name="loss">Gives the loss of each example, [B], from which the scores get their gradients; it may be written with plain x + y or x * 0.5, since
    /// the trainer closes the <see cref="FinalizerGate"/> around it.</param>
    /// <param name="inputs">What it reads besides scores and log-likelihoods.</param>
    public RetrieverObjective(string name, Func<RetrieverBatch, Tensor> loss, RetrieverInputs inputs = RetrieverInputs.None)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentNullException.ThrowIfNull(loss);
        (Name, _loss, Inputs) = (name, loss, inputs);
    }

    /// <summary>
    /// Top-k marginalization of whole targets (<see cref="RetrieverObjectives.Marginal"/>): RAG-Sequence's, of which the retriever's half is here.
    /// </summary>
    public static RetrieverObjective SequenceMarginal { get; } = new(
        "sequence marginal", batch => RetrieverObjectives.Marginal(Sums(batch.Likelihoods), batch.Scores, batch.Present));

    /// <summary>
    /// Top-k marginalization of each token (<see cref="RetrieverObjectives.Marginal"/>): RAG-Token's, of which the retriever's half is here; with a reader that
    /// stays as it is, it is <see cref="Emdr2"/>.
    /// </summary>
    public static RetrieverObjective TokenMarginal { get; } = new(
        "token marginal", batch => RetrieverObjectives.Marginal(batch.Likelihoods, batch.Scores, batch.Present));

    /// <summary>
    /// REALM's, of which the retriever's half is here: whole targets, with the score of an empty text for the null document
    /// (<see cref="RetrieverObjectives.Realm"/>).
    /// </summary>
    public static RetrieverObjective Realm { get; } = new(
        "REALM",
        batch => RetrieverObjectives.Realm(Sums(batch.Likelihoods), batch.Scores, batch.NullLikelihoods!.sum(1), batch.NullScores!, batch.Present),
        RetrieverInputs.Null);

    /// <summary>EMDR², per token as in Atlas (<see cref="RetrieverObjectives.Emdr2"/>); here the same as <see cref="TokenMarginal"/>.</summary>
    public static RetrieverObjective Emdr2 { get; } = new(
        "EMDR2", batch => RetrieverObjectives.Emdr2(batch.Likelihoods, batch.Scores, batch.Present));

    /// <summary>The name it has in checkpoints.</summary>
    public string Name { get; }

    /// <summary>What it reads besides scores and log-likelihoods.</summary>
    public RetrieverInputs Inputs { get; }

    /// <summary>Whether the function is of other origin, which may make numbers that a collection can free while it computes.</summary>
    internal bool IsCustom => FinalizerGate.IsCustom(_loss);

    /// <summary>What the share that a row's own passages have among all counts, where others' count: the weight of the prior's logarithm.</summary>
    private double ShareWeight { get; init; } = 1;

    /// <summary>Atlas's perplexity distillation, of the mean log-likelihood of a token (<see cref="RetrieverObjectives.Distillation"/>).</summary>
    /// <param name="temperature">Divides the means; near 0 the passage whose presence lowers the loss most is right, and no other.</param>
    /// <returns>The objective.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The temperature is not positive.</exception>
    public static RetrieverObjective PerplexityDistillation(double temperature = 0.01)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(temperature);
        return new(
            Invariant($"perplexity distillation, temperature {temperature}"),
            batch => RetrieverObjectives.Distillation(Means(batch.Likelihoods, batch), batch.Scores, batch.Present, temperature));
    }

    /// <summary>REPLUG's LSR, of whole targets (<see cref="RetrieverObjectives.Distillation"/>).</summary>
    /// <param name="temperature">Divides the log-likelihoods of whole targets.</param>
    /// <returns>The objective.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The temperature is not positive.</exception>
    public static RetrieverObjective LanguageModelSupervision(double temperature = 0.1)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(temperature);
        return new(
            Invariant($"LSR, temperature {temperature}"),
            batch => RetrieverObjectives.Distillation(Sums(batch.Likelihoods), batch.Scores, batch.Present, temperature));
    }

    /// <summary>Atlas's LOOP, of the mean log-likelihood of a token (<see cref="RetrieverObjectives.LeaveOneOut"/>).</summary>
    /// <param name="temperature">Divides the means.</param>
    /// <returns>The objective.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The temperature is not positive.</exception>
    public static RetrieverObjective LeaveOneOut(double temperature = 0.01)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(temperature);
        return new(
            Invariant($"leave one out, temperature {temperature}"),
            batch => RetrieverObjectives.LeaveOneOut(Means(batch.WithoutLikelihoods!, batch), batch.Scores, batch.Present, temperature),
            RetrieverInputs.LeaveOneOut);
    }

    /// <summary>VRAG's, of which the two towers' half is here (<see cref="RetrieverObjectives.Variational"/>).</summary>
    /// <param name="weight">Of the KL.</param>
    /// <returns>The objective.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The weight is negative.</exception>
    public static RetrieverObjective Variational(double weight = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(weight);
        return new(
            Invariant($"VRAG, weight {weight}"),
            batch => RetrieverObjectives.Variational(Sums(batch.Likelihoods), batch.Scores, batch.PosteriorScores!, batch.Present, weight),
            RetrieverInputs.Posterior)
        {
            ShareWeight = weight,
        };
    }

    /// <summary>
    /// JSA's, of which the two towers' half is here (<see cref="RetrieverObjectives.JointStochastic"/>): each example has a chain of its own, which goes on
    /// where it was when the example comes again; the passage where it is stays among the example's passages.
    /// </summary>
    /// <param name="steps">Proposals for each example and step.</param>
    /// <returns>The objective.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no step.</exception>
    public static RetrieverObjective JointStochastic(int steps = 50)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(steps);
        return new(Invariant($"JSA, {steps} steps"), batch => Sampled(batch, steps), RetrieverInputs.Posterior);
    }

    /// <summary>The loss of each example.</summary>
    /// <param name="batch">What the examples gave.</param>
    /// <param name="apart"><see cref="RetrieverObjectives.OwnAmongAll"/>; null: passages of others do not count.</param>
    /// <returns>[B].</returns>
    /// <exception cref="ShapeException">The function gives something else.</exception>
    /// <exception cref="TrainingException">The function gives nothing, or what nothing can be learned from.</exception>
    internal Tensor Loss(RetrieverBatch batch, Tensor? apart = null)
    {
        Tensor? loss = _loss(batch);
        if (loss is null || (batch.Scores.requires_grad && !loss.requires_grad))
        {
            // With negatives of the batch the towers would move all the same, by these alone.
            throw new TrainingException(
                $"The objective {Name} gives {(loss is null ? "no loss" : "a loss that does not depend on the scores")}, so that a tower can learn nothing "
                    + $"from it; compute it from {nameof(RetrieverBatch)}.{nameof(RetrieverBatch.Scores)}.");
        }

        return loss.dim() != 1 || loss.shape[0] != batch.Scores.shape[0]
            ? throw new ShapeException(Name, $"[{batch.Scores.shape[0]}]", loss.shape)
            : apart is null ? loss : loss.Plus(apart.Times(ShareWeight));
    }

    private static Tensor Sampled(RetrieverBatch batch, int steps)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor likelihoods = Sums(batch.Likelihoods);
        int count = (int)batch.Scores.shape[1];
        double[] reader = likelihoods.Doubles(), prior = batch.Scores.Doubles(), tower = batch.PosteriorScores!.Doubles();
        double[] frequencies = new double[reader.Length];
        RetrieverExamples examples = batch.Examples;
        double taken = 0;
        for (int row = 0; row < examples.Chunks.Length; row++)
        {
            // The softmaxes' own sums are constants, which a chain does not see.
            long[] passages = examples.Passages[row];
            double[] joint = new double[count], proposal = new double[count];
            for (int z = 0; z < count; z++)
            {
                int at = (row * count) + z;
                (joint[z], proposal[z]) = passages[z] < 0 ? (double.NegativeInfinity, double.NegativeInfinity) : (prior[at] + reader[at], tower[at]);
            }

            int start = examples.Chains.TryGetValue(examples.Chunks[row], out long known) ? Array.IndexOf(passages, known) : -1;
            MetropolisVisits visits = MetropolisSampler.Run(
                joint, proposal, start < 0 ? null : start, steps, examples.Seed, (examples.Step << RowBits) + row);
            examples.Chains[examples.Chunks[row]] = passages[visits.Last];
            taken += visits.AcceptanceRate / examples.Chunks.Length;
            for (int z = 0; z < count; z++)
            {
                frequencies[(row * count) + z] = visits.Frequencies[z];
            }
        }

        batch.AcceptanceRate = taken;
        Tensor share = tensor(frequencies, batch.Scores.shape, batch.Scores.dtype, batch.Scores.device);
        return RetrieverObjectives.JointStochastic(likelihoods, batch.Scores, batch.PosteriorScores!, share, batch.Present).MoveToOuterDisposeScope();
    }

    private static Tensor Sums(Tensor likelihoods) => likelihoods.sum(2); // [B, K]

    private static Tensor Means(Tensor likelihoods, RetrieverBatch batch) => Sums(likelihoods) / batch.Targets.unsqueeze(1); // [B, K]

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
