using System.Text;
using System.Text.RegularExpressions;

namespace Retro.Corpora;

/// <summary>
/// A formula of MathML in one line: its source in TeX where it has one (https://www.w3.org/TR/MathML3/chapter5.html), otherwise what it shows, with
/// fractions as 1/2, roots as √2, and what stands above or below as <see cref="RaisedText"/> has it.
/// </summary>
/// <param name="text">What it is written to.</param>
internal sealed partial class FormulaText(StringBuilder text)
{
    // A part that is longer stays as its words are, so that the time grows with the length alone.
    private const int Longest = 1 << 10;

    private static readonly HashSet<string> s_tex = new(StringComparer.OrdinalIgnoreCase) { "application/x-tex", "application/x-latex", "tex", "latex" };

    private readonly Stack<(string Element, int Start, List<int> Parts)> _open = []; // with where the elements begin that they hold
    private readonly StringBuilder _source = new();
    private int _start = -1; // -1: outside of any
    private bool _isSource;

    /// <summary>An element begins.</summary>
    /// <param name="element">Its name.</param>
    /// <param name="holds">Whether it has an end.</param>
    public void Begin(string element, bool holds)
    {
        if (element == "math" && holds)
        {
            Leave();
            _start = text.Length;
        }
        else if (_start >= 0)
        {
            if (_open.TryPeek(out (string Element, int Start, List<int> Parts) around))
            {
                around.Parts.Add(text.Length);
            }

            if (holds)
            {
                _open.Push((element, text.Length, []));
            }
        }
    }

    /// <summary>An element ends; one that was not the last to begin is passed over.</summary>
    public void End(string element)
    {
        if (element == "math" && _start >= 0)
        {
            PlaceSource(_start);
            while (text.Length > _start && char.IsWhiteSpace(text[^1]))
            {
                text.Length--;
            }

            Leave();
        }
        else if (_open.TryPeek(out (string Element, int Start, List<int> Parts) open) && open.Element == element)
        {
            _open.Pop();
            if (element == "semantics")
            {
                PlaceSource(open.Start);
            }
            else
            {
                Write(element, open.Parts);
            }
        }
    }

    /// <summary>What follows is of no formula.</summary>
    public void Leave()
    {
        _start = -1;
        _open.Clear();
        _source.Clear();
    }

    /// <summary>An element begins that is not shown. A source is of the semantics that hold it, which may be a part of the formula, or of the whole.</summary>
    /// <param name="element">Its name.</param>
    /// <param name="encoding">What it says of its content.</param>
    public void BeginHidden(string element, string encoding)
        => _isSource = _start >= 0 && _source.Length == 0 && element == "annotation" && s_tex.Contains(encoding.Trim())
            && (!_open.TryPeek(out (string Element, int Start, List<int> Parts) around) || around.Element == "semantics");

    /// <summary>Words of the element that is not shown.</summary>
    public void Hidden(string words) => _source.Append(_isSource ? words : "");

    // A source takes the place of what it is of.
    private void PlaceSource(int start)
    {
        if (Sized().Replace(_source.ToString().Replace('\n', ' ').Trim(), "${formula}").Trim() is { Length: > 0 } source)
        {
            text.Length = start;
            text.Append(source);
        }

        _source.Clear();
    }

    private void Write(string element, List<int> parts)
    {
        if (parts.Count == 0 || text.Length - parts[0] > Longest)
        {
            return;
        }

        // A space parts a fraction from a factor beside it, and the degree of a root from one before it.
        string before = parts[0] > 0 && char.IsLetterOrDigit(text[parts[0] - 1]) ? " " : "";
        string? written = (element, parts.Count) switch
        {
            ("mfrac", 2) => $"{before}{Grouped(Part(0))}/{Grouped(Part(1))} ",
            ("msqrt", _) => $"√{Grouped(Words(parts[0], text.Length))}",
            ("mroot", 2) => $"{before}{RaisedText.Marked(Part(1), isAbove: true)}√{Grouped(Part(0))}",
            ("msup" or "mover", 2) => Part(0) + RaisedText.Marked(Part(1), isAbove: true),
            ("msub" or "munder", 2) => Part(0) + RaisedText.Marked(Part(1), isAbove: false),
            ("msubsup" or "munderover", 3) => Part(0) + RaisedText.Marked(Part(1), isAbove: false) + RaisedText.Marked(Part(2), isAbove: true),
            _ => null,
        };
        if (written is not null)
        {
            text.Length = parts[0];
            text.Append(written);
        }

        string Part(int i) => Words(parts[i], i + 1 < parts.Count ? parts[i + 1] : text.Length);
    }

    private string Words(int start, int end) => text.ToString(start, end - start).Trim();

    // A number or a name by itself, anything else within brackets.
    private static string Grouped(string words)
        => words.All(character => char.IsDigit(character) || character == '.') || words.All(char.IsLetter) ? words : $"({words})";

    /// <summary>A formula as Wikipedia's pages have each, which says how large it is set: {\displaystyle E=mc^{2}}.</summary>
    [GeneratedRegex(
        """
        \A \{ \\(?:display|text|script)style(?![A-Za-z])
          (?<formula> (?> [^{}\\]+ | \\. | (?<open>\{) | (?<-open>\}) )* ) (?(open)(?!))
        \} \z
        """,
        RegexOptions.IgnorePatternWhitespace)]
    private static partial Regex Sized();
}
