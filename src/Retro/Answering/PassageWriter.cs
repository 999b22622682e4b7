using System.Text;
using Retro.Corpora;
using Retro.Tokenizers;

namespace Retro.Answering;

/// <summary>Cuts a document, line by line, into passages that begin with its title and with the heading of their section.</summary>
internal sealed class PassageWriter
{
    private readonly Document _document;
    private readonly RetroTokenizer _tokenizer;
    private readonly int _most, _titleTokens;
    private readonly List<Document> _passages = [];
    private readonly List<string> _lines = [];
    private int _tokens;
    private bool _isBare; // the heading has no line below it yet

    /// <param name="document">The document.</param>
    /// <param name="tokenizer">Counts tokens.</param>
    /// <param name="most">Tokens of a passage at most.</param>
    public PassageWriter(Document document, RetroTokenizer tokenizer, int most)
    {
        (_document, _tokenizer, _most) = (document, tokenizer, most);

        // A title or heading that leaves no room for text is left out.
        Title = document.Title.Trim() is { Length: > 0 } title && Count(title) <= most / 2 ? title : null;
        _titleTokens = Title is null ? 0 : Count(Title);
    }

    /// <summary>The passages so far.</summary>
    public IReadOnlyList<Document> Passages => _passages;

    /// <summary>The title that all passages begin with; null: they have none.</summary>
    public string? Title { get; }

    /// <summary>
    /// Begins a section. A heading that leaves little room for text stands in the first of its passages alone. One with nothing but the next heading below, as
    /// is usual in Markdown, stands before that one where both leave room, else in a passage without text.
    /// </summary>
    /// <returns>The passage that holds the heading, the first one of the section; null: it is so long that it takes several.</returns>
    public string? Begin(string heading)
    {
        Flush();
        int tokens = Count(heading);
        if (_isBare && HeadingTokens + tokens <= _most / 4)
        {
            (Heading, HeadingTokens) = ($"{Heading}\n{heading}", HeadingTokens + tokens);
            return Id;
        }

        End();
        _isBare = tokens <= _most / 4;
        (Heading, HeadingTokens) = _isBare ? (heading, tokens) : (null, 0);
        if (_isBare)
        {
            return Id;
        }

        (string passage, _, bool isWhole) = Add(heading);
        return isWhole ? passage : null;
    }

    private string? Heading { get; set; }

    private int HeadingTokens { get; set; }

    private string Id => $"{_document.Id}#{_passages.Count}";

    private int Room => _most - _titleTokens - HeadingTokens;

    /// <summary>Whether a line fits a passage as a whole.</summary>
    public bool WouldHold(string line) => Count(line) <= Room;

    /// <summary>Adds a line, to the passage that is being written where it has room, else to a new one; a long line takes several.</summary>
    /// <returns>The passage that holds it or its beginning, what that holds, and whether that is all.</returns>
    public (string Passage, string Text, bool Whole) Add(string line)
    {
        int tokens = Count(line), room = Room;
        if (tokens <= room)
        {
            if (_tokens + tokens > room)
            {
                Flush();
            }

            _lines.Add(line);
            _tokens += tokens;
            return (Id, line, true);
        }

        // From word to word, and within one that no passage holds from piece to piece.
        (string Passage, string Text)? first = null;
        StringBuilder words = new();
        Flush();
        foreach (string word in line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            string before = " ";
            foreach ((string piece, int alone) in Pieces(word, room))
            {
                int more = before.Length > 0 ? alone : Count(piece);
                if (_tokens + more > room)
                {
                    Close();
                }

                words.Append(words.Length > 0 ? before : "").Append(piece);
                _tokens += more;
                before = "";
            }
        }

        string passage = Id, text = words.ToString();
        if (words.Length > 0)
        {
            _lines.Add(text);
        }

        return first is { } begun ? (begun.Passage, begun.Text, false) : (passage, text, false);

        void Close()
        {
            string held = words.ToString();
            first ??= (Id, held);
            _lines.Add(held);
            words.Clear();
            Flush();
        }
    }

    /// <summary>Ends the section that is being written.</summary>
    public void End()
    {
        if (_lines.Count > 0 || _isBare)
        {
            Write();
        }
    }

    /// <summary>Ends the passage that is being written; a section that has none yet goes on.</summary>
    private void Flush()
    {
        if (_lines.Count > 0)
        {
            Write();
        }
    }

    private void Write()
    {
        string text = string.Join('\n', new[] { Title, Heading }.OfType<string>().Concat(_lines));
        _passages.Add(_document with { Id = Id, Text = text });
        _lines.Clear();
        (_tokens, _isBare) = (0, false);
    }

    /// <summary>
    /// A word, or, where no passage has room for it, as in a script without spaces, the pieces of it that have, each with its tokens behind a space. A
    /// character that has none is left out.
    /// </summary>
    private IEnumerable<(string Piece, int Tokens)> Pieces(string word, int room)
    {
        if (Count(" " + word) is var tokens && tokens <= room)
        {
            return [(word, tokens)];
        }

        int half = word.Length / 2;
        half += char.IsLowSurrogate(word[half]) ? 1 : 0; // never between the two parts of a character
        return half == 0 || half == word.Length ? [] : Pieces(word[..half], room).Concat(Pieces(word[half..], room));
    }

    /// <summary>Tokens of a line with its end.</summary>
    private int Count(string line) => _tokenizer.Encode(line + "\n").Length;
}
