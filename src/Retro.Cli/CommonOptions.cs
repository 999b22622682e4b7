using System.CommandLine;
using System.CommandLine.Parsing;
using System.Diagnostics;
using System.Globalization;
using Retro.Corpora;
using Retro.Database;
using Retro.Pretrained;
using Retro.Search;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Cli;

/// <summary>Options that several verbs have: the same name means the same everywhere. Each verb makes its own.</summary>
internal static class CommonOptions
{
    /// <summary>No step of cleaning.</summary>
    private const string NoCleaning = "none";

    /// <summary>What a stored type gives way to, in helps.</summary>
    private const string ButFloat32 = "but float32 in place of bfloat16 where the processor has no products of that";

    /// <summary>Tokens of a window where nothing is said and chunks divide it.</summary>
    private const int UsualWindow = 512;

    /// <summary>What stands between the steps in a cleaning's name.</summary>
    private const string Between = ", ";

    /// <summary>The steps of cleaning that can be asked for, in the order they are done.</summary>
    private static readonly (string Name, Func<CleaningStep> Step)[] s_cleaning =
    [
        ("unicode", CleaningStep.Unicode), ("personal", () => CleaningStep.PersonalData()), ("lines", () => CleaningStep.RepeatedLines()),
        ("exact", CleaningStep.ExactDuplicates), ("near", () => CleaningStep.NearDuplicates()),
    ];

    private static readonly string[] s_cleanedByDefault = ["unicode", "exact"];

    /// <summary>The sources there are for neighbors; "none" beside them is a decoder alone.</summary>
    private static readonly string[] s_sources = ["bm25", "dense", "hybrid", "rerank", "random", "none"];

    /// <summary>The text.</summary>
    public static PathOption Corpus() => new("--corpus", "PATH")
    {
        Description = "The text: a file, or a folder with those below it, of text (.txt, .md, .html, .rst), JSON lines (.jsonl, .json, packed: .gz, .zst), "
            + "tables (.csv, .tsv, .parquet) or .NET XML documentation (.xml).",
    };

    /// <summary>The text of a run that has one of its own where none is named.</summary>
    public static PathOption CorpusOrReferencePacks()
    {
        PathOption corpus = Corpus();
        corpus.Description += " Default: the XML documentation of the .NET reference packs.";
        return corpus;
    }

    /// <summary>How much of the text is taken.</summary>
    /// <param name="by">What chooses documents.</param>
    public static Option<double> Megabytes(string by) => Number(
        "--megabytes", $"Most text to take from the corpus; documents are chosen by {by}.", 6, 0.001, 100_000);

    /// <summary>The folder of a run that makes everything, and of other runs like it.</summary>
    /// <param name="run">The run's name; the folder by default is named after it.</param>
    public static PathOption RunsOut(string run) => new("--out", "FOLDER")
    {
        Description = "Folder for the databases, the models and the report; what is made of a corpus has a folder of its own in it.",
        DefaultValueFactory = _ => Path.Combine("artifacts", run),
    };

    /// <summary>What of a decoder is trained beside what is fitted onto it.</summary>
    public static Option<string> Unfreeze() => Choice(
        "--unfreeze",
        $"What of the decoder is trained too; one of 50 million parameters and more at an {TrainingRecipes.AdditionsRate}th of the rates of what is added.",
        "nothing",
        [.. Enum.GetNames<RetrofitUnfreeze>().Select(name => name.ToLowerInvariant())]);

    /// <summary>What was said with <see cref="Unfreeze"/>.</summary>
    public static RetrofitUnfreeze Unfrozen(ParseResult parsed, Option<string> unfreeze)
        => Enum.Parse<RetrofitUnfreeze>(parsed.GetValue(unfreeze)!, ignoreCase: true);

    /// <summary>The rank of what is fitted.</summary>
    public static Option<int?> GateRank() => WholeOrNone("--gate-rank", "Rank of a low-rank gate in place of full cross-attention matrices.", 1, 65536);

    /// <summary>The folder that is written into.</summary>
    public static PathOption Out(string what) => new("--out", "FOLDER") { Description = what, Required = true };

    /// <summary>The database.</summary>
    public static PathOption Database(bool required) => new("--database", "FOLDER")
    {
        Description = $"The folder that {Tool.Name} build wrote, or the database in it.{(required ? "" : " Default: the one that the model was trained on.")}",
        Required = required,
    };

