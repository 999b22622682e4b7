namespace Retro.Answering;

/// <summary>What <see cref="QuestionBuilder"/> makes questions of.</summary>
[Flags]
public enum QuestionTemplates
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>Lines "label: value": title and label ask for the value.</summary>
    Fields = 1,

    /// <summary>Titles: the first line of a document that does not name it asks for its title.</summary>
    Titles = 2,

    /// <summary>Headings, which stand alone on a line after an empty one: title and first line of a section ask for its heading.</summary>
    Sections = 4,

    /// <summary>Sentences "X is a ..." at the beginning of a line: title and X ask for the rest.</summary>
    Definitions = 8,

    /// <summary>All of them.</summary>
    All = Fields | Titles | Sections | Definitions,
}
