using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;

namespace Retro.Cli;

/// <summary>A verb of the tool: its options, its examples, and what it does.</summary>
internal abstract class Verb : Command
{
    // What is written that no corpus takes for text, under its ending: pages that say they are Retro's, results, of which the first line is no document, and
    // tables without a column of texts.
    private static readonly (string Option, string Ending)[] s_noTexts = [("--report", ".html"), ("--json", ".json"), ("--csv", ".csv")];

    /// <summary>Creates the verb.</summary>
    /// <param name="name">What is typed.</param>
    /// <param name="description">What it does, in sentences.</param>
    /// <param name="examples">Command lines, for its help.</param>
    protected Verb(string name, string description, params string[] examples)
        : base(name, description)
    {
        Examples = examples;
        SetAction(RunAsync);
    }

    /// <summary>Command lines that show its use.</summary>
    public IReadOnlyList<string> Examples { get; }

    /// <summary>Leaves out the progress.</summary>
    public Option<bool> Quiet { get; } = new("--quiet") { Description = "Print results and faults alone, no progress." };

    /// <summary>Where the results go for programs.</summary>
    public PathOption Json { get; } = new("--json", "FILE") { Description = "Write the results into this file too, as JSON." };

    /// <summary>The command line as it was typed, before retro.json completed it.</summary>
    public ParseResult? Original { get; set; }

    /// <summary>Adds the verb's own options, and after them those that all verbs have.</summary>
    protected void AddOptions(params Option[] own)
    {
        foreach (Option option in own)
        {
            Add(option);
        }

        if (HasResults)
        {
            Add(Json);
        }

        Add(Quiet);
    }

    /// <summary>Whether it comes to results, which --json writes.</summary>
    protected virtual bool HasResults => true;

    /// <summary>The option that names the folder whose retro.json says what is not typed; null: none.</summary>
    protected virtual PathOption? Home => null;

    /// <summary>Options of which one alone can be meant; what is typed of them takes the place of what is remembered.</summary>
    protected virtual IReadOnlyList<Option> OneOf => [];

    /// <summary>Options that do nothing beside what else is said, each with why, as a clause.</summary>
    /// <param name="said">What an option is given, typed, remembered or by default, its values with spaces between; null: nothing.</param>
    protected virtual IEnumerable<(Option Option, string Why)> Idle(Func<Option, string?> said) => [];

    /// <summary>Options that have to be given, unless the folder's retro.json says them.</summary>
    public IEnumerable<Option> Remembering => Home is null ? [] : Options.Where(option => option.Required && option != Home);

    /// <summary>The files that it writes when its work is done, with the options that name them.</summary>
    protected virtual IEnumerable<(string Name, string? File)> Written(ParseResult parsed) => HasResults ? [(Json.Name, parsed.GetValue(Json))] : [];

    /// <summary>Does the work.</summary>
    /// <param name="parsed">The command line, completed.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public abstract Task RunAsync(ParseResult parsed, CancellationToken cancellationToken);

    /// <summary>What is said once it is to stop.</summary>
    public virtual string Stopping => "Stopping after the current step; Ctrl-C once more stops at once.";

    /// <summary>What the process ends with after it was stopped.</summary>
    public virtual int Stopped => ExitCodes.Stopped;

    /// <summary>What to do after it was stopped.</summary>
    public virtual string HowToGoOn(ParseResult parsed) => "Nothing half-written is taken for whole; the same command starts again.";

    /// <summary>Whether an option was typed, and is not from retro.json.</summary>
    protected bool IsTyped(Option option) => Original?.GetResult(option) is { Implicit: false };

    /// <summary>What retro.json adds to a command line: options that are not typed, with their values.</summary>
    /// <param name="parsed">The command line.</param>
    /// <exception cref="RetroException">The file cannot be read.</exception>
    public virtual IReadOnlyList<string> Remembered(ParseResult parsed)
    {
        bool isThere = Home is not null && parsed.GetResult(Home) is { } result && !result.Errors.Any();
        return isThere && parsed.GetValue(Home!) is { Length: > 0 } folder ? [.. Remembered(parsed, new Workspace(folder))] : [];
    }

    /// <summary>What a folder's retro.json adds to a command line.</summary>
    protected virtual IEnumerable<string> Remembered(ParseResult parsed, Workspace workspace)
        => ArgumentsOf(parsed, workspace, workspace.Section(Name), all: true);

