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
/// <param name="options">What every experiment is told.</param>
internal sealed class RetrofitRun(ExperimentOptions options)
{
    private const string Decoder = "decoder", TrainedOn = "decoder, trained on", Fitted = "fitted", Saved = "model", ReportFile = "retrofit.md";

    /// <summary>A Hugging Face folder, a llama2.c file, or a checkpoint of Retro; null: a decoder is trained first, on half of the corpus.</summary>
    public required string? Model { get; init; }

    /// <summary>Folder or llama2.c file of the tokenizer; null for the one beside the model.</summary>
    public required string? Tokenizer { get; init; }

    /// <summary>Steps of the decoder that is trained first.</summary>
    public required int DecoderSteps { get; init; }

    /// <summary>Steps of fitting, and of the decoder that is trained on instead.</summary>
    public required int Steps { get; init; }

    /// <summary>What of the decoder is trained.</summary>
    public required RetrofitUnfreeze Unfreeze { get; init; }

    /// <summary>Rank of the low-rank gate; null for full matrices.</summary>
    public required int? GateRank { get; init; }

    /// <summary>Runs everything and prints what came out.</summary>
    public void Run(CancellationToken cancellationToken)
    {
        // A folder that is no decoder, or one that reads too little, is refused before any work is done.
        PretrainedDecoder? given = Model is { } path ? Load(path, cancellationToken) : null;
        using PretrainedDecoder? owned = given;
        RetroTokenizer? tokenizer = given is null ? null : LoadTokenizer(Model!);
        TrainedDocuments? learned = given is null ? null : TrainedDocuments.Load(Model!);
        Recipe recipe = new(options.Seed, options.Dtype, options.Device);
        if (given is not null)
        {
            given.RequireTokenizer(tokenizer!);
            recipe = recipe with { WindowTokens = Window(given, recipe.WindowTokens) };
        }

        // --- text: what is retrieved from, and, where the decoder is trained here, another half that it is trained on ---
        SampleCorpus corpus = SampleCorpus.Read(
            options.Corpus, options.MostBytes, options.Seed, options.Reading, cancellationToken, EvaluationData.LeastHeldOut);
        Document[] known = given is null ? [.. corpus.Training.Where((_, i) => i % 2 == 0)] : [];
        Document[] retrieved = given is null ? [.. corpus.Training.Where((_, i) => i % 2 == 1)] : [.. corpus.Training];
        if (retrieved.Length == 0)
        {
            throw new CorpusException(
                "One document is left to train on, and the decoder is trained on one half of them to read from the other; give more documents, or a decoder "
                    + "(--model).");
        }

        using RunFolder folder = RunFolder.Take(options, "fit and measure retrieval");
        folder.Replace(Saved, ReportFile);
        tokenizer ??= EvaluationData.TrainTokenizer(known, folder.Path, cancellationToken);

        // --- decoder ---
        string decoderPath = Model ?? folder["decoder"];
        TrainedModel? first = null;
        if (given is null)
        {
            using ChunkDatabase own = EvaluationData.Cut(
                "cut chunks, decoder-database", folder["decoder-database"], known, tokenizer, cancellationToken);
            RetroConfig config = TrainedModel.Config(tokenizer.VocabularySize).Decoder;
            first = recipe.Train("train the decoder", config, recipe.Windows(own), DecoderSteps, decoderPath, cancellationToken);
            first.Model.Dispose();
            TrainedDocuments.Of(own).Save(decoderPath);
        }

        using PretrainedDecoder? ofHere = given is null ? Load(decoderPath, cancellationToken) : null;
        PretrainedDecoder decoder = given ?? ofHere!;
        RetroConfig decoderConfig = decoder.Model.Config;
        RetrievalConfig retrieval = RetrievalConfig.Matching(decoderConfig) with { CrossAttentionRank = GateRank };
        Screen.Note(
            $"{decoder.Origin.Family}, {string.Join(" and ", decoder.Origin.StoredTypes)}: {decoderConfig.CountParameters().Total:#,0} parameters, {decoderConfig.Layers} layers, windows of {recipe.WindowTokens} tokens.");

        // --- databases and neighbors ---
        int k = retrieval.Neighbors;
        using EvaluationData data = EvaluationData.Make(
            corpus, folder.Path, k, cancellationToken, retrieved: retrieved, tokenizer: tokenizer, seed: options.Seed);
        PointerRule rule = Stages.Run(
            "count the pointer rule", progress => PointerRule.Count(data.Database, data.Neighbors, new() { Neighbors = k }, progress, cancellationToken));
        Comparison comparison = new(data.HeldOut, data.Database, data.Found, data.Random, [rule], options.Seed);
        BitsPerByteOptions measure = new() { WindowLength = recipe.WindowTokens };
        TimeSpan before = first?.Time ?? TimeSpan.Zero;
        long stepsBefore = first?.Steps ?? 0;
        comparison.ClosedBook(Decoder, new(decoder.Model, stepsBefore, before, []), measure, cancellationToken);

        // --- retrieval onto the decoder, whose weights lie in memory once ---
        TorchSharp.torch.manual_seed(options.Seed);
        using (Retrofit retrofit = Retrofit.From(decoder, retrieval, Unfreeze, take: true))
        {
            RetroModel model = retrofit.Model;
            Screen.Note(
                $"Retrieval in layers {retrieval.CrossAttentionLayers.ToString()}: {model.Config.CountParameters().Total - decoderConfig.CountParameters().Total:#,0} parameters added; the decoder is {(Unfreeze == RetrofitUnfreeze.Nothing ? "frozen" : $"trained too ({Unfreeze})")}.");
            TrainedModel fitted = Train("fit retrieval", model, recipe.Windows(data.Database, data.Neighbors, retrieval), Unfreeze);
            comparison.Retro(Fitted, fitted, data.Keyword.Name, [], measure, cancellationToken);
            retrofit.Save(folder[Saved], cancellationToken: cancellationToken);
        }

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
        string? caveat = given is null ? null : TrainedDocuments.Caveat(learned, "the decoder", data.HeldOut, TrainedDocuments.Of(data.Database));
        string note = caveat is null
            ? SampleCorpus.HeldOutNote
            : $"The documents are not retrieved from, and nothing was trained or fitted on them here. {caveat}";
        string report = $"""
            # Retrieval fitted onto a decoder

            {table}
            {note}
            Off, the fitted model is {(same ? "the decoder to the bit" : "not the decoder: it was trained")}.
            All models are in {CommonOptions.NameOf(options.Dtype)}.

            """;
        Stages.Report(folder[ReportFile], report, $"The additions are in {Path.GetFullPath(folder[Saved])}; load them with Retrofit.Load(folder, decoder).");

        BitsPerByteResult Result(string name) => entries.Single(entry => entry.Reader == name).Results[0];

        TrainedModel Train(string stage, RetroModel trained, WindowSampler windows, RetrofitUnfreeze unfreeze)
        {
            using Trainer trainer = new(trained, recipe.Training(Steps, of: TrainingRecipes.FittingRecipe(decoderConfig, unfreeze)));
            List<TrainingProgress> reports = Stages.Train(stage, null, progress => trainer.Run(windows, progress, cancellationToken));
            return new TrainedModel(trained, trainer.StepsDone, trainer.Elapsed, reports).TogetherWith(stepsBefore, before);
        }
    }

    /// <summary>Tokens of a window: whole chunks, as many as a decoder reads.</summary>
    /// <param name="decoder">The decoder.</param>
    /// <param name="most">Tokens at most.</param>
    private static int Window(PretrainedDecoder decoder, int most)
    {
        int chunk = RetrievalConfig.Matching(decoder.Model.Config).ChunkLength, read = decoder.Origin.ContextLength ?? most;
        return read >= 2 * chunk
            ? Math.Min(read, most) / chunk * chunk
            : throw new CheckpointException(
                $"{decoder.Origin.Path} reads {read} tokens, fewer than two chunks of {chunk}; take a decoder with a longer context.");
    }

    private PretrainedDecoder Load(string path, CancellationToken cancellationToken) => Stages.Run(
        "load the decoder", progress => PretrainedDecoder.Load(path, options.Dtype, options.Device, progress, cancellationToken));

    private RetroTokenizer LoadTokenizer(string model) => RetroTokenizer.Load(
        Tokenizer is { } named ? Workspace.TokenizerOf(named) : Directory.Exists(model) ? model : Beside(model));

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
