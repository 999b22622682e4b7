using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Retro.Database;
using Retro.Tokenizers;

namespace Retro.Evaluation;

/// <summary>
/// How much text a tokenizer changes or leaves out: documents whose tokens spell another text than the one they were made of, by its hash. A tokenizer with
/// unknown tokens, or one that makes all letters small, leaves less to predict than there is: bits per byte look lower the more it loses, and say nothing
/// beside those of another tokenizer.
/// </summary>
/// <param name="Documents">Documents that were looked at.</param>
/// <param name="Changed">Those whose tokens spell another text.</param>
/// <param name="Bytes">Bytes of the documents' text in UTF-8.</param>
/// <param name="SpelledBytes">Bytes that their tokens spell.</param>
public sealed record TextLoss(int Documents, int Changed, long Bytes, long SpelledBytes)
{
    /// <summary>A sentence about what is lost; empty where nothing is.</summary>
    public string Note => Changed == 0 ? ""
        : string.Create(
            CultureInfo.InvariantCulture,
            $"The tokenizer does not keep the text: of {Changed:#,0} of {Amount.Of(Documents, "document")} the tokens spell another text, "
                + $"{SpelledBytes:#,0} bytes in all where there are {Bytes:#,0}. What is lost costs nothing here: beside those of a tokenizer "
                + $"that keeps the text, bits per byte look lower than they are.");

    /// <summary>Looks at the documents of a database.</summary>
    /// <param name="database">The database; that its text is not kept does not matter, since its hash is.</param>
    /// <param name="tokenizer">The tokenizer that it was made with.</param>
    /// <param name="most">Documents to look at, at most, the first ones. Default: all.</param>
    /// <param name="cancellationToken">Stops between two documents.</param>
    /// <returns>What is lost.</returns>
    /// <exception cref="DatabaseException">The database was made with another tokenizer.</exception>
    public static TextLoss Of(ChunkDatabase database, RetroTokenizer tokenizer, int most = int.MaxValue, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(database);
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(most);
        database.RequireTokenizer(tokenizer);
        TextLoss loss = new(0, 0, 0, 0);
        foreach (DocumentEntry document in database.Documents.Take(most))
        {
            cancellationToken.ThrowIfCancellationRequested();
            byte[] spelled = Encoding.UTF8.GetBytes(tokenizer.Decode(database.TextOf(document)));
            bool isKept = Convert.ToHexStringLower(SHA256.HashData(spelled)) == document.ContentHash;
            loss = new(loss.Documents + 1, loss.Changed + (isKept ? 0 : 1), loss.Bytes + document.ByteCount, loss.SpelledBytes + spelled.Length);
        }

        return loss;
    }
}
