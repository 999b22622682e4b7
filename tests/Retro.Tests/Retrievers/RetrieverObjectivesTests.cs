using Retro.Retrievers;
using TorchSharp;
using static Retro.Tests.Retrievers.ToyPosterior;
using static TorchSharp.torch;

namespace Retro.Tests.Retrievers;

/// <summary>Every objective against a discrete model whose posterior is enumerated, in float64.</summary>
public class RetrieverObjectivesTests
{
    private static readonly ToyPosterior s_toy = new(5);

    [Fact]
    public void Marginalization_per_sequence_has_the_exact_loss_and_gradients_of_retriever_and_reader()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor scores = s_toy.Scores();
        (Tensor logits, Tensor likelihoods) = s_toy.Reader();

        Tensor loss = RetrieverObjectives.Marginal(likelihoods.sum(2), scores);
        loss.sum().backward();

        AssertNear([.. Rows.Select(b => -Math.Log(s_toy.Evidence(b)))], loss);
        AssertNear(Table((b, z) => s_toy.Prior(b, z) - s_toy.Posterior(b, z)), scores.grad);
        AssertNear(
            [
                .. from b in Rows from z in Passages from t in Enumerable.Range(0, T) from v in Enumerable.Range(0, V)
                select s_toy.Posterior(b, z) * (s_toy.Token(b, z, t, v) - (v == s_toy.Target(b, t) ? 1 : 0))
            ],
            logits.grad);
    }

    [Fact]
    public void Marginalization_per_token_has_the_exact_loss_and_gradients_of_retriever_and_reader()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor scores = s_toy.Scores();
        (Tensor logits, Tensor likelihoods) = s_toy.Reader();
        double Evidence(int b, int t) => Passages.Sum(z => s_toy.Prior(b, z) * s_toy.Likelihood(b, z, t));
        double Posterior(int b, int t, int z) => s_toy.Prior(b, z) * s_toy.Likelihood(b, z, t) / Evidence(b, t);

        Tensor loss = RetrieverObjectives.Marginal(likelihoods, scores);
        loss.sum().backward();

        // Every way to choose a passage for each token, one by one.
        AssertNear(
            [
                .. Rows.Select(b => -Math.Log(
                    (from z in Passages from y in Passages from x in Passages
                     select s_toy.Prior(b, z) * s_toy.Likelihood(b, z, 0) * s_toy.Prior(b, y) * s_toy.Likelihood(b, y, 1) * s_toy.Prior(b, x)
                        * s_toy.Likelihood(b, x, 2)).Sum()))
            ],
            loss);
        AssertNear(Table((b, z) => Enumerable.Range(0, T).Sum(t => s_toy.Prior(b, z) - Posterior(b, t, z))), scores.grad);
        AssertNear(
            [
                .. from b in Rows from z in Passages from t in Enumerable.Range(0, T) from v in Enumerable.Range(0, V)
                select Posterior(b, t, z) * (s_toy.Token(b, z, t, v) - (v == s_toy.Target(b, t) ? 1 : 0))
            ],
            logits.grad);
    }

    [Fact]
    public void A_token_that_does_not_count_adds_nothing_to_loss_or_gradient()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor scores = s_toy.Scores(), again = s_toy.Scores(), likelihoods = s_toy.Reader().Likelihoods.detach();

        Tensor loss = RetrieverObjectives.Marginal(likelihoods, scores),
            padded = RetrieverObjectives.Marginal(cat([likelihoods, zeros([B, K, 2], ScalarType.Float64)], 2), again);
        loss.sum().backward();
        padded.sum().backward();

        AssertNear(loss.data<double>().ToArray(), padded);
        AssertNear(scores.grad!.reshape(-1).data<double>().ToArray(), again.grad);
    }

    /// <summary>Of REALM's appendix: a passage is pushed by r(z) = [p(y|x,z)/p(y|x) − 1] p(z|x), the null document too.</summary>
    [Fact]
    public void Realm_pushes_each_passage_by_how_much_it_beats_the_average()
    {
        using DisposeScope scope = NewDisposeScope();
        double[] without = [.. Rows.Select(b => 0.02 * (b + 1))], bias = [.. Rows.Select(b => 0.3 * b - 0.2)];
        Tensor scores = s_toy.Scores(), nullScores = tensor(bias).requires_grad_(), likelihoods = s_toy.Reader().Likelihoods.detach().sum(2);
        Tensor nullLikelihoods = tensor(Array.ConvertAll(without, Math.Log));

        Tensor loss = RetrieverObjectives.Realm(likelihoods, scores, nullLikelihoods, nullScores);
        loss.sum().backward();

        // The softmax over K + 1: odds against the K, whose own sum is the softmax that the toy has.
        double[,] logits = new double[B, K];
        Buffer.BlockCopy(s_toy.Scores().reshape(-1).data<double>().ToArray(), 0, logits, 0, B * K * sizeof(double));
        double Sum(int b) => Passages.Sum(z => Math.Exp(logits[b, z])) + Math.Exp(bias[b]);
        double Prior(int b, int z) => Math.Exp(logits[b, z]) / Sum(b);
        double Null(int b) => Math.Exp(bias[b]) / Sum(b);
        double Evidence(int b) => Passages.Sum(z => Prior(b, z) * s_toy.Likelihood(b, z)) + (Null(b) * without[b]);
        AssertNear([.. Rows.Select(b => -Math.Log(Evidence(b)))], loss);
        AssertNear(Table((b, z) => -((s_toy.Likelihood(b, z) / Evidence(b)) - 1) * Prior(b, z)), scores.grad);
        AssertNear([.. Rows.Select(b => -((without[b] / Evidence(b)) - 1) * Null(b))], nullScores.grad);
        AssertNear(
            [.. Rows.Select(b => Math.Log(Evidence(b) / without[b]))],
            RetrieverObjectives.RetrievalUtility(likelihoods, scores, nullLikelihoods, nullScores));
    }

    [Fact]
    public void Emdr2_moves_the_retriever_as_marginalization_does_and_the_reader_not_at_all()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor scores = s_toy.Scores();
        (Tensor logits, Tensor likelihoods) = s_toy.Reader();

        RetrieverObjectives.Emdr2(likelihoods.sum(2), scores).sum().backward();

        AssertNear(Table((b, z) => s_toy.Prior(b, z) - s_toy.Posterior(b, z)), scores.grad);
        Assert.True(logits.grad is null);
    }

    [Theory]
    [InlineData(1.0)]
    [InlineData(0.1)]
    public void Distillation_pulls_the_prior_to_the_softmax_of_the_evidence(double temperature)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor scores = s_toy.Scores();
        (Tensor logits, Tensor likelihoods) = s_toy.Reader();
        double Weight(int b, int z) => Math.Pow(s_toy.Likelihood(b, z), 1 / temperature);
        double Teacher(int b, int z) => Weight(b, z) / Passages.Sum(other => Weight(b, other));

        Tensor loss = RetrieverObjectives.Distillation(likelihoods.sum(2), scores, temperature: temperature);
        loss.sum().backward();

        AssertNear([.. Rows.Select(b => Passages.Sum(z => Teacher(b, z) * Math.Log(Teacher(b, z) / s_toy.Prior(b, z))))], loss);
        AssertNear(Table((b, z) => s_toy.Prior(b, z) - Teacher(b, z)), scores.grad);
        Assert.True(logits.grad is null);
    }

    [Fact]
    public void Distillation_near_temperature_0_teaches_the_best_passage_alone()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor scores = s_toy.Scores();

        Tensor loss = RetrieverObjectives.Distillation(s_toy.Reader().Likelihoods.sum(2), scores, temperature: 1e-300);
        loss.sum().backward();

        int Best(int b) => Passages.MaxBy(z => s_toy.Likelihood(b, z));
        AssertNear([.. Rows.Select(b => -Math.Log(s_toy.Prior(b, Best(b))))], loss);
        AssertNear(Table((b, z) => s_toy.Prior(b, z) - (z == Best(b) ? 1 : 0)), scores.grad);
    }

    /// <summary>Distillation and marginalization over more passages, of which the others get nothing from the reader, are those over a row's own and one term
    /// more, in value and gradient.</summary>
    [Fact]
    public void Passages_that_the_reader_gets_nothing_from_add_the_share_of_a_rows_own_among_all()
    {
        using DisposeScope scope = NewDisposeScope();
        long rows = Rows.Count(), own = Passages.Count(), others = 3, all = own + others;
        Tensor scores = randn([rows, all], ScalarType.Float64, requires_grad: true), ones = torch.ones([rows, all], ScalarType.Bool);
        Tensor present = ones.clone().narrow(1, 0, own), counted = ones.clone(), barred = zeros([rows, all], ScalarType.Bool);
        present[0, 1] = false; // a row's missing passage,
        counted[0, 1] = false;
        barred[0, 1] = true;
        counted[1, all - 1] = false; // and one that is no negative of its row
        barred[1, all - 1] = true;
        Tensor likelihoods = s_toy.Reader().Likelihoods.sum(2).detach();
        Tensor nothing = full([rows, others], double.NegativeInfinity, ScalarType.Float64), each = cat([likelihoods, nothing], 1);

        Check(
            RetrieverObjectives.Distillation(each, scores, counted, 0.5),
            (own, share) => RetrieverObjectives.Distillation(likelihoods, own, present, 0.5) + share);
        Check(RetrieverObjectives.Marginal(each, scores, counted), (own, share) => RetrieverObjectives.Marginal(likelihoods, own, present) + share);
        Tensor nulls = randn([rows], ScalarType.Float64), alone = randn([rows], ScalarType.Float64);
        Check(
            RetrieverObjectives.Realm(each, scores, alone, nulls, counted),
            (own, share) => RetrieverObjectives.Realm(likelihoods, own, alone, nulls, present) + share,
            nulls);

        // Of the bound the KL alone has the prior in it; the posterior leaves the added ones out.
        Tensor tower = s_toy.TowerScores().detach();
        RetrieverExamples examples = new(new long[rows], [], [], 0, 0);
        Check(
            RetrieverObjectives.Variational(
                cat([likelihoods, zeros_like(nothing)], 1), scores, cat([tower, full_like(nothing, -1e4)], 1), counted, 0.5),
            (own, share) => RetrieverObjective.Variational(0.5).Loss(
                new(examples, own, present, s_toy.Reader().Likelihoods.detach(), ones) { PosteriorScores = tower }, share));
        Tensor none = present.clone();
        none[1] = false;
        Assert.Equal(0, RetrieverObjectives.OwnAmongAll(scores.narrow(1, 0, own), scores, barred, none)[1].item<double>());

        void Check(Tensor expected, Func<Tensor, Tensor, Tensor> objective, Tensor? nullScores = null)
        {
            expected.sum().backward();
            double[] gradient = [.. scores.grad!.reshape(-1).data<double>()];
            scores.grad.zero_();
            Tensor mine = scores.narrow(1, 0, own);
            Tensor loss = objective(mine, RetrieverObjectives.OwnAmongAll(mine, scores, barred, present, nullScores));
            loss.sum().backward();
            AssertNear([.. expected.data<double>()], loss);
            AssertNear(gradient, scores.grad);
            scores.grad.zero_();
        }
    }

    [Fact]
    public void Leave_one_out_teaches_the_passage_that_is_missed_most()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor scores = s_toy.Scores(), without = s_toy.Reader().Likelihoods.sum(2);
        double Weight(int b, int z) => 1 / s_toy.Likelihood(b, z);

        RetrieverObjectives.LeaveOneOut(without, scores).sum().backward();

        AssertNear(Table((b, z) => s_toy.Prior(b, z) - (Weight(b, z) / Passages.Sum(other => Weight(b, other)))), scores.grad);
    }

    [Fact]
    public void The_variational_bound_has_its_exact_gradients_and_is_tight_at_the_true_posterior()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor scores = s_toy.Scores(), tower = s_toy.TowerScores(), likelihoods = s_toy.Reader().Likelihoods.detach().sum(2);
        double Gap(int b, int z) => Math.Log(s_toy.Tower(b, z) / (s_toy.Prior(b, z) * s_toy.Likelihood(b, z)));
        double Bound(int b) => Passages.Sum(z => s_toy.Tower(b, z) * Gap(b, z));

        Tensor loss = RetrieverObjectives.Variational(likelihoods, scores, tower);
        loss.sum().backward();

        AssertNear([.. Rows.Select(Bound)], loss);
        AssertNear(Table((b, z) => s_toy.Prior(b, z) - s_toy.Tower(b, z)), scores.grad);
        AssertNear(Table((b, z) => s_toy.Tower(b, z) * (Gap(b, z) - Bound(b))), tower.grad);
        Tensor marginal = RetrieverObjectives.Marginal(likelihoods, scores);
        Assert.All(loss.data<double>().ToArray().Zip(marginal.data<double>().ToArray()), pair => Assert.True(pair.First > pair.Second));
        Tensor exact = tensor(Table((b, z) => Math.Log(s_toy.Posterior(b, z))), [B, K]);
        AssertNear(marginal.data<double>().ToArray(), RetrieverObjectives.Variational(likelihoods, scores, exact));
    }

    /// <summary>
    /// Both towers' top k, and their union: what is left out of it is what the gradient lacks, and with all passages nothing is.
    /// </summary>
    [Fact]
    public void The_variational_gradient_on_the_union_of_both_top_k_comes_to_the_exact_one_as_k_grows()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor likelihoods = s_toy.Reader().Likelihoods.detach().sum(2);
        double[] errors = [.. Enumerable.Range(1, K).Select(Error)];

        Assert.True(errors[^1] < 1e-12, $"The error with all passages is {errors[^1]:E2}.");
        Assert.True(errors[0] > 0.05 && errors[0] > errors[2], $"The errors by k are {string.Join(", ", errors.Select(error => error.ToString("E2")))}.");

        double Error(int k)
        {
            Tensor scores = s_toy.Scores(), tower = s_toy.TowerScores(), all = s_toy.Scores(), allTower = s_toy.TowerScores();
            bool Top(Func<int, int, double> of, int b, int z) => Passages.Count(other => of(b, other) > of(b, z)) < k;
            Tensor union = tensor(
                [.. from b in Rows from z in Passages select Top(s_toy.Prior, b, z) || Top(s_toy.Tower, b, z)], [B, K]);
            RetrieverObjectives.Variational(likelihoods, scores, tower, union).sum().backward();
            RetrieverObjectives.Variational(likelihoods, all, allTower).sum().backward();
            return (scores.grad! - all.grad!).abs().max().item<double>() + (tower.grad! - allTower.grad!).abs().max().item<double>();
        }
    }

    /// <summary>
    /// With visits of the sampler in place of the true posterior: the longer the chain, the nearer the gradients are to those of −log p(y|x) and of the
    /// inclusive KL, and within five standard errors of chains of this length, their autocorrelation counted.
    /// </summary>
    [Fact]
    public void The_gradients_of_joint_stochastic_approximation_come_to_the_exact_ones_as_chains_grow()
    {
        double few = Error(1_000), many = Error(100_000);
        TestContext.Current.SendDiagnosticMessage($"Largest error of a gradient: {few:E2} with 1,000 steps, {many:E2} with 100,000.");

        // A frequency of n independent draws has a deviation of at most 0.5/sqrt(n), and the sampler's steps, whose autocorrelation falls by 1 − 1/w or faster
        // in each, w being the largest weight p(z|x,y)/q(z|x,y), are worth n/(2w − 1) of them.
        double worst = Rows.Max(b => Passages.Max(z => s_toy.Posterior(b, z) / s_toy.Tower(b, z)));
        double Bound(int steps) => 5 * 0.5 * Math.Sqrt(((2 * worst) - 1) / steps);
        Assert.True(few < Bound(1_000), $"The error with 1,000 steps is {few}.");
        Assert.True(many < Bound(100_000), $"The error with 100,000 steps is {many}.");
        Assert.True(many < few, $"{few} with few steps, {many} with many");

        static double Error(int steps)
        {
            using DisposeScope scope = NewDisposeScope();
            Tensor scores = s_toy.Scores(), tower = s_toy.TowerScores();
            (Tensor logits, Tensor likelihoods) = s_toy.Reader();
            double[] visits = [.. Rows.SelectMany(b => MetropolisSampler.Run(
                [.. Passages.Select(z => Math.Log(s_toy.Prior(b, z) * s_toy.Likelihood(b, z)))],
                [.. Passages.Select(z => Math.Log(s_toy.Tower(b, z)))],
                null,
                steps,
                seed: 3,
                b).Frequencies)];
            RetrieverObjectives.JointStochastic(likelihoods.sum(2), scores, tower, tensor(visits, [B, K])).sum().backward();
            double[] reader =
            [
                .. from b in Rows from z in Passages from t in Enumerable.Range(0, T) from v in Enumerable.Range(0, V)
                select s_toy.Posterior(b, z) * (s_toy.Token(b, z, t, v) - (v == s_toy.Target(b, t) ? 1 : 0))
            ];
            return new[]
            {
                Largest(Table((b, z) => s_toy.Prior(b, z) - s_toy.Posterior(b, z)), scores),
                Largest(Table((b, z) => s_toy.Tower(b, z) - s_toy.Posterior(b, z)), tower),
                Largest(reader, logits),
            }.Max();
        }

        static double Largest(double[] exact, Tensor leaf)
            => exact.Zip(leaf.grad!.reshape(-1).data<double>().ToArray(), (expected, came) => Math.Abs(expected - came)).Max();
    }

    [Fact]
    public void With_the_true_posterior_for_frequencies_joint_stochastic_approximation_is_exact()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor scores = s_toy.Scores(), tower = s_toy.TowerScores(), likelihoods = s_toy.Reader().Likelihoods.detach().sum(2);

        RetrieverObjectives.JointStochastic(likelihoods, scores, tower, tensor(Table(s_toy.Posterior), [B, K])).sum().backward();

        AssertNear(Table((b, z) => s_toy.Prior(b, z) - s_toy.Posterior(b, z)), scores.grad);
        AssertNear(Table((b, z) => s_toy.Tower(b, z) - s_toy.Posterior(b, z)), tower.grad);
    }

    public static TheoryData<string> Names => [.. s_objectives.Keys];

    /// <summary>Each objective as a function of log-likelihoods, scores, the posterior tower's scores, and what is there.</summary>
    private static readonly Dictionary<string, Func<Tensor, Tensor, Tensor, Tensor?, Tensor>> s_objectives = new()
    {
        ["per sequence"] = (likelihoods, scores, _, present) => RetrieverObjectives.Marginal(likelihoods, scores, present),
        ["per token"] = (likelihoods, scores, _, present) => RetrieverObjectives.Marginal(likelihoods.unsqueeze(2), scores, present),
        ["EMDR2"] = (likelihoods, scores, _, present) => RetrieverObjectives.Emdr2(likelihoods, scores, present),
        ["distillation"] = (likelihoods, scores, _, present) => RetrieverObjectives.Distillation(likelihoods, scores, present, 0.1),
        ["leave one out"] = (likelihoods, scores, _, present) => RetrieverObjectives.LeaveOneOut(likelihoods, scores, present),
        ["variational"] = (likelihoods, scores, tower, present) => RetrieverObjectives.Variational(likelihoods, scores, tower, present),
        ["joint stochastic"] = (likelihoods, scores, tower, present) => RetrieverObjectives.JointStochastic(
            likelihoods, scores, tower, cat([ones([scores.shape[0], 1], ScalarType.Float64), zeros([scores.shape[0], scores.shape[1] - 1])], 1), present),
    };

    /// <summary>Rows with fewer passages than others are what they are alone, whatever stands where a passage is missing: no batch of one is needed.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void Missing_passages_do_not_count_and_rows_are_what_they_are_alone(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        double[] values = s_toy.Reader().Likelihoods.sum(2).detach().reshape(-1).data<double>().ToArray();
        int[] count = [2, K, 1];
        double Garbage(int b, int z, double number) => z < count[b] ? number : (z % 2 == 0 ? double.NaN : 1e9);
        Tensor likelihoods = tensor([.. from b in Rows from z in Passages select Garbage(b, z, values[(b * K) + z])], [B, K]);
        Tensor scores = tensor(Table((b, z) => Garbage(b, z, Math.Log(s_toy.Prior(b, z)))), [B, K]).requires_grad_();
        Tensor tower = tensor(Table((b, z) => Garbage(b, z, Math.Log(s_toy.Tower(b, z)))), [B, K]).requires_grad_();
        Tensor present = tensor([.. from b in Rows from z in Passages select z < count[b]], [B, K]);

        Tensor loss = s_objectives[name](likelihoods, scores, tower, present);
        loss.sum().backward();

        foreach (int b in Rows)
        {
            Tensor One(Tensor of) => of.detach().narrow(0, b, 1).narrow(1, 0, count[b]).clone();
            Tensor own = One(scores).requires_grad_(), ownTower = One(tower).requires_grad_();
            Tensor alone = s_objectives[name](One(likelihoods), own, ownTower, null);
            alone.sum().backward();
            Assert.Equal(alone.item<double>(), loss[b].item<double>(), 1e-12);
            double[] gradient = scores.grad![b].data<double>().ToArray(), expected = own.grad![0].data<double>().ToArray();
            Assert.All(expected.Zip(gradient), pair => Assert.Equal(pair.First, pair.Second, 1e-12));
            Assert.All(gradient[count[b]..], number => Assert.Equal(0, number));
            Assert.True(tower.grad is null || tower.grad[b].narrow(0, count[b], K - count[b]).abs().sum().item<double>() == 0);
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void With_one_passage_there_is_nothing_to_choose(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor scores = tensor([3.0, -700.0], [2, 1]).requires_grad_(), tower = tensor([-1.0, 900.0], [2, 1]).requires_grad_();

        Tensor loss = s_objectives[name](tensor([-4.0, -800.0], [2, 1]), scores, tower, null);
        loss.sum().backward();

        Assert.All(loss.data<double>().ToArray(), number => Assert.True(double.IsFinite(number)));
        Assert.Equal([0.0, 0.0], scores.grad!.reshape(-1).data<double>().ToArray());
        Assert.Equal(0, tower.grad?.abs().sum().item<double>() ?? 0);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Equal_scores_are_the_uniform_distribution_however_large(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor likelihoods = s_toy.Reader().Likelihoods.detach().sum(2), flat = zeros([B, K], ScalarType.Float64);

        Tensor expected = s_objectives[name](likelihoods, flat, flat, null), came = s_objectives[name](likelihoods, flat.add(1e6), flat.sub(1e6), null);

        AssertNear(expected.data<double>().ToArray(), came);
        Assert.All(expected.data<double>().ToArray(), number => Assert.True(double.IsFinite(number)));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Rows_without_a_passage_and_numbers_that_cannot_be_are_refused_by_row(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor likelihoods = s_toy.Reader().Likelihoods.detach().sum(2), scores = s_toy.Scores().detach(), tower = s_toy.TowerScores().detach();
        Tensor none = ones([B, K], ScalarType.Bool);
        none[1] = false;
        Assert.Contains("Row 1 of 3 has no passage", Refusal(likelihoods, scores, none), StringComparison.Ordinal);
        Assert.Contains("Row 1 of 3 has no passage", Refusal(likelihoods, With(scores, 1, double.NegativeInfinity), null), StringComparison.Ordinal);
        Assert.Contains("Row 2 of 3 has a passage whose score", Refusal(likelihoods, With(scores, 2, double.PositiveInfinity), null), StringComparison.Ordinal);
        Assert.Contains("Row 2 of 3 has a passage whose score", Refusal(likelihoods, With(scores, 2, double.NaN), null), StringComparison.Ordinal);
        Assert.Contains("Row 0 of 3 has no finite loss", Refusal(With(likelihoods, 0, double.NaN), scores, null), StringComparison.Ordinal);
        if (name != "leave one out")
        {
            Assert.Contains("Row 0 of 3 has no finite loss", Refusal(With(likelihoods, 0, double.NegativeInfinity), scores, null), StringComparison.Ordinal);
        }

        Assert.Throws<ShapeException>(() => s_objectives[name](likelihoods.narrow(0, 0, 2), scores, tower, null));
        Assert.Throws<ShapeException>(() => s_objectives[name](likelihoods, scores, tower, none.narrow(1, 0, 2)));

        string Refusal(Tensor reader, Tensor retriever, Tensor? present)
            => Assert.Throws<TrainingException>(() => s_objectives[name](reader, retriever, tower, present)).Message;

        static Tensor With(Tensor of, int row, double value)
        {
            Tensor changed = of.clone();
            changed[row] = value;
            return changed;
        }
    }

    [Fact]
    public void With_no_passage_but_the_null_document_realm_is_the_reader_alone()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor nothing = zeros([2, 0], ScalarType.Float64), bias = tensor([0.0, 5.0]).requires_grad_(), without = tensor([-2.0, -3.0]);
        Tensor loss = RetrieverObjectives.Realm(nothing, nothing, without, bias);
        loss.sum().backward();

        AssertNear([2.0, 3.0], loss);
        AssertNear([0.0, 0.0], bias.grad);
        AssertNear([0.0, 0.0], RetrieverObjectives.RetrievalUtility(nothing, nothing, without, bias));
        Tensor missing = zeros([2, 3], ScalarType.Bool), garbage = tensor(new double[] { 1, 2, 3, 4, 5, double.NaN }, [2, 3]);
        AssertNear([2.0, 3.0], RetrieverObjectives.Realm(garbage, garbage, without, bias, missing));
    }

    /// <summary>A mean over a target's tokens is over those of the example's own, whatever other lengths stand in the batch.</summary>
    [Fact]
    public void An_example_has_the_loss_of_a_batch_of_it_alone_where_targets_are_of_unequal_lengths()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor likelihoods = s_toy.Reader().Likelihoods.detach().clone(), scores = s_toy.Scores().detach(); // [B, K, T]
        likelihoods.select(0, 0).narrow(1, 1, T - 1).zero_(); // the first target has one token
        Tensor targets = tensor(Rows.Select(b => b == 0 ? 1.0 : T).ToArray()), present = ones_like(scores, ScalarType.Bool);
        foreach (RetrieverObjective objective in new[] { RetrieverObjective.PerplexityDistillation(0.5), RetrieverObjective.LeaveOneOut(0.5) })
        {
            Tensor Loss(long first, long count)
            {
                Tensor Of(Tensor rows) => rows.narrow(0, first, count);
                return objective.Loss(
                    new(new([], [], [], 0, 0), Of(scores), Of(present), Of(likelihoods), Of(targets)) { WithoutLikelihoods = Of(likelihoods) });
            }

            AssertNear([.. Rows.Select(b => Loss(b, 1).item<double>())], Loss(0, B));
        }
    }

    /// <summary>
    /// A chain stays at the passage that it ended at in an earlier step, where the only other one, which is proposed each time, is all but impossible.
    /// </summary>
    [Fact]
    public void A_chain_of_joint_stochastic_approximation_goes_on_from_where_it_was()
    {
        using DisposeScope scope = NewDisposeScope();
        RetrieverExamples examples = new([7], [[10, 11]], new() { [7] = 10 }, Seed: 0, Step: 1);
        RetrieverBatch batch = new(
            examples,
            zeros([1, 2], ScalarType.Float64),
            ones([1, 2], ScalarType.Bool),
            tensor(new double[] { 0, -100 }, [1, 2, 1]),
            ones([1], ScalarType.Float64))
        {
            PosteriorScores = tensor(new double[] { -50, 50 }, [1, 2]),
        };

        RetrieverObjective.JointStochastic(20).Loss(batch);

        Assert.Equal(10, examples.Chains[7]);
        Assert.Equal(0, batch.AcceptanceRate);
    }

    /// <summary>
    /// What each takes of a step: sums of whole targets or means over their tokens, with a passage or without it, and the temperature that its name has.
    /// </summary>
    [Fact]
    public void Objectives_are_their_functions_of_what_a_step_gave()
    {
        using DisposeScope scope = NewDisposeScope();
        using Generator generator = new(3);
        Tensor Drawn(params long[] shape) => randn(shape, ScalarType.Float64, generator: generator);
        Tensor counted = tensor(new double[] { 1, 1, 1, 1, 1, 0 }, [2, 1, 3]), present = tensor(new[] { true, true, true, true, true, false }, [2, 3]);
        Tensor likelihoods = Drawn(2, 3, 3).abs().neg() * counted, without = Drawn(2, 3, 3).abs().neg() * counted;
        Tensor none = Drawn(2, 3).abs().neg() * counted.squeeze(1), empty = Drawn(2), scores = Drawn(2, 3) * 2, tower = Drawn(2, 3);
        Tensor lengths = tensor(new double[] { 3, 2 }, [2]);
        RetrieverExamples examples = new([4, 7], [[10, 11, 12], [20, 21, -1]], new() { [7] = 21 }, Seed: 5, Step: 0);
        RetrieverBatch batch = new(examples, scores, present, likelihoods, lengths)
        {
            PosteriorScores = tower, NullLikelihoods = none, NullScores = empty, WithoutLikelihoods = without,
        };
        Tensor sums = likelihoods.sum(2), means = sums / lengths.unsqueeze(1), others = without.sum(2) / lengths.unsqueeze(1);
        double[] joint = (sums + scores).reshape(-1).data<double>().ToArray(), proposal = tower.reshape(-1).data<double>().ToArray();
        joint[5] = proposal[5] = double.NegativeInfinity;
        MetropolisVisits[] visits =
        [
            MetropolisSampler.Run(joint.AsSpan(0, 3), proposal.AsSpan(0, 3), null, 400, 5, 0),
            MetropolisSampler.Run(joint.AsSpan(3, 3), proposal.AsSpan(3, 3), 1, 400, 5, 1),
        ];
        Tensor visited = tensor(visits.SelectMany(chain => chain.Frequencies).ToArray(), [2, 3]);
        (RetrieverObjective Objective, Tensor Expected)[] cases =
        [
            (RetrieverObjective.SequenceMarginal, RetrieverObjectives.Marginal(sums, scores, present)),
            (RetrieverObjective.TokenMarginal, RetrieverObjectives.Marginal(likelihoods, scores, present)),
            (RetrieverObjective.Emdr2, RetrieverObjectives.Emdr2(likelihoods, scores, present)),
            (RetrieverObjective.Realm, RetrieverObjectives.Realm(sums, scores, none.sum(1), empty, present)),
            (RetrieverObjective.PerplexityDistillation(0.3), RetrieverObjectives.Distillation(means, scores, present, 0.3)),
            (RetrieverObjective.LanguageModelSupervision(0.7), RetrieverObjectives.Distillation(sums, scores, present, 0.7)),
            (RetrieverObjective.LeaveOneOut(0.3), RetrieverObjectives.LeaveOneOut(others, scores, present, 0.3)),
            (RetrieverObjective.Variational(0.5), RetrieverObjectives.Variational(sums, scores, tower, present, 0.5)),
            (RetrieverObjective.JointStochastic(400), RetrieverObjectives.JointStochastic(sums, scores, tower, visited, present)),
        ];

        foreach ((RetrieverObjective objective, Tensor expected) in cases)
        {
            AssertNear(expected.data<double>().ToArray(), objective.Loss(batch));
        }

        Assert.Equal(visits.Average(chain => chain.AcceptanceRate), batch.AcceptanceRate!.Value, 1e-12);
        Assert.Equal([examples.Passages[0][visits[0].Last], examples.Passages[1][visits[1].Last]], new[] { examples.Chains[4], examples.Chains[7] });
    }

    /// <summary>Likelihoods of long targets are far below what an exponential holds.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void Targets_of_thousands_of_tokens_do_not_underflow(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor scores = s_toy.Scores(), tower = s_toy.TowerScores(), likelihoods = s_toy.Reader().Likelihoods.detach().sum(2);

        Tensor loss = s_objectives[name](likelihoods.add(-1e5), scores, tower, null);
        loss.sum().backward();

        Assert.All(loss.data<double>().ToArray(), number => Assert.True(double.IsFinite(number)));
        Assert.All(scores.grad!.reshape(-1).data<double>().ToArray(), number => Assert.True(double.IsFinite(number)));
    }

    [Fact]
    public void No_tensor_is_left_behind()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor likelihoods = s_toy.Reader().Likelihoods.detach().sum(2), scores = s_toy.Scores(), tower = s_toy.TowerScores();
        foreach (Func<Tensor, Tensor, Tensor, Tensor?, Tensor> objective in s_objectives.Values)
        {
            long before = scope.DisposablesCount;
            using (DisposeScope inner = NewDisposeScope())
            {
                objective(likelihoods, scores, tower, null).DetachFromDisposeScope().Dispose();
            }

            Assert.Equal(before, scope.DisposablesCount);
        }
    }
}
