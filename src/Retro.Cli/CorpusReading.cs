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

    private readonly Option<bool> _idsByFile = new("--ids-by-file")
    {
        Description = "Put the file's name before the ids of JSON lines, where they begin anew in every file.",
    };

    private readonly Option<bool> _skipBroken = new("--skip-broken")
    {
        Description = "Leave out files and lines that cannot be read, with a count, instead of stopping.",
    };

    public CorpusReading()
    {
        Require(_encoding, value => new() { Encoding = value }, "the name of an encoding, such as windows-1252");
        Require(_separator, value => new() { Separator = value }, "one line");
    }

    /// <summary>The options.</summary>
    public IReadOnlyList<Option> Options => [_encoding, _separator, _idsByFile, _skipBroken];

    /// <summary>The name of the option that cuts text files.</summary>
    public string Separator => _separator.Name;

    /// <summary>What was said.</summary>
    public CorpusOptions Of(ParseResult parsed) => new()
    {
        Encoding = parsed.GetValue(_encoding), Separator = parsed.GetValue(_separator), IdsByFile = parsed.GetValue(_idsByFile),
        SkipBroken = parsed.GetValue(_skipBroken),
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
