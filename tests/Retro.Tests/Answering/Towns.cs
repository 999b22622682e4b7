using Retro.Answering;
using Retro.Corpora;
using Retro.Database;
using Retro.Search;
using Retro.Tests.Embedders;
using Retro.Tokenizers;

namespace Retro.Tests.Answering;

/// <summary>Invented towns, a document each, whose facts nobody can guess; and everything that questions about them need.</summary>
internal sealed class Towns : IDisposable
{
    public const int M = 32;

    private static readonly string[] s_colors = ["red", "blue", "green", "white", "black", "brown"], s_ends = ["ton", "ham", "wick", "dorf"],
        s_beginnings = ["Bar", "Dal", "Fen", "Gor", "Hel", "Kar", "Lin", "Mor", "Nes", "Ost", "Pel", "Rin"];

    private readonly TemporaryFolder _folder = new();

    public Towns(int count, int seed = 1, bool search = false)
    {
        Documents = Make(count, seed);
        Tokenizer = EmbeddingInputs.TrainTokenizer(Documents.Select(document => document.Text), 350);
        Set = QuestionBuilder.Build(Documents, Tokenizer, new() { PassageTokens = M - 2, LeastOfAKind = 2, Templates = QuestionTemplates.Fields });
        Database = ChunkDatabaseBuilder.Build(_folder["passages"], Set.Passages, Tokenizer, new() { ChunkLength = M });
        Keyword = search ? KeywordNeighborSource.Build(Database) : null;
        Passages = new(Database, Tokenizer, Keyword);
    }

    public List<Document> Documents { get; }

    public RetroTokenizer Tokenizer { get; }

    public QuestionSet Set { get; }

    public ChunkDatabase Database { get; }

    public KeywordNeighborSource? Keyword { get; }

    public QuestionPassages Passages { get; }

    public static List<Document> Make(int count, int seed)
    {
        Random random = new(seed);
        HashSet<string> names = [];
        while (names.Count < count)
        {
            names.Add(s_beginnings[random.Next(12)] + "abcdefghik"[random.Next(10)] + s_ends[random.Next(4)]);
        }

        return
        [
            .. names.Select((name, i) =>
            {
                string mayor = $"{(char)('A' + random.Next(26))}{random.Next(1000)}";
                string text = $"{name}\n\nBasics\nRoof color: {s_colors[random.Next(6)]}\nHouses: {random.Next(100, 999)}\nMayor: {mayor}";
                return new Document($"town/{i}", name, text, "");
            }),
        ];
    }

    public void Dispose()
    {
        Keyword?.Dispose();
        Database.Dispose();
        _folder.Dispose();
    }
}
