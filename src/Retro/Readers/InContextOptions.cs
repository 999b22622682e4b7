using Retro.Tokenizers;

namespace Retro.Readers;

/// <summary>How passages are written in front of a text: for <see cref="InContextReader"/>, and passage by passage for <see cref="EnsembleReader"/>.</summary>
public sealed record InContextOptions
{
    /// <summary>What stands in a template for the passages.</summary>
    public const string Place = "{passages}";

    /// <summary>K: neighbors that are read, those of the chunk before; an ensemble reads each by itself. Default 2.</summary>
    public int Neighbors { get; init; } = 2;

    /// <summary>R: tokens of each neighbor, its continuation among them; null: as many as there are in what is given to the reader. Default null.</summary>
    public int? RetrievedLength { get; init; }

    /// <summary>
    /// What stands in front of the text, with <see cref="Place"/> once where the passages go, the best one next to the text; what is around it is encoded by
    /// itself. A begin-of-text token always stands before it all, and those that begin and end a passage's document are left out. Default: the passages and
    /// the end of a line.
    /// </summary>
    public string Template { get; init; } = Place + "\n";

    /// <summary>What stands between two passages; may be empty. Default: the end of a line.</summary>
    public string Separator { get; init; } = "\n";

    /// <summary>
    /// Most tokens in front of the text: begin-of-text token, template and passages. Where passages are longer together, those lose their ends that are longer
    /// than an equal share of what the shorter ones leave; where a share is less than a token, the worst are left out. Default 260, two passages of 128 tokens
    /// with what else the default template takes.
    /// </summary>
    public int PrefixLength { get; init; } = 260;

    /// <summary>
    /// T: most tokens that the model reads at once, those in front of the text included; of a longer text the oldest are left out. The length of the windows
    /// that the model was trained on, or less where its configuration allows less. Default 512.
    /// </summary>
    public int WindowLength { get; init; } = 512;

    /// <summary>Checks every setting.</summary>
    /// <returns>These options.</returns>
    /// <exception cref="RetroOptionsException">A setting is outside its range; the message names every fault.</exception>
    public InContextOptions Validate()
    {
        OptionFaults faults = new(nameof(InContextOptions));
        faults.Between(Neighbors, 1);
        faults.Require(RetrievedLength is null or > 0, RetrievedLength, "at least 1");
        faults.Require(
            Template?.Split(Place).Length == 2, Template is null ? "null" : $"\"{Template}\"", $"a text with {Place} once", nameof(Template));
        faults.Require(Separator is not null, "null", "a text, which may be empty", nameof(Separator));
        faults.Between(PrefixLength, 2);
        faults.Require(WindowLength > PrefixLength, WindowLength, $"more than {nameof(PrefixLength)}, {PrefixLength}, which may stand in front of the text");
        faults.Throw();
        return this;
    }

    /// <summary>What the template makes of a tokenizer and a model.</summary>
    /// <exception cref="RetroOptionsException">A setting is outside its range, or the template alone takes the budget.</exception>
    internal PassagePrompt PromptFor(RetroTokenizer tokenizer, int? maximumLength)
    {
        Validate();
        string[] around = Template.Split(Place);
        return new PassagePrompt(
            this,
            tokenizer.BeginOfText,
            tokenizer.EndOfText,
            tokenizer.Encode(around[0]),
            tokenizer.Encode(Separator),
            tokenizer.Encode(around[1]),
            maximumLength);
    }
}