    /// <summary>What the folder of a model adds to the command line of a verb that reads with it: what was typed where the model was made.</summary>
    protected IEnumerable<string> OfModel(ParseResult parsed, Workspace workspace)
    {
        (Workspace made, JsonObject section) = ModelFolder.Made(workspace.Folder);
        return ArgumentsOf(parsed, made, section, all: false);
    }

    /// <summary>The options of a section that are not typed, as arguments.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="workspace">Where the section is from; its relative paths begin there.</param>
    /// <param name="section">Values by option; null: none.</param>
    /// <param name="all">Whether every value has to be one of this verb's options.</param>
    /// <returns>The arguments.</returns>
    protected IEnumerable<string> ArgumentsOf(ParseResult parsed, Workspace workspace, JsonObject? section, bool all)
    {
        Option[] idle = [.. Idle(Said).Select(one => one.Option)];
        foreach ((string name, JsonNode? value) in section ?? [])
        {
            Option? option = Options.FirstOrDefault(option => option.Name == $"--{name}");
            if (option is null)
            {
                if (all)
                {
                    throw new RetroException($"{workspace.SettingsPath} says '{name}' for {Tool.Name} {Name}, which has no such option; fix the file.");
                }

                continue;
            }

            if (IsTyped(option) || idle.Contains(option) || (OneOf.Contains(option) && OneOf.Any(IsTyped)))
            {
                continue;
            }

            foreach (JsonNode? one in value is JsonArray many ? [.. many] : new[] { value })
            {
                string said = one?.ToString() ?? "", text = option is PathOption path ? Found(path, said, workspace) : said;
                if (text.StartsWith('-'))
                {
                    yield return $"{option.Name}={text}"; // by itself it would be an option, or the end of all
                    continue;
                }

                yield return option.Name;
                yield return text;
            }
        }

        string? Said(Option option) => IsTyped(option) || section?[option.Name[2..]] is not { } value
            ? Given(parsed, option)
            : value is JsonArray many ? string.Join(' ', many.Select(one => one?.ToString())) : value.ToString();
    }

    /// <summary>A section as <see cref="Typed"/> would keep it now: paths were kept whole once.</summary>
    protected JsonObject AsKept(JsonObject section, Workspace workspace)
    {
        JsonObject kept = section.DeepClone().AsObject();
        foreach (PathOption option in Options.OfType<PathOption>())
        {
            if (kept[option.Name[2..]]?.ToString() is { } path)
            {
                kept[option.Name[2..]] = workspace.ToRelative(Found(option, path, workspace));
            }
        }

        return kept;
    }

    private static string Found(PathOption option, string path, Workspace workspace)
        => option.IsWritten ? workspace.FromRelative(path) : workspace.Locate(path);

    /// <summary>What an option is given on a command line, or by default, its values with spaces between; null: nothing.</summary>
    private static string? Given(ParseResult parsed, Option option)
        => parsed.GetResult(option) is { Implicit: false } result ? string.Join(' ', result.Tokens.Select(token => token.Value).DefaultIfEmpty("true"))
            : Default(option);

    private static string? Default(Option option)
        => option.HasDefaultValue ? Convert.ToString(option.GetDefaultValue(), CultureInfo.InvariantCulture) : null;

    /// <summary>Makes options do nothing for one reason.</summary>
    protected static IEnumerable<(Option Option, string Why)> Because(string why, params Option[] options) => options.Select(option => (option, why));

    /// <summary>The database of the folder that is written into, where none is named or remembered and it has one.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="workspace">The folder.</param>
    /// <param name="database">The option that names a database.</param>
    /// <param name="remembered">What is remembered.</param>
    protected static IEnumerable<string> WithDatabaseThere(ParseResult parsed, Workspace workspace, PathOption database, IEnumerable<string> remembered)
    {
        string[] all = [.. remembered];
        bool isNamed = parsed.GetResult(database) is { Implicit: false } || all.Contains(database.Name);
        return isNamed || !Directory.Exists(workspace.Database) ? all : [.. all, database.Name, workspace.Folder];
    }

