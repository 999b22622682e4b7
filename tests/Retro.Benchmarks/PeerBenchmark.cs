using System.Diagnostics;
using System.Globalization;
using Retro.Corpora;
using Retro.Embedders;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Tokenizers;
using Retro.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Benchmarks;

/// <summary>
/// This library beside RETRO-pytorch, from a checkout, and beside an encoder of PyTorch's own layers, on the distribution's Python and torch: a training step
/// of the same shape, one more token after 512, and embedding. Both compute with the same number of threads, by turns.
/// </summary>
/// <remarks>
/// The checkout needs einops: a folder that has it can be named in PYTHONPATH. RETRO-pytorch has no cache, so that generating a token runs the whole context
/// again, as its own generation does.
/// </remarks>
internal static class PeerBenchmark
{
    private const int Rounds = 5, Length = 512, Rows = 2, Neighbors = 2, Texts = 256, Vocabulary = 8192;

    private static readonly Training[] s_trainings =
    [
        .. from dtype in Measuring.Types().Reverse()
           from recompute in new[] { false, true }
           from sideBySide in new[] { true, false }
           select new Training(dtype, recompute, sideBySide),
    ];

    /// <summary>A way to train.</summary>
    /// <param name="Dtype">Type of the model.</param>
    /// <param name="Recompute">Whether it computes activations again.</param>
    /// <param name="SideBySide">Whether the two windows of a step are computed side by side, else one after the other.</param>
    internal sealed record Training(ScalarType Dtype, bool Recompute, bool SideBySide)
    {
        public string Name => $"{Dtype}{(SideBySide ? "" : ", one window after the other")}{(Recompute ? ", activations recomputed" : "")}";

        public TrainingOptions Options
            => new() { Steps = 100, LearningRate = 1e-4, Dtype = Dtype, RecomputeActivations = Recompute, SideBySide = SideBySide ? null : 1 };
    }

    /// <summary>What the other process runs: it does what a line tells it to, and says how long that took. Of the checkout one file is read, without the
    /// package around it, which asks for more.</summary>
    private const string Peer = """
        import sys, time, types, resource, torch
        from torch import nn
        folder, threads = sys.argv[1], int(sys.argv[2])
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        package = types.ModuleType('retro_pytorch'); package.__path__ = [folder + '/retro_pytorch']
        retrieval = types.ModuleType('retro_pytorch.retrieval'); retrieval.BERT_VOCAB_SIZE = 28996
        sys.modules.update({'retro_pytorch': package, 'retro_pytorch.retrieval': retrieval})
        from retro_pytorch.retro_pytorch import RETRO
        model = RETRO(num_tokens=8192, max_seq_len=512, enc_dim=512, enc_depth=2, dec_dim=512, dec_depth=6, dec_cross_attn_layers=(3, 6),
                      heads=8, dim_head=64, chunk_size=64)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        tokens = torch.randint(1, 8192, (2, 513))
        kept = (torch.randint(0, 129, (2, 8, 2, 1)) * 2).clamp(max=128)
        retrieved = torch.where(torch.arange(128) < kept, torch.randint(1, 8192, (2, 8, 2, 128)), torch.zeros((), dtype=torch.int64))

        def step():
            model.train()
            optimizer.zero_grad()
            model(tokens, retrieved=retrieved, return_loss=True).backward()
            optimizer.step()

        def token():
            model.eval()
            with torch.no_grad():
                model(tokens[:1, :512], retrieved=retrieved[:1])

        encoder = None

        class Encoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.words, self.places, self.norm = nn.Embedding(30522, 384), nn.Embedding(512, 384), nn.LayerNorm(384)
                layer = nn.TransformerEncoderLayer(384, 12, 1536, activation='gelu', batch_first=True)
                self.layers = nn.TransformerEncoder(layer, 6)
            def forward(self, ids, padding):
                x = self.layers(self.norm(self.words(ids) + self.places(torch.arange(ids.shape[1]))), src_key_padding_mask=padding)
                x = x.masked_fill(padding[:, :x.shape[1], None], 0).sum(1) / (~padding).sum(1, keepdim=True)
                return nn.functional.normalize(x, dim=-1)

        def embed(ordered):
            global encoder
            encoder = encoder or Encoder().eval()
            with torch.no_grad():
                for first in range(0, len(ordered), 32):
                    sizes = torch.tensor(ordered[first:first + 32])
                    padding = torch.arange(int(sizes.max())) >= sizes[:, None]
                    encoder(torch.randint(1, 30522, padding.shape), padding)

        print(torch.__version__, sum(p.numel() for p in model.parameters()), flush=True)
        for line in sys.stdin:
            what, *lengths = line.split()
            start = time.perf_counter()
            if what == 'memory':
                print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
            elif what == 'embed':
                embed(sorted((int(x) for x in lengths), reverse=True))
                print(time.perf_counter() - start, flush=True)
            else:
                {'step': step, 'token': token}[what]()
                print(time.perf_counter() - start, flush=True)
        """;

