using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>
/// A split by a regular expression as Oniguruma understands it, of the kinds that tokenizers use: alternatives of character classes and characters, each with
/// its quantifier, of which at most three have no upper bound. A hostile file must not make a text take time without end: what takes far longer than any
/// ordinary split is refused.
/// </summary>
/// <remarks>
/// .NET's expressions see UTF-16 units. A text with characters beyond U+FFFF is matched through a copy in which one unit stands for each
/// (<see cref="StandIns"/>).
/// </remarks>
internal sealed partial class ExpressionPreTokenizer : SpanPreTokenizer
{
    private const string Single = @"\\[pP]\{(?:L[ultmo]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?|C[cfon]?)\}|\\[sSdrnt]|\\[!-/:-@\[-^`{-~]";
    private const string Item = Single + @"|[^\\\[\]\uD800-\uDFFF]|[\uD800-\uDBFF][\uDC00-\uDFFF]";

    // Before as many numbers as make groups of three.
    private const string Grouped = @"(?=(?:\p{N}{3})*(?:\P{N}|$))";

    // English contractions in any case: folding makes an s of the long s too. An end is that of a line.
    private static readonly Dictionary<string, string> s_spelled = new(StringComparer.Ordinal)
    {
        ["$"] = @"(?=\n|\z)",
        [Grouped] = @"(?=(?:\p{N}{3})*(?:\P{N}|\z))",
        ["(?i:'s|'t|'re|'ve|'m|'ll|'d)"] = "(?:'[sStTmMdD\u017F]|'[rR][eE]|'[vV][eE]|'[lL][lL])",
        ["(?i:[sdmt]|ll|ve|re)"] = "(?:[sStTmMdD\u017F]|[lL][lL]|[vV][eE]|[rR][eE])",
        ["(?:[sdmt]|ll|ve|re)"] = "(?:[sdmt]|ll|ve|re)",
    };

    // Seconds for a text, and more of them for a long one: ordinary expressions take a hundredth of it.
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(5), s_limitPerCharacter = TimeSpan.FromMicroseconds(10);

    private readonly Regex _expression;
    private readonly SplitBehavior _behavior;
    private readonly bool _inverted;

    // Null where the expression is matched with the text as it is.
    private readonly StandIns? _standIns;

    private ExpressionPreTokenizer(string expression, SplitBehavior behavior, bool inverted, StandIns? standIns)
    {
        _expression = new Regex(expression, RegexOptions.CultureInvariant | RegexOptions.Compiled, s_limit);
        (_behavior, _inverted, _standIns) = (behavior, inverted, standIns);
    }

    /// <summary>Takes an expression; null where it is of another kind.</summary>
    public static ExpressionPreTokenizer? Create(string expression, SplitBehavior behavior, bool inverted)
        => StandIns.Of(expression) is { } standIns && Translate(expression, standIns) is { } translated
            ? new(translated, behavior, inverted, standIns) : null;

    /// <summary>Takes a text to be found as it is.</summary>
    public static ExpressionPreTokenizer OfText(string text, SplitBehavior behavior, bool inverted)
        => new(Regex.Escape(text), behavior, inverted, standIns: null);

    /// <inheritdoc/>
    public override IEnumerable<(int Offset, int Length)> PreTokenize(ReadOnlySpan<char> text)
    {
        List<(int Begin, int End)> matches = [];
        if (_standIns?.AreNeeded(text) != true)
        {
            Match(text, matches);
        }
        else
        {
            StringBuilder copy = new(text.Length);
            List<int> places = new(text.Length + 1);
            for (int i = 0, length; i < text.Length; i += length)
            {
                int code = CodePoints.At(text, i, out length);
                places.Add(i);
                copy.Append(_standIns.For(code));
            }

            places.Add(text.Length);
            Match(copy.ToString(), matches);
            matches = matches.ConvertAll(match => (places[match.Begin], places[match.End]));
        }

        return PieceSplits.Of(matches, text.Length, _behavior, _inverted);
    }