    /// <summary>Refuses what is typed otherwise than it was said for the run that goes on, which keeps to that.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="workspace">The folder of the run.</param>
    /// <param name="options">What cannot change.</param>
    /// <exception cref="UsageException">Something is.</exception>
    protected void RequireAsBegun(ParseResult parsed, Workspace workspace, params IEnumerable<Option> options)
    {
        JsonObject begun = workspace.Section(Name) ?? [], now = Typed(parsed, workspace);
        foreach (Option option in options.Where(IsTyped))
        {
            string name = option.Name[2..];
            string? before = begun[name]?.ToString() ?? Default(option), given = now[name]?.ToString();
            if (given != before && !IsSame(option, given, before))
            {
                throw new UsageException(
                    $"A run that goes on keeps to {(before is null ? $"what it was begun with, without {option.Name}" : $"{option.Name} {before}")}; leave "
                        + $"{option.Name} out, or begin another run.");
            }
        }

        // One number, or one path, is written in several ways.
        bool IsSame(Option option, string? one, string? other)
            => one is not null && other is not null && (option is PathOption
                ? workspace.FromRelative(one) == workspace.Locate(other)
                : double.TryParse(one, CultureInfo.InvariantCulture, out double number)
                    && double.TryParse(other, CultureInfo.InvariantCulture, out double otherNumber) && number == otherNumber);
    }

    /// <summary>Trains; where what the folder holds cannot go on, the reason is looked for in what was typed.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="workspace">The folder of the run.</param>
    /// <param name="options">What cannot change.</param>
    /// <param name="train">Trains.</param>
    /// <returns>What is worth telling.</returns>
    /// <exception cref="UsageException">Something was typed otherwise than it was said for the run that goes on.</exception>
    protected JsonObject GoOn(ParseResult parsed, Workspace workspace, IEnumerable<Option> options, Func<JsonObject> train)
    {
        try
        {
            return train();
        }
        catch (CheckpointException)
        {
            RequireAsBegun(parsed, workspace, options);
            throw;
        }
    }

    /// <summary>Keeps what was typed, or taken from there, in a folder's retro.json.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="workspace">The folder.</param>
    /// <param name="notKept">Options that say what to do this time alone.</param>
    protected void Remember(ParseResult parsed, Workspace workspace, params Option[] notKept) => workspace.Write(Name, Typed(parsed, workspace, notKept));

    /// <summary>What retro.json keeps of a command line.</summary>
    /// <inheritdoc cref="Remember"/>
    protected JsonObject Typed(ParseResult parsed, Workspace workspace, params Option[] notKept)
    {
        JsonObject section = [];
        foreach (Option option in Options)
        {
            if (option == Quiet || option == Json || option == Home || notKept.Contains(option) || parsed.GetResult(option) is not { Implicit: false } result)
            {
                continue;
            }

            // A flag has no value.
            string[] values = [.. result.Tokens.Select(token => option is PathOption ? workspace.ToRelative(token.Value) : token.Value).DefaultIfEmpty("true")];
            section[option.Name[2..]] = values.Length == 1 ? JsonValue.Create(values[0]) : new JsonArray([.. values.Select(value => JsonValue.Create(value))]);
        }

        // What does nothing this time stays as it was said for another.
        JsonObject before = workspace.Section(Name) ?? [];
        foreach (Option idle in Idle(option => Given(parsed, option)).Select(one => one.Option).Except(notKept).Where(idle => !IsTyped(idle)))
        {
            if (before[idle.Name[2..]] is { } kept && !(OneOf.Contains(idle) && OneOf.Any(one => section.ContainsKey(one.Name[2..]))))
            {
                section[idle.Name[2..]] = kept.DeepClone();
            }
        }

        return section;
    }

