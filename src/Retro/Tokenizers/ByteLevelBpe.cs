using System.Text.Json;
using Microsoft.ML.Tokenizers;
using Retro.Corpora;

namespace Retro.Tokenizers;

/// <summary>Loads GPT-2's <c>vocab.json</c> and <c>merges.txt</c>.</summary>
internal static class ByteLevelBpe
{
    public const string KindName = "byte-level BPE";
    public const string VocabularyFile = "vocab.json";
    public const string MergesFile = "merges.txt";

    // Tokens that end a document, in the order of preference.
    public static readonly string[] Ends = [RetroTokenizer.EndOfTextToken, "<|end_of_text|>", "</s>", "<eos>"];

    public static RetroTokenizer Load(string folder)
    {
        string vocabularyPath = Path.Combine(folder, VocabularyFile);
        string mergesPath = Path.Combine(folder, MergesFile);
        byte[] vocabularyBytes = TokenizerFiles.Read(vocabularyPath);
        byte[] mergesBytes = TokenizerFiles.Read(mergesPath);
        Dictionary<string, int> vocabulary = ReadVocabulary(vocabularyBytes, vocabularyPath);
        int endOfText = Ends.Where(vocabulary.ContainsKey).Select(token => vocabulary[token]).FirstOrDefault(-1);
        if (endOfText < 0)
        {
            throw new CorpusException($"The vocabulary {vocabularyPath} has no token that ends a document (expected one of {string.Join(", ", Ends)}). Add one.");
        }

        BpeOptions options = new(vocabulary)
        {
            ByteLevel = true,
            PreTokenizer = new Gpt2PreTokenizer(),
            Merges = ReadMerges(mergesBytes, mergesPath, vocabulary),
        };
        // Before the tokenizer is made: it would name what is wrong with the vocabulary less clearly, or not at all.
        byte[]?[] bytes = BytesOf(vocabulary, options.Merges, vocabularyPath);
        return new RetroTokenizer(
            BpeTokenizer.Create(options),
            KindName,
            endOfText,
            bytes,
            [(MergesFile, mergesBytes), (VocabularyFile, vocabularyBytes)]);
    }

    private static Dictionary<string, int> ReadVocabulary(byte[] bytes, string path)
    {
        try
        {
            return new Dictionary<string, int>(
                JsonSerializer.Deserialize<Dictionary<string, int>>(bytes) ?? throw new JsonException("it holds null"),
                StringComparer.Ordinal);
        }
        catch (JsonException exception)
        {
            throw new CorpusException($"The vocabulary {path} is no JSON object of pieces and ids: {exception.Message}", exception);
        }
    }

    private static List<string> ReadMerges(byte[] bytes, string path, Dictionary<string, int> vocabulary)
    {
        string[] lines = Cleaning.DecodeUtf8(bytes, $"The file {path}").ReplaceLineEndings("\n").Split('\n');
        List<string> merges = new(lines.Length);
        for (int i = 0; i < lines.Length; i++)
        {
            string line = lines[i];
            if (line.Length == 0 || (i == 0 && line.StartsWith("#version", StringComparison.Ordinal)))
            {
                continue;
            }

            string[] pair = line.Split(' ');
            if (pair.Length != 2 || pair[0].Length == 0 || pair[1].Length == 0)
            {
                throw new CorpusException($"Line {i + 1} of {path} is no pair of pieces: \"{line}\".");
            }

            foreach (string piece in new[] { pair[0], pair[1], pair[0] + pair[1] })
            {
                if (!vocabulary.ContainsKey(piece))
                {
                    throw new CorpusException($"Line {i + 1} of {path} needs the piece \"{piece}\", which the vocabulary beside it lacks. Take both files from the same tokenizer.");
                }
            }

            merges.Add(line);
        }

        return merges;
    }

    /// <summary>What each id stands for; empty for special tokens and for ids that no piece has.</summary>
    private static byte[]?[] BytesOf(Dictionary<string, int> vocabulary, IEnumerable<string> merges, string path)
    {
        HashSet<string> merged = merges.Select(line => line.Replace(" ", "", StringComparison.Ordinal)).ToHashSet(StringComparer.Ordinal);
        int size = vocabulary.Count == 0 ? 0 : vocabulary.Values.Max() + 1;
        if (vocabulary.Count > 0 && (vocabulary.Values.Min() < 0 || size > 16 * 1024 * 1024))
        {
            throw new CorpusException($"The vocabulary {path} has ids from {vocabulary.Values.Min()} to {size - 1}, which no vocabulary has.");
        }

        byte[]?[] bytes = new byte[size][];
        foreach ((string piece, int id) in vocabulary)
        {
            if (bytes[id] is not null)
            {
                throw new CorpusException($"The vocabulary {path} gives the id {id} twice, the second time to \"{piece}\".");
            }

            // What no merge makes is never encoded from text: a special token.
            bytes[id] = piece.Length == 1 || merged.Contains(piece) ? ByteSymbols.ToBytes(piece) ?? [] : [];
        }

        string[] missing = Enumerable.Range(0, 256).Select(value => ByteSymbols.ToChar((byte)value).ToString()).Where(symbol => !vocabulary.ContainsKey(symbol)).ToArray();
        return missing.Length == 0
            ? bytes
            : throw new CorpusException($"The vocabulary {path} lacks {missing.Length} of the 256 bytes (the first is \"{missing[0]}\"), so some text would be lost. Train one that has them all (BpeTrainer).");
    }
}
