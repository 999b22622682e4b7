using System.Text;
using System.Text.Json;
using Microsoft.ML.Tokenizers;
using Retro.Corpora;

namespace Retro.Tokenizers;

/// <summary>Loads BERT's <c>vocab.txt</c>, one piece a line, and <c>tokenizer_config.json</c> beside it where there is one.</summary>
internal static class WordPiece
{
    public const string VocabularyFile = "vocab.txt";
    public const string ConfigurationFile = "tokenizer_config.json";
    public const string KindName = "WordPiece";
    public const string ClassificationToken = "[CLS]";
    private const string Unknown = "[UNK]";
    private const string Continuing = "##";
    private static readonly string[] Special = ["[PAD]", Unknown, ClassificationToken, "[SEP]", "[MASK]"];

    public static RetroTokenizer Load(string folder)
    {
        string path = Path.Combine(folder, VocabularyFile);
        List<(string Name, byte[] Content)> files = [(VocabularyFile, TokenizerFiles.Read(path))];
        string configurationPath = Path.Combine(folder, ConfigurationFile);
        if (File.Exists(configurationPath))
        {
            files.Insert(0, (ConfigurationFile, TokenizerFiles.Read(configurationPath)));
        }

        string[] pieces = ReadPieces(files[^1].Content, path);
        int end = Array.IndexOf(pieces, "[SEP]");
        int begin = Array.IndexOf(pieces, ClassificationToken);
        if (end < 0 || !pieces.Contains(Unknown, StringComparer.Ordinal))
        {
            throw new CorpusException($"The vocabulary {path} lacks {(end < 0 ? "[SEP], which ends a document" : "[UNK], which stands for what it does not know")}. Take the vocab.txt of a BERT.");
        }

        (bool lowerCase, bool stripAccents, bool ideographs) = Configuration(files.Count > 1 ? files[0].Content : null, configurationPath);
        using MemoryStream stream = new(files[^1].Content);
        WordPieceTokenizer tokenizer = WordPieceTokenizer.Create(stream, new WordPieceOptions
        {
            Normalizer = new BertNormalizer(cleanText: true, ideographs, stripAccents, lowerCase),
            PreTokenizer = new BertPreTokenizer(),
            UnknownToken = Unknown,
            ContinuingSubwordPrefix = Continuing,
            MaxInputCharsPerWord = 100,
            SpecialTokens = Special.Where(token => pieces.Contains(token, StringComparer.Ordinal)).ToDictionary(token => token, token => Array.IndexOf(pieces, token)),
        });
        return new RetroTokenizer(tokenizer, KindName, end, pieces.Select(BytesOf).ToArray(), files, begin < 0 ? null : begin);
    }

    private static string[] ReadPieces(byte[] content, string path)
    {
        // Only what a StreamReader takes for line ends: some vocabularies hold U+2028 and U+0085 as pieces.
        using StringReader reader = new(Cleaning.DecodeUtf8(content, $"The file {path}"));
        List<string> pieces = [];
        HashSet<string> seen = new(StringComparer.Ordinal);
        while (reader.ReadLine() is { } line)
        {
            pieces.Add(seen.Add(line) ? line : throw new CorpusException($"Line {pieces.Count + 1} of {path} holds the piece \"{line}\" for the second time."));
        }

        return pieces.ToArray();
    }

    private static (bool LowerCase, bool StripAccents, bool Ideographs) Configuration(byte[]? json, string path)
    {
        if (json is null)
        {
            return (true, true, true);
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            bool? Flag(string name) => document.RootElement.TryGetProperty(name, out JsonElement value) && value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : null;
            bool lowerCase = Flag("do_lower_case") ?? true;
            return (lowerCase, Flag("strip_accents") ?? lowerCase, Flag("tokenize_chinese_chars") ?? true);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw new CorpusException($"The file {path} is no JSON object: {exception.Message} Correct it or take it away.", exception);
        }
    }

    /// <summary>What a piece adds to a text: a word comes with the space before it.</summary>
    public static byte[] BytesOf(string piece)
        => (piece.Length > 2 && piece[0] == '[' && piece[^1] == ']') || piece.Length == 0 ? []
            : Encoding.UTF8.GetBytes(piece.StartsWith(Continuing, StringComparison.Ordinal) && piece.Length > Continuing.Length ? piece[Continuing.Length..] : " " + piece);
}