    /// <summary>The tokenizer.</summary>
    public static PathOption Tokenizer() => new("--tokenizer", "FOLDER") { Description = "The database's tokenizer. Default: the one beside the database." };

    /// <summary>The embedder.</summary>
    public static PathOption Embedder() => new("--embedder", "FOLDER")
    {
        Description = "Makes the keys of dense, hybrid and rerank: the folder of a model of BERT's kind, or of sentence-transformers. Default: the one beside "
            + "the database (embed-train).",
    };

    /// <summary>The model.</summary>
    public static PathOption Model() => new("--model", "FOLDER")
    {
        Description = $"The folder that {Tool.Name} train or fit wrote, or the model in it; or the Hugging Face folder of a decoder, as it is.",
        Required = true,
    };

    /// <summary>Where neighbors come from.</summary>
    /// <param name="byDefault">Without the option; null: it depends on the model.</param>
    /// <param name="none">What "none" does; null: it makes no sense here.</param>
    public static Option<string> Source(string? byDefault, string? none = null)
    {
        string[] values = none is null ? s_sources[..^1] : s_sources;
        string meaning = none is null ? "" : $" none: {none}.";
        string unsaid = byDefault is null ? " Default: what the model was trained with." : "";
        string said = $"Where neighbors come from: {string.Join(", ", values)}; rerank: dense ones in the order of bm25.{meaning}{unsaid}";
        return Choice("--source", said, byDefault, values);
    }

    /// <summary>Sources whose ranks are shown beside.</summary>
    public static Option<string[]> Beside() => Choices(
        "--beside", "Show each neighbor's rank by this source too, among its first 100; may be given several times.", s_sources[..^1]);

    /// <summary>The task that is question answering.</summary>
    public const string Answering = "qa";

    /// <summary>What is learned or measured.</summary>
    /// <param name="meaning">What each of the two is here.</param>
    public static Option<string> Task(string meaning) => Choice("--task", meaning, "text", "text", Answering);

    /// <summary>Questions that are measured.</summary>
    public static Option<int> Questions() => Whole("--questions", "Of --task qa: questions that are measured.", 100, 1, 1_000_000);

    /// <summary>The labels that may be seen.</summary>
    public static Option<string[]> Labels() => new("--labels")
    {
        Description = "Read from documents alone that have none but this label; may be given several times, \"\" for documents without labels alone. "
            + "Default: from all.",
        HelpName = "LABEL",
    };

    /// <summary>The labels that documents get.</summary>
    /// <param name="unsaid">What holds without the option; null: nothing is to be said of it.</param>
    public static Option<string[]> GivenLabels(string? unsaid = null) => new("--labels")
    {
        Description = "Give every document this label, beside those that its row names; may be given several times, \"\" for none. Whoever reads a document "
            + $"has to see all of its labels.{(unsaid is null ? "" : $" Default: {unsaid}.")}",
        HelpName = "LABEL",
    };

    /// <summary>The labels that were said with <see cref="GivenLabels"/>.</summary>
    public static string[] Given(ParseResult parsed, Option<string[]> labels) => [.. (parsed.GetValue(labels) ?? []).Where(label => label.Length > 0)];

    /// <summary>What is done to documents before they come into a database.</summary>
    /// <param name="byDefault">Without the option, as the help says it.</param>
    public static Option<string[]> Clean(string byDefault)
    {
        Option<string[]> option = Choices(
            "--clean",
            "A step of cleaning; may be given several times. unicode: one form of each character, no control characters; exact: no text twice; "
                + "lines: no lines that stand in 10 documents or more; near: nothing that nearly repeats an earlier document; personal: tags in place of "
                + $"addresses and numbers of persons; none. Default: {byDefault}.",
            [.. s_cleaning.Select(step => step.Name), NoCleaning]);
        option.Validators.Add(result =>
        {
            if (result.Tokens.Any(token => token.Value == NoCleaning) && result.Tokens.Any(token => s_cleaning.Any(step => step.Name == token.Value)))
            {
                result.AddError($"--clean {NoCleaning} is no cleaning at all; leave out the other steps, or it.");
            }
        });
        return option;
    }

    /// <summary>What nearly repeats a held-out document, by the share that has to be the same; null: what does so by default.</summary>
    public static HeldOutOptions Alike(double? share) => share is { } said ? new() { Similarity = said, Containment = said } : new();

