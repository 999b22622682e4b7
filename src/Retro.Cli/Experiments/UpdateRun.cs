using System.Diagnostics;
using System.Globalization;
using Retro.Checkpoints;
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

/// <summary>What adding documents to the database gives, without training, and what training on them gives instead.</summary>
/// <param name="options">What every experiment is told.</param>
internal sealed class UpdateRun(ExperimentOptions options)
{
    private const int RuleNeighbors = 8;
    private const int LeastSubject = 4;

    /// <summary>Documents about other things that are held out to see what is forgotten.</summary>
    private const int OldHeldOut = 24;

    private const string ClosedBook = "closed book", Trained = "closed book, trained on the subject", Models = "models", ReportFile = "update.md";

    private readonly List<EvaluationEntry> _entries = [];
    private readonly Recipe _recipe = new(options.Seed, options.Dtype, options.Device);

    /// <summary>How the ids of the documents begin that are new; null: chosen.</summary>
    public required string? Subject { get; init; }

    /// <summary>Steps of the decoder's training.</summary>
    public required int Steps { get; init; }

    /// <summary>Runs everything and prints what came out.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        // --- text: what is known, what is added, and what is measured, of which only the added documents know the subject ---
        Corpus corpus = SampleCorpus.Open(options.Corpus, options.Reading);
        List<Document> documents = Stages.Run(
            "read the corpus", progress => SampleCorpus.Take(corpus, options.MostBytes, options.Seed, progress, cancellationToken));
        string subject = Subject ?? Largest(documents);
        List<Document> about = [.. documents.Where(document => document.Id.StartsWith(subject, StringComparison.Ordinal))];
        if (about.Count < LeastSubject || about.Count == documents.Count)
        {
            throw new CorpusException(
                $"{about.Count} of {documents.Count} documents have an id that begins with '{subject}'; expected at least {LeastSubject}, and others. Name "
                    + "another beginning with --subject.");
        }

        using RunFolder folder = RunFolder.Take(options, "measure an update");
        folder.RequireFree(Models);
        HeldOutSplit split = HeldOutSplit.Create(about, new() { Count = about.Count / 2, Seed = options.Seed }, cancellationToken: cancellationToken);
        Document[] added = [.. split.Training(about)], measured = [.. split.HeldOut(about)];
        Document[] others = [.. documents.Where(document => !document.Id.StartsWith(subject, StringComparison.Ordinal))];
        HeldOutSplit oldSplit = HeldOutSplit.Create(
            others, new() { Count = Math.Clamp(others.Length / 4, 1, OldHeldOut), Seed = options.Seed }, cancellationToken: cancellationToken);
        Document[] known = [.. oldSplit.Training(others)], oldMeasured = [.. oldSplit.HeldOut(others)];
        (known, added) = Stages.Run(
            "look for held-out documents among the others",
            _ => Apart(folder["compared"], known, added, measured, oldMeasured, cancellationToken));
        folder.Replace(Models, ReportFile);
        string closedBookFolder = Path.Combine(folder[Models], "closed-book");
        int repeating = documents.Count - known.Length - added.Length - measured.Length - oldMeasured.Length;
        Screen.Note(
            $"Subject '{subject}': {known.Length:#,0} documents know nothing of it, {added.Length:#,0} are added, {measured.Length:#,0} are measured;");
        Screen.Note($"  {oldMeasured.Length:#,0} about other things are held out, {repeating:#,0} that nearly repeat one held out in none");
        RetroTokenizer tokenizer = EvaluationData.TrainTokenizer(known, folder.Path, cancellationToken);
        using ChunkDatabase heldOut = Cut("held-out", measured), oldHeldOut = Cut("old-held-out", oldMeasured);

        // Facts are asked for by title and label; the alternative to reading them is trained on the same passages, too.
        SubjectFacts facts = new(known, added, tokenizer, folder["facts"], options.Seed, cancellationToken);
        using ChunkDatabase subjectAlone = Cut("subject", [.. added, .. facts.Passages]);

