using System.CommandLine;
using Retro.Corpora;

namespace Retro.Cli;

/// <summary>How a verb that reads a corpus reads it.</summary>
internal sealed class CorpusReading
{
    private readonly Option<string?> _encoding = new("--encoding")
    {
        Description = "Encoding of files that are not UTF-8, such as windows-1252. Default: there must be none.",
        HelpName = "NAME",
    };

    private readonly Option<string?> _separator = new("--separator")
    {
        Description = "The line that parts the documents of .txt files, such as \"<|endoftext|>\"; \"\" for empty lines. Default: a file is a document.",
        HelpName = "LINE",
    };

    private readonly Option<string[]> _fields = FieldNames("as they are here");

    private readonly Option<bool> _idsByFile = new("--ids-by-file")
    {
        Description = "Put the file's name before the ids of JSON lines and rows of tables, where they start again in every file.",
    };

    private readonly Option<bool> _skipBroken = new("--skip-broken")
    {
        Description = "Leave out files and lines that cannot be read, and name the first of them, instead of stopping.",
    };

    private readonly Option<string[]> _include = Patterns(
        "--include", "Read the files alone that this pattern matches, such as \"guide/**/*.md\": a path below the corpus, * for a part of a name, ** for any "
            + "folders", "for all");

    private readonly Option<string[]> _exclude = Patterns("--exclude", "Leave out the files that this pattern matches, such as \"drafts/**\"", "for none");

    public CorpusReading()
    {
        Require(_encoding, value => new() { Encoding = value }, "the name of an encoding, such as windows-1252");
        Require(_separator, value => new() { Separator = value }, "one line that is not of white space alone, or \"\"");
    }

    /// <summary>The options.</summary>
    public IReadOnlyList<Option> Options => [_include, _exclude, _encoding, _separator, _fields, _idsByFile, _skipBroken];

    /// <summary>The options that say which files are read.</summary>
    public IReadOnlyList<Option> Files => [_include, _exclude];

    /// <summary>The name of the option that cuts text files.</summary>
    public string Separator => _separator.Name;

    /// <summary>What the fields of documents are called in rows and lines.</summary>
    /// <param name="unsaid">Without the option, as the help says it.</param>
    public static Option<string[]> FieldNames(string unsaid)
    {
        Option<string[]> fields = new("--fields")
        {
            Description = "What text, id, title or labels are called in JSON lines, CSV and Parquet, such as \"text=body\"; may be given several times. "
                + $"Default: {unsaid}.",
            HelpName = "FIELD=NAME",
        };
        fields.Validators.Add(result => Array.ForEach([.. result.Tokens.Where(token => With(new(), token.Value) is null)], token => result.AddError(
            $"{fields.Name} takes text, id, title or labels with the name of a member or column behind it, such as \"text=body\", not '{token.Value}'.")));
        return fields;
    }

    /// <summary>What was said with <see cref="FieldNames"/>.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="fields">The option.</param>
    /// <param name="unsaid">What they are called where nothing is said.</param>
    public static DocumentFields Named(ParseResult parsed, Option<string[]> fields, DocumentFields unsaid)
        => (parsed.GetValue(fields) ?? []).Aggregate(unsaid, (named, one) => With(named, one)!);

    /// <summary>What was said.</summary>
    public CorpusOptions Of(ParseResult parsed) => new()
    {
        Encoding = parsed.GetValue(_encoding), Separator = parsed.GetValue(_separator), IdsByFile = parsed.GetValue(_idsByFile),
        Fields = Named(parsed, _fields, new()),
        SkipBroken = parsed.GetValue(_skipBroken), Include = Said(parsed, _include), Exclude = Said(parsed, _exclude),
    };

    // What a field is called: "text=body"; null where that says nothing.
    private static DocumentFields? With(DocumentFields fields, string said) => said.Split('=', 2) switch
    {
        [_, ""] => null,
        ["text", var name] => fields with { Text = name },
        ["id", var name] => fields with { Id = name },
        ["title", var name] => fields with { Title = name },
        ["labels", var name] => fields with { Labels = name },
        _ => null,
    };

    private static string[] Said(ParseResult parsed, Option<string[]> patterns) => [.. (parsed.GetValue(patterns) ?? []).Where(pattern => pattern.Length > 0)];

    private static Option<string[]> Patterns(string name, string description, string none) => new(name)
    {
        Description = $"{description}; may be given several times, \"\" {none}.",
        HelpName = "PATTERN",
    };

    private static void Require(Option<string?> option, Func<string?, CorpusOptions> made, string expected) => option.Validators.Add(result =>
    {
        try
        {
            made(result.Tokens is [var value] ? value.Value : null).Validate();
        }
        catch (RetroOptionsException)
        {
            result.AddError($"{option.Name} takes {expected}, not '{result.Tokens[0].Value}'.");
        }
    });
}