    /// <summary>The cleaning that was asked for with <see cref="Clean"/>; its steps come in one order, however they were named.</summary>
    public static CorpusCleaning Cleaning(ParseResult parsed, Option<string[]> clean)
    {
        string[] said = parsed.GetValue(clean) is { Length: > 0 } named ? named : s_cleanedByDefault;
        return new([.. s_cleaning.Where(step => said.Contains(step.Name)).Select(step => step.Step())]);
    }

    /// <summary>A cleaning by its name, as <see cref="Clean"/> takes it.</summary>
    /// <param name="cleaning">The name, of a manifest.</param>
    /// <returns>What is typed; null: the tool has no such cleaning.</returns>
    public static string? Typed(string cleaning)
    {
        List<string> words = [];
        string left = cleaning == new CorpusCleaning([]).Name ? "" : cleaning + Between;
        while (left.Length > 0)
        {
            int first = Array.FindIndex(s_cleaning, step => left.StartsWith(step.Step().Name + Between, StringComparison.Ordinal));
            if (first < 0)
            {
                return null;
            }

            words.Add(s_cleaning[first].Name);
            left = left[(s_cleaning[first].Step().Name.Length + Between.Length)..];
        }

        return string.Join(' ', words.DefaultIfEmpty(NoCleaning).Select(word => $"--clean {word}"));
    }

    /// <summary>What was said with <see cref="Labels"/>; null: nothing.</summary>
    public static IReadOnlyList<string>? Seen(ParseResult parsed, Option<string[]> labels)
        => parsed.GetResult(labels) is { Implicit: false } ? parsed.GetValue(labels) : null;

    /// <summary>Tokens of a window, as <see cref="WindowLength"/> takes it.</summary>
    public static Option<int> Window() => Whole(
        "--window", "Tokens of a window, a multiple of the chunk length; where nothing is said, whole chunks, two at least.", UsualWindow, 2, 1 << 20);

    /// <summary>The tokens of a window that were said with <see cref="Window"/>, or those that fit where nothing was.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="window">The option.</param>
    /// <param name="chunkLength">Tokens of a chunk of the database.</param>
    /// <param name="longest">Tokens that the model reads at most; null: any.</param>
    /// <param name="least">Chunks that a window has at least.</param>
    /// <exception cref="UsageException">What was said is no multiple of the chunk length, too short, or too long.</exception>
    /// <exception cref="RetroException">The model does not read as many chunks.</exception>
    public static int WindowLength(ParseResult parsed, Option<int> window, int chunkLength, int? longest, int least = 1)
    {
        int usual = UsualWindowLength(chunkLength, longest, least);
        int length = parsed.GetResult(window) is { Implicit: false } ? parsed.GetValue(window) : usual;
        if (length < least * chunkLength)
        {
            throw new UsageException(
                $"{window.Name} takes at least {least * chunkLength}, {least} chunks of the database, where neighbors are read, not {length}: those of a chunk "
                    + "are read by the next one.");
        }

        string bound = longest is null ? "" : $", at most {longest}";
        return length % chunkLength == 0 && !(length > longest)
            ? length
            : throw new UsageException($"{window.Name} takes a multiple of the database's chunk length, {chunkLength}{bound}, not {length}.");
    }

    /// <summary>Tokens of a window where nothing was said.</summary>
    /// <inheritdoc cref="WindowLength"/>
    public static int UsualWindowLength(int chunkLength, int? longest, int least = 1)
    {
        if (longest < least * chunkLength)
        {
            string chunks = least == 1 ? "a chunk of the database has" : $"{least} chunks of the database, which a window takes where neighbors are read, have";
            throw new RetroException(
                $"The model reads {longest} tokens at most, and {chunks} {least * chunkLength}; build one of shorter chunks (--chunk of build).");
        }

        // What is retrieved for a chunk is read by the next one.
        return Math.Min(Math.Max(UsualWindow, 2 * chunkLength), longest ?? int.MaxValue) / chunkLength * chunkLength;
    }

    /// <summary>Seed of every random choice.</summary>
    public static Option<long> Seed() => new("--seed")
    {
        Description = "Seed of every random choice.",
        HelpName = "NUMBER",
        DefaultValueFactory = _ => 1,
        CustomParser = result =>
        {
            string said = string.Join(' ', result.Tokens.Select(token => token.Value));
            if (!long.TryParse(said, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long seed))
            {
                result.AddError($"--seed takes a whole number of 64 bits, not '{said}'.");
            }

            return seed;
        },
    };

