using System.Text.Json;

namespace Retro.Tokenizers;

/// <summary>Loads GPT-2's <c>vocab.json</c> and <c>merges.txt</c>.</summary>
internal static class ByteLevelBpe
{
    public const string KindName = "byte-level BPE";
    public const string VocabularyFile = "vocab.json";
    public const string MergesFile = "merges.txt";

    private static readonly Dictionary<string, string[]> s_supported = new(StringComparer.Ordinal)
    {
        // Those of transformers that split as GPT-2 does and put nothing around a text by themselves, as RoBERTa's and its kin do; PreTrainedTokenizerFast and
        // TokenizersBackend are names for any.
        ["tokenizer_class"] = ["GPT2Tokenizer", "CodeGenTokenizer", "GPTNeoXTokenizer", "PreTrainedTokenizer", "TokenizersBackend"],
        ["add_prefix_space"] = ["false"],
    };

    public static RetroTokenizer Load(string folder)
    {
        TokenizerConfig config = TokenizerConfig.OfFolder(folder);
        config.Require($"{VocabularyFile} with {MergesFile}", s_supported);
        string vocabularyPath = Path.Combine(folder, VocabularyFile);
        string mergesPath = Path.Combine(folder, MergesFile);
        byte[] vocabularyBytes = TokenizerFiles.Read(vocabularyPath);
        byte[] mergesBytes = TokenizerFiles.Read(mergesPath);
        Dictionary<string, int> vocabulary = ReadVocabulary(vocabularyBytes, vocabularyPath);
        List<(string Left, string Right)> merges = ReadMerges(mergesBytes, mergesPath, vocabulary);
        BpeModel model;
        try
        {
            model = new BpeModel(vocabulary, merges, new BpeSettings { ByteLevel = true });
        }
        catch (FormatException exception)
        {
            throw new CorpusException($"The file {vocabularyPath} cannot be used: {exception.Message} Train one that has them all (BpeTrainer).", exception);
        }

        JsonPipeline pipeline = new(
            new AddedTokens(Special(vocabulary, merges), text => text),
            text => text,
            (text, _) => text,
            [new Gpt2PreTokenizer()],
            model,
            Decoders.ByteLevel,
            before: [],
            after: [],
            addsSpace: false);
        config.RequireAdded(VocabularyFile);
        config = PretrainedFiles.Completed(config, folder, pipeline);
        (int end, int begin) = PretrainedFiles.Ends(config, pipeline, folder);
        List<(string Name, byte[] Content)> files = [(MergesFile, mergesBytes), (VocabularyFile, vocabularyBytes)];
        if (config.Content is { } content && (end != PretrainedFiles.UsualEnd(pipeline) || begin != end))
        {
            // It says what the vocabulary by itself does not.
            files.Insert(0, (WordPiece.ConfigurationFile, content));
        }

        return new RetroTokenizer(new PretrainedTokenizer(pipeline), end, files, begin, PretrainedFiles.Beyond(config, end, pipeline));
    }

    /// <summary>What no merge makes is never encoded from text: a special token.</summary>
    private static AddedToken[] Special(Dictionary<string, int> vocabulary, List<(string Left, string Right)> merges)
    {
        HashSet<string> merged = merges.Select(merge => merge.Left + merge.Right).ToHashSet(StringComparer.Ordinal);
        return [.. vocabulary.Where(entry => entry.Key.Length > 1 && !merged.Contains(entry.Key))
            .Select(entry => new AddedToken(entry.Value, entry.Key, Special: true, SingleWord: false, StripLeft: false, StripRight: false, Normalized: false))];
    }

    private static Dictionary<string, int> ReadVocabulary(byte[] bytes, string path)
    {
        Dictionary<string, int> vocabulary = new(StringComparer.Ordinal);
        try
        {
            using JsonDocument document = Utf8Json.Parse(bytes);
            foreach (JsonProperty entry in document.RootElement.EnumerateObject())
            {
                vocabulary[entry.Name] = entry.Value.GetInt32();
            }
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or FormatException)
        {
            throw new CorpusException($"The vocabulary {path} is no JSON object of pieces and ids: {exception.Message}", exception);
        }

        HashSet<int> ids = [];
        foreach ((string piece, int id) in vocabulary)
        {
            if (id is < 0 or > TokenizerJson.HighestId)
            {
                throw new CorpusException(
                    $"The vocabulary {path} has ids from {vocabulary.Values.Min()} to {vocabulary.Values.Max()}, which no vocabulary has.");
            }

            if (!ids.Add(id))
            {
                throw new CorpusException($"The vocabulary {path} gives the id {id} twice, the second time to \"{piece}\".");
            }
        }

        return vocabulary;
    }

    private static List<(string Left, string Right)> ReadMerges(byte[] bytes, string path, Dictionary<string, int> vocabulary)
    {
        string[] lines = TextDecoding.Decode(bytes, $"The file {path}").ReplaceLineEndings("\n").Split('\n');
        List<(string Left, string Right)> merges = new(lines.Length);
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
                    throw new CorpusException(
                        $"Line {i + 1} of {path} needs the piece \"{piece}\", which the vocabulary beside it lacks. Take both files from the same tokenizer.");
                }
            }

            merges.Add((pair[0], pair[1]));
        }

        return merges;
    }
}