        // --- training, without a word about the subject ---
        (RetroConfig config, RetrievalConfig retrieval) = TrainedModel.Config(tokenizer.VocabularySize);
        BitsPerByteOptions measure = new() { WindowLength = _recipe.WindowTokens };
        TrainedModel decoder, copied, retro;
        string trainedWith;
        CopyReader copying;
        PointerRule rule;
        using (ChunkDatabase database = Cut("database", known))
        {
            using KeywordNeighborSource keyword = KeywordNeighborSource.Build(database, cancellationToken: cancellationToken);
            using NeighborTable neighbors = Stages.Make(
                "find neighbors",
                progress => NeighborTable.Build(database, keyword, RuleNeighbors, progress: progress, cancellationToken: cancellationToken),
                cancellationToken);
            rule = PointerRule.Count(database, neighbors, new() { Neighbors = RuleNeighbors }, cancellationToken: cancellationToken);
            decoder = _recipe.Train($"train {ClosedBook}", config, _recipe.Windows(database), Steps, closedBookFolder, cancellationToken);
            trainedWith = keyword.Name;
            Stopwatch learning = Stopwatch.StartNew();
            copying = Stages.Run(
                "train copying",
                progress => CopyReader.Fit(
                    decoder.Model,
                    database,
                    keyword,
                    new() { Steps = FittingSteps, Seed = options.Seed },
                    progress: progress,
                    cancellationToken: cancellationToken));
            copied = decoder.TogetherWith(FittingSteps, learning.Elapsed);
            retro = _recipe.Fit(
                "fit RETRO",
                closedBookFolder,
                retrieval,
                _recipe.Windows(database, neighbors, retrieval),
                FittingSteps,
                Path.Combine(folder[Models], "retro"),
                cancellationToken);
            retro = retro.TogetherWith(decoder.Steps, decoder.Time);
        }

        using RetroModel closedBook = decoder.Model, reading = retro.Model;
        using CopyReader owned = copying;
        DecoderReader alone = new(closedBook, ClosedBook);
        Add(
            ClosedBook,
            decoder,
            null,
            "measure closed book",
            progress => BitsPerByte.Measure(alone, heldOut, options: measure, progress: progress, cancellationToken: cancellationToken));

        // --- the same readers, with another database ---
        await ReadAsync("before", known).ConfigureAwait(false);
        TimeSpan update = await ReadAsync("added", [.. known, .. added]).ConfigureAwait(false);
        await ReadAsync("removed", known).ConfigureAwait(false);

        // --- the alternative: the decoder is trained on what was added ---
        Stopwatch clock = Stopwatch.StartNew();
        using RetroModel trained = Checkpoint.Load(closedBookFolder, new() { Device = options.Device }, cancellationToken: cancellationToken);
        TrainedModel further;
        using (Trainer trainer = new(trained, _recipe.Training(FittingSteps)))
        {
            Stages.Train("train on the subject", null, progress => trainer.Run(_recipe.Windows(subjectAlone), progress, cancellationToken));
            further = new TrainedModel(trained, trainer.StepsDone, trainer.Elapsed, []).TogetherWith(decoder.Steps, decoder.Time);
        }

        TimeSpan training = clock.Elapsed;
        Add(
            Trained,
            further,
            null,
            $"measure {Trained}",
            progress => BitsPerByte.Measure(
                new DecoderReader(trained, Trained), heldOut, options: measure, progress: progress, cancellationToken: cancellationToken));

        // Its answers are what they are, whichever documents are removed afterwards.
        await facts.AskAsync("removed", false, cancellationToken, (Trained, new DecoderReader(trained))).ConfigureAwait(false);

        BitsPerByteResult oldBefore = Old("closed book", alone), oldAfter = Old(Trained, new DecoderReader(trained));
        // --- what came out ---
        string report = string.Create(CultureInfo.InvariantCulture, $"""
            # Documents added to the database, against training on them

            {corpus.Kind}; subject '{subject}': {known.Length:#,0} documents know nothing of it, {added.Length:#,0} are added, {measured.Length:#,0} others about it are measured.
            {repeating:#,0} more nearly repeat one that is measured, and are left out.
            Adding them took {update.TotalSeconds:0.0} seconds (chunks and index, those of everything), training on them {training.TotalSeconds:0.0} ({FittingSteps} steps); all models in {CommonOptions.NameOf(options.Dtype)}.

            {EvaluationTable.Of(_entries, [ClosedBook, "copying, before", "RETRO, before", Trained]).ToMarkdown()}
            {SampleCorpus.HeldOutNote}

            Removed, every reader is {(Same("rule") && Same("copying") && Same("RETRO") ? "what it was before, to the bit" : "NOT what it was before")}.

            ## What is forgotten

            Bits per byte of {oldMeasured.Length:#,0} held-out documents about other things: {oldBefore.Value:0.0000} before, {oldAfter.Value:0.0000} after training on the subject,
            {PairedDifference.Of([oldAfter.DocumentSums], [oldBefore.DocumentSums])}. Where documents are added to the database the decoder stays what it is, to the bit.

            ## Facts of the added documents

            {facts.ToMarkdown()}
            """);
        Stages.Report(folder[ReportFile], report);
        Screen.ReportSkipped(corpus);

        BitsPerByteResult Old(string name, IReader reader) => Stages.Run(
            $"measure {name} on other things",
            progress => BitsPerByte.Measure(reader, oldHeldOut, options: measure, progress: progress, cancellationToken: cancellationToken));

        bool Same(string reader) => Result($"{reader}, before").ChunkBits.SequenceEqual(Result($"{reader}, removed").ChunkBits);

