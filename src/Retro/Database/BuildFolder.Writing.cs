using System.Security.Cryptography;
using Retro.Corpora;

namespace Retro.Database;

/// <content>What is written into it, and what becomes of it.</content>
internal sealed partial class BuildFolder
{
    /// <summary>Adds a block of documents, those without tokens being counted alone, and brings it to the disk.</summary>
    /// <exception cref="DatabaseException">It cannot be written.</exception>
    public void Append(PreparedDocument[] documents) => AtomicFile.Guard(_path, DatabaseException.Of, () =>
    {
        using IncrementalHash tokensHash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using IncrementalHash recordsHash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        long chunks = 0;
        long tokens = 0;
        long bytes = 0;
        int empty = 0;
        int[] beginOfText = [_settings.BeginOfText ?? _settings.EndOfText];
        int[] endOfText = [_settings.EndOfText];
        int[] padding = new int[_settings.ChunkLength];
        Array.Fill(padding, _settings.EndOfText);
        foreach (PreparedDocument document in documents)
        {
            if (document.Ids.Length == 0)
            {
                empty++;
                continue;
            }

            int count = document.Ids.Length + 2;
            int rows = DocumentTable.Chunks(count, _settings.ChunkLength);
            WriteTokens(beginOfText);
            WriteTokens(document.Ids);
            WriteTokens(endOfText);
            WriteTokens(padding.AsSpan(0, (int)((long)rows * _settings.ChunkLength - count)));
            Document of = document.Document;
            byte[] record = DocumentRecord.Write(of.Id, of.Title, of.Location, of.Labels, count, document.Bytes, document.ContentHash);
            _records.Write(record);
            recordsHash.AppendData(record);
            chunks += rows;
            tokens += count;
            bytes += document.Bytes;
        }

        _tokens.Flush(flushToDisk: true);
        _records.Flush(flushToDisk: true);
        BuildBlock block = new()
        {
            Read = documents.Length,
            Empty = empty,
            Chunks = chunks,
            Tokens = tokens,
            Bytes = bytes,
            TokensEnd = _tokens.Position,
            RecordsEnd = _records.Position,
            Corpus = PreparedDocument.HashOf(documents),
            TokensHash = Convert.ToHexStringLower(tokensHash.GetHashAndReset()),
            RecordsHash = Convert.ToHexStringLower(recordsHash.GetHashAndReset()),
        };
        WriteLine(block);
        _blocks.Add(block);

        void WriteTokens(ReadOnlySpan<int> ids) => TokenFile.WriteIds(ids, raw =>
        {
            _tokens.Write(raw);
            tokensHash.AppendData(raw);
        });
    });

    /// <summary>Gives documents and tokens their places beside the manifest. Until that is saved they are the unfinished database's still.</summary>
    /// <param name="corpusHash">The hash of all documents.</param>
    /// <param name="leastTokens">Tokens that there have to be.</param>
    /// <param name="progress">Told what is written, and of the checksums in bytes.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <returns>The manifest of what was built; saving it makes it the folder's database.</returns>
    /// <exception cref="CorpusException">There are fewer tokens; nothing is left of the unfinished database then.</exception>
    /// <exception cref="DatabaseException">There are too many documents, or the folder cannot be written.</exception>
    public DatabaseManifest Finish(string corpusHash, int leastTokens, IProgress<StageProgress>? progress, CancellationToken cancellationToken)
    {
        long read = _blocks.Sum(block => (long)block.Read);
        long documents = read - _blocks.Sum(block => (long)block.Empty);
        long chunks = _blocks.Sum(block => block.Chunks);
        long tokens = _blocks.Sum(block => block.Tokens);
        if (tokens < leastTokens)
        {
            Dispose();
            TryDelete(_target);
            throw new CorpusException(documents == 0
                ? $"The corpus has no text: of {Amount.Of(read, "document")} none has a token; give documents with text."
                : $"The corpus is too short for one chunk: {Amount.Of(documents, "document")} of {Amount.Of(tokens, "token")}, but a chunk takes "
                    + $"{leastTokens}; give more text, or choose a smaller chunk length.");
        }

        if (documents > int.MaxValue)
        {
            throw new DatabaseException($"The corpus has {documents} documents, but a database holds at most {int.MaxValue}; split it into several databases.");
        }

        string documentsPath = Path.Combine(_target, DatabaseManifest.DocumentsFileOf(_version));
        long recordBytes = _records.Position;
        AtomicFile.Write(
            documentsPath,
            stream => DocumentTable.Write(stream, _records, recordBytes, _settings.ChunkLength, documents, chunks),
            DatabaseException.Of);
        progress?.Report(new StageProgress("write documents", documents, documents));
        cancellationToken.ThrowIfCancellationRequested();
        AtomicFile.Guard(_finishedTokens, DatabaseException.Of, () =>
        {
            _tokens.Position = 0;
            _tokens.Write(TokenFile.Header(_settings, chunks, tokens));
            _tokens.Flush(flushToDisk: true);
            _tokens.Dispose();
            AtomicFile.Move(Path.Combine(_path, TokensName), _finishedTokens);
        });
        progress?.Report(new StageProgress("write tokens", chunks, chunks));
        return new()
        {
            FormatVersion = _settings.FormatVersion,
            TokenizerKind = _settings.TokenizerKind,
            TokenizerHash = _settings.TokenizerHash,
            EarlierTokenizerHash = _settings.EarlierTokenizerHash == _settings.TokenizerHash ? null : _settings.EarlierTokenizerHash,
            VocabularySize = _settings.VocabularySize,
            EndOfText = _settings.EndOfText,
            BeginOfText = _settings.BeginOfText,
            ChunkLength = _settings.ChunkLength,
            Cleaning = _settings.Cleaning,
            Version = _version,
            CorpusHash = corpusHash,
            DocumentCount = documents,
            EmptyDocuments = read - documents,
            ChunkCount = chunks,
            TokenCount = tokens,
            ByteCount = _blocks.Sum(block => block.Bytes),
            Files = [Describe(_finishedTokens), Describe(documentsPath)],
        };

        DatabaseFile Describe(string path) => new()
        {
            Name = Path.GetFileName(path),
            Bytes = new FileInfo(path).Length,
            Sha256 = FileHash.Sha256(path, progress, cancellationToken),
        };
    }
}
