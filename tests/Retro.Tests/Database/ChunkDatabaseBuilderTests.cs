using System.Text;
using Retro.Corpora;
using Retro.Database;
using Retro.Tokenizers;

namespace Retro.Tests.Database;

public sealed class ChunkDatabaseBuilderTests : IDisposable
{
    private static readonly ChunkDatabaseOptions s_options = new() { ChunkLength = 8, BlockCharacters = 200 };

    private readonly TestDatabases _databases = new();
    private readonly List<Document> _documents = TestDatabases.Documents(80);

    public void Dispose() => _databases.Dispose();

    private Dictionary<string, string> Build(
        string name,
        IEnumerable<Document>? documents = null,
        ChunkDatabaseOptions? options = null,
        Action<StageProgress>? report = null,
        CancellationToken cancellationToken = default)
    {
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(
            _databases.Folder(name),
            documents ?? _documents,
            TestDatabases.Bytes,
            options ?? s_options,
            report is null ? null : new Reports<StageProgress>(report),
            cancellationToken);
        return TestDatabases.Contents(database.Folder);
    }

    [Fact]
    public void The_result_does_not_depend_on_blocks_or_threads()
    {
        Dictionary<string, string> whole = Build("whole", options: s_options with { BlockCharacters = 1 << 20, Threads = 1 });
        Assert.Equal(["documents.bin", "manifest.json", "tokens.bin"], whole.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(whole, Build("blocks", options: s_options with { BlockCharacters = 1 }));
        Assert.Equal(whole, Build("threads", options: s_options with { Threads = 4 }));
    }

    [Fact]
    public void P27_killed_at_any_moment_a_rerun_ends_with_the_same_bytes()
    {
        // What a kill leaves is what is on the disk at that moment: a copy of the folder is taken at every report and as every document is read.
        int snapshots = 0;
        void Snapshot()
        {
            if (Directory.Exists(_databases.Folder("whole")))
            {
                TestDatabases.Copy(_databases.Folder("whole"), _databases.Folder($"kill{snapshots++}"));
            }
        }

        IEnumerable<Document> Read()
        {
            for (int number = 0; number < _documents.Count; number++)
            {
                if (number % 7 == 3)
                {
                    Snapshot();
                }

                yield return _documents[number];
            }
        }

        Dictionary<string, string> whole = Build("whole", Read(), report: _ => Snapshot());
        Assert.InRange(snapshots, 20, 200);
        for (int number = 0; number < snapshots; number++)
        {
            string folder = _databases.Folder($"kill{number}");
            bool finished = File.Exists(Path.Combine(folder, DatabaseManifest.FileName));
            if (!finished)
            {
                Assert.Contains("unfinished", Assert.Throws<DatabaseException>(() => ChunkDatabase.Open(folder)).Message, StringComparison.Ordinal);
            }

            Assert.Equal(whole, Build($"kill{number}"));
        }
    }

    [Fact]
    public void What_a_crash_tore_or_garbled_is_made_again()
    {
        Dictionary<string, string> whole = Build("whole");
        string cut = _databases.Folder("cut");
        Interrupt("cut", 4);
        Random random = new(5);
        foreach (string file in Directory.GetFiles(Path.Combine(cut, "building")))
        {
            byte[] bytes = File.ReadAllBytes(file);
            for (int trial = 0; trial < 8; trial++)
            {
                string name = $"crash-{Path.GetFileName(file)}-{trial}";
                TestDatabases.Copy(cut, _databases.Folder(name));
                byte[] left = trial switch
                {
                    0 => [],
                    1 => bytes[..^1],
                    2 => [.. bytes, .. "garbage\n"u8],
                    3 => [.. bytes, .. new byte[100]],
                    _ => bytes[..random.Next(bytes.Length)],
                };
                if (trial > 5)
                {
                    left = (byte[])bytes.Clone();
                    int at = file.EndsWith("tokens.bin", StringComparison.Ordinal) ? random.Next(64, left.Length) : random.Next(left.Length / 2, left.Length);
                    left[at] ^= 0x10;
                }

                File.WriteAllBytes(Path.Combine(_databases.Folder(name), "building", Path.GetFileName(file)), left);
                Assert.Equal(whole, Build(name, options: s_options with { StartOver = true }));
            }
        }
    }

    [Fact]
    public void Canceled_at_any_point_it_stops_at_once_and_goes_on_from_the_last_block()
    {
        Dictionary<string, string> whole = Build("whole");
        int encoded = 0;
        TokenizerFacts counting = TestDatabases.Bytes with
        {
            Encode = text =>
            {
                Interlocked.Increment(ref encoded);
                return TestDatabases.Bytes.Encode(text);
            },
        };
        int stop = 1;
        for (; Interrupt($"stop{stop}", stop) == stop; stop++)
        {
            string name = $"stop{stop}";
            encoded = 0;
            ChunkDatabaseBuilder.Build(_databases.Folder(name), _documents, counting, s_options).Dispose();
            Assert.Equal(whole, TestDatabases.Contents(_databases.Folder(name)));
            Assert.True(encoded < _documents.Count, $"Everything was encoded again after {stop} reports.");
        }

        // The last build made fewer reports.
        Assert.InRange(stop, 10, 60);
    }

    [Fact]
    public void A_finished_database_is_opened_without_encoding()
    {
        Build("db");
        TokenizerFacts never = TestDatabases.Bytes with { Encode = _ => throw new InvalidOperationException("encoded again") };
        DateTime written = File.GetLastWriteTimeUtc(Path.Combine(_databases.Folder(), "tokens.bin"));
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(_databases.Folder(), _documents, never, s_options);
        Assert.Equal(written, File.GetLastWriteTimeUtc(Path.Combine(_databases.Folder(), "tokens.bin")));
        Assert.Equal(_documents.Count - database.Manifest.EmptyDocuments, database.Documents.Count);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void P27_other_settings_are_refused_with_both_values_unless_started_over(bool finished)
    {
        if (finished)
        {
            Build("db");
        }
        else
        {
            Interrupt("db", 3);
        }

        Dictionary<string, string> before = TestDatabases.Contents(_databases.Folder());
        (string Expected, string Asked, TokenizerFacts Facts, ChunkDatabaseOptions Options)[] cases =
        [
            ("chunk length 8 there", "16 asked", TestDatabases.Bytes, s_options with { ChunkLength = 16 }),
            ("cleaning none there", "strict asked", TestDatabases.Bytes, s_options with { Cleaning = "strict" }),
            ("tokenizer kind bytes there", "bpe asked", TestDatabases.Bytes with { Kind = "bpe" }, s_options),
            ($"tokenizer hash {TestDatabases.Bytes.Hash} there", "other asked", TestDatabases.Bytes with { Hash = "other" }, s_options),
            ("vocabulary size 257 there", "300 asked", TestDatabases.Bytes with { VocabularySize = 300 }, s_options),
            ("end-of-text token 256 there", "0 asked", TestDatabases.Bytes with { EndOfText = 0 }, s_options),
            ("begin-of-text token 256 there", "1 asked", TestDatabases.Bytes with { BeginOfText = 1 }, s_options),
        ];
        foreach ((string expected, string asked, TokenizerFacts facts, ChunkDatabaseOptions options) in cases)
        {
            DatabaseException fault = Assert.Throws<DatabaseException>(() => ChunkDatabaseBuilder.Build(_databases.Folder(), _documents, facts, options));
            Assert.Contains(expected, fault.Message, StringComparison.Ordinal);
            Assert.Contains(asked, fault.Message, StringComparison.Ordinal);
            DatabaseDifference kind = options == s_options ? DatabaseDifference.Tokenizer : DatabaseDifference.Settings;
            Assert.Equal(finished ? kind : DatabaseDifference.None, fault.Difference);
        }

        Assert.Equal(before, TestDatabases.Contents(_databases.Folder()));
        ChunkDatabaseOptions sixteen = s_options with { ChunkLength = 16 };
        AssertSame(Build("other", options: sixteen), Build("db", options: sixteen with { StartOver = true }));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void P27_another_corpus_is_refused_unless_started_over(bool finished)
    {
        if (finished)
        {
            Build("db");
        }
        else
        {
            Interrupt("db", 6);
        }

        List<Document> other = [.. _documents];
        other[10] = other[10] with { Title = "Another title" };
        List<Document>[] corpora = [other, _documents[..12], [.. _documents[1..], _documents[0]]];
        foreach (List<Document> corpus in corpora)
        {
            DatabaseException fault = Assert.Throws<DatabaseException>(() => Build("db", corpus));
            Assert.Contains("there", fault.Message, StringComparison.Ordinal);
            Assert.Contains("asked", fault.Message, StringComparison.Ordinal);
            Assert.Equal(finished ? DatabaseDifference.Documents : DatabaseDifference.None, fault.Difference);
        }

        for (int number = 0; number < corpora.Length; number++)
        {
            AssertSame(Build($"fresh{number}", corpora[number]), Build("db", corpora[number], s_options with { StartOver = true }));
        }
    }

    [Fact]
    public void A_damaged_finished_database_is_refused_and_made_again_when_started_over()
    {
        Dictionary<string, string> whole = Build("db");
        File.WriteAllBytes(Path.Combine(_databases.Folder(), "tokens.bin"), new byte[100]);
        Assert.Contains("start over", Assert.Throws<DatabaseException>(() => Build("db")).Message, StringComparison.Ordinal);
        AssertSame(whole, Build("db", options: s_options with { StartOver = true }));
        AssertSame(whole, Build("db"));
    }

    [Fact]
    public void Whatever_goes_wrong_with_a_rebuild_the_old_database_and_its_later_stages_stay()
    {
        Build("db");
        string folder = _databases.Folder();
        using (ChunkDatabase database = ChunkDatabase.Open(folder))
        {
            File.WriteAllText(Path.Combine(folder, "keys.bin"), "keys");
            database.Register("keys.bin");
        }

        Dictionary<string, string> before = TestDatabases.Contents(folder);
        List<Document> other = TestDatabases.Documents(90, seed: 8);
        IEnumerable<Document> Failing(Exception fault)
        {
            foreach (Document document in other[..70])
            {
                yield return document;
            }

            throw fault;
        }

        TokenizerFacts failing = TestDatabases.Bytes with { Encode = text =>
            text == other[60].Text ? throw new NotSupportedException("no") : TestDatabases.Bytes.Encode(text) };
        using CancellationTokenSource stop = new();
        (Type Fault, Action<ChunkDatabaseOptions> Rebuild)[] cases =
        [
            (typeof(DatabaseException), options => Build("db", [.. other, other[0]], options)),
            (typeof(DatabaseException), options => Build("db", [.. _documents, _documents[0]], options)),
            (typeof(IOException), options => Build("db", Failing(new IOException("read error")), options)),
            (typeof(OperationCanceledException), options => Build("db", other, options, report => stop.Cancel(), stop.Token)),
            (typeof(NotSupportedException), options => ChunkDatabaseBuilder.Build(folder, other, failing, options).Dispose()),
            (typeof(CorpusException), options => Build("db", [TestDatabases.Document("a", "short")], options)),
        ];
        foreach ((Type expected, Action<ChunkDatabaseOptions> rebuild) in cases)
        {
            Assert.IsType(expected, Record.Exception(() => rebuild(s_options with { StartOver = true })), exactMatch: false);
            Dictionary<string, string> after = TestDatabases.Contents(folder);
            Assert.Equal(before, before.Keys.ToDictionary(name => name, name => after[name]));
            using ChunkDatabase database = ChunkDatabase.Open(folder, verify: true);
            Assert.NotNull(database.Manifest.Find("keys.bin"));
        }

        Assert.Equal(before, Build("db"));
        AssertSame(Build("fresh", other), Build("db", other, s_options with { StartOver = true }));
        Assert.Equal(["documents-1.bin", "manifest.json", "tokens-1.bin"], TestDatabases.Contents(folder).Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Files_of_others_that_have_names_of_a_database_stay()
    {
        string folder = _databases.Folder();
        Document[] documents = [.. TestDatabases.Documents(20, seed: 9).Where(document => document.Text.Length > 0)];
        string[] names = ["documents-2024.bin", "tokens-7.bin", "removed.bin", "removed-1.bin", "tokens-1.bin"];
        Directory.CreateDirectory(folder);
        Array.ForEach(names, name => File.WriteAllText(Path.Combine(folder, name), "mine"));
        _databases.Build(documents).Dispose();
        Refused("tokens-1.bin", () => ChunkDatabaseBuilder.Build(folder, documents[1..], TestDatabases.Bytes, s_options with { StartOver = true }));
        Refused("removed-1.bin", () => ChunkDatabaseUpdate.Apply(folder, [], [documents[0].Id], TestDatabases.Bytes).Database);
        using (ChunkDatabase database = ChunkDatabase.Open(folder, verify: true))
        {
            Assert.Equal(documents[0].Id, database.Documents[0].Id);
        }

        foreach (string name in new[] { "tokens.bin", "documents.bin" })
        {
            string other = _databases.Folder($"of {name}");
            Directory.CreateDirectory(other);
            File.WriteAllText(Path.Combine(other, name), "mine");
            Refused(name, () => ChunkDatabaseBuilder.Build(other, documents, TestDatabases.Bytes, s_options));
            Assert.Equal("mine", File.ReadAllText(Path.Combine(other, name)));
        }

        Assert.All(names, name => Assert.Equal("mine", File.ReadAllText(Path.Combine(folder, name))));

        static void Refused(string name, Func<ChunkDatabase> change)
            => Assert.Contains(
                $"{name}' is no file of a database's", Assert.Throws<DatabaseException>(() => change().Dispose()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Killed_at_any_moment_of_a_rebuild_the_old_database_or_the_new_one_is_whole_and_a_rerun_ends_with_the_same_bytes()
    {
        List<Document> other = TestDatabases.Documents(80, seed: 8);
        Build("db");
        string[] hashes = [HashOf("db"), ""];
        int snapshots = 0;
        Dictionary<string, string> rebuilt = Build("db", Read(), s_options with { StartOver = true }, _ => Snapshot());
        hashes[1] = HashOf("db");
        Assert.InRange(snapshots, 20, 200);
        int[] seen = new int[2];
        for (int number = 0; number < snapshots; number++)
        {
            using (ChunkDatabase left = ChunkDatabase.Open(_databases.Folder($"kill{number}"), verify: true))
            {
                seen[Array.IndexOf(hashes, left.Manifest.TokensHash)]++;
            }

            Assert.Equal(rebuilt, Build($"kill{number}", other, s_options with { StartOver = true }));
        }

        Assert.All(seen, count => Assert.NotEqual(0, count));

        void Snapshot() => TestDatabases.Copy(_databases.Folder(), _databases.Folder($"kill{snapshots++}"));

        IEnumerable<Document> Read()
        {
            for (int number = 0; number < other.Count; number++)
            {
                if (number % 7 == 3)
                {
                    Snapshot();
                }

                yield return other[number];
            }
        }

        string HashOf(string name) => DatabaseManifest.Load(_databases.Folder(name)).TokensHash;
    }

    [Fact]
    public void The_old_database_serves_until_the_new_one_is_whole_and_who_opens_it_meanwhile_gets_one_of_them()
    {
        Build("db");
        using ChunkDatabase old = ChunkDatabase.Open(_databases.Folder());
        int[] first = old.Tokens(0).ToArray();
        List<Document> other = TestDatabases.Documents(80, seed: 8);
        Build("db", other, s_options with { StartOver = true }, _ => Assert.Equal(first, old.Tokens(0).ToArray()));
        Assert.Equal(first, old.Tokens(0).ToArray());

        // Replaced while it is being opened: after its manifest was read, and before its files are.
        bool replaced = false;
        using ChunkDatabase opened = ChunkDatabase.Open(_databases.Folder(), verify: true, new Reports<StageProgress>(_ =>
        {
            if (!replaced)
            {
                replaced = true;
                Build("db", options: s_options with { StartOver = true });
            }
        }));
        Assert.Equal(old.Manifest.TokensHash, opened.Manifest.TokensHash);
        Assert.Equal(2, opened.Manifest.Version);
    }

    [Fact]
    public void A_rebuild_encodes_only_texts_that_are_new_unless_the_tokenizer_or_the_old_tokens_are_in_doubt()
    {
        Build("db");
        List<Document> other = [
            .. _documents[..^1], TestDatabases.Document("new", "something new"), _documents[^1] with { Id = "renamed", Title = "Another title" }
        ];
        int texts = _documents.Count(document => document.Text.Length == 0);
        Assert.Equal(1 + texts, Encoded(s_options with { ChunkLength = 5 }, TestDatabases.Bytes));
        AssertSame(Build("fresh", other, s_options with { ChunkLength = 5 }), TestDatabases.Contents(_databases.Folder()));
        Assert.Equal(other.Count, Encoded(s_options, TestDatabases.Bytes with { Hash = "another" }));
        string tokens = Path.Combine(_databases.Folder(), DatabaseManifest.Load(_databases.Folder()).TokensFile);
        byte[] changed = File.ReadAllBytes(tokens);
        changed[100] ^= 1;
        File.WriteAllBytes(tokens, changed);
        Assert.Equal(other.Count, Encoded(s_options with { ChunkLength = 7 }, TestDatabases.Bytes with { Hash = "another" }));

        int Encoded(ChunkDatabaseOptions options, TokenizerFacts tokenizer)
        {
            int encoded = 0;
            TokenizerFacts counting = tokenizer with
            {
                Encode = text =>
                {
                    Interlocked.Increment(ref encoded);
                    return tokenizer.Encode(text);
                },
            };
            ChunkDatabaseBuilder.Build(_databases.Folder(), other, counting, options with { StartOver = true }).Dispose();
            return encoded;
        }
    }

    [Fact]
    public void What_later_stages_made_is_taken_over_where_tokens_ids_and_texts_are_the_same()
    {
        Build("db");
        string folder = _databases.Folder();
        File.WriteAllText(Path.Combine(folder, "keys.bin"), "keys");
        using (ChunkDatabase database = ChunkDatabase.Open(folder))
        {
            database.Register("keys.bin");
        }

        // So is what is begun of them: of words, of the same chunks on other machines.
        string[] begun = ["bm25.1-of-2.bin", "bm25.2-of-2.bin.tmp", "index.faiss.tmp", "keys.1-of-2.bin.part"];
        Array.ForEach(begun, name => File.WriteAllText(Path.Combine(folder, name), "begun"));
        List<Document> titled = [.. _documents.Select(document => document with { Title = "Another title" })];
        Build("db", titled, s_options with { StartOver = true });
        Assert.All(begun, name => Assert.True(File.Exists(Path.Combine(folder, name)), name));
        using (ChunkDatabase database = ChunkDatabase.Open(folder, verify: true))
        {
            Assert.Equal("Another title", database.Documents[0].Title);
            Assert.Equal("keys", File.ReadAllText(database.RequireFile("keys.bin")));
        }

        // Which documents count as the same decides what a table leaves out.
        Build("db", titled.Select(document => document with { Id = document.Id + "'" }), s_options with { StartOver = true });
        Assert.Null(DatabaseManifest.Load(folder).Find("keys.bin"));
        Assert.False(File.Exists(Path.Combine(folder, "keys.bin")));
        Assert.DoesNotContain(begun, name => File.Exists(Path.Combine(folder, name)));
        Assert.Null(DatabaseManifest.Load(folder).Leaving);
    }

    /// <summary>Documents may come from the caller's own code, which has to be told where it went wrong.</summary>
    [Fact]
    public void A_document_that_is_null_or_has_null_in_it_is_named()
    {
        Refused("Document number 2 of those given is null", null);
        Document whole = TestDatabases.Document("x", "a text");
        Refused("number 2 of those given, with the id '', has null for its Id", whole with { Id = null! });
        Refused("with the id 'x', has null for its Title", whole with { Title = null! });
        Refused("with the id 'x', has null for its Text", whole with { Text = null! });
        Refused("with the id 'x', has null for its Location", whole with { Location = null! });
        Refused("with the id 'x', has null for its Labels", whole with { Labels = null! });
        Refused("with the id 'x', has null for its Labels", whole with { Labels = ["a", null!] });
        Refused("with the id 'x', has an empty label", whole with { Labels = ["a", ""] });

        void Refused(string expected, Document? second)
        {
            Document[] documents = [TestDatabases.Document("first", "a text"), second!];
            Assert.Contains(expected, Assert.Throws<DatabaseException>(() => _databases.Build(documents, name: "null")).Message, StringComparison.Ordinal);
            using ChunkDatabase database = _databases.Build([TestDatabases.Document("there", "a text")], name: "there");
            DatabaseException fault = Assert.Throws<DatabaseException>(
                () => ChunkDatabaseUpdate.Apply(database.Folder, documents, [], TestDatabases.Bytes));
            Assert.Contains(expected, fault.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void An_id_that_comes_twice_is_refused_with_both_sources()
    {
        _documents[^1] = _documents[^1] with { Id = "d0", Location = "elsewhere.txt" };
        DatabaseException fault = Assert.Throws<DatabaseException>(() => Build("db"));
        Assert.Contains("'d0'", fault.Message, StringComparison.Ordinal);
        Assert.Contains("d0.txt", fault.Message, StringComparison.Ordinal);
        Assert.Contains("elsewhere.txt", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_corpus_without_text_for_one_chunk_is_refused_and_leaves_nothing()
    {
        Assert.Throws<CorpusException>(() => Build("db", []));
        Assert.Throws<CorpusException>(() => Build("db", [TestDatabases.Document("a", "")]));
        CorpusException fault = Assert.Throws<CorpusException>(() => Build("db", [TestDatabases.Document("a", "short")]));
        Assert.Contains("7 tokens", fault.Message, StringComparison.Ordinal);
        Assert.Contains("takes 8", fault.Message, StringComparison.Ordinal);
        Assert.Equal([Path.Combine(_databases.Folder(), WriterLock.FileName)], Directory.GetFileSystemEntries(_databases.Folder()));
        using ChunkDatabase two = ChunkDatabaseBuilder.Build(
            _databases.Folder(), [TestDatabases.Document("a", "short"), TestDatabases.Document("b", "x")], TestDatabases.Bytes, s_options);
        Assert.Equal(2, two.ChunkCount);
    }

    [Theory]
    [InlineData("tokens.bin")]
    [InlineData("records.bin")]
    [InlineData("journal.jsonl")]
    [InlineData("../documents.bin.tmp")]
    [InlineData("../manifest.json.tmp")]
    public void A_full_disk_is_named_and_the_build_goes_on_when_there_is_space(string file)
    {
        Assert.SkipUnless(File.Exists("/dev/full"), "This system has no /dev/full.");
        Dictionary<string, string> whole = Build("whole");
        string building = Path.Combine(_databases.Folder(), "building");
        Directory.CreateDirectory(building);
        string path = Path.Combine(building, file);
        File.CreateSymbolicLink(path, "/dev/full");
        DatabaseException fault = Assert.Throws<DatabaseException>(() => Build("db"));
        Assert.Contains("no space left", fault.Message, StringComparison.Ordinal);
        Assert.Contains(_databases.Folder(), fault.Message, StringComparison.Ordinal);
        Assert.Contains("run again", fault.Message, StringComparison.Ordinal);
        Assert.Throws<DatabaseException>(() => ChunkDatabase.Open(_databases.Folder()));
        File.Delete(path);
        Assert.Equal(whole, Build("db"));
    }

    [Fact]
    public void A_second_builder_of_the_same_folder_is_refused()
    {
        DatabaseException? fault = null;
        Build("db", report: progress =>
        {
            if (progress.Stage == "encode documents")
            {
                fault ??= Assert.Throws<DatabaseException>(() => Build("db"));
            }
        });
        Assert.NotNull(fault);
        Assert.Contains($"process {Environment.ProcessId} ", fault.Message, StringComparison.Ordinal);
        Assert.Contains("build the database", fault.Message, StringComparison.Ordinal);
        Assert.Matches(@"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", fault.Message);
    }

    [Fact]
    public void A_database_that_is_being_built_anew_is_not_disturbed_by_who_builds_the_old_one()
    {
        Build("db");
        List<Document> other = TestDatabases.Documents(80, seed: 8);
        Dictionary<string, string> rebuilt = Build("db", other, s_options with { StartOver = true }, progress =>
        {
            if (progress.Stage == "encode documents")
            {
                // It is there, so that nothing is to be written, and what the other is at stays.
                ChunkDatabaseBuilder.Build(_databases.Folder(), _documents, TestDatabases.Bytes, s_options).Dispose();
            }
        });
        AssertSame(Build("fresh", other), rebuilt);
    }

    [Fact]
    public void A_tokenizer_that_leaves_its_vocabulary_or_fails_is_named()
    {
        TokenizerFacts beyond = TestDatabases.Bytes with { Encode = _ => [5, 257] };
        DatabaseException fault = Assert.Throws<DatabaseException>(() => ChunkDatabaseBuilder.Build(_databases.Folder(), _documents, beyond, s_options));
        Assert.Contains("257", fault.Message, StringComparison.Ordinal);
        TokenizerFacts failing = TestDatabases.Bytes with { Encode = _ => throw new NotSupportedException("no") };
        Assert.Throws<NotSupportedException>(() => ChunkDatabaseBuilder.Build(_databases.Folder(), _documents, failing, s_options));
    }

    [Fact]
    public void Options_that_make_no_sense_are_all_named()
    {
        RetroOptionsException fault = Assert.Throws<RetroOptionsException>(() =>
            Build("db", options: new ChunkDatabaseOptions { ChunkLength = 0, BlockCharacters = 0, Threads = -1, Cleaning = " " }));
        Assert.Equal(4, fault.Faults.Count);
    }

    [Fact]
    public void A_trained_tokenizer_makes_a_database_whose_chunks_decode_to_the_text()
    {
        List<Document> documents = Enumerable.Range(0, 30)
            .Select(number => TestDatabases.Document($"d{number}", $"The {number}th document tells of chunks, neighbors and café no. {number * number}."))
            .ToList();
        string folder = _databases.Folder("tokenizer");
        BpeTrainer.Train(documents.Select(document => document.Text), 300, folder);
        RetroTokenizer tokenizer = RetroTokenizer.Load(folder);
        using ChunkDatabase database = ChunkDatabaseBuilder.Build(_databases.Folder(), documents, tokenizer, new ChunkDatabaseOptions { ChunkLength = 16 });
        database.RequireTokenizer(tokenizer);
        for (int number = 0; number < documents.Count; number++)
        {
            DocumentEntry entry = database.Documents[number];
            List<int> ids = [];
            for (long chunk = entry.FirstChunk; chunk < entry.FirstChunk + entry.ChunkCount; chunk++)
            {
                ids.AddRange(database.Tokens(chunk)[..database.TokenCount(chunk)]);
            }

            Assert.Equal(documents[number].Text, tokenizer.Decode(ids.ToArray()));
            Assert.Equal(Encoding.UTF8.GetByteCount(documents[number].Text), entry.ByteCount);
        }
    }

    /// <summary>Builds until a number of reports came, then cancels; gives how many came.</summary>
    private int Interrupt(string name, int reports)
    {
        using CancellationTokenSource source = new();
        int count = 0;
        void Report(StageProgress progress)
        {
            if (++count == reports)
            {
                source.Cancel();
            }
        }

        try
        {
            Build(name, report: Report, cancellationToken: source.Token);
        }
        catch (OperationCanceledException)
        {
            Assert.Equal(reports, count);
        }

        return count;
    }

    /// <summary>The same documents and tokens, of whichever versions.</summary>
    private static void AssertSame(Dictionary<string, string> expected, Dictionary<string, string> found)
    {
        Assert.Equal(Plain(expected), Plain(found));

        static IEnumerable<(string, string)> Plain(Dictionary<string, string> contents)
            => contents.Where(file => file.Key != DatabaseManifest.FileName).Select(file => (file.Key.Split('-', '.')[0], file.Value)).Order();
    }
}