    /// <summary>Makes sure, before any work is done, that all that was said can be meant, and that results can be written where they are asked for.</summary>
    /// <exception cref="UsageException">It cannot be meant.</exception>
    /// <exception cref="RetroException">They cannot be written.</exception>
    public void RequireMeant(ParseResult parsed)
    {
        // What goes on does not begin anew, whatever the verb.
        foreach (IEnumerable<Option> group in new[] { OneOf, Options.Where(option => option.Name is "--resume" or "--start-over") })
        {
            if (group.Where(IsTyped).ToArray() is [var one, var other, ..])
            {
                throw new UsageException($"{one.Name} and {other.Name} exclude each other; leave out one of them.");
            }
        }

        RequireApart(parsed);
        foreach ((Option option, string why) in Idle(option => Given(parsed, option)))
        {
            if (parsed.GetResult(option) is { Implicit: false })
            {
                throw new UsageException($"{option.Name} does nothing here: {why}; leave it out.");
            }
        }

        (string Name, string File)[] written = [.. Written(parsed).Where(one => one.File is not null).Select(one => (one.Name, Path.GetFullPath(one.File!)))];
        if (written.GroupBy(one => one.File).FirstOrDefault(same => same.Count() > 1)?.ToArray() is [var first, var second, ..])
        {
            throw new UsageException($"{first.Name} and {second.Name} name one file, of which one alone would stay; name two.");
        }

        foreach ((string name, string? file) in Written(parsed))
        {
            if (file is null || (name == Json.Name && Workspace.IsDevice(file) && File.Exists(file)))
            {
                continue;
            }

            // Tables go to the standard output, too: who wants the results there as well says so by its name.
            if (file == StandardInput.Name)
            {
                string output = name == Json.Name ? "the standard output is called /dev/stdout, and " : "";
                throw new UsageException($"{name} {file}: {output}a file of this name is called ./{file}.");
            }

            string? folder = Path.GetDirectoryName(Path.GetFullPath(file));
            if (Directory.Exists(file) || !Directory.Exists(folder) || Workspace.IsDevice(file))
            {
                string device = Workspace.IsDevice(file) && File.Exists(file) ? "a device cannot be replaced by a file; " : "";
                throw new RetroException($"{name} {file}: {device}name a file, in a folder that is there.");
            }

            if (Workspace.IsPart(file))
            {
                throw new UsageException($"{name} {file} would replace a file of {Tool.Name}'s own, without which what is in {folder} is lost; name another.");
            }

            if (Corpora(parsed).FirstOrDefault(corpus => IsText(name, file, corpus)) is { } text)
            {
                throw new UsageException($"{name} {file} is in the corpus {text}, and would be read as text the next time; name another.");
            }

            try
            {
                File.Create(Path.Combine(folder, $".writable-{Guid.NewGuid():N}"), 1, FileOptions.DeleteOnClose).Dispose();
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw new RetroException(
                    $"{name} {file} cannot be written ({exception.Message}); name a file in a folder that this user may write.", exception);
            }
        }
    }

    // What is written beside a corpus would be read as text from the next time on: a tokenizer's merges.txt, a report with held-out text; and retro.json makes
    // the folder one that Retro wrote, of which nothing is read where it is a part of another corpus.
    private void RequireApart(ParseResult parsed)
    {
        if (Home is { Name: "--out" } home && parsed.GetValue(home) is { } folder
            && Corpora(parsed).Any(corpus => Workspace.Full(corpus) == Workspace.Full(folder)))
        {
            string such = File.Exists(folder) ? "" : $", such as {Path.Combine(folder, "retro")}";
            throw new UsageException(
                $"{home.Name} {folder} is the corpus itself, and what is written there would be read as text the next time; name another folder{such}.");
        }
    }

    // A corpus of one file is read whatever that holds. Of others nothing is read of what lies in a folder that Retro wrote, nor of what is no text by itself.
    private static bool IsText(string name, string file, string corpus)
    {
        if (Workspace.Full(file) == Workspace.Full(corpus))
        {
            return true;
        }

        string? folder = Path.GetDirectoryName(Path.GetFullPath(file));
        for (; folder is not null && Workspace.IsBelow(folder, corpus); folder = Path.GetDirectoryName(folder))
        {
            if (Workspace.IsOurs(folder))
            {
                return false;
            }
        }

        return Workspace.IsBelow(file, corpus)
            && !Array.Exists(s_noTexts, one => one.Option == name && file.EndsWith(one.Ending, StringComparison.Ordinal));
    }

    /// <summary>The corpus that a command line names, and the one that a database which it names was built of.</summary>
    private IEnumerable<string> Corpora(ParseResult parsed)
    {
        const string Corpus = "--corpus";
        Workspace? database = Said("--database") is { } named ? Workspace.FindDatabase(named) : null;
        string? built = database?.Section("build")?[Corpus[2..]]?.ToString();
        return new[] { Said(Corpus), built is null ? null : database!.FromRelative(built) }.OfType<string>();

        string? Said(string name) => Options.OfType<PathOption>().FirstOrDefault(option => option.Name == name) is { } option ? parsed.GetValue(option) : null;
    }

    /// <summary>Writes the results where --json asks for them.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="results">The results.</param>
    protected void WriteJson(ParseResult parsed, JsonObject results)
    {
        if (parsed.GetValue(Json) is { } path)
        {
            Workspace.WriteText(path, Workspace.Serialize(results));
        }
    }
}
