using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Retro;
using Retro.Answering;
using Retro.Checkpoints;
using Retro.Cli.Reports;
using Retro.Cli.Workflow;
using Retro.Corpora;
using Retro.Database;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;

namespace Retro.Cli.Experiments;

/// <summary>
/// From text to the tables: every reader answers the same questions about documents that nothing was trained on. A decoder learns the text; on top of it are
/// learned answering without passages, from passages in front of the question among distractors (RAFT), and from neighbors among distractors (RETRO).
/// </summary>
/// <param name="options">What every experiment is told.</param>
internal sealed class AnswerRun(ExperimentOptions options)
{
    private const int WindowTokens = 512;
    private const int ExamplesPerStep = 8;

    private const int LeastHeldOut = 30;
    private const string Ensemble = "ensemble (REPLUG), equal weights", Models = "answer-models", ReportFile = "answers.md";

    private static readonly InContextOptions s_prompt = new() { Neighbors = AnsweringData.UsualPassages, PrefixLength = 330, WindowLength = WindowTokens };

    /// <summary>Questions that are measured.</summary>
    public required int Questions { get; init; }

    /// <summary>Steps of the decoder; what is learned on top of it takes half as many.</summary>
    public required int Steps { get; init; }

    private int FittingSteps => Recipe.Fitting(Steps);