    private void Match(ReadOnlySpan<char> text, List<(int Begin, int End)> matches)
    {
        TimeSpan limit = s_limit + (s_limitPerCharacter * text.Length);
        for (bool again = false; ; again = true)
        {
            matches.Clear();
            long start = Stopwatch.GetTimestamp();
            try
            {
                foreach (ValueMatch match in _expression.EnumerateMatches(text))
                {
                    matches.Add((match.Index, match.Index + match.Length));
                    if (Stopwatch.GetElapsedTime(start) > limit)
                    {
                        throw new RegexMatchTimeoutException();
                    }
                }

                return;
            }
            catch (RegexMatchTimeoutException exception)
            {
                // Time goes on while the process is stopped or the machine sleeps: what takes too long once is tried again.
                if (again)
                {
                    throw new CorpusException(
                        $"The expression that splits a text before the tokenizer, {_expression}, takes more than {limit.TotalSeconds:F0} seconds for one of "
                            + $"{text.Length} characters. Take a tokenizer whose expression does not.",
                        exception);
                }
            }
        }
    }

    /// <summary>The expression as .NET writes it; null where it is of a kind that is not known.</summary>
    private static string? Translate(string expression, StandIns standIns)
    {
        StringBuilder translated = new(expression.Length);
        int at = 0, unbounded = 0;
        while (at < expression.Length)
        {
            Match match = Atom().Match(expression, at);
            if (!match.Success || match.Groups["class"].Value.Contains("&&", StringComparison.Ordinal)
                || (match.Groups["nested"].Success && match.Groups["class"].Value.Contains(@"\\", StringComparison.Ordinal))
                || match.Groups["nested"].Captures.Any(nested => nested.Value.StartsWith("[:", StringComparison.Ordinal))) // of POSIX, such as [:digit:]
            {
                return null;
            }

            string atom = match.Groups["atom"].Value, quantifier = match.Groups["quantifier"].Value;
            // Behind braces a sign more repeats what they do, and is not possessive.
            quantifier = quantifier.StartsWith("{1,", StringComparison.Ordinal) && quantifier[^1] == '+' ? "+" : quantifier;
            bool isUnbounded = quantifier.AsSpan().IndexOfAny("*+") >= 0 || quantifier.EndsWith(",}", StringComparison.Ordinal);
            unbounded = atom == "|" ? 0 : isUnbounded ? unbounded + 1 : unbounded;
            bool isAssertion = atom is "|" or "(?!\\S)" or "$" or Grouped;
            bool isPossessive = quantifier.Length == 2 && quantifier[1] == '+';
            if (unbounded > 3 || (isAssertion && quantifier.Length > 0))
            {
                return null;
            }

            // A class within a class adds its characters.
            atom = match.Groups["nested"].Success ? $"[{Regex.Replace(atom[1..^1], @"(?<!\\)[\[\]]", "")}]" : s_spelled.GetValueOrDefault(atom, atom);
            atom = match.Groups["class"].Success ? standIns.Rewrite(atom) : atom;
            translated.Append(isPossessive ? $"(?>{atom}{quantifier[0]})" : atom + quantifier);
            at += match.Length;
        }

        // What matches nothing would cut nowhere, or everywhere.
        return translated.Length > 0 && !Regex.IsMatch("", translated.ToString(), RegexOptions.CultureInvariant) ? translated.ToString() : null;
    }

    // A category, a class, an escaped sign or a character that means itself; then how often.
    [GeneratedRegex(
        @"\G(?<atom>\(\?i:'s\|'t\|'re\|'ve\|'m\|'ll\|'d\)|\(\?i:\[sdmt\]\|ll\|ve\|re\)|\(\?:\[sdmt\]\|ll\|ve\|re\)|\(\?!\\S\)"
            + @"|\(\?=\(\?:\\p\{N\}\{3\}\)\*\(\?:\\P\{N\}\|\$\)\)|\$|\||" + Single
            + @"|(?<class>\[\^?(?:" + Item + @"|(?<nested>\[(?!\^)(?:" + Item + @")+\]))+\])|[^\\\[\](){}|?*+^$.\uD800-\uDFFF])"
            + @"(?<quantifier>[?*+]\+?(?![?+*])|\{[0-9]{1,3}(?:,[0-9]{0,3})?\}(?![?+*])|\{1,[0-9]{1,3}\}\+(?![?+*])|(?![?*+{]))",
        RegexOptions.ExplicitCapture | RegexOptions.CultureInvariant)]
    private static partial Regex Atom();
}
