using System.Buffers;
using System.Text;
using Microsoft.ML.Tokenizers;
using Retro.Corpora;
using Retro.Database;
using Retro.Evaluation;
using Retro.Generation;
using Retro.Modeling;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

/// <summary>Tokenizers that come from somebody else's code and not from files.</summary>
public sealed class OwnTokenizerTests
{
    private const string EndOfText = "<|endoftext|>";

    // All bytes, and three merges.
    private static readonly byte[][] s_vocabulary =
        [.. Enumerable.Range(0, 256).Select(value => new[] { (byte)value }), "th"u8.ToArray(), "he"u8.ToArray(), "the"u8.ToArray()];

    [Fact]
    public void One_of_tiktoken_gives_its_own_ids_and_no_text_ends_another()
    {
        TiktokenTokenizer tiktoken = Tiktoken();
        RetroTokenizer own = RetroTokenizer.From(tiktoken, "bytes and three merges", 260, endOfText: 259, bytes: id => id < 259 ? s_vocabulary[id] : []);
        const string Text = "the theme: caf\u00e9 \u6f22 \ud83d\ude42\n";

        Assert.Same(tiktoken, own.Tokenizer);
        Assert.Equal(tiktoken.EncodeToIds(Text), own.Encode(Text));
        Assert.Contains(258, own.Encode(Text)); // "the"
        Assert.Equal(Text, own.Decode(own.Encode(Text)));
        Assert.Equal("the"u8.ToArray(), own.TokenBytes(258).ToArray());
        Assert.Equal((259, 259, 260, "own"), (own.EndOfText, own.BeginOfText, own.VocabularySize, own.Kind));
        Assert.True(own.IsSpecial(259));

        Assert.Equal([259], tiktoken.EncodeToIds(EndOfText));
        string[] spelled = [EndOfText, $"a{EndOfText}{EndOfText}b", $"<{EndOfText}>", string.Concat(Enumerable.Repeat(EndOfText + "the", 300))];
        Assert.All(spelled, text =>
        {
            int[] ids = own.Encode(text);
            Assert.DoesNotContain(259, ids);
            Assert.Equal(text, own.Decode(ids));
        });
    }

    [Fact]
    public async Task A_database_is_made_with_one_and_opens_with_the_same_alone()
    {
        using TemporaryFolder folder = new();
        Document document = new("a", "", string.Concat(Enumerable.Repeat("the cat eats the fish. ", 20)), "");
        RetroTokenizer own = RetroTokenizer.From(new Characters(), "letters of 2026", vocabularySize: 30, endOfText: 29);
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(folder["db"], [document], own, new() { ChunkLength = 8 });
        Assert.Equal(document.Text, own.Decode(database.TokensOf(database.Documents[0])));
        Assert.Equal(document.Text.Length + 2, database.Manifest.TokenCount);
        Assert.Equal(document.Text.Length, LeakageCurve.ChunkBytes(database, own).Sum());
        using RetroModel model = new(RetroConfig.Tiny with { VocabularySize = own.VocabularySize, Retrieval = null });
        GeneratedText text = await new RetroGenerator(model, own).GenerateTextAsync(
            "the cat", new() { MaximumNewTokens = 8 }, TestContext.Current.CancellationToken);
        Assert.Matches("^[a-z .]*$", text.Text);

        RetroTokenizer Again(string identity = "letters of 2026", int size = 30, int end = 29) => RetroTokenizer.From(new Characters(), identity, size, end);
        database.RequireTokenizer(Again());
        Assert.Equal(own.Hash, Again().Hash);
        foreach (RetroTokenizer other in new[] { Again("letters of 2027"), Again(size: 31), Again(end: 28) })
        {
            Assert.NotEqual(own.Hash, other.Hash);
            Assert.Throws<DatabaseException>(() => database.RequireTokenizer(other));
        }
    }

