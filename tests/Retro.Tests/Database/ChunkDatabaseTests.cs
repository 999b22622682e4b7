using System.Text.Json.Nodes;
using Retro.Corpora;
using Retro.Database;
using Retro.Tokenizers;

namespace Retro.Tests.Database;

public sealed class ChunkDatabaseTests : IDisposable
{
    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(8)]
    [InlineData(64)]
    public void Chunks_are_the_documents_tokens_in_order_and_never_cross_one(int chunkLength)
    {
        List<Document> documents = TestDatabases.Documents(200);
        using ChunkDatabase database = _databases.Build(documents, chunkLength);
        List<Document> kept = documents.Where(document => document.Text.Length > 0).ToList();
        Assert.Equal(kept.Select(document => document.Id), database.Documents.Select(entry => entry.Id));
        Assert.Equal(documents.Count - kept.Count, database.Manifest.EmptyDocuments);
        Assert.NotEqual(0, database.Manifest.EmptyDocuments);
        long chunk = 0;
        for (int number = 0; number < kept.Count; number++)
        {
            DocumentEntry entry = database.Documents[number];
            int[] expected = [TestDatabases.EndOfText, .. TestDatabases.Bytes.Encode(kept[number].Text), TestDatabases.EndOfText];
            Assert.Equal(chunk, entry.FirstChunk);
            Assert.Equal((expected.Length + chunkLength - 1) / chunkLength, entry.ChunkCount);
            Assert.Equal(expected.Length, entry.TokenCount);
            Assert.Equal(kept[number].Text.Length, entry.ByteCount);
            Assert.Equal(kept[number].Title, entry.Title);
            Assert.Equal(kept[number].Location, entry.Location);
            List<int> found = [];
            for (int index = 0; index < entry.ChunkCount; index++, chunk++)
            {
                bool last = index == entry.ChunkCount - 1;
                Assert.Equal(number, database.DocumentOf(chunk));
                Assert.Equal(last ? -1 : chunk + 1, database.Continuation(chunk));
                int count = database.TokenCount(chunk);
                Assert.True(last ? count is >= 1 && count <= chunkLength : count == chunkLength);
                Assert.Equal(chunkLength, database.Tokens(chunk).Length);
                found.AddRange(database.Tokens(chunk)[..count]);
                Assert.True(database.Tokens(chunk)[count..].IndexOfAnyExcept(TestDatabases.EndOfText) < 0);
            }

            Assert.Equal(expected, found);
        }

        Assert.Equal(chunk, database.ChunkCount);
        Assert.Equal(kept.Sum(document => document.Text.Length + 2L), database.Manifest.TokenCount);
    }

    [Fact]
    public void A_database_of_a_relative_path_is_the_same_one_wherever_the_process_goes()
    {
        string before = Environment.CurrentDirectory, folder = _databases.Folder();
        using TemporaryFolder elsewhere = new();
        try
        {
            Environment.CurrentDirectory = Path.GetDirectoryName(folder)!;
            using ChunkDatabase built = ChunkDatabaseBuilder.Build(
                "db", [TestDatabases.Document("a", "abc")], TestDatabases.Bytes, new() { ChunkLength = 4 });
            using ChunkDatabase database = ChunkDatabase.Open("db"), several = ChunkDatabase.Open(["db"]);
            Environment.CurrentDirectory = elsewhere.Path;
            Assert.All([built, database, several], one => Assert.Equal(folder, one.Folder));
            File.WriteAllText(Path.Combine(folder, "stage.bin"), "made");
            database.Register("stage.bin");
            Assert.Equal(Path.Combine(folder, "stage.bin"), database.RequireFile("stage.bin"));
        }
        finally
        {
            Environment.CurrentDirectory = before;
        }

        Assert.Empty(Directory.EnumerateFileSystemEntries(elsewhere.Path));
        Assert.False(File.Exists(Path.Combine(folder, WriterLock.HolderName)));
    }

    [Fact]
    public void A_chunk_is_read_as_text_without_the_characters_that_its_borders_cut()
    {
        Document[] documents = [new("a", "", "na\u00efve caf\u00e9s \u65e5\u672c", ""), new("b", "", "b", "")];
        RetroTokenizer tokenizer = BpeTrainer.Train(["a"], BpeTrainer.SmallestVocabulary, _databases.Folder("tokenizer")); // a token is a byte
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(_databases.Folder(), documents, tokenizer, new() { ChunkLength = 4 });

        // Of "ï" and "日" and "本" a border cuts each; the first token of a document is none of its text.
        string[] expected = ["na", "ve ", "caf", "s ", "", "", "b"];
        Assert.Equal(expected.Length, database.ChunkCount);
        Assert.Equal(expected, Enumerable.Range(0, expected.Length).Select(chunk => database.Text(chunk, tokenizer)));
        Assert.Throws<ArgumentOutOfRangeException>(() => database.Text(expected.Length, tokenizer));
    }

    [Fact]
    public void A_document_is_found_by_its_id_also_after_a_change_and_the_first_of_several()
    {
        Document Named(string id, string text) => new(id, id, text, "");
        using ChunkDatabase database = _databases.Build([Named("a", "first"), Named("b", "second")], 4);
        Assert.Equal(database.Documents[1].FirstChunk, database.FindDocument("b")!.FirstChunk);
        Assert.Equal("b", database.FindDocument("b")!.Id);
        Assert.Null(database.FindDocument("B"));
        Assert.Throws<ArgumentNullException>(() => database.FindDocument(null!));
        using ChunkDatabase changed = ChunkDatabaseUpdate.Apply(
            database.Folder, [Named("a", "changed"), Named("c", "third")], ["b"], TestDatabases.Bytes).Database;
        Assert.Null(changed.FindDocument("b"));
        Assert.Equal(["a", "c"], changed.Documents.Select(document => document.Id).Order());
        Assert.All(changed.Documents, document => Assert.Equal(document.FirstChunk, changed.FindDocument(document.Id)!.FirstChunk));
        using ChunkDatabase twice = ChunkDatabase.Open([database.Folder, _databases.Build([Named("a", "other"), Named("d", "fourth")], 4, "second").Folder]);
        Assert.Equal(0, twice.FindDocument("a")!.FirstChunk);
        Assert.Equal("d", twice.Documents[twice.DocumentOf(twice.FindDocument("d")!.FirstChunk)].Id);
    }

    [Fact]
    public void A_question_to_several_databases_has_the_form_of_those_that_were_cleaned_in_either_order()
    {
        const string Decomposed = "cafe\u0301", Composed = "caf\u00e9";
        string plain = Built("plain", "none"), cleaned = Built("cleaned", new CorpusCleaning(CleaningStep.Unicode()).Name);
        using (ChunkDatabase alone = ChunkDatabase.Open([plain]))
        {
            Assert.Equal(Decomposed, alone.AsCleaned(Decomposed));
        }

        foreach (string[] folders in new[] { new[] { plain, cleaned }, [cleaned, plain] })
        {
            using ChunkDatabase both = ChunkDatabase.Open(folders);
            Assert.Equal(Composed, both.AsCleaned(Decomposed));
        }

        string Built(string name, string cleaning)
        {
            string folder = _databases.Folder(name);
            ChunkDatabaseBuilder.Build(
                folder, [TestDatabases.Document(name, Composed)], TestDatabases.Bytes, new() { ChunkLength = 4, Cleaning = cleaning }).Dispose();
            return folder;
        }
    }

    [Theory]
    [InlineData("pretrained/llama-rope-linear")]
    [InlineData("pretrained/mistral-sliding-window")]
    [InlineData("pretrained/qwen2-v4")]
    [InlineData("sentencepiece/bpe-byte-fallback")]
    public void Documents_begin_as_the_tokenizer_s_template_says_and_end_with_the_end_of_text(string folder)
    {
        RetroTokenizer tokenizer = RetroTokenizer.Load(Path.Combine(Fixtures.Own, folder));
        PretrainedTokenizer original = (PretrainedTokenizer)tokenizer.Tokenizer;
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(
            _databases.Folder("begin"), TestDatabases.Documents(5), tokenizer, new ChunkDatabaseOptions { ChunkLength = 8 });
        DocumentEntry entry = database.Documents[0];
        List<int> tokens = [];
        for (long chunk = entry.FirstChunk; chunk < entry.FirstChunk + entry.ChunkCount; chunk++)
        {
            tokens.AddRange(database.Tokens(chunk)[..database.TokenCount(chunk)]);
        }

        // The original's own template, without the end that a SentencePiece file names besides.
        IEnumerable<int> template = original.EncodeWithSpecialTokens(TestDatabases.Documents(5)[0].Text);
        int[] expected = [
            .. template.First() == tokenizer.BeginOfText ? [] : (int[])[tokenizer.EndOfText],
            .. template.Reverse().SkipWhile(id => id == tokenizer.EndOfText).Reverse(), tokenizer.EndOfText
        ];
        Assert.Equal(expected, tokens);
        Assert.Equal(tokenizer.BeginOfText, database.Manifest.BeginOfText ?? database.Manifest.EndOfText);
    }

    [Theory]
    [InlineData(5)]
    [InlineData(8)]
    [InlineData(16)]
    [InlineData(41)]
    [InlineData(0)]
    public void P23_what_is_retrieved_is_the_chunk_and_what_follows_in_its_document_alone(int retrieved)
    {
        List<Document> documents = [.. TestDatabases.Documents(60).Where(document => document.Text.Length > 0)];
        using ChunkDatabase database = _databases.Build(documents, chunkLength: 8);
        long[] tokens = new long[retrieved];
        bool[] valid = new bool[retrieved];
        for (long chunk = 0; chunk < database.ChunkCount; chunk++)
        {
            Array.Fill(tokens, -7);
            Array.Fill(valid, chunk % 2 == 0);
            database.CopyRetrieved(chunk, tokens, valid);
            // From the text itself: its tokens from the chunk's first on.
            int number = database.DocumentOf(chunk);
            int[] document = [TestDatabases.EndOfText, .. TestDatabases.Bytes.Encode(documents[number].Text), TestDatabases.EndOfText];
            long[] expected = [.. document.Skip((int)(chunk - database.Documents[number].FirstChunk) * 8).Select(token => (long)token)];
            int count = Math.Min(retrieved, expected.Length);
            Assert.Equal(expected.Take(count), tokens.Take(count));
            Assert.All(tokens.Skip(count), token => Assert.Equal(TestDatabases.EndOfText, token));
            Assert.Equal(Enumerable.Range(0, retrieved).Select(index => index < count), valid);
        }
    }

    [Fact]
    public void A_record_that_contradicts_the_index_is_refused()
    {
        using TestDatabases databases = new();
        using (ChunkDatabase made = databases.Build([TestDatabases.Document("a", "some words"), TestDatabases.Document("b", "more words")], 4))
        {
        }

        string path = Directory.GetFiles(databases.Folder(), "documents*.bin").Single();
        byte[] file = File.ReadAllBytes(path);
        int record = 64 + 2 * 24; // the first document's, with its tokens 4 bytes in
        BitConverter.TryWriteBytes(file.AsSpan(record + 4), BitConverter.ToInt32(file, record + 4) + 1);
        File.WriteAllBytes(path, file);

        using ChunkDatabase database = ChunkDatabase.Open(databases.Folder());
        Assert.Contains("tokens and the index", Assert.Throws<DatabaseException>(() => database.Documents[0]).Message, StringComparison.Ordinal);
        Assert.Equal("b", database.Documents[1].Id);
    }

    [Fact]
    public void P24_a_missing_neighbor_is_all_invalid_and_another_number_is_refused()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(20));
        long[] tokens = new long[16];
        bool[] valid = new bool[16];
        Array.Fill(valid, true);
        database.CopyRetrieved(-1, tokens, valid);
        Assert.All(valid, Assert.False);
        Assert.All(tokens, token => Assert.Equal(TestDatabases.EndOfText, token));
        Assert.Throws<ArgumentOutOfRangeException>(() => database.CopyRetrieved(-2, tokens, valid));
        Assert.Throws<ArgumentOutOfRangeException>(() => database.CopyRetrieved(database.ChunkCount, tokens, valid));
        Assert.Throws<ArgumentOutOfRangeException>(() => database.Continuation(-1));
        Assert.Throws<ArgumentException>(() => database.CopyRetrieved(0, tokens, valid.AsSpan(1)));
    }

    [Fact]
    public void After_disposal_everything_throws()
    {
        ChunkDatabase database = _databases.Build(TestDatabases.Documents(20));
        IReadOnlyList<DocumentEntry> documents = database.Documents;
        database.Dispose();
        database.Dispose();
        Assert.Throws<ObjectDisposedException>(() => database.Tokens(0).Length);
        Assert.Throws<ObjectDisposedException>(() => database.TokenCount(0));
        Assert.Throws<ObjectDisposedException>(() => database.DocumentOf(0));
        Assert.Throws<ObjectDisposedException>(() => database.Continuation(0));
        Assert.Throws<ObjectDisposedException>(() => database.CopyRetrieved(-1, new long[4], new bool[4]));
        Assert.Throws<ObjectDisposedException>(() => database.Documents.Count);
        Assert.Throws<ObjectDisposedException>(() => documents[0]);
    }

    [Fact]
    public void Another_tokenizer_or_chunk_length_is_refused_with_both_values()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(20));
        database.RequireChunkLength(8);
        database.RequireTokenizer("bytes", new string('a', 64), 257);
        DatabaseException length = Assert.Throws<DatabaseException>(() => database.RequireChunkLength(64));
        Assert.Contains("chunks of 8", length.Message, StringComparison.Ordinal);
        Assert.Contains("64", length.Message, StringComparison.Ordinal);
        DatabaseException tokenizer = Assert.Throws<DatabaseException>(() => database.RequireTokenizer("bytes", new string('b', 64), 257));
        Assert.Contains(new string('a', 64), tokenizer.Message, StringComparison.Ordinal);
        Assert.Contains(new string('b', 64), tokenizer.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tokens.bin")]
    [InlineData("documents.bin")]
    public void A_truncated_or_longer_or_missing_file_is_refused(string name)
    {
        string folder = BuildWithKeys();
        string path = Path.Combine(folder, name);
        byte[] whole = File.ReadAllBytes(path);
        foreach (int length in new[] { 0, 1, whole.Length / 2, whole.Length - 1, whole.Length + 4 })
        {
            byte[] other = whole;
            Array.Resize(ref other, length);
            File.WriteAllBytes(path, other);
            DatabaseException fault = Assert.Throws<DatabaseException>(() => ChunkDatabase.Open(folder));
            Assert.Contains(name, fault.Message, StringComparison.Ordinal);
            Assert.Contains($"{length} bytes", fault.Message, StringComparison.Ordinal);
            Assert.Contains($"{whole.Length}", fault.Message, StringComparison.Ordinal);
        }

        File.Delete(path);
        Assert.Contains("missing", Assert.Throws<DatabaseException>(() => ChunkDatabase.Open(folder)).Message, StringComparison.Ordinal);
        File.WriteAllBytes(path, whole);
        ChunkDatabase.Open(folder).Dispose();
    }

    [Fact]
    public void A_later_stage_s_file_that_is_missing_or_does_not_match_costs_that_stage_alone()
    {
        string folder = BuildWithKeys();
        string path = Path.Combine(folder, "keys.bin");
        byte[] whole = File.ReadAllBytes(path);
        List<(string Reason, bool Verify, Action Harm)> harms =
        [
            ("missing", false, () => File.Delete(path)),
            .. new[] { 0, 1, whole.Length / 2, whole.Length - 1, whole.Length + 4 }.Select(length => ($"{length} bytes", false, (Action)(() =>
            {
                byte[] other = whole;
                Array.Resize(ref other, length);
                File.WriteAllBytes(path, other);
            }))),
            .. Enumerable.Range(0, whole.Length / 7).Select(at => ("checksum", true, (Action)(() =>
            {
                byte[] changed = (byte[])whole.Clone();
                changed[at * 7] ^= 0x40;
                File.WriteAllBytes(path, changed);
            }))),
        ];
        foreach ((string reason, bool verify, Action harm) in harms)
        {
            harm();
            using ChunkDatabase database = ChunkDatabase.Open(folder, verify);
            Assert.True(database.ChunkCount > 0 && database.Tokens(database.ChunkCount - 1).Length == 8);
            for (int look = 0; look < 2; look++)
            {
                Assert.Null(database.Manifest.Find("keys.bin"));
                DatabaseException fault = Assert.Throws<DatabaseException>(() => database.RequireFile("keys.bin"));
                Assert.Contains("keys.bin", fault.Message, StringComparison.Ordinal);
                Assert.Contains(reason, fault.Message, StringComparison.Ordinal);
                _ = database.Refresh();
            }

            // Made again, it counts again.
            File.WriteAllBytes(path, whole);
            database.Register("keys.bin");
            Assert.Equal(path, database.RequireFile("keys.bin"));
        }
    }

    [Theory]
    [InlineData("tokens.bin")]
    [InlineData("documents.bin")]
    public void Any_changed_byte_is_found_by_verifying(string name)
    {
        string folder = BuildWithKeys();
        ChunkDatabase.Open(folder, verify: true).Dispose();
        string path = Path.Combine(folder, name);
        byte[] whole = File.ReadAllBytes(path);
        for (int at = 0; at < whole.Length; at += 1 + whole.Length / 40)
        {
            byte[] changed = (byte[])whole.Clone();
            changed[at] ^= 0x40;
            File.WriteAllBytes(path, changed);
            DatabaseException fault = Assert.Throws<DatabaseException>(() => ChunkDatabase.Open(folder, verify: true));
            Assert.Contains(name, fault.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(257)]
    [InlineData(int.MinValue)]
    public void Without_verifying_a_token_that_is_none_is_refused_where_its_chunk_is_read(int token)
    {
        string folder = BuildWithKeys(), path = Path.Combine(folder, "tokens.bin");
        byte[] changed = File.ReadAllBytes(path);
        BitConverter.GetBytes(token).CopyTo(changed, TokenFile.HeaderBytes + 8 * sizeof(int));
        File.WriteAllBytes(path, changed);

        using ChunkDatabase database = ChunkDatabase.Open(folder);
        Assert.Equal(8, database.Tokens(0).Length);
        long[] retrieved = new long[16];
        bool[] valid = new bool[16];
        foreach (Action read in new Action[] { () => database.Tokens(1), () => database.CopyRetrieved(0, retrieved, valid) })
        {
            Assert.Contains(
                $"'{path}' is damaged: chunk 1 holds token {token}, but the vocabulary has 257",
                Assert.Throws<DatabaseException>(read).Message,
                StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Without_verifying_a_damaged_document_table_is_refused_or_read_within_its_bounds()
    {
        string folder = BuildWithKeys();
        string path = Path.Combine(folder, "documents.bin");
        byte[] whole = File.ReadAllBytes(path);
        Random random = new(3);
        int refused = 0;
        for (int trial = 0; trial < 300; trial++)
        {
            byte[] changed = (byte[])whole.Clone();
            changed[random.Next(changed.Length)] = (byte)random.Next(256);
            changed[random.Next(changed.Length)] ^= 0x80;
            File.WriteAllBytes(path, changed);
            try
            {
                using ChunkDatabase database = ChunkDatabase.Open(folder);
                foreach (DocumentEntry entry in database.Documents)
                {
                    Assert.InRange(entry.FirstChunk, 0, database.ChunkCount - 1);
                }
            }
            catch (DatabaseException)
            {
                refused++;
            }
        }

        Assert.InRange(refused, 50, 300);
    }

    [Fact]
    public void Verifying_can_be_canceled_and_reports()
    {
        string folder = BuildWithKeys();
        List<StageProgress> reports = [];
        ChunkDatabase.Open(folder, verify: true, new Reports<StageProgress>(reports.Add)).Dispose();
        Assert.Contains(reports, report => report.Stage.Contains("tokens.bin", StringComparison.Ordinal) && report.Done == report.Total);
        Assert.Throws<OperationCanceledException>(() => ChunkDatabase.Open(folder, verify: true, cancellationToken: new CancellationToken(canceled: true)));
    }

    [Fact]
    public void A_file_of_a_later_stage_is_found_with_its_details_and_replaced()
    {
        string folder = BuildWithKeys();
        using ChunkDatabase database = ChunkDatabase.Open(folder);
        Assert.Equal(Path.Combine(folder, "keys.bin"), database.RequireFile("keys.bin"));
        Assert.Equal("hash", database.Manifest.Find("keys.bin")!.Details["embedder"]);
        Assert.Equal(database.Manifest.TokensHash, database.Manifest.Find("keys.bin")!.MadeFrom);
        Assert.Contains("index.faiss", Assert.Throws<DatabaseException>(() => database.RequireFile("index.faiss")).Message, StringComparison.Ordinal);
        File.WriteAllBytes(Path.Combine(folder, "keys.bin"), new byte[7]);
        database.Register("keys.bin");
        Assert.Equal(7, database.Manifest.Find("keys.bin")!.Bytes);
        Assert.Equal(3, DatabaseManifest.Load(folder).Files.Count);
        ChunkDatabase.Open(folder, verify: true).Dispose();
    }

    [Fact]
    public void A_later_stage_that_was_made_from_other_tokens_counts_as_not_made()
    {
        string folder = BuildWithKeys();
        string manifest = Path.Combine(folder, DatabaseManifest.FileName);
        string text = File.ReadAllText(manifest);
        string hash = DatabaseManifest.Load(folder).TokensHash;
        File.WriteAllText(manifest, text.Replace($"\"madeFrom\": \"{hash}\"", $"\"madeFrom\": \"{new string('0', 64)}\"", StringComparison.Ordinal));
        using ChunkDatabase database = ChunkDatabase.Open(folder);
        Assert.Null(database.Manifest.Find("keys.bin"));
        DatabaseException fault = Assert.Throws<DatabaseException>(() => database.RequireFile("keys.bin"));
        Assert.Contains("keys.bin", fault.Message, StringComparison.Ordinal);
        Assert.Contains(hash, fault.Message, StringComparison.Ordinal);
        Assert.Contains(new string('0', 64), fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_stage_is_not_registered_with_a_database_that_was_built_anew_meanwhile()
    {
        using ChunkDatabase old = _databases.Build(TestDatabases.Documents(20));
        ChunkDatabaseBuilder.Build(
            old.Folder, TestDatabases.Documents(21), TestDatabases.Bytes, new ChunkDatabaseOptions { ChunkLength = 8, StartOver = true }).Dispose();
        File.WriteAllBytes(Path.Combine(old.Folder, "keys.bin"), new byte[8]);
        Assert.Contains("built anew", Assert.Throws<DatabaseException>(() => old.Register("keys.bin")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Entries_keep_every_character_and_the_labels()
    {
        Document odd = new("id ü \u0001 \"quoted\"", "日本語\nTitle", "text of \U0001F600", "folder/ä.jsonl:3") { Labels = ["license: MIT", "日"] };
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(
            _databases.Folder(),
            [odd, TestDatabases.Document("b", "plain")],
            TestDatabases.Bytes,
            new ChunkDatabaseOptions { ChunkLength = 4 });
        DocumentEntry entry = database.Documents[0];
        Assert.Equal((odd.Id, odd.Title, odd.Location), (entry.Id, entry.Title, entry.Location));
        Assert.Equal(["license: MIT", "日"], entry.Labels);
        Assert.Empty(database.Documents[1].Labels);
        Assert.Equal(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(odd.Text))), entry.ContentHash);
        Assert.Equal(12, entry.ByteCount);
    }

    [Theory]
    [InlineData("tokens.bin")]
    [InlineData("documents-3.bin")]
    [InlineData("manifest.json")]
    [InlineData("writer.txt")]
    [InlineData("../outside.bin")]
    [InlineData("half.tmp")]
    public void A_name_that_the_database_uses_itself_or_that_leads_elsewhere_cannot_be_registered(string name)
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(40));
        string path = Path.Combine(database.Folder, name);
        if (!File.Exists(path))
        {
            File.WriteAllText(path, "a stage's");
        }

        Assert.Contains($"'{name}'", Assert.Throws<ArgumentException>(() => database.Register(name)).Message, StringComparison.Ordinal);
        Assert.Equal(2, DatabaseManifest.Load(database.Folder).Files.Count);
    }

    [Theory]
    [InlineData("version", "2147483647", "version 2147483647")]
    [InlineData("home", "2147483647", "home 2147483647")]
    [InlineData("changes", "{\"number\": 2147483647, \"segments\": []}", "change 2147483647")]
    [InlineData("files", null, "a detail of 'keys.bin' that is null")]
    public void A_manifest_that_says_what_no_library_wrote_is_refused(string member, string? value, string fault)
    {
        string path = Path.Combine(BuildWithKeys(), DatabaseManifest.FileName);
        JsonObject manifest = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        if (value is null)
        {
            manifest["files"]!.AsArray().Single(file => (string)file!["name"]! == "keys.bin")!["details"]!["embedder"] = null;
        }
        else
        {
            manifest[member] = JsonNode.Parse(value);
        }

        File.WriteAllText(path, manifest.ToJsonString());
        Assert.Contains($"it says {fault}", Assert.Throws<DatabaseException>(() => ChunkDatabase.Open(_databases.Folder())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Where_it_cannot_be_told_whether_there_is_a_database_nobody_is_told_that_there_is_none()
    {
        string loop = _databases.Folder("loop"), name = Path.Combine("loop", "lost"), lost = _databases.Folder(name), file = _databases.Folder("file");
        Directory.CreateSymbolicLink(loop, loop); // as little as into a folder without the right to enter it does a path lead through this one
        string said = Assert.Throws<DatabaseException>(() => ChunkDatabase.Open(lost)).Message;
        Assert.StartsWith($"'{Path.Combine(lost, DatabaseManifest.FileName)}' could not be read", said, StringComparison.Ordinal);
        Assert.Equal(said, Assert.Throws<DatabaseException>(() => _databases.Build(TestDatabases.Documents(5), name: name)).Message);
        File.WriteAllText(file, "");
        Assert.All([file, _databases.Folder("none")], one => Assert.StartsWith(
            $"There is no database in '{one}'", Assert.Throws<DatabaseException>(() => ChunkDatabase.Open(one)).Message, StringComparison.Ordinal));
    }

    [Fact]
    public void One_folder_that_two_paths_lead_to_is_the_same_folder()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(5)), other = _databases.Build(TestDatabases.Documents(5), name: "other");
        Directory.CreateSymbolicLink(_databases.Folder("link"), database.Folder);
        foreach (string path in new[] { database.Folder, database.Folder + "/", _databases.Folder("link") })
        {
            using ChunkDatabase again = ChunkDatabase.Open(path);
            Assert.Contains("the same folder in another state", Unlike(again), StringComparison.Ordinal);
        }

        Assert.EndsWith("; give one over them.", Unlike(other), StringComparison.Ordinal);
        using (ChunkDatabase both = ChunkDatabase.Open([database.Folder, other.Folder])) // which begins with the same folder
        {
            Assert.Equal(
                $"The source searches {database.Folder} with {other.Folder}, and the passages are in {database.Folder}; give one over them.", Unlike(both));
        }

        Assert.Contains("no database", Unlike(null), StringComparison.Ordinal);

        string Unlike(ChunkDatabase? second) => database.Unlike("The source searches", second, "the passages are in", "give one over them");
    }

    private string BuildWithKeys()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(40));
        File.WriteAllBytes(Path.Combine(database.Folder, "keys.bin"), Enumerable.Range(0, 400).Select(number => (byte)number).ToArray());
        database.Register("keys.bin", new Dictionary<string, string> { ["embedder"] = "hash" });
        return database.Folder;
    }
}
