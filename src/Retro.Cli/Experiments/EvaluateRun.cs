using System.Diagnostics;
using System.Globalization;
using Retro.Cli.Workflow;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;

namespace Retro.Cli.Experiments;

/// <summary>From text to the table: what reading from a database is worth, against everything that it has to beat.</summary>
/// <param name="options">What every experiment is told; the seed is the first of several, and the others follow it.</param>
internal sealed class EvaluateRun(ExperimentOptions options)
{
    internal const string ClosedBook =
        "closed book", EqualTime = "closed book, equal time", Retrieving = "RETRO", Copying = "copying", Anywhere = "copying from anywhere";

    private const string ReportFile = "evaluation.md", AllModels = "models";

    /// <summary>Neighbors of the pointer rule, at most, and so of every table.</summary>
    private const int TableNeighbors = 8;

    /// <summary>How many times everything is trained, each time with another seed.</summary>
    public required int Seeds { get; init; }

    /// <summary>Steps of the closed book, and of larger decoders; what is fitted takes half as many.</summary>
    public required int Steps { get; init; }

    /// <summary>Time to train the closed book; the steps that it was enough for then take the place of <see cref="Steps"/>. Null: by these.</summary>
    public required TimeSpan? Time { get; init; }

    /// <summary>Neighbors that are copied from.</summary>
    public required int Neighbors { get; init; }

    /// <summary>How many times the parameters of the usual decoder the one of every row has, about.</summary>
    public required double Times { get; init; }

    /// <summary>Whether a RETRO is trained too.</summary>
    public required bool Retro { get; init; }

    /// <summary>How many times the parameters larger decoders have, about, that are trained alone for as many steps as the closed book.</summary>
    public required IReadOnlyList<double> Sizes { get; init; }

    /// <summary>Whether nothing is measured; a run that takes what was trained does that.</summary>
    public required bool TrainOnly { get; init; }

    /// <summary>Whether to write what each token costs each reader.</summary>
    public required bool Records { get; init; }