    /// <summary>Threads.</summary>
    public static Option<int> Threads() => Whole("--threads", "Threads that compute; 0: one for each processor.", 0, 0, 4096);

    /// <summary>The device.</summary>
    public static Option<string> Device() => Choice("--device", "Where models compute: cpu or cuda.", "cpu", "cpu", "cuda");

    /// <summary>The type of a model that is used.</summary>
    public static Option<string?> Dtype() => Dtype($"Default: as it is stored, {ButFloat32}.", null);

    /// <summary>The type of a model that is trained from nothing.</summary>
    public static Option<string?> TrainedDtype() => Dtype("Default: bfloat16 where the processor has products of it, else float32.", null);

    /// <summary>The type of a model that something is fitted onto.</summary>
    public static Option<string?> FittedDtype() => Dtype(
        $"Default: as {Tool.Name} has stored the decoder, {ButFloat32}; of any other decoder float32.", null);

    /// <summary>The type of models that are trained to be compared, with each other and with published ones.</summary>
    public static Option<string?> ComparedDtype() => Dtype(
        "bfloat16 halves the time of training where the processor has products of it; the published tables are of float32.", "float32");

    private static Option<string?> Dtype(string unsaid, string? byDefault)
        => Choice("--dtype", $"Type that the model computes in: float32, float64 or bfloat16. {unsaid}", byDefault, "float32", "float64", "bfloat16")!;

    /// <summary>Going on.</summary>
    public static Option<bool> Resume() => new("--resume") { Description = "Go on with the training that the folder holds, from its last checkpoint." };

    /// <summary>How many passages are listed.</summary>
    public static Option<int> Most(string first) => Whole("--most", $"Passages listed at most, those first that {first}.", 8, 1, int.MaxValue);

    /// <summary>Starting over.</summary>
    public static Option<bool> StartOver(string what, string also = "") => new("--start-over")
    {
        Description = $"Replace the {what} that the folder holds; the old stays until the new is whole.{also}",
    };

    /// <summary>Starting over where an earlier run has left its models.</summary>
    public static Option<bool> ReplaceModels() => new("--start-over")
    {
        Description = "Replace the models that an earlier run with the same corpus has left in the folder, once the corpus is read.",
    };

    /// <summary>A share of the work.</summary>
    public static Option<WorkShare?> Share(string description) => new("--share")
    {
        Description = description,
        HelpName = "I/N",
        CustomParser = result =>
        {
            string said = string.Join(' ', result.Tokens.Select(token => token.Value));
            if (!WorkShare.TryParse(said, out WorkShare share))
            {
                result.AddError($"--share takes a share as 3/8, from 1/N to N/N, not '{said}'.");
            }

            return share;
        },
    };

    /// <summary>An option that takes one of a few words.</summary>
    public static Option<string> Choice(string name, string description, string? byDefault, params string[] values)
    {
        Option<string> option = new(name)
        {
            Description = description,
            HelpName = string.Join('|', values),
            CustomParser = result =>
            {
                string said = result.Tokens.Count == 1 ? result.Tokens[0].Value : "";
                if (!values.Contains(said, StringComparer.Ordinal))
                {
                    result.AddError($"{name} takes one of {string.Join(", ", values)}, not '{said}'.");
                }

                return said;
            },
        };
        if (byDefault is not null)
        {
            option.DefaultValueFactory = _ => byDefault;
        }

        option.CompletionSources.Add(values);
        return option;
    }

    /// <summary>An option that takes one of a few words, and may be given several times.</summary>
    public static Option<string[]> Choices(string name, string description, params string[] values)
    {
        Option<string[]> option = new(name) { Description = description, HelpName = string.Join('|', values) };
        option.Validators.Add(result =>
        {
            if (result.Tokens.FirstOrDefault(token => !values.Contains(token.Value)) is { } wrong)
            {
                result.AddError($"{name} takes one of {string.Join(", ", values)}, not '{wrong.Value}'.");
            }
        });
        option.CompletionSources.Add(values);
        return option;
    }

    /// <summary>An option that takes a whole number within bounds.</summary>
    public static Option<int> Whole(string name, string description, int byDefault, int least, int most)
        => new(name)
        {
            Description = description,
            HelpName = "NUMBER",
            DefaultValueFactory = _ => byDefault,
            CustomParser = result => (int)Parse(result, name, least, most, whole: true),
        };