    /// <summary>Runs everything, prints the tables and writes them.</summary>
    /// <returns>The tables for programs.</returns>
    public async Task<JsonObject> RunAsync(CancellationToken cancellationToken)
    {
        // --- text and questions ---
        SampleCorpus corpus = SampleCorpus.Read(options.Corpus, options.MostBytes, 1, options.Reading, cancellationToken, LeastHeldOut);
        using RunFolder folder = RunFolder.Take(options, "compare answers");
        folder.RequireFree(Models);
        RetroTokenizer tokenizer = EvaluationData.TrainTokenizer(corpus.Training, folder.Path, cancellationToken);
        HashSet<string> trained = [.. corpus.Training.Select(document => document.Id)];
        (RetroConfig decoder, RetrievalConfig matching) = TrainedModel.Config(tokenizer.VocabularySize);
        RetrievalConfig retrieval = matching with { Neighbors = AnsweringData.UsualPassages };
        using AnsweringData all = AnsweringData.Build(
            folder["passages"], [.. corpus.Training, .. corpus.HeldOut], tokenizer, retrieval.ChunkLength, cancellationToken);

        // What is trained on: passages of other documents alone, and questions about them.
        QuestionSet seen = new(
            [.. all.Set.Passages.Where(passage => trained.Contains(AnsweringData.DocumentOf(passage.Id)))],
            [.. all.Set.Questions.Where(question => trained.Contains(question.DocumentId))]);
        using AnsweringData known = AnsweringData.Open(folder["known-passages"], seen, tokenizer, retrieval.ChunkLength, cancellationToken);
        Question[] measured = AnsweringData.Choose(all.Set.Questions.Where(question => !trained.Contains(question.DocumentId)), Questions, options.Seed);
        if (measured.Length == 0)
        {
            throw new CorpusException("The held-out documents give no question; raise --megabytes, or take another corpus.");
        }

        QuestionSet.RequireHeldOut(measured, trained);
        using ChunkDatabase database = EvaluationData.Cut("cut chunks", folder["database"], corpus.Training, tokenizer, cancellationToken);

        // --- training ---
        folder.Replace(Models, ReportFile);
        string closedBook = Path.Combine(folder[Models], "closed-book");
        Recipe recipe = new(options.Seed, options.Dtype, options.Device);
        TrainedModel text = recipe.Train("train the decoder", decoder, recipe.Windows(database), Steps, closedBook, cancellationToken);
        AnswerTables tables = new(all, measured);
        using (RetroModel model = text.Model)
        {
            await OnTextAsync(tables, text, all, known.Database, database, Path.Combine(folder[Models], "states", "states.bin"), cancellationToken)
                .ConfigureAwait(false);
        }

        QuestionSamplerOptions examples = new() { Neighbors = AnsweringData.UsualPassages, BatchSize = 1, WindowLength = WindowTokens, Seed = options.Seed };
        (RetroModel Model, TimeSpan Time) alone = Tune("answering without passages", examples with { Neighbors = 0 }, false);
        using (alone.Model)
        {
            await tables.MeasureAsync("closed book, trained to answer", new DecoderReader(alone.Model), alone.Time, cancellationToken).ConfigureAwait(false);
        }

        (RetroModel Model, TimeSpan Time) raft = Tune("answering among distractors (RAFT)", examples with { InContext = s_prompt }, false);
        using (raft.Model)
        {
            await tables.MeasureAsync(
                "in context, trained among distractors (RAFT)", new InContextReader(raft.Model, tokenizer, s_prompt), raft.Time, cancellationToken)
                .ConfigureAwait(false);
            await tables.MeasureAsync(
                $"{Ensemble}, of the same", Mixing(raft.Model, tokenizer), raft.Time, cancellationToken).ConfigureAwait(false);
        }

        (RetroModel Model, TimeSpan Time) retro = Tune("answering with neighbors among distractors", examples, true);
        using (retro.Model)
        {
            await tables.MeasureAsync("RETRO, trained among distractors", new RetroReader(retro.Model), retro.Time, cancellationToken)
                .ConfigureAwait(false);
            InContextOptions best = s_prompt with { PrefixLength = 80 };
            await tables.MeasureAsync(
                "RETRO, best in context (RETRO++), of the same", new RetroInContextReader(retro.Model, tokenizer, best), retro.Time, cancellationToken)
                .ConfigureAwait(false);
        }

        // --- what came out ---
        string report = string.Create(CultureInfo.InvariantCulture, $"""
            # Every reader answers

            {corpus.Kind}: {corpus.Training.Count:#,0} documents to train on, {seen.Questions.Count:#,0} questions about them;
            {all.Set.Passages.Count:#,0} passages of all documents;
            {Steps:#,0} steps of the decoder on the text, {FittingSteps:#,0} of {ExamplesPerStep} questions of what is learned on top of it;
            models in {CommonOptions.NameOf(options.Dtype)}.

            {tables.ToMarkdown()}
            """);
        Stages.Report(folder[ReportFile], report);
        return new() { ["dtype"] = CommonOptions.NameOf(options.Dtype), ["questions"] = measured.Length, ["readers"] = ResultsJson.Of(tables) };

        (RetroModel Model, TimeSpan Time) Tune(string what, QuestionSamplerOptions sampling, bool reads)
        {
            QuestionSampler sampler = new(seen.Questions, known.Passages, sampling);
            using PretrainedDecoder begun = PretrainedDecoder.Load(closedBook, options.Dtype, options.Device, cancellationToken: cancellationToken);
            TorchSharp.torch.manual_seed(options.Seed);
            // As in the paper's question answering (section 4.3), all weights are trained, of the RETRO as of the others.
            RetroModel model = reads
                ? Retrofit.From(begun, retrieval, RetrofitUnfreeze.All, take: true).Model
                : Checkpoint.Load(closedBook, new() { Dtype = options.Dtype, Device = options.Device }, cancellationToken: cancellationToken);
            Stopwatch clock = Stopwatch.StartNew();
            using Trainer trainer = new(model, recipe.Training(FittingSteps) with { Accumulation = ExamplesPerStep });
            Stages.Train($"train {what}", null, progress => trainer.Run(sampler, progress, cancellationToken));
            return (model, text.Time + clock.Elapsed);
        }
    }