        BitsPerByteResult Result(string name) => _entries.Single(entry => entry.Reader == name).Results[0];

        // Gives the time until the database could be asked.
        async Task<TimeSpan> ReadAsync(string state, IReadOnlyList<Document> content)
        {
            Stopwatch clock = Stopwatch.StartNew();
            using ChunkDatabase database = Cut("database", content);
            using KeywordNeighborSource keyword = Stages.Make(
                "index words", progress => KeywordNeighborSource.Build(database, progress: progress, cancellationToken: cancellationToken), cancellationToken);
            TimeSpan ready = clock.Elapsed;
            HeldOut.Require(heldOut, database, tokenizer, cancellationToken: cancellationToken);
            using NeighborTable found = Stages.Make(
                "find held-out neighbors",
                progress => NeighborTable.Build(heldOut, keyword, RuleNeighbors, excludeOwnDocument: false, progress, cancellationToken), cancellationToken);
            ByTable($"rule, {state}", decoder, null, new PointerReader(alone, rule));
            Add(
                $"copying, {state}",
                copied,
                trainedWith,
                $"measure copying, {state}",
                progress => BitsPerByte.Measure(copying, heldOut, keyword, measure, progress, cancellationToken));
            ByTable($"RETRO, {state}", retro, trainedWith, new RetroReader(reading));
            await facts.AskAsync(
                state, state == "added", cancellationToken, (ClosedBook, alone), ("copying", copying), ("RETRO", new RetroReader(reading)))
                .ConfigureAwait(false);
            return ready;

            void ByTable(string name, TrainedModel given, string? source, IReader reader) => Add(
                name, given, source, $"measure {name}", progress => BitsPerByte.Measure(reader, heldOut, found, measure, progress, cancellationToken));
        }

        ChunkDatabase Cut(string name, IReadOnlyList<Document> content)
            => EvaluationData.Cut($"cut chunks, {name}", folder[name], content, tokenizer, cancellationToken);
    }

    /// <summary>
    /// The documents that know nothing of the subject and those that are added, without those that nearly repeat one that is held out from the other ones, as
    /// versions of one page do; each split has seen to its own.
    /// </summary>
    private static (Document[] Known, Document[] Added) Apart(
        string compared, Document[] known, Document[] added, Document[] measured, Document[] oldMeasured, CancellationToken cancellationToken)
    {
        // By its bytes each text is compared as it is, and the tokenizer of the models is trained on what is left alone.
        RetroTokenizer bytes = BpeTrainer.Train(
            measured.Select(document => document.Text), BpeTrainer.SmallestVocabulary, Path.Combine(compared, "tokenizer"), null, cancellationToken);
        (Document[] Known, Document[] Added) apart = (Without(measured, known), Without(oldMeasured, added));
        Directory.Delete(compared, recursive: true);
        return apart.Known.Length > 0 && apart.Added.Length > 0
            ? apart
            : throw new CorpusException(
                $"Of {known.Length:#,0} documents that know nothing of the subject {apart.Known.Length:#,0} are left, and of {added.Length:#,0} to be added "
                    + $"{apart.Added.Length:#,0}: the others nearly repeat one that is held out. Name another beginning with --subject, or give more "
                    + "documents.");

        Document[] Without(Document[] heldOut, Document[] all)
        {
            using ChunkDatabase database = ChunkDatabaseBuilder.Build(
                Path.Combine(compared, "database"), heldOut, bytes, new() { StartOver = true }, null, cancellationToken);
            Func<Document, bool> repeats = HeldOut.Finder(database, bytes);
            return [.. all.AsParallel().AsOrdered().WithCancellation(cancellationToken).Where(document => !repeats(document))];
        }
    }

    private int FittingSteps => Recipe.Fitting(Steps);

    /// <summary>Measures a reader, whose steps and time are its own and those of what was trained before it and is gone on from.</summary>
    private void Add(string name, TrainedModel trained, string? trainedWith, string stage, Func<IProgress<StageProgress>, BitsPerByteResult> measure)
        => _entries.Add(new(name, [Stages.Run(stage, measure)]) { TrainedWith = trainedWith, Steps = trained.Steps, Time = trained.Time });

    /// <summary>The beginning, up to the last separator, that most ids have, though not more than a fifth of them.</summary>
    private static string Largest(List<Document> documents)
        => documents.GroupBy(document => document.Id[..(document.Id.LastIndexOfAny(['/', '\\', '.', ':'], Math.Max(0, document.Id.LastIndexOf('.') - 1)) + 1)])
            .Where(group => group.Key.Length > 0 && group.Count() <= documents.Count / 5)
            .OrderByDescending(group => group.Count())
            .ThenBy(group => group.Key, StringComparer.Ordinal)
            .Select(group => group.Key)
            .FirstOrDefault()
            ?? throw new CorpusException("No group of documents has ids that begin alike; name a subject with --subject.");
}