    /// <summary>An option that takes a whole number within bounds, or is left out.</summary>
    public static Option<int?> WholeOrNone(string name, string description, int least, int most)
        => new(name) { Description = description, HelpName = "NUMBER", CustomParser = result => (int)Parse(result, name, least, most, whole: true) };

    /// <summary>An option that takes a number within bounds, or is left out.</summary>
    public static Option<double?> NumberOrNone(string name, string description, double least, double most)
        => new(name) { Description = description, HelpName = "NUMBER", CustomParser = result => Parse(result, name, least, most, whole: false) };

    /// <summary>An option that takes a number within bounds.</summary>
    public static Option<double> Number(string name, string description, double byDefault, double least, double most)
        => new(name)
        {
            Description = description,
            HelpName = "NUMBER",
            DefaultValueFactory = _ => byDefault,
            CustomParser = result => Parse(result, name, least, most, whole: false),
        };

    /// <summary>A device by its name, which computes with so many threads.</summary>
    /// <param name="name">cpu or cuda.</param>
    /// <param name="threads">Threads; 0: as many as torch takes by itself, but no more than this process has processors.</param>
    /// <returns>The device; null for the processor.</returns>
    /// <exception cref="RetroException">It is not there.</exception>
    public static Device? Compute(string name, int threads)
    {
        TorchLibrary.Require();
        if (threads > 0)
        {
            set_num_threads(threads);
        }
        else if (string.IsNullOrEmpty(Environment.GetEnvironmentVariable("OMP_NUM_THREADS"))
            && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("MKL_NUM_THREADS"))
            && get_num_threads() > Environment.ProcessorCount)
        {
            // A container may have the time of fewer processors than the machine has, which .NET knows and torch does not.
            set_num_threads(Environment.ProcessorCount);
        }

        return name == "cpu" ? null
            : cuda.is_available() ? CUDA
            : throw new RetroException(
                "--device cuda: there is no CUDA device here, or this build has no libtorch for one (TorchSharp-cuda-linux); compute on the cpu.");
    }

    /// <summary>A type by its name; says what it costs where the processor computes it by other types.</summary>
    /// <param name="name">Its name; null: none was said.</param>
    /// <param name="device">Where it is computed; null: on the processor.</param>
    public static ScalarType? Type(string? name, Device? device)
    {
        ScalarType? type = name switch
        {
            null => null,
            "float64" => ScalarType.Float64,
            "bfloat16" => ScalarType.BFloat16,
            _ => ScalarType.Float32,
        };
        if (type == ScalarType.BFloat16 && device is null && TrainingOptions.PreferredDtype() != type)
        {
            double factor = Product(ScalarType.BFloat16) / Product(ScalarType.Float32);
            Screen.Note($"this processor has no products of bfloat16: one of 512 x 512 x 512 takes {factor:0.0} times as long as in float32");
        }

        return type;
    }

    /// <summary>The type that <see cref="ComparedDtype"/> names, as <see cref="Type"/>.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="device">Where it is computed; null: on the processor.</param>
    public static ScalarType ComparedType(string? name, Device? device) => Type(name, device) ?? ScalarType.Float32;

    /// <summary>The name of a type, as <see cref="Type"/> takes it.</summary>
    public static string NameOf(ScalarType type) => type.ToString().ToLowerInvariant();

    // Seconds, the least of some.
    private static double Product(ScalarType type)
    {
        const int Size = 512, Times = 5;
        using DisposeScope scope = NewDisposeScope();
        Tensor x = ones(Size, Size, dtype: type);
        double least = double.PositiveInfinity;
        for (int i = 0; i < Times; i++)
        {
            long start = Stopwatch.GetTimestamp();
            x.mm(x).Dispose();
            least = Math.Min(least, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        return least;
    }

    private static double Parse(ArgumentResult result, string name, double least, double most, bool whole)
    {
        string said = string.Join(' ', result.Tokens.Select(token => token.Value));
        if (double.TryParse(said, NumberStyles.Float, CultureInfo.InvariantCulture, out double number)
            && number >= least && number <= most && (!whole || number == Math.Floor(number)))
        {
            return number;
        }

        result.AddError(FormattableString.Invariant($"{name} takes a {(whole ? "whole " : "")}number from {least} to {most}, not '{said}'."));
        return least;
    }
}
