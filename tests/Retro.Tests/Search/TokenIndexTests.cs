using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Database;

namespace Retro.Tests.Search;

public sealed class TokenIndexTests : IDisposable
{
    private readonly TestDatabases _databases = new();

    public void Dispose() => _databases.Dispose();

    [Fact]
    public void Runs_are_found_where_they_stand_and_nowhere_else()
    {
        // Three letters, so that runs of every length occur, and one document twice, so that some are longer than is looked for.
        List<Document> documents = TestDatabases.Documents(15, seed: 1)
            .ConvertAll(document => document with { Text = string.Concat(document.Text.Select(c => (char)('a' + c % 3))) });
        documents.Add(documents[0] with { Id = "copy" });
        using ChunkDatabase database = _databases.Build(documents, 8);
        TokenIndex index = TokenIndex.Build(database);
        List<int> all = [];
        foreach (DocumentEntry document in database.Documents)
        {
            all.AddRange(Enumerable.Range(0, document.TokenCount).Select(i => database.Tokens(document.FirstChunk + i / 8)[i % 8]));
            all.Add(-1);
        }

        Assert.Equal(all, Enumerable.Range(0, all.Count).Select(index.Token));
        Assert.Equal(-1, index.Token(all.Count));
        Assert.Equal(InOrder(), Enumerable.Range(0, all.Count).Select(index.Place));
        Assert.Equal(
            database.Documents.SelectMany((document, number) => Enumerable.Repeat(number, document.TokenCount + 1)),
            Enumerable.Range(0, all.Count).Select(index.DocumentOf));
        Random random = new(2);
        int[] lengths = new int[TokenIndex.LongestRun + 1];
        for (int round = 0; round < 400; round++)
        {
            // The tokens at some place, and a few of chance before them.
            int from = random.Next(all.Count - 20);
            int[] text = [
                .. Enumerable.Range(0, random.Next(5)).Select(_ => 'a' + random.Next(3)), .. all.Skip(from).Take(random.Next(1, 20)).Where(token => token >= 0)
            ];
            int expected = Enumerable.Range(0, Math.Min(TokenIndex.LongestRun, text.Length) + 1).Last(length => Places(text[^length..]).Any());
            (int length, int first, int end) = index.Find(text);
            Assert.Equal(expected, length);
            lengths[length]++;
            for (int run = 1; run <= Math.Min(TokenIndex.LongestRun, text.Length); run++)
            {
                (int begin, int stop) = index.Range(text[^run..]);
                Assert.Equal(Places(text[^run..]), Enumerable.Range(begin, stop - begin).Select(index.Place).Order());
                Assert.True(run != length || (begin, stop) == (first, end));
            }
        }

        Assert.True(lengths.Count(count => count > 0) > 10 && lengths[^1] > 0);
        Assert.Equal((0, 0, 0), index.Find(['z']));
        Assert.Equal((0, 0, 0), index.Find([]));
        Assert.Throws<ArgumentOutOfRangeException>(() => index.Range(new int[TokenIndex.LongestRun + 1]));

        // By as many tokens as are told apart, then by position; behind the last document stands what stands between two.
        IEnumerable<int> InOrder()
        {
            IEnumerable<int> tokens = all.Concat(Enumerable.Repeat(-1, TokenIndex.LongestRun));
            return Enumerable.Range(0, all.Count)
                .Select(place => (Place: place, Run: string.Concat(tokens.Skip(place).Take(TokenIndex.LongestRun).Select(token => (char)(token + 1)))))
                .OrderBy(pair => pair.Run, StringComparer.Ordinal).ThenBy(pair => pair.Place).Select(pair => pair.Place);
        }

        IEnumerable<int> Places(int[] run)
            => Enumerable.Range(0, all.Count - run.Length + 1).Where(place => run.Select((token, i) => all[place + i] == token).All(equal => equal));
    }

    [Fact]
    public void The_order_is_kept_with_the_database_until_that_changes()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(9, seed: 3), 8);
        int[] sorted = Places(database);
        string path = Path.Combine(database.Folder, StageNames.Runs);

        // What is read is what was kept, and sorted is nothing.
        int[] other = [sorted[1], sorted[0], .. sorted[2..]];
        Write(other);
        Assert.Equal(other, Places(database));
        using (ChunkDatabase again = ChunkDatabase.Open(database.Folder))
        {
            Assert.Equal(other, Places(again));
        }

        // What is damaged, or tells of places that there are not, is sorted anew.
        File.WriteAllBytes(path, [.. File.ReadAllBytes(path).Reverse()]);
        Assert.Equal(sorted, Places(database));
        Write([sorted.Length, .. sorted[1..]]);
        Assert.Equal(sorted, Places(database));
        Write([-1, .. sorted[1..]]);
        Assert.Equal(sorted, Places(database));

        // Of another database the order is another.
        Write(other);
        using (ChunkDatabase changed = ChunkDatabaseUpdate.Apply(database.Folder, [new("x", "", "abc", "")], [], TestDatabases.Bytes).Database)
        {
            int[] more = Places(changed);
            Assert.Equal(sorted.Length + 6, more.Length);
            Assert.Equal(Enumerable.Range(0, more.Length), more.Order());
            Assert.Equal(more, Places(changed));
            ChunkDatabase.Open(database.Folder, verify: true).Dispose();
        }

        // Who may not write it has it all the same.
        using ChunkDatabase held = _databases.Build(TestDatabases.Documents(9, seed: 3), 8, "held");
        List<string> told = [];
        using (WriterLock.Take(held.Folder, "do something else"))
        {
            Assert.Equal(sorted, Enumerable.Range(0, sorted.Length).Select(TokenIndex.Build(
                held, new SynchronousProgress<StageProgress>(done => told.Add(done.Message ?? ""))).Place));
        }

        Assert.Contains("is to do something else", Assert.Single(told, message => message.Length > 0), StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(held.Folder, StageNames.Runs)));

        int[] Places(ChunkDatabase of)
        {
            TokenIndex index = TokenIndex.Build(of);
            return [.. Enumerable.Range(0, of.Documents.Sum(document => document.TokenCount + 1)).Select(index.Place)];
        }

        void Write(int[] order)
        {
            IReadOnlyDictionary<string, string> details = database.Manifest.Find(StageNames.Runs)!.Details;
            File.WriteAllBytes(path, [.. "RETRORUN"u8, .. order.SelectMany(BitConverter.GetBytes)]);
            database.Register(StageNames.Runs, details);
        }
    }

    [Fact]
    public void Building_can_be_stopped()
    {
        using ChunkDatabase database = _databases.Build(TestDatabases.Documents(5, seed: 1), 8);
        Assert.Throws<OperationCanceledException>(() => TokenIndex.Build(database, cancellationToken: new CancellationToken(true)));
    }
}
