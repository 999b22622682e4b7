using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text.RegularExpressions;
using Retro.Cli;
using Retro.Cli.Commands;
using Retro.Modeling;
using Retro.Pretrained;
using Retro.Tests.Documentation;
using Retro.Training;

namespace Retro.Tests.Cli;

/// <summary>What can be typed: the same names for the same things, examples that parse, and one sentence for what cannot be meant.</summary>
public sealed partial class CommandLineTests : IDisposable
{
    private readonly CliRun _retro = new();

    /// <summary>The verbs as they are typed, those of a group behind its name.</summary>
    public static TheoryData<string> Verbs => [.. Below(Tool.MakeRoot()).Select(verb => verb.Typed)];

    public void Dispose() => _retro.Dispose();

    [Theory]
    [MemberData(nameof(Verbs))]
    public void Every_verb_says_what_it_and_its_options_do_with_examples_that_parse(string name)
    {
        RootCommand root = Tool.MakeRoot();
        Verb verb = Below(root).Single(one => one.Typed == name).Verb;
        Assert.EndsWith(".", verb.Description, StringComparison.Ordinal);
        Assert.All(verb.Options, option => Assert.EndsWith(".", option.Description, StringComparison.Ordinal));
        Assert.NotEmpty(verb.Examples);
        foreach (string[] words in verb.Examples.Select(example => Words(example)))
        {
            // What an example leaves out is in retro.json.
            Assert.DoesNotContain(root.Parse(words).Errors, error => !error.Message.EndsWith("is required.", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void The_same_name_means_the_same_everywhere()
    {
        foreach (IGrouping<string, Option> same in Below(Tool.MakeRoot()).SelectMany(one => one.Verb.Options).GroupBy(option => option.Name))
        {
            // eval alone takes several models.
            Assert.Single(same.Select(option => option.ValueType).Where(type => same.Key != "--model" || type == typeof(string)).Distinct(
                EqualityComparer<Type>.Create((one, other) => Bare(one!) == Bare(other!), type => Bare(type).GetHashCode())));
        }

        static Type Bare(Type type) => Nullable.GetUnderlyingType(type) ?? type;
    }

    [Fact]
    public void The_commands_of_readme_and_docs_parse()
    {
        string[] typed =
        [
            .. DocumentationTests.Pages.Concat(DocumentationTests.Results).SelectMany(File.ReadLines)
                .Where(line => line.StartsWith("retro ", StringComparison.Ordinal))
                .Select(line => line.Split('#')[0]),
        ];
        string[] commands =
        [
            .. typed,
            .. InlinePattern().Matches(DocumentationTests.Text).Select(match => match.Groups[1].Value),
        ];
        Assert.NotEmpty(commands);
        Assert.All(commands, command => Assert.DoesNotContain(
            Tool.MakeRoot().Parse(Words(command)).Errors, error => !error.Message.EndsWith("is required.", StringComparison.Ordinal)));

        // What a line to be typed leaves out, the folder knows that it names.
        Assert.All(typed, command => Assert.DoesNotContain(
            Tool.MakeRoot().Parse(Words(command)).Errors,
            error => error.Message == "Option '--out' is required." || !command.Contains(" --out ", StringComparison.Ordinal)));
    }

    [Fact]
    public void The_shell_completes_verbs_options_and_values()
    {
        Assert.Contains("train\n", Complete("retro tra"), StringComparison.Ordinal);
        Assert.Contains("--source\n", Complete("retro train --so"), StringComparison.Ordinal);
        Assert.Contains("hybrid\n", Complete("retro train --source "), StringComparison.Ordinal);

        string Complete(string line) => _retro.Done($"[suggest:{line.Length}]", line);
    }

    /// <summary>One that nobody typed has two where the model reads so many, so that what is retrieved for one is read by the next.</summary>
    [Theory]
    [InlineData("", 64, null, 512)]
    [InlineData("", 48, null, 480)]
    [InlineData("", 512, null, 1024)]
    [InlineData("", 64, 200, 192)]
    [InlineData("", 48, 48, 48)]
    [InlineData("--window 96", 48, null, 96)]
    public void A_window_has_whole_chunks(string typed, int chunkLength, int? longest, int expected)
    {
        Option<int> window = CommonOptions.Window();
        Assert.Equal(expected, CommonOptions.WindowLength(new RootCommand { window }.Parse(typed), window, chunkLength, longest));
    }

    [Fact]
    public void A_chunk_that_no_model_reads_whole_is_told_with_both_lengths()
    {
        Option<int> window = CommonOptions.Window();
        RetroException fault = Assert.Throws<RetroException>(
            () => CommonOptions.WindowLength(new RootCommand { window }.Parse(""), window, 64, 32));
        Assert.StartsWith("The model reads 32 tokens at most, and a chunk of the database has 64;", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Where_neighbors_are_read_a_window_has_two_chunks()
    {
        Option<int> window = CommonOptions.Window();
        RootCommand root = new() { window };
        Assert.Equal(128, CommonOptions.WindowLength(root.Parse("--window 128"), window, 64, null, least: 2));
        Assert.StartsWith(
            "--window takes at least 128, 2 chunks",
            Assert.Throws<UsageException>(() => CommonOptions.WindowLength(root.Parse("--window 64"), window, 64, null, least: 2)).Message,
            StringComparison.Ordinal);
        Assert.StartsWith(
            "The model reads 100 tokens at most, and 2 chunks of the database, which a window takes where neighbors are read, have 128;",
            Assert.Throws<RetroException>(() => CommonOptions.WindowLength(root.Parse(""), window, 64, 100, least: 2)).Message,
            StringComparison.Ordinal);
    }

    /// <summary>What the help says of a default is that of the verb.</summary>
    [Theory]
    [InlineData("train", "--k", "8 below 50 million parameters, else 2")]
    [InlineData("fit", "--k", "with --attention paper 2, of copying 16, of --task qa 5")]
    [InlineData("fit", "--steps", "Copying takes 300")]
    [InlineData("fit", "--rate", "of copying 0.01")]
    [InlineData("fit", "--dtype", "of any other decoder float32")]
    [InlineData("fit", "--dtype", "as retro has stored the decoder, but float32 in place of bfloat16 where the processor has no products of that")]
    [InlineData("fit", "--muon-rate", "with --reader retro, and with in-context below 50 million parameters")]
    [InlineData("fit", "--unfreeze", "one of 50 million parameters and more at an 80th of the rates of what is added")]
    [InlineData("experiment retrofit", "--unfreeze", "one of 50 million parameters and more at an 80th of the rates of what is added")]
    [InlineData("train", "--muon-rate", "moves the matrices below 50 million parameters")]
    [InlineData("experiment retrofit", "--megabytes", "documents are chosen by the seed")]
    [InlineData("experiment update", "--megabytes", "documents are chosen by the seed")]
    [InlineData("experiment evaluate", "--megabytes", "documents are chosen by a hash")]
    [InlineData("experiment evaluate", "--steps", "what is fitted onto it takes half as many")]
    [InlineData("generate", "--source", "Default: what the model was trained with.")]
    [InlineData("eval", "--source", "Default: what the model was trained with.")]
    [InlineData("build", "--corpus", "JSON lines (.jsonl, .json, packed: .gz, .zst)")]
    [InlineData("train", "--checkpoint-minutes", "--resume has after a crash")]
    [InlineData("fit", "--checkpoint-minutes", "Copying has none: it begins again.")]
    public void The_help_says_the_defaults_of_each_verb(string verb, string option, string said)
    {
        Option described = Below(Tool.MakeRoot()).Single(one => one.Typed == verb).Verb.Options.Single(one => one.Name == option);
        Assert.Contains(said, described.Description, StringComparison.Ordinal);
        Assert.False(option == "--source" && described.HasDefaultValue);
    }

    /// <summary>What lets a small model learn within minutes is no rate for the weights of a larger one that has learned already.</summary>
    [Theory]
    [InlineData(RetrofitUnfreeze.Nothing, false)]
    [InlineData(RetrofitUnfreeze.Norms, true)]
    [InlineData(RetrofitUnfreeze.All, true)]
    public void A_large_decoder_that_is_trained_on_moves_at_the_rate_of_large_models(RetrofitUnfreeze unfreeze, bool slow)
    {
        RetroConfig small = RetroConfig.Mini with { Retrieval = null }, large = small with { VocabularySize = 50_000_000 / small.Width };
        Assert.Equal(TrainingOptions.SmallModel, TrainingRecipes.FittingRecipe(small, unfreeze));
        TrainingOptions recipe = TrainingRecipes.FittingRecipe(large, unfreeze);
        Assert.Equal(slow ? new TrainingOptions().LearningRate : 0.016, recipe.LearningRate, 1e-12);
        Assert.Equal(slow ? 0.00025 : 0.02, recipe.MuonLearningRate, 1e-12);

        // What is added learns as it does on a decoder that stays as it is.
        Assert.Equal(0.016, recipe.LearningRate * recipe.RetrievalRate, 1e-12);
        Assert.Equal(0.02, recipe.MuonLearningRate * recipe.RetrievalRate, 1e-12);
    }

    [Theory]
    [InlineData("eval")]
    [InlineData("quickstart")]
    public void The_help_of_what_measures_names_both_rules_that_copy_without_training(string verb)
    {
        string said = Below(Tool.MakeRoot()).Single(one => one.Typed == verb).Verb.Description!;
        Assert.All(["two rules", "pointer rule", "longest run"], part => Assert.Contains(part, said, StringComparison.Ordinal));
    }

    [Fact]
    public void The_help_names_the_command_its_exit_codes_and_examples()
    {
        string help = _retro.Done("--help");
        Assert.Contains("  retro [command] [options]", help, StringComparison.Ordinal);
        Assert.Contains("Exit codes: 0 done; 1 ", help, StringComparison.Ordinal);
        Assert.Contains("  retro train --out work --resume", _retro.Done("train", "--help"), StringComparison.Ordinal);
        Assert.Contains("  retro experiment update [options]", _retro.Done("experiment", "update", "--help"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(2, "Option '--corpus' is required.", "build --out work")]
    [InlineData(2, "--chunk takes a whole number from 2 to 4096, not '1.5'.", "build --corpus docs --out work --chunk 1.5")]
    [InlineData(2, "--held-out-share takes a number from 0 to 0.5, not '2'.", "build --corpus docs --out work --held-out-share 2")]
    [InlineData(1, "--report nowhere/r.html: name a file, in a folder that is there.", "eval --model m --report nowhere/r.html")]
    [InlineData(1, "--report /proc/report.html: name a file, in a folder that is there.", "eval --model m --report /proc/report.html")]
    [InlineData(1, "--json /proc/results.json: name a file, in a folder that is there.", "info docs --json /proc/results.json")]
    [InlineData(1, "--out /dev/null: a device cannot be replaced by a file; name a file,", "export --database work --out /dev/null")]
    [InlineData(2, "--json -: the standard output is called /dev/stdout, and a file of this name is called ./-.", "info docs --json -")]
    [InlineData(2, "--csv -: a file of this name is called ./-.", "train --database work --out m --csv -")]
    [InlineData(2, "--report -: a file of this name is called ./-.", "eval --model m --report -")]
    [InlineData(2, "--token-records -: a file of this name is called ./-.", "eval --model m --token-records -")]
    [InlineData(2, "--out -: a file of this name is called ./-.", "export --database work --out -")]
    [InlineData(1, "--tensorboard a-file: name a folder;", "train --database work --out m --tensorboard a-file")]
    [InlineData(2, "--json and --csv name one file,", "train --database work --out m --json out.json --csv ./out.json")]
    [InlineData(2, "--json unknown/retro.json would replace a file of retro's own", "info docs --json unknown/retro.json")]
    [InlineData(2, "--json whole/config.json would replace a file of retro's own", "info docs --json whole/config.json")]
    [InlineData(2, "--csv whole/vocab.json would replace a file of retro's own", "train --database work --out m --csv whole/vocab.json")]
    [InlineData(2, "--out whole/tokens.bin would replace a file of retro's own", "export --database work --out whole/tokens.bin")]
    [InlineData(2, "--token-records whole/x.safetensors would replace", "eval --model m --token-records whole/x.safetensors")]
    [InlineData(2, "--out docs/river-0.md is in the corpus ", "export --database built --out docs/river-0.md")]
    [InlineData(2, "--token-records docs/t.jsonl is in the corpus ", "eval --model m --database built --token-records docs/t.jsonl")]
    [InlineData(2, "--json docs/plan.txt is in the corpus docs, and would be read as text", "build --corpus docs --out work --json docs/plan.txt")]
    [InlineData(2, "--out a-file is the corpus itself, and what is written there would be read as text the next time; name another folder.", "build --corpus a-file --out a-file")]
    [InlineData(2, "--beside takes one of bm25, dense, hybrid, rerank, random, not 'foo'.", "inspect --database work --text river --beside foo")]
    [InlineData(1, "nowhere holds no model (model/config.json)", "generate --model nowhere @channel")]
    [InlineData(2, "The question is empty; ask something.", "ask --model nowhere \" \"")]
    [InlineData(2, "retro ask takes a question, such as: retro ask --model work \"What", "ask --model nowhere")]
    [InlineData(2, "retro info takes a folder, such as: retro info", "info")]
    [InlineData(1, "--csv nowhere/s.csv: name a file, in a folder that is there.", "train --database work --out m --csv nowhere/s.csv")]
    [InlineData(2, "--seed takes a whole number of 64 bits, not 'x'.", "build --corpus docs --out work --seed x")]
    [InlineData(2, "--source takes one of bm25, dense, hybrid, rerank, random, not 'none'.", "neighbors --database work --source none")]
    [InlineData(2, "--share takes a share as 3/8, from 1/N to N/N, not '9/8'.", "neighbors --database work --share 9/8")]
    [InlineData(2, "--source takes one of bm25, dense, hybrid, rerank, random, none, not 'google'.", "train --database work --out model --source google")]
    [InlineData(2, "--dtype takes one of float32, float64, bfloat16, not 'float16'.", "compare --corpus docs --dtype float16")]
    [InlineData(2, "--preset takes one of ", "train --database work --out model --preset huge")]
    [InlineData(2, "Unrecognized command or argument '--steep'.", "train --database work --out model --steep")]
    [InlineData(2, "--temperature takes a number from 0 to 100, not '-1'.", "generate --model work --temperature -1 The")]
    [InlineData(2, "--temperature takes a number from 0 to 100, not 'hot'.", "generate --model work --temperature hot The")]
    [InlineData(1, "m holds no model (model/config.json)", "eval --model m --report /dev/shm/report.html")]
    [InlineData(2, "--out needs the path of a folder, not an empty text.", "build --corpus docs --out ''")]
    [InlineData(2, "--model needs the path of a folder, not an empty text.", "eval --model ''")]
    [InlineData(2, "--model needs the path of a folder, not an empty text.", "eval --model decoder ''")]
    [InlineData(2, "0.0.0.0 can be reached from elsewhere; say what requests have to bring (--api-key or --api-keys).", "serve --model x --address 0.0.0.0")]
    [InlineData(2, "--address takes an address in numbers, such as 127.0.0.1, not 'here'.", "serve --model nowhere --address here")]
    [InlineData(2, "--origin * lets every page that is open on this machine ask; say what requests have to bring", "serve --model x --origin *")]
    [InlineData(2, "such as https://app.example or http://localhost:3000, or *, not 'app.example'.", "serve --model x --origin app.example")]
    [InlineData(2, "--api-key takes a key of at least one character, and no white space;", "serve --model x --api-key ''")]
    [InlineData(2, "--api-key takes a key of at least one character, and no white space;", "serve --model x --address 0.0.0.0 --api-key \"a b\"")]
    [InlineData(2, "--name takes what the model is called, and not an empty text.", "serve --model x --name ''")]
    [InlineData(1, "nowhere holds no model (model/config.json)", "serve --model nowhere")]
    [InlineData(1, "There is no folder or file nowhere.", "build --corpus nowhere --out work")]
    [InlineData(1, "empty holds no .txt, .md, ", "build --corpus empty --out work")]
    [InlineData(1, "There is no tokenizer at nowhere;", "build --corpus docs --out work --tokenizer nowhere")]
    [InlineData(1, "or train one (retro build without --tokenizer).", "build --corpus docs --out work --tokenizer empty")]
    [InlineData(1, "--megabytes 0.001 takes 1 document of the corpus; one has to be held out", "build --corpus docs --out work --megabytes 0.001")]
    [InlineData(1, "docs holds no database (database/manifest.json); make one with: retro build --corpus TEXT --out FOLDER", "train --database docs --out m")]
    [InlineData(1, "docs holds no model (model/config.json); make one with: retro train --database FOLDER --out FOLDER", "ask --model docs what")]
    [InlineData(1, "begun holds no model yet (model/config.json): it is being trained,", "fit --base begun --database nowhere --out m")]
    [InlineData(1, "or go on with: retro train --out begun", "ask --model begun what")]
    [InlineData(1, "There is no tokenizer at nowhere.bin;", "build --corpus docs --out work --tokenizer nowhere.bin")]
    [InlineData(1, "a-file is a file; name a folder to write into.", "build --corpus docs --out a-file")]
    [InlineData(1, "/proc/work cannot be made", "build --corpus docs --out /proc/work")]
    [InlineData(1, "nowhere holds no database (database/manifest.json); make one with: retro build", "train --database nowhere --out model")]
    [InlineData(1, "nowhere holds no database (database/manifest.json)", "train --database nowhere --out m")]
    [InlineData(1, "a-file is a file; name the folder of a database.", "neighbors --database a-file")]
    [InlineData(1, "--resume: out/model holds no training that could go on", "train --database nowhere --out out --resume")]
    [InlineData(1, "nowhere holds no model (model/config.json); make one with: retro train", "generate --model nowhere The")]
    [InlineData(1, "nowhere holds no model (model/config.json)", "eval --model nowhere")]
    [InlineData(1, "There is no decoder at nowhere;", "fit --base nowhere --database nowhere --out model")]
    [InlineData(1, "There is no folder nowhere.", "info nowhere")]
    [InlineData(1, "--json nowhere/results.json: name a file, in a folder that is there.", "info docs --json nowhere/results.json")]
    [InlineData(1, "empty holds nothing that retro reads", "info empty")]
    [InlineData(1, "empty holds no database and no model;", "verify empty")]
    [InlineData(1, "broken/retro.json cannot be read", "build --corpus docs --out broken")]
    [InlineData(1, "There is no folder or file nowhere", "experiment update --corpus nowhere")]
    [InlineData(1, "There is neither a folder nor a file nowhere.", "experiment retrofit --corpus docs --model nowhere --tokenizer docs")]
    [InlineData(1, "unknown/retro.json says 'stepz' for retro build, which has no such option; fix the file.", "build --corpus docs --out unknown")]
    public void What_cannot_be_meant_or_done_gets_one_sentence_and_an_exit_code(int code, string message, string line)
    {
        _retro.WriteCorpus();
        Directory.CreateDirectory(_retro["empty"]);
        File.WriteAllText(_retro["a-file"], "text");
        foreach ((string folder, string json) in new[]
        {
            ("broken", "{"), ("unknown", """{"build": {"stepz": "3"}}"""), ("begun", """{"train": {"database": "../nowhere"}}"""),
        })
        {
            Directory.CreateDirectory(_retro[folder]);
            File.WriteAllText(Path.Combine(_retro[folder], "retro.json"), json);
        }

        foreach (string part in new[] { "config.json", "vocab.json", "tokens.bin", "x.safetensors" })
        {
            _retro.WriteFile(Path.Combine("whole", part), "{}");
        }

        if (line.Contains("built", StringComparison.Ordinal))
        {
            _retro.Done("build", "--corpus", "docs", "--out", "built", "--vocabulary", "300", "--held-out-share", "0");
        }

        ChildProcess.Outcome run = _retro.Run(Words($"retro {line}"));

        Assert.True(run.ExitCode == code, $"{run.ExitCode}: {run.Errors}{run.Output}");
        string[] said = run.Errors.Trim().Split('\n');
        Assert.Contains(message, said[0], StringComparison.Ordinal);
        Assert.Equal(code == 2 ? [$"See retro {line.Split(' ')[0]} --help."] : [], said[1..].Where(one => !one.StartsWith('\'')));
        Assert.False(Directory.Exists(_retro["m"]));
    }

    [Theory]
    [InlineData("trian --out work", "trian", "Did you mean one of the following? train", "retro")]
    [InlineData("train --out model --database work --steep 3", "--steep", "Did you mean one of the following? --steps", "retro train")]
    [InlineData("build --out work --qqqqqq --resum", "--qqqqqq", null, "retro build")]
    [InlineData("experiment evaluate --output work", "--output", "Did you mean one of the following? --out", "retro experiment evaluate")]
    [InlineData("eval --model work --repotr page.html", "--repotr", "Did you mean one of the following? --report", "retro eval")]
    [InlineData("build --corpus --qqqqqq", "--qqqqqq", null, "retro build")]
    [InlineData("generate --model --tokns=5 text", "--tokns=5", "Did you mean one of the following? --tokens", "retro generate")]
    [InlineData("experiment ablations --only --stpes 3", "--stpes", "Did you mean one of the following? --steps", "retro experiment ablations")]
    [InlineData("experiment evalute", "evalute", "Did you mean one of the following? evaluate", "retro experiment")]
    public void Of_a_word_that_is_not_known_what_may_have_been_meant_is_said_and_nothing_of_the_rest(string line, string word, string? meant, string command)
    {
        ChildProcess.Outcome run = _retro.Run(Words($"retro {line}"));
        Assert.Equal(2, run.ExitCode);
        string[] said = run.Errors.Trim().Split('\n');
        Assert.Equal(($"Unrecognized command or argument '{word}'.", $"See {command} --help."), (said[0], said[^1]));
        Assert.Equal(meant is null ? [] : [$"'{word}' was not matched."], said[1..^1].Select(one => one[..(one.IndexOf('.', StringComparison.Ordinal) + 1)]));
        Assert.All(said[1..^1], one => Assert.Contains(meant!, one, StringComparison.Ordinal));
    }

    [Fact]
    public void Of_words_of_a_text_without_quotes_is_said_what_they_are_and_what_is_missing()
    {
        Assert.Equal(
            [
                "Unrecognized command or argument 'What?'.", "A question of several words stands in quotes.", "Option '--model' is required.",
                "See retro ask --help.",
            ],
            _retro.Run(Words("retro ask decoder What? Why?")).Errors.Trim().Split('\n'));

        // What begins as an option does is a value where it is typed as one.
        Assert.Contains("folder --k", _retro.Run(Words("retro info -- --k")).Errors, StringComparison.Ordinal);
        Assert.Contains("--repotr", _retro.Run(Words("retro eval --model=--repotr")).Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("Unrecognized", _retro.Run(Words("retro eval --model=--repotr")).Errors, StringComparison.Ordinal);
    }

    /// <summary>It would leave open to all what was to have a key, or let nobody in.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("secret\n")]
    public void A_key_that_no_request_can_bring_starts_no_server_wherever_it_is_said(string key)
    {
        _retro.Variables["RETRO_API_KEY"] = key;
        ChildProcess.Outcome run = _retro.Run("serve", "--model", "nowhere");
        Assert.Equal(2, run.ExitCode);
        Assert.StartsWith("RETRO_API_KEY takes a key of at least one character, and no white space;", run.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", run.Errors, StringComparison.Ordinal);
        Assert.Equal(1, _retro.Run("serve", "--model", "nowhere", "--api-key", "own").ExitCode); // which takes the variable's place
    }

    [Theory]
    [InlineData("--steps and --minutes exclude each other; leave out one of them.", "train --database work --out m --steps 3 --minutes 1")]
    [InlineData("--resume and --start-over exclude each other; leave out one of them.", "train --database w --out m --resume --start-over")]
    [InlineData("--resume and --start-over exclude each other; leave out one of them.", "fit --base b --database w --out m --resume --start-over")]
    [InlineData("--window does nothing here: answers are measured, and not text; leave it out.", "eval --model m --task qa --window 64")]
    [InlineData("--seeds does nothing here: answers are compared once; leave it out.", "compare --corpus docs --task qa --seeds 3")]
    [InlineData("--resume and --start-over exclude each other; leave out one of them.", "experiment ablations --resume --start-over")]
    [InlineData("--steps and --minutes exclude each other; leave out one of them.", "experiment evaluate --steps 3 --minutes 1")]
    [InlineData("--decoder-steps does nothing here: the decoder is there;", "experiment retrofit --model m --decoder-steps 3")]
    [InlineData("--attention does nothing here: it is for --reader retro;", "fit --base b --database w --out o --reader copying --attention paper")]
    [InlineData("--source does nothing here: the passages of questions", "fit --base b --database w --out o --task qa --source dense")]
    [InlineData("--embedder does nothing here: the passages of questions", "fit --base b --database w --out o --task qa --embedder e")]
    [InlineData("--embedder does nothing here: the source needs no keys;", "train --database w --out o --embedder e")]
    [InlineData("--embedder does nothing here: the source needs no keys;", "fit --base b --database w --out o --source random --embedder e")]
    [InlineData("--embedder does nothing here: the source needs no keys;", "neighbors --database w --embedder e")]
    [InlineData("--embedder does nothing here: the source needs no keys;", "search-eval --database w --queries q --judgments j --embedder e")]
    [InlineData("--recall does nothing here: the source needs no keys;", "neighbors --database w --recall 0.9")]
    [InlineData("--embedder does nothing here: the source needs no keys;", "inspect --database w --text t --beside random --embedder e")]
    [InlineData("--embedder does nothing here: the source needs no keys;", "verify w --recompute 0.1 --embedder e")]
    [InlineData("--embedder does nothing here: the source needs no keys;", "ask --model m --source bm25 --embedder e what")]
    [InlineData("--k does nothing here: a decoder alone reads nothing;", "train --database w --out o --source none --k 2")]
    [InlineData("--vocabulary does nothing here: the tokenizer is there;", "build --corpus c --out o --tokenizer t --vocabulary 300")]
    [InlineData("--clean does nothing here: nothing is added;", "update --database w --remove a --clean near")]
    [InlineData("--source does nothing here: nothing is made once more without --recompute;", "verify w --source dense")]
    [InlineData("--k does nothing here: neighbors are shown of --text and of --chunk alone;", "inspect --database w --k 3")]
    [InlineData("--most does nothing here: there is no list;", "inspect --database w --text t --most 3")]
    [InlineData("--of-held-out does nothing here: a text is in neither database;", "inspect --database w --text t --of-held-out")]
    [InlineData("--k does nothing here: nothing is read;", "generate --model m --source none --k 2 The")]
    [InlineData("--retrieve-every does nothing here: nothing is read;", "generate --model m --source none --retrieve-every 8 The")]
    [InlineData("--in-prompt does nothing here: nothing is read;", "ask --model m --source none --in-prompt 2 what")]
    [InlineData("--in-prompt does nothing here: nothing is read;", "serve --model m --source none --in-prompt 2")]
    [InlineData("--top-k does nothing here: nothing is drawn with --temperature 0 or several --beams;", "ask --model m --top-k 4 what")]
    [InlineData("--seed does nothing here: nothing is drawn with --temperature 0 or several --beams;", "generate --model m --beams 2 --seed 4 The")]
    public void What_would_do_nothing_is_not_taken_in_silence(string message, string line)
    {
        ChildProcess.Outcome run = _retro.Run(Words($"retro {line}"));
        Assert.Equal(2, run.ExitCode);
        Assert.StartsWith(message, run.Errors, StringComparison.Ordinal);
    }

    /// <summary>Of the options that a folder may know, the help says so; the folder itself is required.</summary>
    [Fact]
    public void What_a_folder_may_know_is_not_called_required_in_the_help()
    {
        string[] help = _retro.Done("build", "--help").Split('\n');
        Assert.Contains("Required, unless retro.json says it.", Assert.Single(help, line => line.TrimStart().StartsWith("--corpus ", StringComparison.Ordinal)),
            StringComparison.Ordinal);
        Assert.StartsWith("--out ", Assert.Single(help, line => line.Contains("(REQUIRED)", StringComparison.Ordinal)).TrimStart(), StringComparison.Ordinal);
        Assert.Contains("or neighbors (--database), holds retro.json", string.Join(' ', _retro.Done("--help").Split((char[]?)null)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_question_may_be_piped()
    {
        ChildProcess.Outcome run = ChildProcess.Run(CtrlC.Start(_retro.Folder, "bash", "-c", $"printf '\n' | dotnet '{Fixtures.Cli}' ask --model nowhere -"));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("The question is empty; ask something.", run.Output + run.Errors, StringComparison.Ordinal);
    }

    /// <summary>Whoever has forgotten the pipe can stop it all the same.</summary>
    [Fact]
    public async Task A_text_that_does_not_come_is_not_waited_for_when_it_is_stopped()
    {
        using Waiting waiting = new();
        using CancellationTokenSource stopping = new();
        GenerateCommand generate = new(() => waiting);
        try
        {
            ParseResult parsed = generate.Parse(["--model", _retro["nowhere"], "-"]);
            Task running = Task.Run(() => generate.RunAsync(parsed, stopping.Token), TestContext.Current.CancellationToken);
            Assert.True(waiting.IsAsked.Wait(ChildProcess.Limit, TestContext.Current.CancellationToken));
            await stopping.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running.WaitAsync(ChildProcess.Limit));
        }
        finally
        {
            waiting.End.Set();
        }
    }

    /// <summary>What is written there would not be a file, and is not to be made one.</summary>
    [Fact]
    public void Results_go_into_a_pipe_as_it_is()
    {
        _retro.Build();
        ChildProcess.Outcome run = ChildProcess.Run(CtrlC.Start(
            _retro.Folder, "bash", "-c", $"dotnet '{Fixtures.Cli}' neighbors --database work --k 3 --quiet --json /dev/fd/3 3>&1 1>neighbors.txt | cat"));
        Assert.Equal("", run.Errors);
        Assert.Equal(3, (int)System.Text.Json.Nodes.JsonNode.Parse(run.Output)!["k"]!);
    }

    /// <summary>Where the shell has sent a stream into a file, that keeps what it held, and what is printed into it.</summary>
    [Fact]
    public void Results_go_behind_what_the_file_of_a_stream_holds()
    {
        _retro.Build();
        foreach ((string device, string into) in new[]
        {
            ("/dev/stdout", ">> all.log"), ("/dev/fd/1", "> all.log"), ("/dev/stderr", "2>> all.log"), ("/dev/fd/3", "3>> all.log"),
        })
        {
            _retro.WriteFile("all.log", "before\n");
            ChildProcess.Outcome run = ChildProcess.Run(CtrlC.Start(
                _retro.Folder, "bash", "-c", $"dotnet '{Fixtures.Cli}' info work --json {device} {into}"));
            Assert.Equal((0, ""), (run.ExitCode, run.Errors));
            string all = File.ReadAllText(_retro["all.log"]), printed = into.StartsWith('>') ? all : run.Output;
            Assert.Equal(into.Contains(">>", StringComparison.Ordinal), all.StartsWith("before\n", StringComparison.Ordinal));
            Assert.Contains("remembered for retro build: ", printed, StringComparison.Ordinal);
            Assert.NotNull(System.Text.Json.Nodes.JsonNode.Parse(all[all.IndexOf("{\n", StringComparison.Ordinal)..])!["remembered for build"]);
        }
    }

    [Fact]
    public void A_file_that_is_called_as_a_stream_is_written_where_its_folder_is_named()
    {
        _retro.WriteFile("m/retro.json", """{"train": {"database": "nowhere"}}""");
        _retro.Done("info", "m", "--json", "./-");
        Assert.NotNull(_retro.Json("-")["remembered for train"]);
    }

    /// <summary>Nothing is read of what Retro wrote: a folder, a page, results, or a table of numbers.</summary>
    [Fact]
    public void Results_may_lie_in_the_corpus_where_they_are_not_taken_for_text()
    {
        _retro.WriteCorpus();
        string[] build = ["build", "--corpus", "docs", "--out", "docs/work", "--vocabulary", "300", "--chunk", "16", "--held-out-share", "0.2"];
        _retro.Done(build);
        _retro.Done(["train", "--database", "docs/work", "--out", "decoder", "--source", "none", "--steps", "1", "--csv", "docs/steps.csv", .. CliRun.Tiny]);
        Directory.CreateDirectory(_retro["docs/work/results"]);
        string[] eval = ["eval", "--model", "decoder", "--window", "64", "--report", "docs/eval.html", "--json"];
        Assert.StartsWith("--json docs/eval.txt is in the corpus ", _retro.Run([.. eval, "docs/eval.txt"]).Errors, StringComparison.Ordinal);
        _retro.Done([.. eval, "docs/work/results/eval.txt"]);
        _retro.Done([.. build, "--plan", "--json", "docs/plan.json"]);
        Assert.True(File.Exists(_retro["docs/steps.csv"]) && File.Exists(_retro["docs/plan.json"]));
        _retro.Done(build); // of the same text

        // A corpus of one file would be replaced, whatever its ending.
        _retro.WriteFile("talks.json", """{"text": "The ferry crosses every morning."}""");
        Assert.StartsWith(
            "--json talks.json is in the corpus talks.json",
            _retro.Run("build", "--corpus", "talks.json", "--out", "talks", "--json", "talks.json").Errors,
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_model_is_not_replaced_unasked()
    {
        _retro.Build();
        string[] train = ["train", "--out", "work", "--source", "none", "--steps", "1", "--quiet", .. CliRun.Tiny];
        _retro.Done(train);
        ChildProcess.Outcome run = _retro.Run(train);
        Assert.Equal(1, run.ExitCode);
        Assert.Equal(
            $"{Path.Combine("work", "model")} holds a model already; go on with it (--resume), replace it (--start-over), or name another folder.",
            run.Errors.Trim());
        _retro.Done([.. train, "--start-over"]);

        // What is refused is not remembered.
        ChildProcess.Outcome refused = _retro.Run("train", "--out", "other", "--database", "work", "--window", "100");
        Assert.Equal(2, refused.ExitCode);
        Assert.StartsWith("--window takes a multiple of the database's chunk length, 16, not 100.", refused.Errors, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(_retro["other"], "retro.json")));

        // Neither is a window that a RETRO cannot use, of which it would be said after its neighbors were found.
        refused = _retro.Run("train", "--out", "other", "--database", "work", "--window", "16");
        Assert.Equal(2, refused.ExitCode);
        Assert.StartsWith("--window takes at least 32, 2 chunks of the database, where neighbors are read, not 16:", refused.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("find neighbors", refused.Output + refused.Errors, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(_retro["other"], "retro.json")));

        // The state of a training is something to go on with, though it stood alone; what is missing beside it then comes.
        string folder = Path.Combine(_retro["work"], "model");
        foreach (string file in Directory.GetFiles(folder).Where(file => Path.GetFileName(file) != Trainer.StateFile))
        {
            File.Delete(file);
        }

        run = _retro.Run(train);
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("holds a model already", run.Errors, StringComparison.Ordinal);
        Assert.Contains("its training was finished before", _retro.Done("train", "--out", "work", "--resume"), StringComparison.Ordinal);
        _retro.Done("generate", "--model", "work", "--source", "none", "--tokens", "3", "--quiet", "The");
        _retro.Done("verify", "work", "--quiet");
    }

    /// <summary>A loss that is no number stands in no JSON.</summary>
    [Fact]
    public void The_loss_of_a_training_is_the_mean_of_the_steps_that_have_one()
    {
        Assert.Equal(2, TrainingRun.MeanLoss([1, double.NaN, 3, double.PositiveInfinity]));
        Assert.Null(TrainingRun.MeanLoss([double.NaN]));
        Assert.Contains("null", Workspace.Serialize(new() { ["loss"] = TrainingRun.MeanLoss([double.NaN]) }), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--out work", "--out", "work")]
    [InlineData("--out 'my work'", "--out", "my work")]
    [InlineData("--separator ''", "--separator", "")]
    [InlineData("--separator=--", "--separator", "--")]
    [InlineData("--separator='- -'", "--separator", "- -")]
    public void An_option_is_printed_as_it_can_be_typed(string printed, string name, string value) => Assert.Equal(printed, Shell.Option(name, value));

    [Fact]
    public void Where_the_last_steps_of_a_training_could_not_be_saved_it_is_said_why()
    {
        RetroException fault = new("The text has ended.");
        Assert.Equal("The text has ended.", Tool.AndWhyNotSaved(fault.Message, fault));
        fault.Data[Trainer.NotSaved] = "There is no space left on the disk.";
        Assert.Equal("The text has ended. There is no space left on the disk.", Tool.AndWhyNotSaved(fault.Message, fault));
    }

    /// <summary>What stands behind -- is no option, and what retro.json knows is one.</summary>
    [Fact]
    public void A_text_that_begins_with_a_dash_is_no_option()
    {
        _retro.WriteFile("m/model/config.json", "{}");
        _retro.WriteFile("m/retro.json", """{"train": {"database": "nowhere"}}""");
        ChildProcess.Outcome run = _retro.Run("generate", "--model", "m", "--", "- first");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("nowhere holds no database", run.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void The_folder_that_is_meant_where_none_is_named_knows_what_was_typed_and_keeps_to_it()
    {
        const string Typed = """{"quickstart": {"corpus": "nowhere"}}""";
        _retro.WriteFile(Path.Combine("artifacts", "quickstart", "retro.json"), Typed);
        foreach ((string option, string value, string said) in new[]
        {
            ("--seed", "7", "A run that goes on keeps to --seed 1; leave --seed out, or begin another run."),
            ("--minutes", "5", "A run that goes on keeps to --minutes 12;"),
            ("--corpus", "elsewhere", "A run that goes on keeps to --corpus nowhere;"),
            ("--dtype", "float32", "A run that goes on keeps to what it was begun with, without --dtype;"),
        })
        {
            ChildProcess.Outcome other = _retro.Run("quickstart", "--resume", option, value);
            Assert.Equal(2, other.ExitCode);
            Assert.StartsWith(said, other.Errors, StringComparison.Ordinal);
        }

        Assert.Equal(Typed, File.ReadAllText(Path.Combine(_retro["artifacts"], "quickstart", "retro.json")));
        ChildProcess.Outcome run = _retro.Run("quickstart", "--resume");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("There is no folder or file ", run.Errors, StringComparison.Ordinal);
    }

    /// <summary>What asks a reader of text for all of it, and does not get it until the end.</summary>
    private sealed class Waiting : MemoryStream
    {
        public ManualResetEventSlim IsAsked { get; } = new();

        public ManualResetEventSlim End { get; } = new();

        public override int Read(byte[] buffer, int offset, int count)
        {
            IsAsked.Set();
            End.Wait();
            return 0;
        }
    }

    /// <summary>The words of a command line without its first, with quotes taken off.</summary>
    private static string[] Words(string line)
    {
        string words = line[(line.IndexOf("retro ", StringComparison.Ordinal) + "retro ".Length)..];
        return [.. CommandLineParser.SplitCommandLine(words.Replace("''", "\"\"", StringComparison.Ordinal))];
    }

    /// <summary>The verbs of a command and of the groups in it, and how each is typed.</summary>
    private static IEnumerable<(string Typed, Verb Verb)> Below(Command group, string typed = "") => group.Subcommands.SelectMany(
        command => command is Verb verb ? [(typed + verb.Name, verb)] : Below(command, $"{typed}{command.Name} "));

    /// <summary>A whole command line within a sentence; where something is left open there, it is no command.</summary>
    [GeneratedRegex("`(retro [a-z][^`<]*)`")]
    private static partial Regex InlinePattern();
}
