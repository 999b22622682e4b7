using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Embedders;
using Retro.Tests.Search;
using Retro.Tests.Vectors;
using Retro.Tokenizers;
using Retro.Vectors;

namespace Retro.Tests;

/// <summary>
/// What was made lies on a file system that cannot be written to, as a share or an image is: all of it can be used, and what would change it is refused with
/// the place.
/// </summary>
public class ReadOnlyFolderTests
{
    [Fact]
    public void What_lies_there_is_read_and_changes_are_refused_by_name()
    {
        using MountedDisk disk = new("32m");
        string folder = disk["db"], words = disk["bm25.bin"], vectors = disk["index"], table = disk["table.bin"];
        string checkpoint = disk["checkpoint"], embedder = disk["embedder"], tokenizer = disk["tokenizer"];
        List<Document> documents = TestDatabases.Documents(30);
        using RetroModel model = new(RetroConfig.Tiny with { VocabularySize = 64 });
        using TextEmbedder texts = new(new TextEncoder(EmbeddingInputs.Tiny), EmbeddingInputs.Tokenizer);
        using (ChunkDatabase made = ChunkDatabaseBuilder.Build(folder, documents, TestDatabases.Bytes, new ChunkDatabaseOptions { ChunkLength = 8 }))
        using (Bm25Index keywords = Bm25Index.Build(made.ChunkCount, chunk => KeywordNeighborSource.TermsOf(made, chunk)))
        using (VectorIndex index = VectorIndex.Create(4))
        {
            keywords.Save(words);
            index.Add(TestVectors.Random(10, 4, seed: 1));
            index.Save(vectors);
            NeighborTable.Build(table, made, new KeywordNeighborSource(made, keywords), 3, excludeOwnDocument: true).Dispose();
        }

        Checkpoint.Save(checkpoint, model);
        texts.Save(embedder);
        EmbeddingInputs.Tokenizer.Save(tokenizer);
        disk.MakeReadOnly();

        using ChunkDatabase database = ChunkDatabase.Open(folder, verify: true);
        using Bm25Index openedWords = Bm25Index.Open(words);
        using NeighborTable openedTable = NeighborTable.Open(table, database);
        foreach (bool memoryMapped in new[] { false, true })
        {
            using VectorIndex openedVectors = VectorIndex.Open(vectors, memoryMapped);
            Assert.Equal(10, openedVectors.Count);
        }

        using RetroModel openedModel = Checkpoint.Load(checkpoint);
        using TextEmbedder openedEmbedder = TextEmbedder.Load(embedder);
        Assert.Equal(EmbeddingInputs.Tokenizer.Hash, RetroTokenizer.Load(tokenizer).Hash);
        using ChunkDatabase built = ChunkDatabaseBuilder.Build(folder, documents, TestDatabases.Bytes, new ChunkDatabaseOptions { ChunkLength = 8 });
        Assert.Equal(database.ChunkCount, built.ChunkCount);

        (string Place, Action Change)[] changes =
        [
            (folder, () =>
                ChunkDatabaseBuilder.Build(
                    folder, documents[1..], TestDatabases.Bytes, new ChunkDatabaseOptions { ChunkLength = 8, StartOver = true }).Dispose()),
            (disk.Path, () =>
                ChunkDatabaseBuilder.Build(
                    disk["other"], documents, TestDatabases.Bytes, new ChunkDatabaseOptions { ChunkLength = 8 }).Dispose()),
            (words, () => openedWords.Save(words)),
            (table, () => NeighborTable.Build(table, database, new KeywordNeighborSource(database, openedWords), 2, excludeOwnDocument: true).Dispose()),
            (checkpoint, () => Checkpoint.Save(checkpoint, openedModel)),
            (embedder, () => openedEmbedder.Save(embedder)),
            (tokenizer, () => EmbeddingInputs.Tokenizer.Save(tokenizer)),
        ];
        foreach ((string place, Action change) in changes)
        {
            Exception fault = Assert.ThrowsAny<RetroException>(change);
            Assert.Contains(place, fault.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Who_lacks_an_index_there_is_told_what_the_folder_would_be_written_for()
    {
        using MountedDisk disk = new("32m");
        string folder = disk["db"], indexed = disk["indexed"];
        foreach (string one in new[] { folder, indexed })
        {
            using ChunkDatabase made = ChunkDatabaseBuilder.Build(
                one, TestDatabases.Documents(30), TestDatabases.Bytes, new ChunkDatabaseOptions { ChunkLength = 8 });
            if (one == indexed)
            {
                KeywordNeighborSource.Build(made).Dispose();
            }
        }

        disk.MakeReadOnly();
        using ChunkDatabase database = ChunkDatabase.Open(folder), whole = ChunkDatabase.Open(indexed);
        string message = Assert.Throws<DatabaseException>(() => KeywordNeighborSource.Build(database)).Message;
        Assert.StartsWith($"To make the keyword index, the folder '{folder}' has to be written", message, StringComparison.Ordinal);
        Assert.DoesNotContain(WriterLock.FileName, message, StringComparison.Ordinal);
        KeywordNeighborSource.Build(whole).Dispose();
        KeywordNeighborSource.Open(whole).Dispose();
    }
}
