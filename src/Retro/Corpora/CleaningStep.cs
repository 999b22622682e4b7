namespace Retro.Corpora;

/// <summary>
/// One step of a <see cref="CorpusCleaning"/>: it takes documents out, or changes their text, and tells the report. Derive from it for a custom step.
/// </summary>
public abstract class CleaningStep
{
    /// <summary>Its name with every setting that its result depends on; it stands in the database's manifest.</summary>
    public abstract string Name { get; }

    /// <summary>
    /// The step that puts characters into one form: Unicode's form C, without control characters other than newline and tab. Those that part lines, such as a
    /// page's end, become newlines, those that part fields spaces.
    /// </summary>
    public static CleaningStep Unicode() => new UnicodeStep();

    /// <summary>
    /// The step that takes out documents whose text an earlier one has, where whoever may see the document may see the earlier one, too (see
    /// <see cref="Document.Labels"/>).
    /// </summary>
    public static CleaningStep ExactDuplicates() => new ExactDuplicateStep();

    /// <summary>
    /// The step that takes out documents that nearly repeat an earlier one that stays, and that whoever may see the document may see, too: found by MinHash
    /// (Broder, 1997) over n-grams of words, and compared exactly before one is taken out. At the similarity itself, one pair in a thousand is not found.
    /// Of filled-in forms, which share most of their words, those are compared that can be so similar by their lengths and the rarest words that they share.
    /// </summary>
    /// <param name="similarity">Jaccard similarity of the sets of grams from which on two documents are the same; 0.8 in RETRO (section 2.1).</param>
    /// <param name="gramWords">Words of a gram; 13 in RETRO.</param>
    /// <exception cref="ArgumentOutOfRangeException">The similarity is not from 0.3 to 1, or a gram has no word.</exception>
    public static CleaningStep NearDuplicates(double similarity = 0.8, int gramWords = 13) => new NearDuplicateStep(similarity, gramWords);

    /// <summary>The step that takes out lines that stand in many documents: menus, licenses, footers.</summary>
    /// <param name="documents">Documents that a line stands in from which on it is taken out of all.</param>
    /// <param name="characters">Shorter lines stay, such as the brackets of a program.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are fewer than 2 documents, or less than 1 character.</exception>
    public static CleaningStep RepeatedLines(int documents = 10, int characters = 20) => new RepeatedLineStep(documents, characters);

    /// <summary>The step that puts a tag in the place of what names a person, such as <c>&lt;email&gt;</c>.</summary>
    /// <param name="kinds">What is looked for.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such kind.</exception>
    public static CleaningStep PersonalData(PersonalDataKinds kinds = PersonalDataKinds.All) => new PersonalDataStep(kinds);

    /// <summary>The step that takes out documents that are shorter or longer than some lengths.</summary>
    /// <param name="least">Fewest characters of a document that stays.</param>
    /// <param name="most">Most characters of one.</param>
    /// <param name="leastWords">Fewest words of one, which white space parts.</param>
    /// <exception cref="ArgumentOutOfRangeException">A length is negative, or the greatest is below the least.</exception>
    public static CleaningStep Length(int least = 0, int most = int.MaxValue, int leastWords = 0) => new LengthStep(least, most, leastWords);

    /// <summary>Does the step.</summary>
    /// <param name="documents">
    /// The documents, in their order; enumerated once or more, and the same each time. What is enumerated for the result is counted by the steps before it.
    /// </param>
    /// <param name="report">Told what is taken out or changed, while the result is enumerated.</param>
    /// <returns>What is left, in the same order; the same each time.</returns>
    public abstract IEnumerable<Document> Apply(IEnumerable<Document> documents, CleaningStepReport report);
}
