using System.Globalization;
using Retro.Checkpoints;
using Retro.Corpora;
using Retro.Database;
using Retro.Embedders;
using Retro.Evaluation;
using Retro.Generation;
using Retro.Modeling;
using Retro.Retrievers;
using Retro.Search;
using Retro.Tests.Database;
using Retro.Tests.Embedders;
using Retro.Tests.Search;
using Retro.Training;
using Retro.Vectors;
using TorchSharp;

namespace Retro.Tests;

/// <summary>
/// The culture of whoever runs a program changes no message, no identity and no file. Tests are built without the data of cultures, as the samples are, so one
/// is made here that writes numbers as no format of ours does: a comma for the decimal point, as in German and Turkish, points between thousands, and another
/// minus.
/// </summary>
public sealed class CultureTests : IDisposable
{
    private static readonly CultureInfo s_foreign = new("")
    {
        NumberFormat = new()
        {
            NumberDecimalSeparator = ",",
            NumberGroupSeparator = ".",
            NegativeSign = "\u2212",
            PercentDecimalSeparator = ",",
            NaNSymbol = "keine Zahl",
            PositiveInfinitySymbol = "unendlich"
        },
        DateTimeFormat = new() { ShortDatePattern = "dd.MM.yyyy", LongTimePattern = "HH.mm.ss", DateSeparator = ".", TimeSeparator = "." },
    };

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Such_a_culture_writes_otherwise() => Assert.Equal("\u22121,5", In(s_foreign, () => (-1.5).ToString(CultureInfo.CurrentCulture)));

    [Fact]
    public void Messages_of_faulty_settings_are_the_same()
    {
        string[] Messages() =>
        [
            .. new Action[]
            {
                () => new TrainingOptions { LearningRate = -0.5, FinalLearningRate = double.NaN, Steps = -1 }.Validate(),
                () => new InverseClozeOptions { ClozeShare = 1.5, LearningRate = -0.25, Temperature = -0.5 }.Validate(),
                () => new GenerationOptions { Temperature = -0.5, TopP = 1.5 }.Validate(),
                () => new WindowSamplerOptions { RetrievalDropout = -1.5, Planting = new() { End = 2.5 } }.Validate(),
                () => new BitsPerByteOptions { WindowLength = -1, Stride = -3 }.Validate(),
                () => (RetroConfig.Tiny with { NormEpsilon = -0.5, RotaryFraction = 1.5, Dropout = -0.25 }).Validate(),
                () => (EmbeddingInputs.Tiny with { Width = 33, Heads = -4 }).Validate(),
                () => HeldOutSplit.Create([], new HeldOutOptions { Fraction = 1.5, Similarity = -0.5 }),
                () => new Retro.Optimization.RetroOptimizerOptions { Beta1 = 1.5, WeightDecay = -0.5 }.Validate(),
            }.Select(action => Assert.ThrowsAny<RetroException>(action).Message),
        ];
        string[] expected = In(CultureInfo.InvariantCulture, Messages);

        Assert.Equal(expected, In(s_foreign, Messages));
        Assert.All(expected, message => Assert.Matches("-[0-9]", message));
        Assert.Contains(expected, message => message.Contains("-0.5", StringComparison.Ordinal) && message.Contains("1.5", StringComparison.Ordinal));
    }

