using System.Text.RegularExpressions;
using Tomlyn;
using Tomlyn.Parsing;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Retro.Corpora;

/// <summary>What stands before a Markdown page for the programs that publish it: YAML between lines of "---", or TOML between lines of "+++".</summary>
internal static partial class FrontMatter
{
    private const int MostCharacters = 1 << 16;
    private const int DeepestNode = 64;

    /// <summary>
    /// Splits front matter off: from a first line "---" to the next "---" or "...", where a mapping stands between them, or lines that could be those of one
    /// (files whose YAML is not quite right are many), or nothing but comments; or from "+++" to "+++", where TOML is between them.
    /// </summary>
    /// <returns>The title in it, if any, and the rest; the whole text where there is none.</returns>
    public static (string? Title, string Body) Split(string text)
    {
        if (Yaml().Match(text) is { Success: true } yaml && yaml.Groups["in"].Length <= MostCharacters)
        {
            string inside = yaml.Groups["in"].Value;
            (bool mapping, string? title) = ReadYaml(inside);
            if (mapping || YamlLines().IsMatch(inside))
            {
                return (title, text[yaml.Length..]);
            }
        }
        else if (Toml().Match(text) is { Success: true } toml && toml.Groups["in"].Length <= MostCharacters && TomlBegins().IsMatch(toml.Groups["in"].Value))
        {
            return (TitleOfToml(toml.Groups["in"].Value), text[toml.Length..]);
        }

        return (null, text);
    }

    /// <summary>Whether YAML is a mapping without a fault, and the scalar under its key "title". Read as events: no depth of nesting costs the stack.</summary>
    private static (bool Mapping, string? Title) ReadYaml(string yaml)
    {
        bool mapping = false;
        string? title = null, read = null, key = null;
        Dictionary<string, string> anchors = new(StringComparer.Ordinal);
        try
        {
            // Characters that ended lines in YAML 1.1, and do so for this parser, are white space in 1.2 (5.4).
            Parser events = new(new StringReader(Regex.Replace(yaml, "[\u0085\u2028\u2029]", " ")));
            int depth = 0;
            bool isKey = true;
            while (events.MoveNext())
            {
                // Only now: a mark that closes too early is found behind the value.
                (title, read) = (title ?? read, null);
                ParsingEvent current = events.Current!;
                if (current is Scalar { Anchor.IsEmpty: false } named)
                {
                    anchors[named.Anchor.Value] = named.Value;
                }

                if (depth == 1 && mapping && current is Scalar or AnchorAlias or SequenceStart or MappingStart)
                {
                    string? value = current is Scalar scalar ? scalar.Value
                        : current is AnchorAlias alias ? anchors.GetValueOrDefault(alias.Value.Value)
                        : null;
                    if (!isKey && "title".Equals(key, StringComparison.OrdinalIgnoreCase))
                    {
                        read = IsNull(current) ? null : value;
                    }

                    key = isKey ? value : null;
                    isKey = !isKey;
                }

                mapping |= depth == 0 && current is MappingStart;
                depth += current is MappingStart or SequenceStart ? 1 : current is MappingEnd or SequenceEnd ? -1 : 0;
                if (depth > DeepestNode || current is DocumentEnd)
                {
                    break;
                }
            }
        }
        catch (Exception exception) when (exception is YamlException or ArgumentException or InvalidOperationException)
        {
            // The parser throws the others at an escape for what is no character, and at a key of several lines in a flow. What came before the fault stands.
            mapping = false;
        }

        return (mapping, Cleaning.Title(title));
    }

    // The core schema's spellings of nothing (YAML 1.2.2, 10.3.2).
    private static bool IsNull(ParsingEvent value) => value is Scalar { Style: ScalarStyle.Plain, Value: "" or "~" or "null" or "Null" or "NULL" };

    /// <summary>The string under the key "title" outside of tables. What comes before a fault stands.</summary>
    private static string? TitleOfToml(string toml)
    {
        try
        {
            TomlParser events = TomlParser.Create(toml);
            bool isTitle = false;
            while (events.MoveNext())
            {
                TomlParseEventKind kind = events.Current.Kind;
                if (isTitle && kind == TomlParseEventKind.String)
                {
                    string read = events.GetString();
                    _ = events.MoveNext(); // a mark that closes too early is found behind the value
                    return Cleaning.Title(read);
                }

                isTitle = kind == TomlParseEventKind.PropertyName && events.Depth == 1
                    && events.GetPropertyName().Equals("title", StringComparison.OrdinalIgnoreCase);
            }
        }
        catch (TomlException)
        {
            // It is not quite right, or nests deeper than the parser goes.
        }

        return null;
    }

    [GeneratedRegex(@"\A(?:[ \t]*\n)*---[ \t]*\n(?<in>(?:.*\n)*?)(?:---|\.\.\.)[ \t]*(?:\n|\z)")]
    private static partial Regex Yaml();

    // Behind the first key every line is indented, a comment, a key, an item, the end of a flow, or empty: text between two rules has others.
    [GeneratedRegex("""
        (?x) \A (?: \s*\z | (?:\#.*\n)+\z
        | (?:\#.*\n)* \s* (?=[\p{L}_][\p{L}\p{N}_.-]*[ \t]*:\s)
          (?: (?: [ \t].* | \#.* | -(?:[ \t].*)? | [\]}].* | ["']?[\p{L}_][\p{L}\p{N}_.-]*(?:[ ][\p{L}\p{N}_.-]+){0,2}["']?[ \t]*:(?:[ \t].*)? )? \n )* \z )
        """)]
    private static partial Regex YamlLines();

    [GeneratedRegex(@"\A(?:[ \t]*\n)*\+\+\+[ \t]*\n(?<in>(?:.*\n)*?)\+\+\+[ \t]*(?:\n|\z)")]
    private static partial Regex Toml();

    [GeneratedRegex("""\A(?:\s|#.*\n)*(?:\z|\[|[\w.'"-]+[ \t]*=)""")]
    private static partial Regex TomlBegins();
}
