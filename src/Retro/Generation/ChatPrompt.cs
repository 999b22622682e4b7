using Microsoft.Extensions.AI;
using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>
/// The ids of a conversation: special tokens that a template writes are those that the model was trained with, and what a message holds stays its characters,
/// so that no message can end another.
/// </summary>
internal static class ChatPrompt
{
    /// <summary>A message with what becomes of its role and of its text, which is one then.</summary>
    public static ChatMessage With(ChatMessage message, Func<string, string> change)
    {
        ChatMessage changed = message.Clone();
        changed.Role = new(change(message.Role.Value));
        changed.Contents = [new TextContent(change(message.Text)), .. message.Contents.Where(content => content is not TextContent)];
        return changed;
    }

    /// <summary>Writes a conversation by a template.</summary>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="messages">The conversation.</param>
    /// <param name="template">Makes a prompt of it.</param>
    /// <returns>The prompt's ids.</returns>
    public static int[] Encode(RetroTokenizer tokenizer, IReadOnlyList<ChatMessage> messages, Func<IReadOnlyList<ChatMessage>, string> template)
    {
        // Unicode's noncharacters, which are no text, so that the template passes one on as it does any other character.
        string all = string.Concat(messages.Select(message => $"{message.Role.Value}\0{message.Text}\0"));
        char mark = Enumerable.Range(0xFDD0, 32).Select(code => (char)code).First(code => code == '\uFDEF' || !all.Contains(code));
        string[] special = [.. tokenizer.SpecialTexts.Where(text => text.Length > 1 && all.Contains(text, StringComparison.Ordinal))];
        int[] ids = tokenizer.EncodeMarked(template(special.Length == 0 ? messages : [.. messages.Select(message => With(message, Mark))]), mark);

        // Generation puts that one there.
        return ids is [int first, ..] && first == tokenizer.BeginOfText ? ids[1..] : ids;

        // One that overlaps another of its kind stays whole in a round.
        string Mark(string text) => special.Aggregate(text, (now, token) =>
        {
            while (now.Contains(token, StringComparison.Ordinal))
            {
                now = now.Replace(token, $"{token[0]}{mark}{token[1..]}", StringComparison.Ordinal);
            }

            return now;
        });
    }
}
