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
    private readonly PretrainedTokenizer _tokenizer;
    private readonly byte[][] _bytes;
    private string[]? _hashes;
    private GenerationFiles _beside = GenerationFiles.None;

    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="endOfText">The id that ends a document.</param>
    /// <param name="files">Its files, the one that makes a folder a tokenizer last.</param>
    /// <param name="beginOfText">The id that begins a document.</param>
    /// <param name="beyond">What changes ids or the end of a document and is not said by the tokenizer's own file; null: nothing.</param>
    internal RetroTokenizer(
        PretrainedTokenizer tokenizer,
        int endOfText,
        IReadOnlyList<(string Name, byte[] Content)> files,
        int beginOfText,
        TokenizerConfig? beyond = null)
    {
        TextPipeline pipeline = tokenizer.Pipeline;
        _tokenizer = tokenizer;
        Kind = pipeline.Kind;
        EndOfText = endOfText;
        BeginOfText = beginOfText;
        _bytes = [.. Enumerable.Range(0, pipeline.VocabularySize).Select(id => id == EndOfText || id == BeginOfText ? [] : pipeline.BytesOf(id))];
        _files = files;
        IEnumerable<(string Name, byte[] Content)> said
            = beyond is null || beyond == TokenizerConfig.Nothing ? [] : [(WordPiece.ConfigurationFile, beyond.Counted)];
        Hash = TokenizerFiles.Hash([.. files.Where(IsRead), .. said], pipeline.Altered);

        // What lies beside the file that ids are read from is kept for those who read it.
        bool IsRead((string Name, byte[] Content) file)
            => file.Name != WordPiece.ConfigurationFile && (file.Name != SentencePiecePipeline.FileName || pipeline is SentencePiecePipeline);
    }

    /// <summary>The tokenizer itself.</summary>
    public Tokenizer Tokenizer => _tokenizer.Pipeline is OwnPipeline own ? own.Tokenizer : _tokenizer;

    /// <summary>"byte-level BPE", "WordPiece" or "SentencePiece"; "own" of one that <see cref="From"/> took.</summary>
    public string Kind { get; }

    /// <summary>
    /// SHA-256 in lower-case hexadecimal of what decides the ids: the tokenizer's own file, and of those beside it what that does not say. Two tokenizers of
    /// equal hash give a text equal ids and end it equally. Chat templates and the like do not count, nor does a <c>bos_token</c>, by which
    /// <see cref="BeginOfText"/> may differ.
    /// </summary>
    public string Hash { get; }

    /// <summary>The last of <see cref="Hashes"/>, by which keys know the tokenizer.</summary>
    internal string FilesHash => Hashes[^1];

    /// <summary>
    /// The hashes that databases and models may know the tokenizer by: <see cref="Hash"/>, and the one over every file that lies there, read or not, which
    /// those have that were made by the first versions of this library.
    /// </summary>
    public IReadOnlyList<string> Hashes => _hashes ??=
    [
        Hash,
        TokenizerFiles.Hash([.. _files.Select(Counted)], _tokenizer.Pipeline.Altered),
    ];

    private static (string Name, byte[] Content) Counted((string Name, byte[] Content) file)
        => file.Name == WordPiece.ConfigurationFile ? (file.Name, TokenizerConfig.Read(file.Content, file.Name).Counted) : file;

    /// <summary>One more than the highest id.</summary>
    public int VocabularySize => _bytes.Length;

    /// <summary>The id that ends every document.</summary>
    public int EndOfText { get; }

    /// <summary>
    /// The ids at which a generated text ends: <see cref="EndOfText"/>, and those that the model's own files name, <c>eos_token_id</c> of
    /// <c>generation_config.json</c> or else of <c>config.json</c>: a model of conversations ends its answers otherwise than documents end.
    /// </summary>
    public IReadOnlyList<int> EndTokens => field ??= [EndOfText, .. _beside.Ends.Where(id => id != EndOfText && (uint)id < (uint)VocabularySize).Distinct()];

    /// <summary>
    /// The id that begins every document and every prompt: the one that the tokenizer's own template puts before a text (&lt;s&gt; of Llama and Mistral, [CLS]
    /// of BERT), else the one that usually ends documents, such as "&lt;|endoftext|&gt;", as GPT-2 has it, also where the configuration names the end of a turn
    /// as <see cref="EndOfText"/>.
    /// </summary>
    public int BeginOfText { get; }

    /// <summary>
    /// Loads the tokenizer of a folder: <c>tokenizer.json</c>, <c>vocab.json</c> with <c>merges.txt</c> (byte-level BPE with GPT-2's split),
    /// <c>tokenizer.model</c>, or <c>vocab.txt</c> (WordPiece); the first of these that is there.
    /// </summary>
    /// <remarks><c>tokenizer.json</c> says more than the files that often lie beside it: how text is normalized and split before the merges.</remarks>
    /// <param name="folder">The folder; or one such file of JSON or SentencePiece, or a .bin of llama2.c. Under its usual name
    /// it is its folder's tokenizer, with the configuration beside it; under another it stands by itself.</param>
    /// <param name="progress">Stage "load tokenizer"; null: no reporting.</param>
    /// <param name="cancellationToken">Stops before the files are read and after.</param>
    /// <exception cref="CorpusException">The folder holds no tokenizer, or that of somebody's own (see <see cref="From"/>), which is named; or its files
    /// contradict each other.</exception>
    public static RetroTokenizer Load(string folder, IProgress<StageProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        StageCounter counter = new("load tokenizer", 1, progress, cancellationToken);
        counter.Next();
        RetroTokenizer tokenizer = LoadFiles(folder);
        if (Directory.Exists(folder) || tokenizer._files.Any(file => file.Name == Path.GetFileName(folder)))
        {
            // A file under its usual name is its folder's tokenizer.
            tokenizer._beside = GenerationFiles.Of(Directory.Exists(folder) ? folder : Path.GetDirectoryName(Path.GetFullPath(folder))!);
        }

        cancellationToken.ThrowIfCancellationRequested();
        counter.End();
        return tokenizer;
    }

    /// <summary>
    /// Takes a tokenizer of the caller's own, such as one of tiktoken's, or one that cuts a text into characters. It has no files: <see cref="Save"/>, and what
    /// saves a tokenizer with itself, writes a note of its identity, by which who loads the folder is told what to make again.
    /// </summary>
    /// <remarks>Where a text spells out what would end or begin one, such as "&lt;|endoftext|&gt;", it is encoded in two parts, so that no document can end
    /// another. What the tokenizer's other special tokens are is not known here: a chat template's are plain characters.</remarks>
    /// <param name="tokenizer">The tokenizer; it is called by several threads at once, and stays the caller's.</param>
    /// <param name="identity">Names all that decides its ids, such as its vocabulary's name and version: <see cref="Hash"/> is made of it, and databases and
    /// models that were made with one of another identity are refused.</param>
    /// <param name="vocabularySize">One more than its highest id.</param>
    /// <param name="endOfText">The id that ends every document, which no text has.</param>
    /// <param name="beginOfText">The id that begins every document, which no text has; null: <paramref name="endOfText"/>.</param>
    /// <param name="bytes">The bytes that an id adds to a text, empty for one that adds none: those of a text's ids, one behind the other, are the text. Null:
    /// those of the text that the tokenizer says of the id by itself, which is enough where every token is of whole characters. Of a
    /// <see cref="TiktokenTokenizer"/> they stand in its vocabulary's file, in base 64 before each id.</param>
    /// <returns>The tokenizer, with what the other rooms need to know of it.</returns>
    /// <exception cref="ArgumentException">What ids add to a text has to be given: a token is no whole character, or the texts of tokens do not make up the
    /// text that they were made of. Or the identity is empty.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The vocabulary has no id, or an id lies outside of it.</exception>
    public static RetroTokenizer From(
        Tokenizer tokenizer, string identity, int vocabularySize, int endOfText, int? beginOfText = null, Func<int, byte[]>? bytes = null)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        ArgumentException.ThrowIfNullOrEmpty(identity);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(vocabularySize);
        int begin = beginOfText ?? endOfText;
        foreach ((int id, string name) in new[] { (endOfText, nameof(endOfText)), (begin, nameof(beginOfText)) })
        {
            ArgumentOutOfRangeException.ThrowIfNegative(id, name);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(id, vocabularySize, name);
        }

        int[] borders = [endOfText, begin];
        OwnPipeline pipeline = new(tokenizer, vocabularySize, borders, bytes ?? OwnPipeline.BytesBy(tokenizer, vocabularySize, borders));
        byte[] note = OwnPipeline.Note(identity, vocabularySize, endOfText);
        return new(new PretrainedTokenizer(pipeline), endOfText, [(OwnPipeline.NoteFile, note)], begin);
    }

    /// <summary>Whether a folder holds a tokenizer that <see cref="Load"/> takes.</summary>
    /// <param name="folder">The folder.</param>
    public static bool IsIn(string folder) => LoaderOf(folder) is not null;

    private static RetroTokenizer LoadFiles(string folder)
    {
        if (File.Exists(folder))
        {
            return folder.EndsWith(".bin", StringComparison.OrdinalIgnoreCase) ? Llama2CTokenizer.Load(folder) : PretrainedFiles.Load(folder);
        }

        StagedFiles.Finish(folder, CorpusException.Of);
        Func<string, RetroTokenizer> load = LoaderOf(folder) ?? throw new CorpusException(
            $"The folder {folder} holds no tokenizer: expected tokenizer.json, vocab.json with merges.txt, tokenizer.model or vocab.txt. Name a folder "
                + $"with these, or train one (BpeTrainer).{SentencePiecePipeline.Instead(folder)}{OwnPipeline.NotedIn(folder)}");
        return load(folder);
    }

    private static Func<string, RetroTokenizer>? LoaderOf(string folder)
    {
        return Has(TokenizerJson.FileName) ? PretrainedFiles.Load
            : Has(ByteLevelBpe.VocabularyFile) && Has(ByteLevelBpe.MergesFile) ? ByteLevelBpe.Load
            : Has(SentencePiecePipeline.FileName) ? PretrainedFiles.Load
            : Has(WordPiece.VocabularyFile) ? WordPiece.Load
            : null;

        bool Has(string name) => File.Exists(Path.Combine(folder, name));
    }

    /// <summary>The ids of a text. Special tokens written in the text are plain characters; a lone surrogate, which is no text, is taken as U+FFFD.</summary>
    /// <param name="text">The text.</param>
    public int[] Encode(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return _tokenizer.EncodePlain(WellFormed(text));
    }

    /// <summary>The ids of a text in which special tokens are recognized, but for those that a mark stands in, which is no part of the text.</summary>
    internal int[] EncodeMarked(string text, char mark) => _tokenizer.Pipeline.EncodeMarked(WellFormed(text), mark);

    /// <summary>What special tokens look like in a text.</summary>
    internal IEnumerable<string> SpecialTexts => _tokenizer.Pipeline.SpecialTexts;

    /// <summary>What no file calls special, stands for no piece of a text, and is found where a text spells it out.</summary>
    internal IEnumerable<string> SpelledTexts => _tokenizer.Pipeline.SpelledTexts;

    /// <summary>What the files beside the tokenizer call special tokens, and the tokenizer takes for the characters that they are written with.</summary>
    internal IReadOnlyList<string> MissingSpecialTexts => field ??= [.. _beside.Special.Except(SpecialTexts).Where(text => text.Length > 0 && !IsPiece(text))];

    /// <summary>
    /// The text of ids. Special tokens are left out; bytes that are no UTF-8 become U+FFFD. A space that encoding puts before a text, as the tokenizer's own
    /// file says, is not part of it. White space that encoding takes away comes back as one space before each word of a WordPiece vocabulary, and of others
    /// before each piece, where the tokenizer's own file has it so.
    /// </summary>
    /// <param name="ids">The ids.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside the vocabulary.</exception>
    public string Decode(ReadOnlySpan<int> ids) => Decode(ids, Beginning);

    /// <summary>The text of ids that stand within a text: a space before the first word stays.</summary>
    /// <param name="ids">The ids.</param>
    /// <exception cref="ArgumentOutOfRangeException">An id is outside the vocabulary.</exception>
    public string DecodeWithin(ReadOnlySpan<int> ids) => Decode(ids, default);

    /// <summary>The text of a part of a text: a first or last character that the part's border cuts is left out.</summary>
    /// <param name="ids">The ids.</param>
    /// <param name="begins">Whether the text begins where the part does.</param>
    /// <param name="ends">Whether it ends there, too.</param>
    internal string DecodePart(ReadOnlySpan<int> ids, bool begins, bool ends)
    {
        string text = begins ? Decode(ids) : DecodeWithin(ids).TrimStart('\ufffd');
        return ends ? text : text.TrimEnd('\ufffd');
    }

    /// <summary>What a token is called: its text by itself, or what a special token is written as in a template; empty where there is neither.</summary>
    /// <param name="id">The id.</param>
    /// <exception cref="ArgumentOutOfRangeException">The id is outside the vocabulary.</exception>
    public string NameOf(int id)
        => IsSpecial(id) ? SpecialTexts.FirstOrDefault(text => _tokenizer.Pipeline.IdOf(text) == id, "") : DecodeWithin([id]);

    /// <summary>The bytes that a token stands for; none for a special token. Bytes, because one character may take several tokens.</summary>
    /// <param name="id">The id.</param>
    /// <exception cref="ArgumentOutOfRangeException">The id is outside the vocabulary.</exception>
    public ReadOnlySpan<byte> TokenBytes(int id)
        => (uint)id < (uint)_bytes.Length
            ? _bytes[id]
            : throw new ArgumentOutOfRangeException(
                nameof(id), id, $"The vocabulary has the ids 0 to {_bytes.Length - 1}. Was the text encoded with another tokenizer?");

    /// <summary>Whether an id stands for no text: the end of text and the like, and ids that no piece has.</summary>
    /// <param name="id">The id.</param>
    public bool IsSpecial(int id) => TokenBytes(id).IsEmpty;

    /// <summary>An encoded prompt with the id that begins a text. One that begins with a special token, as a chat template writes it, is begun.</summary>
    internal int[] Begun(ReadOnlySpan<int> prompt)
        => prompt is [int first, ..] && IsSpecial(first) && !_tokenizer.Pipeline.Gives(first) ? prompt.ToArray() : [BeginOfText, .. prompt];

    /// <summary>The ids that stand for no text.</summary>
    internal IReadOnlyList<int> SpecialTokens => field ??= [.. Enumerable.Range(0, VocabularySize).Where(IsSpecial)];

    /// <summary>Whether a token's bytes go on with a character of UTF-8 that another one has begun.</summary>
    internal bool BeginsWithinCharacter(int id) => TokenBytes(id) is [>= 0x80 and <= 0xBF, ..];

    /// <summary>The tokens that do, the shortest first.</summary>
    internal IReadOnlyList<int> WithinCharacters
        => field ??= [.. Enumerable.Range(0, VocabularySize).Where(BeginsWithinCharacter).OrderBy(id => TokenBytes(id).Length)];

    /// <summary>
    /// Writes the tokenizer's files into a folder, byte for byte as they were loaded, and what stands beside them and says how the model generates: its chat
    /// template, and what ends its texts. Such files of another tokenizer that the folder held go: they would be read in their place, or with them.
    /// </summary>
    /// <param name="folder">The folder; it is created.</param>
    /// <exception cref="CorpusException">The files cannot be written.</exception>
    public void Save(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        TokenizerFiles.Write(folder, All);
    }

    /// <summary>Writes the tokenizer's files beside their places in a folder.</summary>
    internal void Stage(StagedFiles staged, string folder) => TokenizerFiles.Stage(staged, folder, All);

    // The tokenizer's own last: the last one makes a folder a tokenizer.
    private IReadOnlyList<(string Name, byte[] Content)> All
        => [.. _beside.Files.Where(file => _files.All(own => own.Name != file.Name)), .. _files];

    /// <summary>The ids that the tokenizer's template puts before and after a text.</summary>
    internal (int[] Before, int[] After) Template => (_tokenizer.Pipeline.Before, _tokenizer.Pipeline.After);

    /// <summary>Whether every token brings a space, since encoding has taken those of the text away.</summary>
    internal bool BringsSpaces => _tokenizer.Pipeline is JsonPipeline { BringsSpaces: true };

    /// <summary>What the beginning of a text loses.</summary>
    internal TextBeginning Beginning => new(_tokenizer.Pipeline.LeadingSpaces);

    /// <summary>The text with U+FFFD for every lone surrogate.</summary>
    internal static string WellFormed(string text)
    {
        int first = text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF');
        return first < 0 ? text : Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
    }

    private bool IsPiece(string text) => _tokenizer.Pipeline is var pipeline && pipeline.IdOf(text) is >= 0 and int id && pipeline.Gives(id);

    private string Decode(ReadOnlySpan<int> ids, TextBeginning beginning)
    {
        using MemoryStream bytes = new(ids.Length * 4);
        foreach (int id in ids)
        {
            bytes.Write(beginning.Trim(TokenBytes(id)));
        }

        return Encoding.UTF8.GetString(bytes.GetBuffer(), 0, (int)bytes.Length);
    }
}
