using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Retro.Database;

/// <summary>What a database is made of: the file manifest.json of its folder. The last file to be written, so that a folder with a manifest is whole.</summary>
public sealed record DatabaseManifest
{
    /// <summary>The file's name.</summary>
    public const string FileName = "manifest.json";

    /// <summary>The version of the format that this library writes and reads.</summary>
    public const int CurrentFormatVersion = 1;

    // Each change takes the next number: so many there never are, and a damaged file may say more.
    private const int MostChanges = 1 << 30;

    private const string TokensName = "tokens";
    private const string DocumentsName = "documents";
    private const string RemovedName = "removed";

    private static readonly JsonSerializerOptions s_json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        WriteIndented = true,
        NewLine = "\n",
        RespectNullableAnnotations = true,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    };

    /// <summary>The version of the format.</summary>
    public required int FormatVersion { get; init; }

    /// <summary>The kind of tokenizer the tokens come from.</summary>
    public required string TokenizerKind { get; init; }

    /// <summary>SHA-256 of the tokenizer's files.</summary>
    public required string TokenizerHash { get; init; }

    /// <summary>The hash that databases of the first versions know the same tokenizer by; null: that one, or it was not written down.</summary>
    [JsonInclude]
    internal string? EarlierTokenizerHash { get; init; }

    /// <summary>The tokenizer's vocabulary, <c>V</c>: every token id is below.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>The token after each document's text, which also pads its last chunk.</summary>
    public required int EndOfText { get; init; }

    /// <summary>The token before each document's text; null where it is <see cref="EndOfText"/>.</summary>
    public int? BeginOfText { get; init; }

    /// <summary>Tokens of a chunk, <c>M</c>.</summary>
    public required int ChunkLength { get; init; }

    /// <summary>The name of the cleaning the documents went through.</summary>
    public required string Cleaning { get; init; }

    /// <summary>SHA-256 over every document's id, title, location, labels and text, in order.</summary>
    public required string CorpusHash { get; init; }

    /// <summary>How many documents there are.</summary>
    public required long DocumentCount { get; init; }

    /// <summary>How many documents of the corpus were left out because they have no text.</summary>
    public required long EmptyDocuments { get; init; }

    /// <summary>How many chunks there are.</summary>
    public required long ChunkCount { get; init; }

    /// <summary>How many tokens there are, padding not counted.</summary>
    public required long TokenCount { get; init; }

    /// <summary>Bytes of all text in UTF-8.</summary>
    public required long ByteCount { get; init; }

    /// <summary>The files: tokens and documents, then those of later stages, by name.</summary>
    public required IReadOnlyList<DatabaseFile> Files { get; init; }

    /// <summary>
    /// How often the database was built anew, 0 at first. Each version's tokens and documents have names of their own, so that they are written beside the old
    /// ones, and this file alone switches from one to the other.
    /// </summary>
    [JsonInclude]
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    internal int Version { get; init; }

    /// <summary>
    /// The number of the folder below <see cref="DatabaseChanges.SegmentsFolder"/> that the files of this manifest lie in; 0: beside the manifest. A database
    /// that was compacted has all of them there.
    /// </summary>
    [JsonInclude]
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    internal int Home { get; init; }

    /// <summary>What was added and removed since; null: nothing.</summary>
    [JsonInclude]
    internal DatabaseChanges? Changes { get; init; }

    /// <summary>
    /// Files of the manifest before this one that are of no use any more, by their paths from the database's folder, with '/'; null: they have been removed.
    /// Who is stopped before they are leaves them to the next who writes.
    /// </summary>
    [JsonInclude]
    internal IReadOnlyList<string>? Leaving { get; init; }

    /// <summary>
    /// Those of <see cref="Leaving"/> that could not be removed yet, though what was begun of them was: what is begun under their names now is of this
    /// database.
    /// </summary>
    [JsonInclude]
    internal IReadOnlyList<string>? Remaining { get; init; }

    /// <summary>The name of the token file.</summary>
    [JsonIgnore]
    internal string TokensFile => TokensFileOf(Version);

    /// <summary>The name of the document table's file.</summary>
    [JsonIgnore]
    internal string DocumentsFile => DocumentsFileOf(Version);

    /// <summary>
    /// SHA-256 of the token file, or, where documents were added or removed since, of the checksums of all tokens and of what was removed: what files of later
    /// stages are made from.
    /// </summary>
    [JsonIgnore]
    public string TokensHash
    {
        get
        {
            string own = Find(TokensFile)?.Sha256
                ?? throw new DatabaseException($"The manifest lists no file '{TokensFile}': it is damaged; build the database again.");
            return Changes is null
                ? own
                : IdentityHash.Of(IdentityHash.SourceEnd, ["changed", own, Changes.Removed?.Sha256, .. Changes.Segments.Select(segment => segment.TokensHash)]);
        }
    }

    /// <summary>The paths of the files from the database's folder, with '/'.</summary>
    [JsonIgnore]
    internal IEnumerable<string> Paths => Files.Select(file => Slashed(Path.Combine(HomeIn(""), file.Name)));

    /// <summary>The tokens that stand before and after a document's text.</summary>
    [JsonIgnore]
    internal int[] Bounds => [BeginOfText ?? EndOfText, EndOfText];

    /// <summary>The settings the database was built with.</summary>
    [JsonIgnore]
    internal BuildSettings Settings => new()
    {
        FormatVersion = FormatVersion,
        TokenizerKind = TokenizerKind,
        TokenizerHash = TokenizerHash,
        EarlierTokenizerHash = EarlierTokenizerHash,
        VocabularySize = VocabularySize,
        EndOfText = EndOfText,
        BeginOfText = BeginOfText,
        ChunkLength = ChunkLength,
        Cleaning = Cleaning,
    };

    /// <summary>The files that later stages made.</summary>
    [JsonIgnore]
    internal IEnumerable<DatabaseFile> Stages => Files.Where(file => file.Name != TokensFile && file.Name != DocumentsFile);

    /// <summary>Finds a file.</summary>
    /// <param name="name">Its name.</param>
    /// <returns>The file, or null where the manifest does not list it.</returns>
    public DatabaseFile? Find(string name) => Files.FirstOrDefault(file => string.Equals(file.Name, name, StringComparison.Ordinal));

    /// <summary>The manifest with a file of a later stage added, or replaced where it is listed.</summary>
    /// <param name="name">The file's name in the database's folder, without a path.</param>
    /// <param name="bytes">Its size.</param>
    /// <param name="sha256">SHA-256 of its content, in lower-case hexadecimal digits.</param>
    /// <param name="madeFrom">The hash of the tokens that it was made from.</param>
    /// <param name="details">What is to be known of it, such as the embedder's identity.</param>
    /// <returns>The new manifest; <see cref="Save"/> writes it.</returns>
    /// <exception cref="ArgumentException">The name is no plain file name, or is one of the database's own.</exception>
    internal DatabaseManifest WithFile(string name, long bytes, string sha256, string madeFrom, IReadOnlyDictionary<string, string>? details = null)
    {
        if (!IsPlainName(name) || IsBaseName(name) || name is FileName or WriterLock.FileName or WriterLock.HolderName)
        {
            throw new ArgumentException(
                $"'{name}' cannot be registered: it must be a plain file name, and none that the database uses itself.", nameof(name));
        }

        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        DatabaseFile file = new()
        {
            Name = name,
            Bytes = bytes,
            Sha256 = sha256,
            MadeFrom = madeFrom,
            Details = new SortedDictionary<string, string>((details ?? new Dictionary<string, string>()).ToDictionary(), StringComparer.Ordinal),
        };
        DatabaseManifest with = this with { Files = [
            .. Files.Where(f => f.MadeFrom is null),
            .. Files.Where(f => f.MadeFrom is not null && f.Name != name).Append(file).OrderBy(f => f.Name, StringComparer.Ordinal)
        ] };
        return with.After(this);
    }

    /// <summary>The manifest without a file of a later stage.</summary>
    /// <param name="name">The file's name.</param>
    /// <returns>The new manifest; the same where the file is not listed.</returns>
    internal DatabaseManifest WithoutFile(string name) => this with { Files = [.. Files.Where(f => f.MadeFrom is null || f.Name != name)] };

    /// <summary>Reads and checks the manifest of a folder.</summary>
    /// <param name="folder">The database's folder.</param>
    /// <returns>The manifest.</returns>
    /// <exception cref="DatabaseException">There is none, or it contradicts itself.</exception>
    public static DatabaseManifest Load(string folder)
    {
        string path = Path.Combine(folder, FileName);
        byte[] content = Read(folder)
            ?? throw new DatabaseException(Directory.Exists(Path.Combine(folder, BuildFolder.Name))
                ? $"The database in '{folder}' is unfinished: its building was interrupted; build it again to resume."
                : $"There is no database in '{folder}': '{FileName}' is missing; build one there, or name another folder.");
        DatabaseManifest? manifest;
        try
        {
            manifest = JsonSerializer.Deserialize<DatabaseManifest>(content, s_json);
        }
        catch (JsonException exception)
        {
            throw new DatabaseException($"'{path}' is no manifest of a database ({exception.Message}); build the database again.", exception);
        }

        if (manifest is null)
        {
            throw new DatabaseException($"'{path}' is no manifest of a database (it holds null); build the database again.");
        }

        manifest = manifest with { Leaving = Slashed(manifest.Leaving), Remaining = Slashed(manifest.Remaining) };
        manifest.Check(path);
        return manifest;
    }

    /// <summary>The bytes of a folder's manifest; null: there is none.</summary>
    /// <param name="folder">The folder; it need not be there.</param>
    /// <exception cref="DatabaseException">Whether there is one cannot be told, as where the folder may not be entered, or it cannot be read.</exception>
    internal static byte[]? Read(string folder)
    {
        string path = Path.Combine(folder, FileName);
        try
        {
            return SmallFile.Read(path);
        }
        catch (IOException exception) when (exception is FileNotFoundException or DirectoryNotFoundException || File.Exists(folder))
        {
            return null;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new DatabaseException($"'{path}' could not be read ({exception.Message}); check its rights.", exception);
        }
    }

    /// <summary>Writes the manifest into a folder, beside and renamed.</summary>
    /// <param name="folder">The database's folder.</param>
    /// <exception cref="DatabaseException">It cannot be written.</exception>
    internal void Save(string folder)
        => AtomicFile.WriteText(
            Path.Combine(folder, FileName), JsonSerializer.Serialize(this, s_json) + "\n", DatabaseException.Of);

    /// <summary>The name of a version's token file.</summary>
    internal static string TokensFileOf(int version) => NameOf(TokensName, version);

    /// <summary>The name of a version's document table.</summary>
    internal static string DocumentsFileOf(int version) => NameOf(DocumentsName, version);

    /// <summary>The name of the file that says what was removed, of a change.</summary>
    internal static string RemovedFileOf(int change) => NameOf(RemovedName, change);

    /// <summary>The manifest of several databases as one; their documents and chunks are counted by whoever reads them.</summary>
    internal static DatabaseManifest Joint(IReadOnlyList<DatabaseManifest> parts) => parts[0] with
    {
        // All are of one tokenizer, which they may know by different hashes.
        TokenizerHash = (parts.FirstOrDefault(part => part.EarlierTokenizerHash is not null) ?? parts[0]).TokenizerHash,
        EarlierTokenizerHash = parts.Select(part => part.EarlierTokenizerHash).FirstOrDefault(hash => hash is not null),
        CorpusHash = IdentityHash.Of(IdentityHash.SourceEnd, ["joint", .. parts.Select(part => part.CorpusHash)]),
        Files =
        [
            new()
            {
                Name = TokensFileOf(0),
                Bytes = parts.Sum(part => part.Find(part.TokensFile)!.Bytes),
                Sha256 = IdentityHash.Of(IdentityHash.SourceEnd, ["joint", .. parts.Select(part => part.TokensHash)]),
            },
        ],
        Version = 0,
        Home = 0,
        Changes = null,
    };

    /// <summary>Whether two manifests are of the same documents in the same files, whatever later stages have made.</summary>
    internal bool IsOf(DatabaseManifest other) => Version == other.Version && HasDocumentsOf(other);

    /// <summary>Whether two manifests are of the same documents, built once or anew; tokens alone do not tell, which know of no ids and no labels.</summary>
    internal bool HasDocumentsOf(DatabaseManifest other)
        => (Home, TokensHash, CorpusHash, Changes?.Number) == (other.Home, other.TokensHash, other.CorpusHash, other.Changes?.Number)
            && (Changes is null || Version == other.Version); // the numbers of changes begin anew with each

    /// <summary>The manifest that takes the place of another one: it says which files that leaves behind.</summary>
    internal DatabaseManifest After(DatabaseManifest? before)
    {
        string[] leaving = before is null ? [] : [.. (before.Leaving ?? []).Concat(before.Paths).Except(Paths, StringComparer.Ordinal)];
        return this with { Leaving = leaving.Length == 0 ? null : leaving, Remaining = before?.Remaining };
    }

    /// <summary>The folder of a database's folder that holds the files of the manifest.</summary>
    internal string HomeIn(string folder) => Home == 0 ? folder : Path.Combine(folder, DatabaseChanges.FolderOf(Home));

    /// <summary>Whether a file is the tokens or the documents of some version, or what was removed by some change.</summary>
    internal static bool IsBaseName(string name)
    {
        string stem = name.EndsWith(".bin", StringComparison.Ordinal) ? name[..^4] : "";
        return new[] { TokensName, DocumentsName, RemovedName }.Any(own =>
            stem == own || (stem.StartsWith(own + "-", StringComparison.Ordinal) && stem[(own.Length + 1)..].All(char.IsAsciiDigit)));
    }

    private static string NameOf(string what, int version)
        => version == 0 ? $"{what}.bin" : string.Create(CultureInfo.InvariantCulture, $"{what}-{version}.bin");

    /// <summary>A name that cannot lead out of the folder.</summary>
    internal static bool IsPlainName(string name)
        => name.Length > 0
            && name is not ("." or "..")
            && name.IndexOfAny(['/', '\\', ':', '\0']) < 0
            && !name.EndsWith(AtomicFile.TemporarySuffix, StringComparison.Ordinal);

    // Of a path that was written on Windows, which may have its own separator; no name holds one.
    private static string Slashed(string path) => path.Replace('\\', '/');

    private static string[]? Slashed(IReadOnlyList<string?>? paths) => paths is null ? null : [.. paths.Select(path => path is null ? null! : Slashed(path))];

    private static bool IsHash(string? text) => text is { Length: 64 } && text.All(char.IsAsciiHexDigitLower);

    private void Check(string path)
    {
        if (FormatVersion != CurrentFormatVersion)
        {
            throw new DatabaseException(
                $"'{path}' has format version {FormatVersion}, but this library reads version {CurrentFormatVersion}; build the database again, or use the "
                    + "matching library.");
        }

        Require(Version is >= 0 and < MostChanges, $"version {Version}");
        Require(ChunkLength is >= 1 and <= 1 << 20, $"chunk length {ChunkLength}");
        Require(VocabularySize >= 1, $"vocabulary size {VocabularySize}");
        Require(EndOfText >= 0 && EndOfText < VocabularySize, $"end-of-text token {EndOfText} in a vocabulary of {VocabularySize}");
        Require(
            BeginOfText is null || (BeginOfText >= 0 && BeginOfText < VocabularySize),
            $"begin-of-text token {BeginOfText} in a vocabulary of {VocabularySize}");
        Require(DocumentCount is >= 1 and <= int.MaxValue, $"document count {DocumentCount}");
        Require(EmptyDocuments >= 0, $"empty documents {EmptyDocuments}");
        Require(
            ChunkCount >= DocumentCount && ChunkCount <= long.MaxValue / sizeof(int) / ChunkLength - TokenFile.HeaderBytes,
            $"chunk count {ChunkCount} for {DocumentCount} documents");
        Require(TokenCount >= 1 && TokenCount <= ChunkCount * ChunkLength, $"token count {TokenCount} in {ChunkCount} chunks of {ChunkLength}");
        Require(ByteCount >= 0, $"byte count {ByteCount}");
        HashSet<string> names = new(StringComparer.Ordinal);
        foreach (DatabaseFile file in Files)
        {
            Require(file is not null && IsPlainName(file.Name) && file.Name != FileName, $"file name '{file?.Name}'");
            Require(names.Add(file!.Name), $"two files named '{file.Name}'");
            Require(file.Bytes >= 0, $"size {file.Bytes} of '{file.Name}'");
            Require(IsHash(file.Sha256), $"checksum '{file.Sha256}' of '{file.Name}'");
            Require(file.Details.Values.All(value => value is not null), $"a detail of '{file.Name}' that is null");
        }

        Require(Home is >= 0 and < MostChanges, $"home {Home}");
        if (Changes is not null)
        {
            Require(Changes.Number is >= 1 and < MostChanges, $"change {Changes.Number}");
            HashSet<int> numbers = [Home];
            foreach (DatabaseSegment segment in Changes.Segments)
            {
                Require(segment is not null && segment.Number is > 0 and < MostChanges && numbers.Add(segment.Number), $"segment {segment?.Number}");
                Require(IsHash(segment!.TokensHash), $"checksum '{segment.TokensHash}' of segment {segment.Number}");
            }

            if (Changes.Removed is { } removed)
            {
                Require(IsPlainName(removed.Name) && IsBaseName(removed.Name) && !names.Contains(removed.Name), $"file name '{removed.Name}'");
                Require(removed.Bytes >= 0 && IsHash(removed.Sha256), $"size {removed.Bytes} and checksum '{removed.Sha256}' of '{removed.Name}'");
            }
        }

        HashSet<string> used = [.. Paths];
        foreach (string? leaving in Leaving ?? [])
        {
            string name = Path.GetFileName(leaving) ?? "", place = Path.GetDirectoryName(leaving) ?? "";
            Require(
                leaving is not null && IsPlainName(name) && name is not (FileName or WriterLock.FileName or WriterLock.HolderName) && !used.Contains(leaving)
                    && (place.Length == 0 || DatabaseChanges.IsFolder(place)),
                $"that '{leaving}' is of no use any more");
        }

        Require(names.Contains(TokensFile) && names.Contains(DocumentsFile), $"no file '{TokensFile}' or '{DocumentsFile}'");
        void Require(bool holds, string what)
        {
            if (!holds)
            {
                throw new DatabaseException($"'{path}' is damaged: it says {what}; build the database again.");
            }
        }
    }
}
