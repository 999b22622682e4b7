using FsCheck;
using FsCheck.Fluent;
using Microsoft.ML.Tokenizers;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

public class BpeTrainerTests
{
    private static readonly string[] s_sample =
    [
        "The quick brown fox jumps over the lazy dog. The quick brown foxes jumped.\n\n  Indented text, 123 and 456.",
        "Größe, naïve café, 日本語のテキスト, Привет мир. The dogs' quick jumps weren't brown.",
    ];

    [Fact]
    public void Learns_the_merges_that_counting_by_hand_gives()
    {
        using TemporaryFolder folder = new();

        // "hug" 10, "pug" 5, "pun" 12, "bun" 4, "hugs" 5 times: the well-known example's merges are u+g (20), u+n (16), h+ug (15).
        string text = string.Join(
            '\n', new[] { ("hug", 10), ("pug", 5), ("pun", 12), ("bun", 4), ("hugs", 5) }.SelectMany(word => Enumerable.Repeat(word.Item1, word.Item2)));
        BpeTrainer.Train([text], BpeTrainer.SmallestVocabulary + 3, folder.Path);

        Assert.Equal(["#version: 0.2", "u g", "u n", "h ug"], File.ReadAllLines(Path.Combine(folder.Path, "merges.txt")));
    }

    [Fact]
    public void Words_in_any_number_are_counted_in_bounded_memory_and_new_ones_are_learned()
    {
        int most = 0;
        IEnumerable<string> texts = Enumerable.Range(0, 400).Select(i => $"w{i}\nw{i}\nv{i}\nfresh\n");
        Dictionary<string, long> words = BpeTrainer.CountWords(
            texts, new Reports<StageProgress>(_ => { }), TestContext.Current.CancellationToken, most: 100);
        most = words.Count;
        Assert.InRange(most, 50, 100);
        Assert.Equal(400, words["fresh"]);

        // One text, too, may hold more words than there is room for.
        words = BpeTrainer.CountWords([$"seldom\n{string.Concat(texts)}seldom"], null, TestContext.Current.CancellationToken, most: 100);
        Assert.InRange(words.Count, 50, 100);
        Assert.Equal((400, 1), (words["fresh"], words["seldom"]));
    }

    [Fact]
    public void Every_merge_is_the_most_frequent_pair_counted_anew()
    {
        using TemporaryFolder folder = new();
        string text = string.Concat(Enumerable.Range(0, 400).Select(i => s_sample[i % 2][..(20 + (i * 7 % 40))] + "aaaa aaa abab baba"));
        BpeTrainer.Train([text], BpeTrainer.SmallestVocabulary + 60, folder.Path);

        // The definition, without any incremental count: split, count all pairs, merge the best everywhere.
        List<List<string>> words = [];
        for (int begin = 0; begin < text.Length;)
        {
            int end = Gpt2PreTokenizer.End(text, begin);
            words.Add(System.Text.Encoding.UTF8.GetBytes(text[begin..end]).Select(value => ByteSymbols.ToChar(value).ToString()).ToList());
            begin = end;
        }

        foreach (string line in File.ReadAllLines(Path.Combine(folder.Path, "merges.txt")).Skip(1))
        {
            Dictionary<(string, string), int> counts = [];
            foreach (List<string> word in words)
            {
                for (int i = 0; i + 1 < word.Count; i++)
                {
                    counts[(word[i], word[i + 1])] = counts.GetValueOrDefault((word[i], word[i + 1])) + 1;
                }
            }

            string[] pair = line.Split(' ');
            Assert.Equal(counts.Values.Max(), counts[(pair[0], pair[1])]);
            foreach (List<string> word in words)
            {
                for (int i = 0; i + 1 < word.Count; i++)
                {
                    if (word[i] == pair[0] && word[i + 1] == pair[1])
                    {
                        word[i] += word[i + 1];
                        word.RemoveAt(i + 1);
                    }
                }
            }
        }
    }

    [Fact]
    public void The_same_texts_give_the_same_files_and_the_end_of_text_is_the_last_id()
    {
        using TemporaryFolder first = new();
        using TemporaryFolder second = new();
        BpeTrainer.Train(s_sample, 285, first.Path);
        BpeTrainer.Train(s_sample.Reverse(), 285, second.Path);

        RetroTokenizer tokenizer = RetroTokenizer.Load(first.Path);
        Assert.Equal(tokenizer.Hash, RetroTokenizer.Load(second.Path).Hash);
        Assert.Equal(285, tokenizer.VocabularySize);
        Assert.Equal(284, tokenizer.EndOfText);
    }

