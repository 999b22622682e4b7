using System.Globalization;
using Retro;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Search;
using Retro.Tokenizers;
using Retro.Training;
using Samples;
using Spectre.Console;

namespace RetrofitSample;

/// <summary>From a pretrained decoder and a corpus to a decoder that retrieves, with what it gained.</summary>
internal sealed class RetrofitRun(RetrofitSettings settings)
{
    private const int LongestWindow = 512;
    private const int ChunkLength = 64;

    /// <summary>Neighbors kept per chunk, so that enough remain when those of the window's documents are dropped.</summary>
    private const int TableNeighbors = 8;

    /// <summary>Runs everything and prints what came out.</summary>
    public void Run(CancellationToken cancellationToken)
    {
        // --- decoder ---
        using PretrainedDecoder decoder = Stages.Run(
            "load the decoder", progress => PretrainedDecoder.Load(settings.Model, progress: progress, cancellationToken: cancellationToken));
        RetroTokenizer tokenizer = LoadTokenizer();
        decoder.RequireTokenizer(tokenizer);
        int window = Math.Min(decoder.Origin.ContextLength ?? LongestWindow, LongestWindow) / ChunkLength * ChunkLength;
        if (window < 2 * ChunkLength)
        {
            throw new CheckpointException(
                $"{settings.Model} reads {decoder.Origin.ContextLength} tokens, fewer than two chunks of {ChunkLength}; take a decoder with a longer context.");
        }

        AnsiConsole.MarkupLineInterpolated(
            CultureInfo.InvariantCulture,
            $"{decoder.Origin.Family}, {string.Join(" and ", decoder.Origin.StoredTypes)}: {decoder.Model.Config.CountParameters().Total:#,0} parameters, {decoder.Model.Config.Layers} layers, windows of {window} tokens.");

        // --- text and database ---
        SampleCorpus corpus = SampleCorpus.Read(settings.Corpus, settings.MostBytes, settings.Seed, settings.SkipBroken, cancellationToken);
        ChunkDatabaseOptions fresh = new() { ChunkLength = ChunkLength, StartOver = true };
        using ChunkDatabase database = Stages.Run(
            "cut chunks",
            progress => ChunkDatabaseBuilder.Build(Path.Combine(settings.Output, "database"), corpus.Training, tokenizer, fresh, progress, cancellationToken));
        using ChunkDatabase heldOut = Stages.Run(
            "cut held-out chunks",
            progress => ChunkDatabaseBuilder.Build(Path.Combine(settings.Output, "held-out"), corpus.HeldOut, tokenizer, fresh, progress, cancellationToken));
        using KeywordNeighborSource keyword = Stages.Run(
            "index words", progress => KeywordNeighborSource.Build(database, progress: progress, cancellationToken: cancellationToken));
        RandomNeighborSource random = new(database, settings.Seed);
        using NeighborTable neighbors = Stages.Run(
            "find neighbors", progress => NeighborTable.Build(database, keyword, TableNeighbors, progress: progress, cancellationToken: cancellationToken));
        using NeighborTable heldOutNeighbors = Stages.Run(
            "find held-out neighbors",
            progress => NeighborTable.Build(heldOut, keyword, TableNeighbors, excludeOwnDocument: false, progress, cancellationToken));
        using NeighborTable randomNeighbors = Stages.Run(
            "draw random neighbors", progress => NeighborTable.Build(heldOut, random, TableNeighbors, excludeOwnDocument: false, progress, cancellationToken));

        // --- retrieval onto the decoder ---
        TorchSharp.torch.manual_seed(settings.Seed);
        using Retrofit retrofit = Retrofit.From(
            decoder,
            RetrievalConfig.For(decoder.Model.Config) with { ChunkLength = ChunkLength, CrossAttentionRank = settings.GateRank, ShiftedKeys = true },
            settings.Unfreeze);
        RetroModel model = retrofit.Model;
        long added = model.Config.CountParameters().Total - decoder.Model.Config.CountParameters().Total;
        AnsiConsole.MarkupLineInterpolated(
            CultureInfo.InvariantCulture,
            $"Retrieval in layers {model.Config.Retrieval!.CrossAttentionLayers.ToString()}: {added:#,0} parameters added; the decoder is {(settings.Unfreeze == RetrofitUnfreeze.Nothing ? "frozen" : $"trained too ({settings.Unfreeze})")}.");
        BitsPerByteOptions measure = new() { WindowLength = window };
        BitsPerByteResult original = Stages.Run(
            "measure the decoder",
            progress => BitsPerByte.Measure(decoder.Model, heldOut, options: measure, progress: progress, cancellationToken: cancellationToken));

        // Windows without neighbors would teach a frozen decoder nothing.
        WindowSampler windows = new(
            database,
            new WindowSamplerOptions
            {
                WindowLength = window,
                BatchSize = 1,
                Neighbors = model.Config.Retrieval!.Neighbors,
                RetrievedLength = model.Config.Retrieval!.RetrievedLength,
                RetrievalDropout = 0,
                Seed = settings.Seed
            },
            neighbors);
        using (Trainer trainer = new(model, TrainingOptions.SmallModel with { Accumulation = 2, TimeBudget = settings.Time, Seed = settings.Seed }))
        {
            Stages.Train("fit retrieval", settings.Time, progress => trainer.Run(windows, progress, cancellationToken));
        }

        string saved = Path.Combine(settings.Output, "model");
        retrofit.Save(saved, cancellationToken: cancellationToken);

        // --- measurement ---
        BitsPerByteResult off = Stages.Run(
            "measure without retrieval",
            progress => BitsPerByte.Measure(model, heldOut, options: measure, progress: progress, cancellationToken: cancellationToken));
        BitsPerByteResult drawn = Stages.Run(
            "measure with random neighbors", progress => BitsPerByte.Measure(model, heldOut, randomNeighbors, database, measure, progress, cancellationToken));
        BitsPerByteResult on = Stages.Run(
            "measure with retrieval", progress => BitsPerByte.Measure(model, heldOut, heldOutNeighbors, database, measure, progress, cancellationToken));
        Table table = new() { Title = new TableTitle("held-out bits per byte") };
        table.AddColumns("model", "bits per byte", "against the decoder");
        foreach ((string name, BitsPerByteResult result) in new[]
        {
            ("decoder", original),
            ("fitted, OFF", off),
            ("fitted, ON with random neighbors", drawn),
            ("fitted, ON", on)
        })
        {
            table.AddRow(
                name,
                result.Value.ToString("0.0000", CultureInfo.InvariantCulture),
                ((result.Value / original.Value) - 1).ToString("+0.00 %;-0.00 %;0.00 %", CultureInfo.InvariantCulture));
        }

        AnsiConsole.Write(table);
        bool same = original.ChunkBits.SequenceEqual(off.ChunkBits);
        AnsiConsole.MarkupLineInterpolated(
            CultureInfo.InvariantCulture,
            $"over {on.Tokens:#,0} tokens, {on.Bytes:#,0} bytes, of {on.Documents:#,0} documents that are neither in the training set nor in the database. OFF is {(same ? "the decoder to the bit" : "not the decoder: it was trained")}; ON is {(on.Value < off.Value ? "better" : "not better")} than OFF, and {(on.Value < drawn.Value ? "better" : "not better")} than with random neighbors.");
        AnsiConsole.MarkupLineInterpolated($"The additions are in {Path.GetFullPath(saved)}; load them with Retrofit.Load(folder, decoder).");
    }

    private RetroTokenizer LoadTokenizer()
    {
        string path = settings.Tokenizer ?? (Directory.Exists(settings.Model) ? settings.Model : Beside(settings.Model));
        return path.EndsWith(".bin", StringComparison.Ordinal) ? Llama2CTokenizer.Load(path) : RetroTokenizer.Load(path);
    }

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