    /// <summary>Runs everything, prints the tables and writes them, after every seed anew.</summary>
    public void Run(CancellationToken cancellationToken)
    {
        // --- text, databases and neighbors ---
        SampleCorpus corpus = SampleCorpus.Read(options.Corpus, options.MostBytes, 1, options.Reading, cancellationToken, EvaluationData.LeastHeldOut);
        using RunFolder folder = RunFolder.Take(options, "evaluate");
        if (!options.Resume)
        {
            folder.Replace(AllModels, ReportFile, goesOn: true);
        }

        using EvaluationData data = EvaluationData.Make(corpus, folder.Path, TableNeighbors, cancellationToken, startOver: !options.Resume);
        (ChunkDatabase database, ChunkDatabase heldOut, KeywordNeighborSource keyword) = (data.Database, data.HeldOut, data.Keyword);
        RetroTokenizer tokenizer = data.Tokenizer;
        (NeighborTable neighbors, NeighborTable found, NeighborTable random) = (data.Neighbors, data.Found, data.Random);
        PointerRule rule = Stages.Run(
            "count the pointer rule", progress => PointerRule.Count(database, neighbors, new() { Neighbors = TableNeighbors }, progress, cancellationToken));
        double[] bytes = LeakageCurve.ChunkBytes(heldOut, tokenizer);
        LeakageCurve curve = Stages.Run(
            "compare chunks with their neighbors",
            progress => LeakageCurve.Compute(heldOut, found, bytes, TableNeighbors, progress: progress, cancellationToken: cancellationToken));

        // --- training and measurement, seed by seed ---
        RetroConfig decoder = Larger(TrainedModel.Config(tokenizer.VocabularySize).Decoder, Times);
        RetrievalConfig retrieval = RetrievalConfig.Matching(decoder);
        RetroConfig retro = decoder with { Retrieval = retrieval };
        IReadOnlyList<RetroConfig> ladder = Ladder(decoder, Sizes);
        Comparison comparison = new(heldOut, database, found, random, [rule], seed: 1, runs: data.Runs);
        for (int i = 0; i < Seeds; i++)
        {
            long seed = unchecked(options.Seed + i);
            Recipe recipe = new(seed, options.Dtype, options.Device);
            string kind = Times == 1 ? $"{seed}" : string.Create(CultureInfo.InvariantCulture, $"{seed}-times-{Times}");
            BitsPerByteOptions measure = new() { WindowLength = recipe.WindowTokens, KeepTokens = Records && i == 0 };
            SeedModels models = new(
                this, recipe, Path.Combine(folder[AllModels], recipe.OfType(kind)), decoder, retrieval, ladder, data, cancellationToken);
            models.Train();
            if (TrainOnly)
            {
                continue;
            }

            // Copying and reading are learned on top of the closed book, which is then given as much time as the longest of them took together with it.
            TrainedModel bySteps = models.ClosedBook();
            using (RetroModel model = bySteps.Model)
            {
                comparison.ClosedBook(ClosedBook, bySteps, measure, cancellationToken);
                foreach ((string name, TokenIndex? from) in new[] { (Copying, null), (Anywhere, data.Runs.Index) })
                {
                    (CopyReader reader, TrainedModel trained) = models.Copying(name, bySteps, from);
                    using CopyReader copying = reader;
                    comparison.Copying(name, copying, trained, keyword, [], measure, cancellationToken);
                }
            }

            if (Retro)
            {
                TrainedModel fitted = models.Retro();
                using RetroModel model = fitted.Model;
                comparison.Retro(Retrieving, fitted, keyword.Name, [], measure, cancellationToken);
            }

            TrainedModel byTime = models.EqualTime();
            using (RetroModel model = byTime.Model)
            {
                comparison.ClosedBook(EqualTime, byTime, measure, cancellationToken);
            }

            foreach (RetroConfig config in ladder)
            {
                TrainedModel larger = models.Larger(config);
                using RetroModel model = larger.Model;
                double times = (double)larger.Model.Config.CountParameters().Total / decoder.CountParameters().Total;
                string name = string.Create(CultureInfo.InvariantCulture, $"{ClosedBook}, {times:0.0} times as large");
                comparison.ClosedBook(name, larger, measure, cancellationToken, withRules: false);
            }

            WriteReport();
        }

        if (Records && !TrainOnly)
        {
            string lines = folder["tokens.jsonl"];
            Stages.Run("write token records", progress => TokenRecords.Write(
                lines,
                heldOut,
                Main().ToDictionary(entry => entry.Reader, entry => entry.Results[0]),
                found,
                progress: progress,
                cancellationToken: cancellationToken));
            Screen.Note($"Token records: {Path.GetFullPath(lines)}");
        }

        // What all seeds so far say; the last one's stays.
        void WriteReport()
        {
            IReadOnlyList<EvaluationEntry> entries = comparison.Entries;
            string copier = comparison.RuleOn(ClosedBook, TableNeighbors), copierInTime = comparison.RuleOn(EqualTime, TableNeighbors);
            string[] against = [ClosedBook, copier, EqualTime, copierInTime, comparison.RunsOn(EqualTime)];
            string report = string.Create(CultureInfo.InvariantCulture, $"""
                # What reading from a database is worth

                {corpus.Kind}: {corpus.Training.Count:#,0} documents, {database.ChunkCount:#,0} chunks, to train on and retrieve from;
                {retro.CountParameters().Total:#,0} parameters, {decoder.CountParameters().Total:#,0} without retrieval;
                in {CommonOptions.NameOf(options.Dtype)}.

                {EvaluationTable.Of(entries, against).ToMarkdown()}
                {SampleCorpus.HeldOutNote}

                ## By overlap with the neighbors

                Bits per byte of the chunks of which at most so much stands, as one run of tokens, in one of {TableNeighbors} neighbors;
                differences to {ClosedBook}.

                {LeakageTable.Of(curve, Main()).ToMarkdown()}
                """);
            Stages.Report(folder[ReportFile], report);
        }

        EvaluationEntry[] Main()
        {
            string copier = comparison.RuleOn(ClosedBook, TableNeighbors);
            return [.. comparison.Entries.Where(
                entry => entry.Reader is ClosedBook or Copying or Anywhere or $"{Retrieving} off" or Retrieving || entry.Reader == copier)];
        }
    }

    /// <summary>The larger decoders, each once, and says of which numbers of times the nearest is the same: a decoder has whole heads.</summary>
    /// <param name="decoder">The decoder.</param>
    /// <param name="factors">The numbers of times.</param>
    internal static IReadOnlyList<RetroConfig> Ladder(RetroConfig decoder, IReadOnlyList<double> factors)
    {
        IGrouping<RetroConfig, double>[] ladder = [.. factors.GroupBy(factor => Larger(decoder, factor))];
        foreach (IGrouping<RetroConfig, double> rung in ladder.Where(rung => rung.Count() > 1))
        {
            string asked = string.Join(' ', rung.Select(factor => factor.ToString(CultureInfo.InvariantCulture)));
            Screen.Note($"--ladder {asked}: one decoder, of width {rung.Key.Width}, is the nearest to all of these, and is trained once");
        }

        return [.. ladder.Select(rung => rung.Key)];
    }

    /// <summary>The decoder of about so many times the parameters, as many times deeper as wider.</summary>
    /// <param name="decoder">The decoder.</param>
    /// <param name="factor">The number of times.</param>
    internal static RetroConfig Larger(RetroConfig decoder, double factor)
    {
        double target = Math.Log(factor * decoder.CountParameters().Total);
        return Enumerable.Range(decoder.Heads, 64 * decoder.Heads)
            .Select(heads => decoder with
            {
                Heads = heads,
                Width = heads * decoder.HeadSize,
                FeedForwardSize = heads * decoder.FeedForwardSize / decoder.Heads,
                Layers = (int)Math.Round((double)decoder.Layers * heads / decoder.Heads),
            })
            .MinBy(config => Math.Abs(Math.Log(config.CountParameters().Total) - target))!;
    }
}
