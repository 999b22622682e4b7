using System.Text;
using Microsoft.ML.Tokenizers;

namespace Retro.Tokenizers;

/// <summary>A tokenizer with what the other rooms need to know of it: its end-of-text id, the bytes of each token, and a hash that names it.</summary>
/// <remarks>
/// <see cref="Encode"/> never gives a special token: where a text holds the characters "&lt;|endoftext|&gt;", they are encoded as any other
/// characters are, so that no document can end another. Safe for use from many threads.
/// </remarks>
public sealed class RetroTokenizer
{
    /// <summary>The token that ends a document in GPT-2's vocabularies.</summary>
    public const string EndOfTextToken = "<|endoftext|>";

    private readonly IReadOnlyList<(string Name, byte[] Content)> _files;
    private readonly byte[]?[] _bytes;

    internal RetroTokenizer(Tokenizer tokenizer, string kind, int endOfText, byte[]?[] bytes, IReadOnlyList<(string Name, byte[] Content)> files, int? beginOfText = null)
    {
        Tokenizer = tokenizer;
        Kind = kind;
        EndOfText = endOfText;
        BeginOfText = beginOfText ?? endOfText;
        _bytes = bytes;
        _files = files;
        Hash = TokenizerFiles.Hash(files);
    }

    /// <summary>The tokenizer itself.</summary>
    public Tokenizer Tokenizer { get; }

    /// <summary>"byte-level BPE", "WordPiece" or "SentencePiece". In the latter two a word carries the space before it, which <see cref="Decode"/> leaves out at the start.</summary>
    public string Kind { get; }

    /// <summary>SHA-256 of the tokenizer's files in lower-case hexadecimal: two tokenizers of equal hash give equal ids.</summary>
    public string Hash { get; }

    /// <summary>One more than the highest id.</summary>
    public int VocabularySize => _bytes.Length;

    /// <summary>The id that begins and ends every document.</summary>
    public int EndOfText { get; }

    /// <summary>The id that a text encoder sees first: [CLS] of a WordPiece vocabulary, <see cref="EndOfText"/> of the others.</summary>
    public int BeginOfText { get; }

    /// <summary>Loads the tokenizer of a folder: <c>tokenizer.json</c>, <c>vocab.json</c> with <c>merges.txt</c> (byte-level BPE with GPT-2's split), <c>tokenizer.model</c>, or <c>vocab.txt</c> (WordPiece); the first of these that is there.</summary>
    /// <remarks><c>tokenizer.json</c> says more than the files that often lie beside it: how text is normalized and split before the merges.</remarks>
    /// <param name="folder">The folder; or one such file of JSON or SentencePiece, whatever its name.</param>
    /// <exception cref="CorpusException">The folder holds no tokenizer, or its files contradict each other.</exception>
    public static RetroTokenizer Load(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        bool Has(string name) => File.Exists(Path.Combine(folder, name));

        if (File.Exists(folder) || Has(TokenizerJson.FileName))
        {
            return PretrainedFiles.Load(folder);
        }

        if (Has(ByteLevelBpe.VocabularyFile) && Has(ByteLevelBpe.MergesFile))
        {
            return ByteLevelBpe.Load(folder);
        }

        if (Has(SentencePiecePipeline.FileName))
        {
            return PretrainedFiles.Load(folder);
        }

        if (Has(WordPiece.VocabularyFile))
        {
            return WordPiece.Load(folder);
        }

        throw new CorpusException($"The folder {folder} holds no tokenizer: expected tokenizer.json, vocab.json with merges.txt, tokenizer.model or vocab.txt. Name a folder with these, or train one (BpeTrainer).");
    }

    /// <summary>The ids of a text. Special tokens written in the text are plain characters; a lone surrogate, which is no text, is taken as U+FFFD.</summary>
    /// <param name="text">The text.</param>
    public int[] Encode(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        string wellFormed = WellFormed(text);
        return Tokenizer is PretrainedTokenizer pretrained ? pretrained.EncodePlain(wellFormed) : Tokenizer.EncodeToIds(wellFormed).ToArray();
    }

    /// <summary>The text of ids. Special tokens are left out; bytes that are no UTF-8 become U+FFFD.</summary>
    /// <param name="ids">The ids.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside the vocabulary.</exception>
    public string Decode(ReadOnlySpan<int> ids)
    {
        using MemoryStream bytes = new(ids.Length * 4);
        foreach (int id in ids)
        {
            bytes.Write(TokenBytes(id));
        }

        string text = Encoding.UTF8.GetString(bytes.GetBuffer(), 0, (int)bytes.Length);
        return Kind != ByteLevelBpe.KindName && text.StartsWith(' ') ? text[1..] : text;
    }

    /// <summary>The bytes that a token stands for; none for a special token. Bytes, because one character may take several tokens.</summary>
    /// <param name="id">The id.</param>
    /// <exception cref="ArgumentOutOfRangeException">The id is outside the vocabulary.</exception>
    public ReadOnlySpan<byte> TokenBytes(int id)
        => (uint)id < (uint)_bytes.Length
            ? _bytes[id]
            : throw new ArgumentOutOfRangeException(nameof(id), id, $"The vocabulary has the ids 0 to {_bytes.Length - 1}. Was the text encoded with another tokenizer?");

    /// <summary>Whether an id stands for no text: the end of text and the like, and ids that no piece has.</summary>
    /// <param name="id">The id.</param>
    public bool IsSpecial(int id) => TokenBytes(id).IsEmpty;

    /// <summary>Writes the tokenizer's files into a folder, byte for byte as they were loaded.</summary>
    /// <param name="folder">The folder; it is created.</param>
    /// <exception cref="CorpusException">The files cannot be written.</exception>
    public void Save(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        TokenizerFiles.Write(folder, _files);
    }

    /// <summary>The text with U+FFFD for every lone surrogate.</summary>
    internal static string WellFormed(string text)
    {
        int first = text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF');
        return first < 0 ? text : Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
    }
}