    [Fact]
    public void What_it_does_not_tell_has_to_be_given()
    {
        Utf8 bytes = new();
        Assert.Contains("Token 128 is no whole character", Refusal(() => RetroTokenizer.From(bytes, "bytes", 257, 256)), StringComparison.Ordinal);
        RetroTokenizer given = RetroTokenizer.From(bytes, "bytes", 257, 256, bytes: id => [(byte)id]);
        Assert.Equal("caf\u00e9", given.Decode(given.Encode("caf\u00e9")));
        Assert.Equal("caf", given.Decode(given.Encode("caf\u00e9").AsSpan(0, 3)));

        Assert.Contains("space before a word is lost", Refusal(() => RetroTokenizer.From(new Words(), "words", 4, 3)), StringComparison.Ordinal);
        RetroTokenizer words = RetroTokenizer.From(new Words(), "words", 4, 3, bytes: id => Encoding.UTF8.GetBytes(Words.Known[id] + " "));
        Assert.Equal("the fish ", words.Decode(words.Encode("the fish")));

        Assert.Contains("was said to have 20", Assert.Throws<RetroException>(
            () => RetroTokenizer.From(new Characters(), "letters", 20, 19, bytes: id => [(byte)('a' + id)]).Encode("z")).Message, StringComparison.Ordinal);
        Assert.Contains("name an id for that which no text has", Assert.Throws<RetroException>(
            () => RetroTokenizer.From(new Characters(), "letters", 30, 0, bytes: id => [(byte)('a' + id)]).Encode("cab")).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => RetroTokenizer.From(new Characters(), "letters", 30, 30));
        Assert.Throws<ArgumentOutOfRangeException>(() => RetroTokenizer.From(new Characters(), "letters", 30, 29, beginOfText: -1));
        Assert.Throws<ArgumentException>(() => RetroTokenizer.From(new Characters(), "", 30, 29));

        static string Refusal(Action act) => Assert.Throws<ArgumentException>(act).Message;
    }

    [Fact]
    public void A_folder_of_one_says_which_has_to_be_given_again()
    {
        using TemporaryFolder folder = new();
        RetroTokenizer trained = BpeTrainer.Train(["the cat eats the fish"], 260, folder["tokenizer"]);
        RetroTokenizer own = RetroTokenizer.From(new Characters(), "letters of 2026", vocabularySize: 30, endOfText: 29);

        own.Save(folder["tokenizer"]);
        Assert.False(RetroTokenizer.IsIn(folder["tokenizer"])); // that of before is gone with its files
        string message = Assert.Throws<CorpusException>(() => RetroTokenizer.Load(folder["tokenizer"])).Message;
        Assert.Contains("a tokenizer of its maker's own, \"letters of 2026\"", message, StringComparison.Ordinal);
        Assert.Contains("RetroTokenizer.From", message, StringComparison.Ordinal);

        trained.Save(folder["tokenizer"]);
        Assert.Equal(trained.Hash, RetroTokenizer.Load(folder["tokenizer"]).Hash);
        Assert.False(File.Exists(folder["tokenizer/own-tokenizer.json"]));
    }

    private static TiktokenTokenizer Tiktoken()
    {
        string vocabulary = string.Concat(s_vocabulary.Select((bytes, rank) => $"{Convert.ToBase64String(bytes)} {rank}\n"));
        using MemoryStream stream = new(Encoding.ASCII.GetBytes(vocabulary));
        return TiktokenTokenizer.Create(stream, null, null, new Dictionary<string, int> { [EndOfText] = 259 });
    }

    /// <summary>A tokenizer by hand.</summary>
    private abstract class Handmade : Tokenizer
    {
        protected abstract IEnumerable<(int Id, string Text, int Start)> Split(string text);

        public abstract override string Decode(IEnumerable<int> ids);

        public override OperationStatus Decode(IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten)
            => throw new NotSupportedException();

        protected override EncodeResults<EncodedToken> EncodeToTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
        {
            text ??= textSpan.ToString();
            return new()
            {
                Tokens = [.. Split(text).Select(one => new EncodedToken(one.Id, one.Text, one.Start..(one.Start + one.Text.Length)))],
                CharsConsumed = text.Length,
            };
        }
    }

    /// <summary>"a" to "z", a space and a full stop.</summary>
    private sealed class Characters : Handmade
    {
        private const string Known = "abcdefghijklmnopqrstuvwxyz .";

        public override string Decode(IEnumerable<int> ids) => string.Concat(ids.Where(id => id < Known.Length).Select(id => Known[id]));

        protected override IEnumerable<(int Id, string Text, int Start)> Split(string text)
            => text.Select((character, place) => (Known.IndexOf(character, StringComparison.Ordinal), $"{character}", place));
    }

    /// <summary>The bytes of UTF-8.</summary>
    private sealed class Utf8 : Handmade
    {
        public override string Decode(IEnumerable<int> ids) => Encoding.UTF8.GetString([.. ids.Select(id => (byte)id)]);

        protected override IEnumerable<(int Id, string Text, int Start)> Split(string text)
            => Encoding.UTF8.GetBytes(text).Select((value, place) => ((int)value, "", 0));
    }

    /// <summary>Three words, between which spaces are lost.</summary>
    private sealed class Words : Handmade
    {
        public static string[] Known { get; } = ["the", "cat", "fish"];

        public override string Decode(IEnumerable<int> ids) => string.Join(' ', ids.Where(id => id < 3).Select(id => Known[id]));

        protected override IEnumerable<(int Id, string Text, int Start)> Split(string text)
            => text.Split(' ').Select(word => (Array.IndexOf(Known, word), word, text.IndexOf(word, StringComparison.Ordinal)));
    }
}
