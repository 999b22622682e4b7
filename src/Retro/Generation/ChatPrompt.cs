using Microsoft.Extensions.AI;
using Retro.Tokenizers;

namespace Retro.Generation;

/// <summary>
/// The ids of a conversation: special tokens that a template writes are those that the model was trained with, and what a message holds stays its characters,
/// so that no message can end another.
/// </summary>
internal static class ChatPrompt
{
    /// <summary>Checks that all messages are there.</summary>
    public static void RequireMessages(IReadOnlyList<ChatMessage> messages)
    {
        ArgumentNullException.ThrowIfNull(messages);
        if (messages.Contains(null!))
        {
            throw new ArgumentException("A message is null; leave it out.", nameof(messages));
        }
    }

    /// <summary>What a message says; what was thought before that, and what was counted, is no part of it.</summary>
    /// <exception cref="NotSupportedException">It holds something else than text, of which the model would not know.</exception>
    public static string TextOf(ChatMessage message)
        => message.Contents.FirstOrDefault(content => content is not (TextContent or TextReasoningContent or UsageContent)) is not { } other ? message.Text
            : throw new NotSupportedException(
                $"A model reads text alone, and a message of the role '{message.Role}' holds {other.GetType().Name}: leave it out, or say it in words, as "
                    + $"{nameof(TextContent)}.");

    /// <summary>A message with what becomes of its role and of its text, which is one then.</summary>
    /// <exception cref="NotSupportedException">It holds something else than text.</exception>
    public static ChatMessage With(ChatMessage message, Func<string, string> change)
    {
        ChatMessage changed = message.Clone();
        changed.Role = new(change(message.Role.Value));
        changed.Contents = [new TextContent(change(TextOf(message)))];
        return changed;
    }

    /// <summary>Writes a conversation by a template.</summary>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="messages">The conversation.</param>
    /// <param name="template">Makes a prompt of it.</param>
    /// <returns>The prompt's ids.</returns>
    /// <exception cref="NotSupportedException">A message holds something else than text.</exception>
    /// <exception cref="RetroException">The template writes a special token of the model that its tokenizer does not have, or
    /// gives null.</exception>
    public static int[] Encode(RetroTokenizer tokenizer, IReadOnlyList<ChatMessage> messages, Func<IReadOnlyList<ChatMessage>, string> template)
    {
        // Unicode's noncharacters, which are no text, so that the template passes one on as it does any other character.
        string all = string.Concat(messages.Select(message => $"{message.Role.Value}\0{TextOf(message)}\0"));
        char mark = Enumerable.Range(0xFDD0, 32).Select(code => (char)code).First(code => code == '\uFDEF' || !all.Contains(code));
        string[] special = [.. tokenizer.SpecialTexts.Concat(tokenizer.MissingSpecialTexts).Where(IsSaid)];

        // With some models no file calls special what their turns begin with. What a template seeks in a message, such as where a thought ends, it is to find.
        string[] spelled = [.. tokenizer.SpelledTexts.Where(IsSaid)];
        string plain = spelled.Length == 0 ? "" : Written(messages);
        special = [.. special, .. spelled.Where(token => Written(Marked([token])) is var written
            && written.Contains(token, StringComparison.Ordinal)
            && written.Replace($"{mark}", "", StringComparison.Ordinal) == plain)];
        string prompt = Written(special.Length == 0 ? messages : Marked(special));
        if (tokenizer.MissingSpecialTexts.FirstOrDefault(text => prompt.Contains(text, StringComparison.Ordinal)) is { } missing)
        {
            throw new RetroException(
                $"The chat template writes \"{missing}\", which the model's files call a special token and its tokenizer does not have, so that the model "
                    + "would read the characters of it. Take the tokenizer.json of the same model, which has it among its \"added_tokens\".");
        }

        return tokenizer.EncodeMarked(prompt, mark);

        string Written(IReadOnlyList<ChatMessage> conversation) => template(conversation)
            ?? throw new RetroException("The chat template gave null; it has to give the prompt's text.");

        // Nothing can stand within one character.
        bool IsSaid(string token) => all.Contains(token, StringComparison.Ordinal) && token.Length > 0 && CodePoints.LengthAt(token, 0) < token.Length;

        // One that overlaps another of its kind stays whole in a round.
        ChatMessage[] Marked(string[] tokens) => [.. messages.Select(message => With(message, text => tokens.Aggregate(text, (now, token) =>
        {
            while (now.Contains(token, StringComparison.Ordinal))
            {
                now = now.Replace(token, token.Insert(CodePoints.LengthAt(token, 0), $"{mark}"), StringComparison.Ordinal);
            }

            return now;
        })))];
    }
}