    [Fact]
    public void Killed_while_the_files_of_another_tokenizer_take_their_names_the_folder_holds_that_one_never_a_mixture()
    {
        using TemporaryFolder folder = new(), other = new();
        BpeTrainer.Train(s_sample, 285, folder.Path);
        BpeTrainer.Train(s_sample.Select(text => text.ToUpperInvariant()), 280, other.Path);
        RetroTokenizer saved = RetroTokenizer.Load(other.Path);
        Assert.NotEqual(saved.Hash, RetroTokenizer.Load(folder.Path).Hash);

        StoppedSave.Check(folder.Path, saved.Save, left => Assert.Equal(saved.Hash, RetroTokenizer.Load(left).Hash));
    }

    [Fact]
    public void Too_little_text_gives_a_smaller_vocabulary_and_none_or_null_an_error()
    {
        using TemporaryFolder folder = new();
        BpeTrainer.Train(["abab"], 5000, folder.Path);

        Assert.InRange(RetroTokenizer.Load(folder.Path).VocabularySize, 257, 260);
        Assert.Contains("no text", Assert.Throws<CorpusException>(() => BpeTrainer.Train([""], 300, folder.Path)).Message, StringComparison.Ordinal);
        Assert.Contains("is null", Assert.Throws<CorpusException>(() => BpeTrainer.Train(["a", null!], 300, folder.Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_package_s_own_tokenizers_load_the_files()
    {
        using TemporaryFolder folder = new();
        BpeTrainer.Train(s_sample, 320, folder.Path);
        string vocabulary = Path.Combine(folder.Path, "vocab.json");
        string merges = Path.Combine(folder.Path, "merges.txt");
        int[] ids = RetroTokenizer.Load(folder.Path).Encode("The quick brown dogs");

        using FileStream vocabularyStream = File.OpenRead(vocabulary);
        using FileStream mergesStream = File.OpenRead(merges);
        Assert.Equal(ids, CodeGenTokenizer.Create(vocabularyStream, mergesStream).EncodeToIds("The quick brown dogs"));
        BpeOptions options = new(vocabulary, merges) { ByteLevel = true, PreTokenizer = new Gpt2PreTokenizer() };
        Assert.Equal(ids, BpeTokenizer.Create(options).EncodeToIds("The quick brown dogs"));
    }

    [Theory]
    [InlineData("ACGTTGCAACGGTA", 400)]
    [InlineData("山路を登りながら考えた智に働けば角が立つ", 40)]
    [InlineData("\U00020000\U00020001\U00020002", 100)]
    public void Text_without_spaces_teaches_its_own_pieces(string unit, int repeats)
    {
        using TemporaryFolder folder = new();
        string text = string.Concat(Enumerable.Repeat(unit, repeats));
        BpeTrainer.Train([text], BpeTrainer.SmallestVocabulary + 60, folder.Path);
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);

        int[] ids = tokenizer.Encode(text);
        Assert.Equal(text, tokenizer.Decode(ids));
        Assert.InRange(ids.Length, 1, System.Text.Encoding.UTF8.GetByteCount(text) / 8);
    }

    [Fact]
    public void Cancelling_leaves_no_file()
    {
        using TemporaryFolder folder = new();
        using CancellationTokenSource source = new();
        source.Cancel();

        Assert.Throws<OperationCanceledException>(() => BpeTrainer.Train(s_sample, 300, folder.Path, cancellationToken: source.Token));
        Assert.Empty(Directory.EnumerateFiles(folder.Path));
    }

    [Fact]
    public void Trained_on_anything_it_gives_anything_back()
    {
        using TemporaryFolder folder = new();
        BpeTrainer.Train(s_sample, 400, folder.Path);
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder.Path);

        Prop.ForAll<string>(text =>
        {
            string expected = System.Text.Encoding.UTF8.GetString(System.Text.Encoding.UTF8.GetBytes(text ?? ""));
            return tokenizer.Decode(tokenizer.Encode(text ?? "")) == expected;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(500));
    }
}