    /// <summary>The issue's shape: six layers of width 512 that read in the third and the sixth, an encoder of two layers.</summary>
    private static RetroConfig Config
    {
        get
        {
            RetrievalConfig retrieval = RetroConfig.Small.Retrieval!;
            return RetroConfig.Small with
            {
                VocabularySize = Vocabulary,
                Layers = 6,
                Retrieval = retrieval with { CrossAttentionLayers = [3, 6], Encoder = retrieval.Encoder with { Layers = 2 } },
            };
        }
    }

    /// <summary>The shape of all-MiniLM-L6-v2.</summary>
    public static TextEncoderConfig MiniLm(int vocabulary)
        => new(vocabulary, Width: 384, Layers: 6, Heads: 12, FeedForwardSize: 1536, MaximumPositions: 512, Normalize: true);

    /// <summary>Measures.</summary>
    /// <param name="checkout">Folder of a checkout of RETRO-pytorch.</param>
    public static void Run(string checkout)
    {
        if (!File.Exists(Path.Combine(checkout, "retro_pytorch", "retro_pytorch.py")))
        {
            throw new ArgumentException($"{checkout} is no checkout of RETRO-pytorch: it has no retro_pytorch/retro_pytorch.py.", nameof(checkout));
        }

        using Process python = Start(checkout);
        string[] told = python.StandardOutput.ReadLine()?.Split(' ')
            ?? throw new InvalidOperationException("/usr/bin/python3 cannot load the peer: it needs python3-torch, and einops in PYTHONPATH.");
        manual_seed(1);
        using RetroModel model = new(Config);
        Console.WriteLine("# Beside PyTorch");
        Console.WriteLine();
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{DateTime.UtcNow:yyyy-MM-dd}, {ReportBenchmark.Processor()}, {get_num_threads()} threads; libtorch {__version__} here, torch {told[0]} there; "
                + $"{model.parameters().Sum(parameter => parameter.numel()) / 1e6:0.0} million parameters here, {Parse(told[1]) / 1e6:0.0} there; "
                + $"medians of {Rounds} by turns, and the ratio's range."));
        Measuring.Head("Times", "what", "here", "there", "there / here");
        foreach (Training training in s_trainings)
        {
            using Trainer trainer = new(model, training.Options);
            using TrainingBatch batch = Batch();
            List<(double Here, double There)> rounds = ByTurns(() => trainer.Step([batch, batch]), "step");
            Print($"training step, {Rows} windows of {Length} tokens, {Neighbors} neighbors, AdamW, {training.Name}, here, Float32 there", rounds);
        }

        double there = Ask("memory") / 1e9;
        foreach (ScalarType dtype in Measuring.Types())
        {
            model.to(dtype);
            Print($"a token after {Length}, {dtype} with caches here, Float32 by running all again there", ByTurns(Decoding(model), "token"));
        }

        using TextEmbedder embedder = Embedder(out string[] texts);
        float[] vectors = new float[texts.Length * embedder.Dimensions];
        TextEncoderConfig config = embedder.Encoder.Config;
        string lengths = string.Join(' ', texts.Select(text => embedder.Tokens(text).Length));
        Print(
            $"embedding {texts.Length} texts, {config.Layers} layers of width {config.Width}, from text here, from tokens there",
            ByTurns(() => embedder.Embed(texts, vectors), $"embed {lengths}"));
        End(python);
        const string Allocator = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2";
        Measuring.Head("The most memory of a process that trains alone", "what", "GB", "of RETRO-pytorch's", "with jemalloc, GB", "of RETRO-pytorch's with it");
        double thereWith = File.Exists(Allocator) ? Theirs(checkout, Allocator) : double.NaN;
        foreach (Training training in s_trainings)
        {
            double own = Alone(training), with = File.Exists(Allocator) ? Alone(training, Allocator) : double.NaN;
            Measuring.Row($"{training.Name}", $"{own:0.00}", $"{own / there:0.00}", $"{with:0.00}", $"{with / thereWith:0.00}");
        }

        Measuring.Row($"RETRO-pytorch, Float32", $"{there:0.00}", $"1", $"{thereWith:0.00}", $"1");

        double Ask(string what) => PeerBenchmark.Ask(python, what);

        List<(double Here, double There)> ByTurns(Action work, string command)
        {
            List<(double, double)> rounds = [];
            for (int round = -1; round < Rounds; round++)
            {
                long start = Stopwatch.GetTimestamp();
                work();
                double own = Stopwatch.GetElapsedTime(start).TotalSeconds, other = Ask(command);
                if (round >= 0)
                {
                    rounds.Add((own, other));
                }
            }

            return rounds;
        }
    }

    /// <summary>What the other process runs for <see cref="Alone"/>.</summary>
    public static void Memory(Training training)
    {
        manual_seed(1);
        using RetroModel model = new(Config);
        using Trainer trainer = new(model, training.Options);
        using TrainingBatch batch = Batch();
        for (int step = 0; step <= Rounds; step++)
        {
            trainer.Step([batch, batch]);
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Measuring.PeakMemory() / 1e9}"));
    }

    /// <summary>The most memory of a process that trains and has done nothing else, GB.</summary>
    /// <param name="training">How it trains.</param>
    /// <param name="allocator">Library of an allocator that takes the place of glibc's; null: none.</param>
    private static double Alone(Training training, string? allocator = null)
    {
        ProcessStartInfo start = new(Environment.ProcessPath!) { RedirectStandardOutput = true };
        foreach (string argument in new[] { "memory", $"{training.Dtype}", $"{training.Recompute}", $"{training.SideBySide}" })
        {
            start.ArgumentList.Add(argument);
        }

        if (allocator is not null)
        {
            start.Environment["LD_PRELOAD"] = allocator;
        }

        using Process process = Process.Start(start)!;
        double memory = Parse(process.StandardOutput.ReadToEnd());
        process.WaitForExit();
        return memory;
    }

    /// <summary>The same of RETRO-pytorch.</summary>
    private static double Theirs(string checkout, string allocator)
    {
        using Process python = Start(checkout, allocator);
        python.StandardOutput.ReadLine();
        for (int step = 0; step <= Rounds; step++)
        {
            Ask(python, "step");
        }

        double memory = Ask(python, "memory") / 1e9;
        End(python);
        return memory;
    }

    private static double Ask(Process python, string what)
    {
        python.StandardInput.WriteLine(what);
        return Parse(python.StandardOutput.ReadLine() ?? throw new InvalidOperationException($"The peer ended at {what}."));
    }

    private static void End(Process python)
    {
        python.StandardInput.Close();
        python.WaitForExit();
    }

    private static void Print(string what, List<(double Here, double There)> rounds)
    {
        double[] ratios = [.. rounds.Select(round => round.There / round.Here).Order()];
        Measuring.Row(
            $"{what}",
            $"{1e3 * Median(rounds.Select(round => round.Here)):0.0} ms",
            $"{1e3 * Median(rounds.Select(round => round.There)):0.0} ms",
            $"{ratios[Rounds / 2]:0.00} [{ratios[0]:0.00}, {ratios[^1]:0.00}]");
    }

    private static double Median(IEnumerable<double> values) => values.Order().ElementAt(Rounds / 2);

    private static double Parse(string number) => double.Parse(number, CultureInfo.InvariantCulture);

    /// <summary>A window, some of whose neighbors are missing or short.</summary>
    private static TrainingBatch Batch()
    {
        using DisposeScope scope = NewDisposeScope();
        const int Retrieved = 128, Chunks = (Length / 64) - 1;
        Tensor kept = randint(Retrieved + 1, [1, Chunks, Neighbors, 1], ScalarType.Int64).mul(2).clamp_max(Retrieved);
        return new(
            randint(Vocabulary, [1, Length], ScalarType.Int64).MoveToOuterDisposeScope(),
            randint(Vocabulary, [1, Chunks, Neighbors, Retrieved], ScalarType.Int64).MoveToOuterDisposeScope(),
            arange(Retrieved, ScalarType.Int64).lt(kept).MoveToOuterDisposeScope());
    }

    /// <summary>Steps of a text of 512 tokens, one at a time, once the runtime has compiled a step for good.</summary>
    private static Action Decoding(RetroModel model)
    {
        const int Warm = 2000;
        model.eval();
        using IDisposable inference = inference_mode();
        DecodingCache cache = model.NewCache(1, Length + Rounds + 1);
        Tensor tokens = randint(Vocabulary, [1, Length], ScalarType.Int64), one = tokens.select(1, 0);
        Tensor neighbors = randint(Vocabulary, [1, Length / 64, Neighbors, 128], ScalarType.Int64);
        using (DecodingCache warmed = model.NewCache(1, Warm))
        {
            model.Prefill(warmed, one.unsqueeze(0));
            for (Stopwatch warm = Stopwatch.StartNew(); warm.Elapsed < TimeSpan.FromSeconds(2) && warmed.Lengths[0] < Warm;)
            {
                using DisposeScope inner = NewDisposeScope();
                model.Step(warmed, one);
            }
        }

        model.Prefill(cache, tokens, null, neighbors);
        return () =>
        {
            using IDisposable again = inference_mode();
            using DisposeScope scope = NewDisposeScope();
            model.Step(cache, one);
        };
    }

    /// <summary>An embedder of all-MiniLM-L6-v2's shape with drawn weights, and texts of about a chunk.</summary>
    private static TextEmbedder Embedder(out string[] texts)
    {
        string folder = Directory.CreateTempSubdirectory("retro-benchmark").FullName;
        try
        {
            string[] documents = [.. Corpus.DotNetReferencePacks().Documents().Take(400).Select(document => document.Text)];
            BpeTrainer.Train(documents, 2048, folder);
            RetroTokenizer tokenizer = RetroTokenizer.Load(folder);
            texts = [.. documents.SelectMany(text => tokenizer.Encode(text).Chunk(64)).Where(chunk => chunk.Length == 64).Take(Texts)
                .Select((chunk, i) => tokenizer.Decode(chunk.AsSpan(0, 64 - (i % 16))))];
            return new TextEmbedder(new TextEncoder(MiniLm(tokenizer.VocabularySize)), tokenizer);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static Process Start(string checkout, string? allocator = null)
    {
        ProcessStartInfo start = new("/usr/bin/python3") { RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (string argument in new[] { "-c", Peer, Path.GetFullPath(checkout), $"{get_num_threads()}" })
        {
            start.ArgumentList.Add(argument);
        }

        if (allocator is not null)
        {
            start.Environment["LD_PRELOAD"] = allocator;
        }

        return Process.Start(start)!;
    }
}