    /// <summary>The readers on top of the decoder that has learned the text alone; what is fitted is fitted on what was trained on.</summary>
    private async Task OnTextAsync(
        AnswerTables tables,
        TrainedModel text,
        AnsweringData all,
        ChunkDatabase knownPassages,
        ChunkDatabase database,
        string states,
        CancellationToken cancellationToken)
    {
        // What reads neighbors is trained on whole documents: most passages end before anything could have been retrieved for them.
        using KeywordNeighborSource keyword = EvaluationData.Words(database, cancellationToken);
        RetroModel model = text.Model;
        DecoderReader alone = new(model);
        RetroTokenizer tokenizer = all.Tokenizer;
        await Row("closed book", alone, text.Time).ConfigureAwait(false);
        await Row("in context", new InContextReader(model, tokenizer, s_prompt), text.Time).ConfigureAwait(false);
        await Row(Ensemble, Mixing(model, tokenizer), text.Time).ConfigureAwait(false);
        using (NeighborTable table = Stages.Make("find neighbors", progress =>
            NeighborTable.Build(database, keyword, AnsweringData.UsualPassages, progress: progress, cancellationToken: cancellationToken), cancellationToken))
        {
            PointerRule rule = Stages.Run("count the pointer rule", progress => PointerRule.Count(
                database, table, new() { Neighbors = AnsweringData.UsualPassages }, progress, cancellationToken));
            await Row("pointer rule", new PointerReader(alone, rule), text.Time).ConfigureAwait(false);
        }

        TokenIndex runs = Stages.Run("sort runs of tokens", progress => TokenIndex.Build(all.Database, progress, cancellationToken));
        double[] precisions = Stages.Run("count runs", progress => RunReader.CountPrecisions(
            TokenIndex.Build(knownPassages, cancellationToken: cancellationToken), progress: progress, cancellationToken: cancellationToken));
        await Row("longest run in all passages", new RunReader(alone, runs, precisions), text.Time).ConfigureAwait(false);
        Stopwatch clock = Stopwatch.StartNew();
        using (TokenStore store = Stages.Run("store states", progress =>
            TokenStore.Build(model, all.Database, states, new() { WindowLength = WindowTokens }, progress, cancellationToken)))
        {
            NearestNeighborReader nearest = Stages.Run("fit the share of nearest states", progress =>
                NearestNeighborReader.Fit(model, store, knownPassages, progress: progress, cancellationToken: cancellationToken));
            await Row("nearest states (kNN-LM) of all passages", nearest, text.Time + clock.Elapsed).ConfigureAwait(false);
        }

        clock.Restart();
        CopyReaderOptions copying = new() { Neighbors = AnsweringData.UsualPassages, Steps = FittingSteps, WindowLength = WindowTokens, Seed = options.Seed };
        using (CopyReader copies = Stages.Run("train copying", progress => CopyReader.Fit(
            model, database, keyword, copying, progress: progress, cancellationToken: cancellationToken)))
        {
            await Row("copying", copies, text.Time + clock.Elapsed).ConfigureAwait(false);
        }

        clock.Restart();
        DecoupledReaderOptions own = new() { Neighbors = AnsweringData.UsualPassages, Steps = FittingSteps, WindowLength = WindowTokens, Seed = options.Seed };
        using (DecoupledReader attends = Stages.Run("train own attention", progress => DecoupledReader.Fit(
            model, database, keyword, own, progress: progress, cancellationToken: cancellationToken)))
        {
            await Row("own attention (DecoupledRAG)", attends, text.Time + clock.Elapsed).ConfigureAwait(false);
        }

        Task Row(string name, IReader reader, TimeSpan time) => tables.MeasureAsync(name, reader, time, cancellationToken);
    }

    /// <summary>
    /// Passages weigh the same, as the row says: nothing fits a temperature to the scores here, and passages that are controlled, as those of the abilities
    /// are, have none.
    /// </summary>
    private static EnsembleReader Mixing(RetroModel model, RetroTokenizer tokenizer) => new(model, tokenizer, s_prompt, double.PositiveInfinity);
}