    [Fact]
    public void Identities_and_files_are_the_same()
    {
        Dictionary<string, string> Made(string folder)
        {
            using SearchDatabase data = new(SearchDatabase.Documents(40, seed: 81));
            using VectorIndex index = data.Index();
            using Bm25Index keywords = Bm25Index.Build(
                data.Database.ChunkCount, chunk => KeywordNeighborSource.TermsOf(data.Database, chunk), new() { K1 = 1.5, B = 0.25 });
            KeywordNeighborSource words = new(data.Database, keywords);
            DenseNeighborSource dense = data.Dense(index);
            using NeighborTable table = NeighborTable.Build(Path.Combine(folder, "table.bin"), data.Database, words, 4, excludeOwnDocument: true);
            keywords.Save(Path.Combine(folder, "bm25.bin"));
            using TextEmbedder embedder = new(new TextEncoder(EmbeddingInputs.Tiny), EmbeddingInputs.Tokenizer);
            embedder.Save(Path.Combine(folder, "embedder"));
            torch.manual_seed(3);
            using RetroModel model = new(RetroConfig.Tiny with { VocabularySize = 64, NormEpsilon = 1.5e-5, Dropout = 0.25, RotaryFraction = 0.5 });
            using (Trainer trainer = new(model, TrainingOptions.SmallModel with { LearningRate = 1.5e-3 }))
            {
                trainer.Save(Path.Combine(folder, "checkpoint"));
            }

            Dictionary<string, string> made = TestDatabases.Contents(folder);
            made["sampler"] = new WindowSampler(
                data.Database,
                new() { WindowLength = 32, RetrievedLength = 16, RetrievalDropout = 0.25, Planting = new() { Share = 0.5 }, Seed = -7 },
                table).Identity;
            made["dense"] = dense.Identity;
            made["words"] = words.Identity;
            made["hybrid"] = new HybridNeighborSource(dense, words).Identity;
            made["random"] = new RandomNeighborSource(data.Database, -7).Identity;
            made["table"] = table.Identity;
            made["embedder identity"] = embedder.Identity;
            made["key"] = new ChunkKeyer(EmbeddingInputs.Tokenizer, new HashingEmbedder(16)).Identity;
            using RetroModel loaded = Checkpoint.Load(Path.Combine(folder, "checkpoint"));
            made["configuration"] = loaded.Config.NormEpsilon == 1.5e-5 && loaded.Config.Dropout == 0.25 ? "as saved" : "another";
            return made;
        }

        Dictionary<string, string> expected = In(CultureInfo.InvariantCulture, () => Made(Directory.CreateDirectory(_folder["invariant"]).FullName));
        Dictionary<string, string> came = In(s_foreign, () => Made(Directory.CreateDirectory(_folder["foreign"]).FullName));

        Assert.Equal(expected.OrderBy(pair => pair.Key, StringComparer.Ordinal), came.OrderBy(pair => pair.Key, StringComparer.Ordinal));
        Assert.Equal("as saved", came["configuration"]);
        Assert.True(expected.Count > 15);
    }

    /// <summary>A record writes its numbers in the thread's culture, whatever asks for its text.</summary>
    [Fact]
    public void Identities_that_hold_settings_are_the_same()
    {
        using Answering.Towns towns = new(8);
        using RetroModel model = new(RetroConfig.Tiny with { VocabularySize = 64, Dropout = 0.25 });
        using Retrievers.RetrieverWorld world = new();
        using RetrieverTrainer trainer = world.Trainer();
        string[] Made() =>
        [
            new Retro.Answering.QuestionSampler(towns.Set.Questions, towns.Passages, new() { HardShare = 0.25 }).Identity,
            Retro.Readers.WeightsHash.Exact(model),
            IdentityHash.Of(";", new GenerationOptions { TopP = 0.5 }, 0.5, -1, null),
        ];

        Assert.Equal(In(CultureInfo.InvariantCulture, Made), In(s_foreign, Made));
        In(s_foreign, () =>
        {
            trainer.Save(_folder["retriever"]);
            return true;
        });
        trainer.Load(_folder["retriever"]);
    }

    private static T In<T>(CultureInfo culture, Func<T> work)
    {
        CultureInfo before = CultureInfo.CurrentCulture;
        (CultureInfo.CurrentCulture, CultureInfo.CurrentUICulture) = (culture, culture);
        try
        {
            return work();
        }
        finally
        {
            (CultureInfo.CurrentCulture, CultureInfo.CurrentUICulture) = (before, before);
        }
    }
}
