using Retro.Cli.Workflow;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Readers;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;

namespace Retro.Cli.Experiments;

/// <summary>From a decoder and a corpus to a decoder that retrieves, with what it gained.</summary>
internal sealed class RetrofitRun(RetrofitOptions options)
{
    private const string Decoder = "decoder", TrainedOn = "decoder, trained on", Fitted = "fitted";

    /// <summary>Runs everything and prints what came out.</summary>
    public void Run(CancellationToken cancellationToken)
    {
        // A folder that is no decoder is refused before any work is done.
        PretrainedDecoder? given = options.Model is { } path ? Load(path, cancellationToken) : null;
        using PretrainedDecoder? owned = given;
        RetroTokenizer? tokenizer = given is null ? null : LoadTokenizer(options.Model!);
        if (given is not null)
        {
            given.RequireTokenizer(tokenizer!);
        }

        // --- text: what is retrieved from, and, where the decoder is trained here, another half that it is trained on ---
        SampleCorpus corpus = SampleCorpus.Read(
            options.Corpus, options.MostBytes, options.Seed, options.Reading, cancellationToken, EvaluationData.LeastHeldOut);
        using WriterLock writing = WriterLock.Take(Root, "fit and measure retrieval");
        string saved = Folder("model"), reportFile = Folder("retrofit.md");
        SampleCorpus.Replace(saved, options.StartOver, reportFile, goesOn: false);
        Document[] known = given is null ? [.. corpus.Training.Where((_, i) => i % 2 == 0)] : [];
        Document[] retrieved = given is null ? [.. corpus.Training.Where((_, i) => i % 2 == 1)] : [.. corpus.Training];
        tokenizer ??= EvaluationData.TrainTokenizer(known, Root, cancellationToken);

        // --- decoder ---
        Recipe recipe = new(options.Seed, options.Dtype, options.Device);
        string decoderPath = options.Model ?? Folder("decoder");
        TrainedModel? first = null;
        if (given is null)
        {
            using ChunkDatabase own = EvaluationData.Cut(
                "cut chunks, decoder-database", Folder("decoder-database"), known, tokenizer, cancellationToken);
            first = TrainedModel.Train(
                "train the decoder",
                TrainedModel.Config(tokenizer.VocabularySize).Decoder,
                recipe.Windows(own),
                recipe.Training(options.DecoderSteps, decoderPath),
                cancellationToken,
                options.Device);
            first.Model.Dispose();
        }

        using PretrainedDecoder decoder = Load(decoderPath, cancellationToken);
        RetroConfig decoderConfig = decoder.Model.Config;
        RetrievalConfig retrieval = RetrievalConfig.Matching(decoderConfig) with { CrossAttentionRank = options.GateRank };
        int chunk = retrieval.ChunkLength, window = Math.Min(decoder.Origin.ContextLength ?? recipe.WindowTokens, recipe.WindowTokens) / chunk * chunk;
        if (window < 2 * chunk)
        {
            throw new CheckpointException(
                $"{decoderPath} reads {decoder.Origin.ContextLength} tokens, fewer than two chunks of {chunk}; take a decoder with a longer context.");
        }

        recipe = recipe with { WindowTokens = window };
        Screen.Note(
            $"{decoder.Origin.Family}, {string.Join(" and ", decoder.Origin.StoredTypes)}: {decoderConfig.CountParameters().Total:#,0} parameters, {decoderConfig.Layers} layers, windows of {window} tokens.");

        // --- databases and neighbors ---
        int k = retrieval.Neighbors;
        using EvaluationData data = EvaluationData.Of(corpus, retrieved, tokenizer, Root, true, k, options.Seed, cancellationToken);
        PointerRule rule = Stages.Run(
            "count the pointer rule", progress => PointerRule.Count(data.Database, data.Neighbors, new() { Neighbors = k }, progress, cancellationToken));
        Comparison comparison = new(data.HeldOut, data.Database, data.Found, data.Random, [rule], options.Seed);
        BitsPerByteOptions measure = new() { WindowLength = window };
        TimeSpan before = first?.Time ?? TimeSpan.Zero;
        long stepsBefore = first?.Steps ?? 0;
        comparison.ClosedBook(Decoder, new(decoder.Model, stepsBefore, before, []), measure, cancellationToken);

        // --- retrieval onto the decoder ---
        TorchSharp.torch.manual_seed(options.Seed);
        using Retrofit retrofit = Retrofit.From(decoder, retrieval, options.Unfreeze);
        RetroModel model = retrofit.Model;
        Screen.Note(
            $"Retrieval in layers {retrieval.CrossAttentionLayers.ToString()}: {model.Config.CountParameters().Total - decoderConfig.CountParameters().Total:#,0} parameters added; the decoder is {(options.Unfreeze == RetrofitUnfreeze.Nothing ? "frozen" : $"trained too ({options.Unfreeze})")}.");
        TrainedModel fitted = Train("fit retrieval", model, recipe.Windows(data.Database, data.Neighbors, retrieval), options.Unfreeze);
        comparison.Retro(Fitted, fitted, data.Keyword.Name, [], measure, cancellationToken);
        retrofit.Save(saved, cancellationToken: cancellationToken);

        // --- what the steps would have given without retrieval, on the very text that is retrieved from ---
        using (PretrainedDecoder again = Load(decoderPath, cancellationToken))
        {
            TrainedModel on = Train("train the decoder on", again.Model, recipe.Windows(data.Database), RetrofitUnfreeze.All);
            comparison.ClosedBook(TrainedOn, on, measure, cancellationToken);
        }

        // --- what came out ---
        IReadOnlyList<EvaluationEntry> entries = comparison.Entries;
        string table = EvaluationTable.Of(entries, [Decoder, comparison.RuleOn(Decoder, k), $"{Fitted} random", TrainedOn]).ToMarkdown();
        bool same = Result(Decoder).ChunkBits.SequenceEqual(Result($"{Fitted} off").ChunkBits);
        string report = $"""
            # Retrieval fitted onto a decoder

            {table}
            {SampleCorpus.HeldOutNote}
            Off, the fitted model is {(same ? "the decoder to the bit" : "not the decoder: it was trained")}.
            All models are in {CommonOptions.NameOf(options.Dtype)}.

            """;
        Stages.Report(reportFile, report, $"The additions are in {Path.GetFullPath(saved)}; load them with Retrofit.Load(folder, decoder).");

        BitsPerByteResult Result(string name) => entries.Single(entry => entry.Reader == name).Results[0];

        TrainedModel Train(string stage, RetroModel trained, WindowSampler windows, RetrofitUnfreeze unfreeze)
        {
            using Trainer trainer = new(trained, recipe.Training(options.Steps, of: TrainingRecipes.FittingRecipe(decoderConfig, unfreeze)));
            List<TrainingProgress> reports = Stages.Train(stage, null, progress => trainer.Run(windows, progress, cancellationToken));
            return new(trained, stepsBefore + trainer.StepsDone, before + trainer.Elapsed, reports);
        }
    }

    private string Root => SampleCorpus.Folder(options.Output, options.Corpus);

    private string Folder(string name) => Path.Combine(Root, name);

    private PretrainedDecoder Load(string path, CancellationToken cancellationToken) => Stages.Run(
        "load the decoder", progress => PretrainedDecoder.Load(path, options.Dtype, options.Device, progress, cancellationToken));

    private RetroTokenizer LoadTokenizer(string model) => RetroTokenizer.Load(options.Tokenizer ?? (Directory.Exists(model) ? model : Beside(model)));

    /// <summary>llama2.c names its tokenizers tok512.bin or tokenizer.bin; a SentencePiece model may lie there instead.</summary>
    private static string Beside(string model)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(model))!;
        string[] found = [.. Directory.EnumerateFiles(folder, "tok*.bin").Where(path => Path.GetFullPath(path) != Path.GetFullPath(model))];
        found = found.Length > 0 ? found : [.. Directory.EnumerateFiles(folder, "*.model")];
        return found.Length == 1
            ? found[0]
            : throw new CheckpointException($"{folder} holds {found.Length} tokenizers (tok*.bin or *.model); name the model's with --tokenizer.");
    }
}
