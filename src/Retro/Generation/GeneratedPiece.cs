using Retro.Search;

namespace Retro.Generation;

/// <summary>A step of a generated text. The texts of all pieces, one after the other, are the text.</summary>
/// <param name="Text">
/// Whole characters only; empty where a token did not complete one, or where what it completed may be the beginning of a stop string.
/// </param>
/// <param name="Token">The token that was generated in this step; null in the steps before the first (the prompt's own retrievals) and in the last.</param>
/// <param name="Retrieved">
/// What was retrieved for the chunk, or a copying reader's stretch, that the token or the prompt completed; null where none was completed or retrieval is off.
/// </param>
/// <param name="End">Why the text ended, in the last piece; null in every other.</param>
public sealed record GeneratedPiece(string Text, int? Token = null, RetrievedNeighbors? Retrieved = null, GenerationEnd? End = null)
{
    /// <summary>
    /// Log-probability of the token, in nats, as the model has it: before temperature, penalty, bans and cuts; in the last piece of a text that the model
    /// ended, that of its end. Null where there is neither.
    /// </summary>
    public double? LogProbability { get; init; }

    /// <summary>
    /// The text of the token itself, whole characters only: what <see cref="Text"/> would be if nothing of it could begin a stop string. Empty where there is
    /// no token.
    /// </summary>
    public string TokenText { get; init; } = "";

    /// <summary>The token that the model ended the text by, in the last piece of such a text, of which it is no part; null in every other.</summary>
    public int? EndToken { get; init; }

    /// <summary>
    /// Where the token was copied from, where a reader that copies gave it more of its probability than the model did: the chunk, among the neighbors or, where
    /// the reader looks there, anywhere in the database, that counted most; or the given passage. Null where the model, or whoever reads otherwise, chose it.
    /// </summary>
    public RetrievedNeighbor? CopiedFrom { get; init; }

    /// <summary>The most probable tokens in its place, the most probable first (<see cref="GenerationOptions.Alternatives"/>).</summary>
    public IReadOnlyList<TokenAlternative> Alternatives { get; init; } = [];

    /// <summary>What was read in this step: what was retrieved, and the chunk that the token was copied from, where no earlier step gave it.</summary>
    /// <param name="seen">The numbers of the chunks that earlier steps gave, to which those of this step are added.</param>
    public IReadOnlyList<RetrievedNeighbor> Sources(ISet<long> seen)
    {
        ArgumentNullException.ThrowIfNull(seen);
        IReadOnlyList<RetrievedNeighbor> retrieved = Retrieved?.Neighbors ?? [];
        seen.UnionWith(retrieved.Select(neighbor => neighbor.Chunk));
        return CopiedFrom is { } copied && seen.Add(copied.Chunk) ? [.. retrieved, copied] : retrieved;
    }

    /// <summary>The text: pieces that are printed one after the other print it whole.</summary>
    public override string ToString() => Text;
}

/// <summary>A token that could have come.</summary>
/// <param name="Token">Its id.</param>
/// <param name="Text">Its text by itself; U+FFFD where it is a part of a character, nothing where it stands for no text.</param>
/// <param name="LogProbability">Its log-probability in nats, as the model has it.</param>
public readonly record struct TokenAlternative(int Token, string Text, double LogProbability);
