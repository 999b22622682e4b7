using System.Runtime.InteropServices;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Retro.Tokenizers;

/// <summary>
/// Learns a byte-level BPE vocabulary from text (Sennrich et al. 2016, over bytes as in GPT-2): again and again the most frequent pair
/// of neighboring pieces becomes a piece of its own.
/// </summary>
/// <remarks>
/// The same texts give the same files: of equally frequent pairs the one of lower ids wins. Only the words in which a merged pair
/// occurs are counted anew, so that the time goes with the text once and with the distinct words after that.
/// </remarks>
public static class BpeTrainer
{
    /// <summary>The smallest vocabulary: one piece per byte, and the end of text.</summary>
    public const int SmallestVocabulary = 257;

    // Longer runs (text without spaces, sequences, base64) are cut, so that no word makes the learning slow.
    private const int LongestWord = 128;

    // Bounds memory: reached, the rarest words are forgotten, which a merge can hardly turn on, until there is room for new ones.
    private const int MostWords = 4_000_000;

    private static readonly JsonSerializerOptions s_readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Learns a vocabulary and writes it as GPT-2 does, as <c>vocab.json</c> and <c>merges.txt</c>.</summary>
    /// <param name="texts">The texts, read once, one at a time.</param>
    /// <param name="vocabularySize">The number of pieces: 256 bytes, merges, and the end of text as the last id. Where the texts have fewer pairs that occur
    /// twice, it stays smaller.</param>
    /// <param name="folder">Where the files go; it is created.</param>
    /// <param name="progress">Told of the stages "count words" (characters) and "learn merges".</param>
    /// <param name="cancellationToken">Stops the work; no file is written then.</param>
    /// <returns>The tokenizer, as <see cref="RetroTokenizer.Load"/> reads it from the folder.</returns>
    /// <exception cref="CorpusException">The texts hold nothing to learn from, or the files cannot be written.</exception>
    public static RetroTokenizer Train(
        IEnumerable<string> texts, int vocabularySize, string folder, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentOutOfRangeException.ThrowIfLessThan(vocabularySize, SmallestVocabulary);

        List<byte[]> pieces = ByteSymbols.GptOrder.Select(value => new[] { value }).ToList();
        Dictionary<string, long> words = CountWords(texts, progress, cancellationToken);
        if (words.Count == 0)
        {
            throw new CorpusException("There is no text to learn a vocabulary from. Name a corpus that holds text.");
        }

        List<(int Left, int Right)> merges = new MergeLearner(words).Learn(vocabularySize - SmallestVocabulary, pieces, progress, cancellationToken);
        Write(folder, pieces, merges);
        return RetroTokenizer.Load(folder, cancellationToken: cancellationToken);
    }

    /// <summary>How often each word comes; of more words than <paramref name="most"/>, the rarest are forgotten, within a text as well.</summary>
    internal static Dictionary<string, long> CountWords(
        IEnumerable<string> texts, IProgress<StageProgress>? progress, CancellationToken cancellationToken, int most = MostWords)
    {
        Dictionary<string, long> words = new(StringComparer.Ordinal);
        Dictionary<string, long>.AlternateLookup<ReadOnlySpan<char>> lookup = words.GetAlternateLookup<ReadOnlySpan<char>>();
        long characters = 0;
        foreach (string text in texts)
        {
            cancellationToken.ThrowIfCancellationRequested();
            ReadOnlySpan<char> span = text ?? throw new CorpusException("A text to learn a vocabulary from is null; leave out what is none.");
            for (int begin = 0; begin < span.Length;)
            {
                int end = Gpt2PreTokenizer.End(span, begin);
                while (begin < end)
                {
                    int cut = Math.Min(end, begin + LongestWord);
                    cut -= CodePoints.IsWithinPair(span, cut) ? 1 : 0;
                    CollectionsMarshal.GetValueRefOrAddDefault(lookup, span[begin..cut], out _)++;
                    begin = cut;
                    if (words.Count > most)
                    {
                        Forget(words, most / 4 * 3);
                    }
                }
            }

            characters += text.Length;
            progress?.Report(new StageProgress("count words", characters, 0));
        }

        return words;
    }

    /// <summary>Takes the rarest words away, so that so many stay at most.</summary>
    private static void Forget(Dictionary<string, long> words, int kept)
    {
        long[] counts = [.. words.Values];
        Array.Sort(counts);
        long rare = counts[^kept];
        foreach ((string word, long count) in words)
        {
            if (count < rare || (count == rare && words.Count > kept))
            {
                words.Remove(word);
            }
        }
    }

    private static void Write(string folder, List<byte[]> pieces, List<(int Left, int Right)> merges)
    {
        Dictionary<string, int> vocabulary = new(StringComparer.Ordinal);
        foreach (byte[] piece in pieces)
        {
            vocabulary.Add(Symbols(piece), vocabulary.Count);
        }

        vocabulary.Add(RetroTokenizer.EndOfTextToken, vocabulary.Count);
        StringBuilder lines = new("#version: 0.2\n");
        foreach ((int left, int right) in merges)
        {
            lines.Append(Symbols(pieces[left])).Append(' ').Append(Symbols(pieces[right])).Append('\n');
        }

        string json = JsonSerializer.Serialize(vocabulary, s_readable);
        TokenizerFiles.Write(folder, [("merges.txt", Encoding.UTF8.GetBytes(lines.ToString())), ("vocab.json", Encoding.UTF8.GetBytes(json))]);
    }

    private static string Symbols(byte[] piece) => string.Create(piece.Length, piece, static (target, source) =>
    {
        for (int i = 0; i < source.Length; i++)
        {
            target[i] = ByteSymbols.ToChar(source[i]);
        }
    });
}
