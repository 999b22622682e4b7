using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Modeling;
using Retro.Optimization;
using Retro.Pretrained;
using Retro.Tests.Modeling;
using Retro.Tests.Training;
using Retro.Training;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Retro.Tests.Pretrained;

/// <summary>Property 9 of the specification: at step 0 ON, OFF and the original agree to the bit; frozen tensors stay for ever, and with them OFF.</summary>
public sealed class RetrofitTests
{
    private static readonly RetrievalConfig s_small = new()
    {
        ChunkLength = 4,
        RetrievedLength = 8,
        CrossAttentionLayers = [1, 2],
        Encoder = new() { Width = 8, Heads = 2, HeadSize = 4, FeedForwardSize = 16, Layers = 1 },
    };

    public static TheoryData<string> Folders =>
        ["gpt2-no-prefix", "gpt-neox-buffers", "mistral-sliding-window", "olmo2", "phi3-longrope", "smollm3", "gemma3-text", "gpt-neo"];

    [Theory]
    [MemberData(nameof(Folders))]
    public void At_first_retrieval_changes_nothing_and_off_never_changes(string name)
    {
        using DisposeScope scope = NewDisposeScope();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder(name));
        (Tensor tokens, Tensor neighbors, Tensor valid) = Inputs(decoder.Model.Config.VocabularySize);
        foreach (RetrievalConfig options in (RetrievalConfig[])[
            s_small, s_small with { CrossAttentionRank = 2 }, s_small with { ShiftedKeys = true, Encoder = s_small.Encoder with { ShareEmbedding = true } }
        ])
        {
            manual_seed(1);
            using Retrofit retrofit = Retrofit.From(decoder, options);
            Tensor original = Logits(decoder.Model, tokens);
            Assert.True(Same(original, Logits(retrofit.Model, tokens)), "OFF differs at step 0.");
            Assert.True(Same(original, Logits(retrofit.Model, tokens, neighbors, valid)), "ON differs at step 0.");
            Dictionary<string, byte[]> before = Bytes(retrofit.Model);
            string[] trained = Train(retrofit, tokens, neighbors, valid, steps: 3);
            Assert.Equal(retrofit.Added.Order(), trained.Order());
            Dictionary<string, byte[]> after = Bytes(retrofit.Model);
            HashSet<string> added = [.. retrofit.Added];
            foreach ((string parameter, byte[] bytes) in before)
            {
                // Some additions may stay for a step or two: what is behind a zero projection has no gradient at first.
                Assert.True(added.Contains(parameter) || bytes.AsSpan().SequenceEqual(after[parameter]), $"{parameter} was frozen and changed.");
            }

            Assert.All(retrofit.Added, parameter => Assert.False(before[parameter].AsSpan().SequenceEqual(after[parameter]), $"{parameter} was not trained."));
            Assert.All(
                retrofit.Model.named_parameters(),
                pair => Assert.True(added.Contains(pair.name) || pair.parameter.grad is null, $"{pair.name} is frozen and has a gradient."));
            Assert.True(Same(original, Logits(retrofit.Model, tokens)), "OFF changed.");
            Assert.False(Same(original, Logits(retrofit.Model, tokens, neighbors, valid)), "ON learned nothing.");
            RequireBase(retrofit, Folder(name));
        }
    }

    [Fact]
    public void A_decoder_that_was_trained_here_is_fitted_as_any_other()
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        string path = Path.Combine(folder.Path, "decoder");
        manual_seed(2);
        using (RetroModel closedBook = new(RetroConfig.Tiny with { VocabularySize = 40, TieEmbeddings = false, Retrieval = null }))
        {
            Checkpoint.Save(path, closedBook);
        }

        using PretrainedDecoder decoder = PretrainedDecoder.Load(path);
        Assert.Equal("retro", decoder.Origin.Family);
        RetrievalConfig matching = s_small with
        {
            MatchBias = true,
            ShiftedKeys = true,
            Encoder = new() { Width = 64, Heads = 2, HeadSize = 32, FeedForwardSize = 64, Layers = 0, CrossAttentionLayers = [], ShareEmbedding = true }
        };
        using Retrofit retrofit = Retrofit.From(decoder, matching);
        (Tensor tokens, Tensor neighbors, Tensor valid) = Inputs(40);
        Tensor original = Logits(decoder.Model, tokens);
        Assert.True(Same(original, Logits(retrofit.Model, tokens, neighbors, valid)), "ON differs at step 0.");
        Train(retrofit, tokens, neighbors, valid, 3);
        Assert.True(Same(original, Logits(retrofit.Model, tokens)), "OFF changed.");
        Assert.False(Same(original, Logits(retrofit.Model, tokens, neighbors, valid)), "ON learned nothing.");
        string additions = folder["additions"], back = folder["back"];
        retrofit.Save(additions);
        using Retrofit again = Retrofit.Load(additions, decoder);
        Assert.Equal(Bytes(retrofit.Model), Bytes(again.Model));
        decoder.Origin.Write(retrofit.Model, back);
        using RetroModel written = Checkpoint.Load(back);
        Assert.Equal(Bytes(decoder.Model), Bytes(written));
    }

    [Fact]
    public void A_checkpoint_that_retrieves_is_no_decoder_to_fit_onto()
    {
        using TemporaryFolder folder = new();
        using (RetroModel model = new(RetroConfig.Tiny))
        {
            Checkpoint.Save(folder.Path, model);
        }

        CheckpointException fault = Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(folder.Path));
        Assert.Contains("the model retrieves already", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Unfreezing_trains_the_norms_or_everything()
    {
        using DisposeScope scope = NewDisposeScope();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        (Tensor tokens, Tensor neighbors, Tensor valid) = Inputs(decoder.Model.Config.VocabularySize);
        string[] norms = [.. decoder.Model.Config.Parameters().Where(parameter => parameter.Kind == ParameterKind.Norm).Select(parameter => parameter.Name)];
        using Retrofit some = Retrofit.From(decoder, s_small, RetrofitUnfreeze.Norms), all = Retrofit.From(decoder, s_small, RetrofitUnfreeze.All);
        Assert.Equal(some.Added.Concat(norms).Order(), Train(some, tokens, neighbors, valid, 1).Order());
        Assert.Equal(all.Model.named_parameters().Select(pair => pair.name).Order(), Train(all, tokens, neighbors, valid, 1).Order());
    }

    [Theory]
    [InlineData(RetrofitUnfreeze.Nothing, null)]
    [InlineData(RetrofitUnfreeze.Norms, 3)]
    [InlineData(RetrofitUnfreeze.All, null)]
    public void Additions_are_loaded_as_they_were(RetrofitUnfreeze unfreeze, int? rank)
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        string back = folder["back"];

        // F16 weights: what is trained of the decoder does not fit the type it is stored in.
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt-neox-buffers"));
        (Tensor tokens, Tensor neighbors, Tensor valid) = Inputs(decoder.Model.Config.VocabularySize);
        using Retrofit retrofit = Retrofit.From(decoder, s_small with { CrossAttentionRank = rank }, unfreeze);
        Train(retrofit, tokens, neighbors, valid, 2);
        Tensor expected = Logits(retrofit.Model, tokens, neighbors, valid);
        retrofit.Save(folder.Path);
        using (Retrofit again = Retrofit.Load(folder.Path, decoder))
        {
            Assert.Equal(Bytes(retrofit.Model), Bytes(again.Model));
            Assert.True(Same(expected, Logits(again.Model, tokens, neighbors, valid)));
            Assert.Equal(unfreeze, again.Unfreeze);
        }

        decoder.Origin.Write(retrofit.Model, back);
        using PretrainedDecoder written = PretrainedDecoder.Load(back);
        Assert.Equal(unfreeze == RetrofitUnfreeze.Nothing, written.Origin.Hash == decoder.Origin.Hash);
    }

    /// <summary>Whoever frees a layer, trains it and freezes everything for inference has trained it all the same.</summary>
    [Theory]
    [InlineData(RetrofitUnfreeze.Nothing, false)]
    [InlineData(RetrofitUnfreeze.Nothing, true)]
    [InlineData(RetrofitUnfreeze.Norms, false)]
    [InlineData(RetrofitUnfreeze.All, false)]
    public void What_was_changed_of_the_decoder_is_saved_whether_it_is_frozen_by_then_or_not(RetrofitUnfreeze unfreeze, bool isFree)
    {
        using TemporaryFolder folder = new();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        using Retrofit retrofit = Retrofit.From(decoder, s_small, unfreeze);
        string[] changed =
            [.. decoder.Model.named_parameters().Select(pair => pair.name).Where(name => name.StartsWith("decoder.2.", StringComparison.Ordinal))];
        Assert.NotEmpty(changed);
        using (no_grad())
        {
            foreach ((string name, Parameter parameter) in retrofit.Model.named_parameters())
            {
                parameter.requires_grad = isFree && changed.Contains(name);
                parameter.add_(changed.Contains(name) ? 0.1 : 0);
            }
        }

        retrofit.Save(folder.Path);
        using (Retrofit again = Retrofit.Load(folder.Path, decoder))
        {
            Assert.Equal(Bytes(retrofit.Model), Bytes(again.Model));
            Assert.Equal(unfreeze, again.Unfreeze);
            again.Save(folder.Path); // what was loaded is no more the decoder's than it was
        }

        using Retrofit twice = Retrofit.Load(folder.Path, decoder);
        Assert.Equal(Bytes(retrofit.Model), Bytes(twice.Model));
        using Safetensors file = Safetensors.Open(folder[Retrofit.FileName]);
        IEnumerable<string> saved = file.Entries.Select(entry => entry.Name).Except(retrofit.Added);
        if (unfreeze == RetrofitUnfreeze.Nothing)
        {
            Assert.Equal(changed.Order(), saved.Order()); // and nothing besides
        }
    }

    /// <summary>transformers saves the same weights under other names, and no buffers any more; names of ours are no others either.</summary>
    [Fact]
    public void Additions_fit_their_decoder_under_whatever_names_it_is_stored()
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new(), renamed = PretrainedDecoderTests.Copy("gpt2-no-prefix"), other = PretrainedDecoderTests.Copy("gpt2-no-prefix");
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        using Retrofit retrofit = Retrofit.From(decoder, s_small);
        retrofit.Save(folder.Path);
        PretrainedDecoderTests.Rewrite(renamed.Path, tensors =>
        {
            foreach ((string name, Tensor stored) in tensors.ToArray())
            {
                tensors.Remove(name);
                if (!name.EndsWith(".attn.bias", StringComparison.Ordinal) && !name.EndsWith(".attn.masked_bias", StringComparison.Ordinal))
                {
                    tensors.Add($"transformer.{name}", stored);
                }
            }
        });
        Checkpoint.Save(folder["ours"], decoder.Model);
        foreach (string path in new[] { renamed.Path, folder["ours"] })
        {
            using PretrainedDecoder same = PretrainedDecoder.Load(path);
            Assert.Equal(decoder.Origin.Hash, same.Origin.Hash);
            using Retrofit again = Retrofit.Load(folder.Path, same);
            Assert.Equal(Bytes(retrofit.Model), Bytes(again.Model));
        }

        PretrainedDecoderTests.Rewrite(other.Path, tensors => tensors["ln_f.weight"].add_(1));
        using PretrainedDecoder changed = PretrainedDecoder.Load(other.Path);
        Assert.Contains(changed.Origin.Hash, Assert.Throws<CheckpointException>(() => Retrofit.Load(folder.Path, changed)).Message, StringComparison.Ordinal);
    }

    /// <summary>Files of before do not say which parameters of the decoder they hold, nor what those have for a hash.</summary>
    [Theory]
    [InlineData(RetrofitUnfreeze.Nothing)]
    [InlineData(RetrofitUnfreeze.Norms)]
    public void Additions_that_do_not_name_what_of_the_decoder_they_hold_are_read(RetrofitUnfreeze unfreeze)
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        using Retrofit retrofit = Retrofit.From(decoder, s_small, unfreeze);
        retrofit.Save(folder.Path);
        string path = folder[Retrofit.FileName];
        Dictionary<string, Tensor> tensors;
        JsonObject description;
        using (Safetensors file = Safetensors.Open(path))
        {
            tensors = file.Entries.ToDictionary(entry => entry.Name, entry => file.Read(entry.Name));
            description = JsonNode.Parse(file.Metadata!["retrofit"])!.AsObject();
        }

        Assert.True(description.Remove("decoder_parameters") && description.Remove("base_parameters_hash"));
        description["base_hash"] = decoder.Origin.StoredHash(null, default);
        Safetensors.Write(path, tensors, new Dictionary<string, string> { ["retrofit"] = description.ToJsonString() });
        using Retrofit again = Retrofit.Load(folder.Path, decoder);
        Assert.Equal(Bytes(retrofit.Model), Bytes(again.Model));
    }

    /// <summary>In whatever type it computes, what was frozen is as it was; and what was changed before it was fitted is not.</summary>
    [Theory]
    [InlineData("gpt-neox-buffers", ScalarType.Float32)]
    [InlineData("gpt-neox-buffers", ScalarType.BFloat16)]
    [InlineData("gpt-neo", ScalarType.Float32)]
    [InlineData("gpt2-no-prefix", ScalarType.Float64)]
    [InlineData("gpt2-no-prefix", ScalarType.BFloat16)]
    public void What_is_saved_of_the_decoder_is_what_differs_from_its_files(string name, ScalarType dtype)
    {
        using TemporaryFolder folder = new();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder(name), dtype);
        using (Retrofit retrofit = Retrofit.From(decoder, s_small))
        {
            retrofit.Save(folder["as-it-was"]);
            using Safetensors saved = Safetensors.Open(Path.Combine(folder["as-it-was"], Retrofit.FileName));
            Assert.Equal(retrofit.Added.Order(StringComparer.Ordinal), saved.Entries.Select(entry => entry.Name).Order(StringComparer.Ordinal));
        }

        using (no_grad())
        {
            decoder.Model.get_parameter("decoder.norm.weight")!.add_(1);
        }

        using Retrofit changed = Retrofit.From(decoder, s_small);
        changed.Save(folder["changed"]);
        using PretrainedDecoder original = PretrainedDecoder.Load(Folder(name), dtype);
        using Retrofit again = Retrofit.Load(folder["changed"], original);
        Assert.Equal(Bytes(changed.Model), Bytes(again.Model));
    }

    /// <summary>Drawing a decoder that is about to be copied takes longer than copying it.</summary>
    [Fact]
    public void Nothing_is_drawn_but_what_is_added()
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        Dictionary<string, byte[]>[] drawn = new Dictionary<string, byte[]>[2];
        double[] next = new double[2];
        for (int i = 0; i < drawn.Length; i++)
        {
            using (RetroModel model = new(RetroConfig.Tiny with { VocabularySize = 40 + (i * 10), Retrieval = null }))
            {
                Checkpoint.Save(folder[$"{i}"], model);
            }

            using PretrainedDecoder decoder = PretrainedDecoder.Load(folder[$"{i}"]);
            RetrievalConfig shared = s_small with { Encoder = s_small.Encoder with { ShareEmbedding = true } };
            manual_seed(4);
            using Retrofit retrofit = Retrofit.From(decoder, shared);
            drawn[i] = Bytes(retrofit.Model).Where(pair => retrofit.Added.Contains(pair.Key)).ToDictionary();
            retrofit.Save(folder["additions"]);
            manual_seed(5);
            Retrofit.Load(folder["additions"], decoder).Dispose();
            next[i] = rand(1).ToDouble();
        }

        // A vocabulary of another size has another count of numbers.
        Assert.Equal(drawn[0], drawn[1]);
        Assert.Equal(next[0], next[1]);
    }

    [Fact]
    public void A_decoder_may_go_once_retrieval_is_added()
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        (Tensor tokens, Tensor neighbors, Tensor valid) = Inputs(decoder.Model.Config.VocabularySize);
        Tensor original = Logits(decoder.Model, tokens);
        using Retrofit retrofit = Retrofit.From(decoder, s_small);
        decoder.Dispose();
        Train(retrofit, tokens, neighbors, valid, 2);
        Assert.True(Same(original, Logits(retrofit.Model, tokens)));
        RequireBase(retrofit, Folder("gpt2-no-prefix"));
        retrofit.Save(folder.Path);
    }

    /// <summary>Where it was copied, it would lie in memory twice for a while.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_decoder_that_is_taken_becomes_the_model(bool isTaken)
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using IDisposable noGradients = no_grad();
        RetrievalConfig shared = s_small with { Encoder = s_small.Encoder with { ShareEmbedding = true } };
        using (PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix")))
        using (Retrofit retrofit = Retrofit.From(decoder, shared, RetrofitUnfreeze.Norms))
        {
            retrofit.Model.get_parameter("decoder.norm.weight")!.add_(1); // saved with the additions
            retrofit.Save(folder["additions"]);
            Checkpoint.Save(folder["whole"], retrofit.Model);
        }

        foreach (Func<PretrainedDecoder, Retrofit> make in (Func<PretrainedDecoder, Retrofit>[])[
            decoder => Retrofit.From(decoder, shared, take: isTaken),
            decoder => Retrofit.Load(folder["additions"], decoder, take: isTaken),
            decoder => Retrofit.Load(folder["whole"], decoder, take: isTaken)
        ])
        {
            using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
            Tensor embedding = decoder.Model.get_parameter("embedding.weight")!.detach(), before = embedding.clone();
            using Retrofit retrofit = make(decoder);
            Parameter own = retrofit.Model.get_parameter("embedding.weight")!;
            Assert.True(Same(before, own));
            embedding.add_(1);
            Assert.Equal(!isTaken, Same(before, own));
            if (isTaken)
            {
                Assert.Throws<ObjectDisposedException>(() => Retrofit.From(decoder, shared));
            }
            else
            {
                Retrofit.From(decoder, shared).Dispose();
            }
        }
    }

    [Fact]
    public void A_decoder_that_could_not_be_taken_is_as_it_was()
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        using (Retrofit retrofit = Retrofit.From(decoder, s_small, RetrofitUnfreeze.All))
        using (no_grad())
        {
            foreach (Parameter parameter in retrofit.Model.parameters())
            {
                parameter.add_(1);
            }

            retrofit.Save(folder.Path);
        }

        Dictionary<string, byte[]> before = Bytes(decoder.Model);
        using CancellationTokenSource ended = new();
        Assert.Throws<OperationCanceledException>(() => Retrofit.Load(
            folder.Path,
            decoder,
            take: true,
            new Reports<StageProgress>(report =>
            {
                if (report.Done == report.Total - 2)
                {
                    ended.Cancel();
                }
            }),
            ended.Token));
        Assert.Throws<RetroOptionsException>(() => Retrofit.From(decoder, s_small with { ChunkLength = 0 }, take: true));
        Assert.Equal(before, Bytes(decoder.Model));
    }

    [Fact]
    public void Additions_are_refused_by_another_decoder()
    {
        using TemporaryFolder folder = new();
        using TemporaryFolder changed = PretrainedDecoderTests.Copy("mistral-sliding-window");
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("mistral-sliding-window")), other = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        using Retrofit retrofit = Retrofit.From(decoder, s_small);
        retrofit.Save(folder.Path);
        Assert.Contains(other.Origin.Hash, Assert.Throws<CheckpointException>(() => Retrofit.Load(folder.Path, other)).Message, StringComparison.Ordinal);
        string config = Path.Combine(changed.Path, "config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"sliding_window\": 12", "\"sliding_window\": 13", StringComparison.Ordinal));
        using PretrainedDecoder wider = PretrainedDecoder.Load(changed.Path);
        Assert.Equal(decoder.Origin.Hash, wider.Origin.Hash);
        Assert.Contains("another configuration", Assert.Throws<CheckpointException>(() => Retrofit.Load(folder.Path, wider)).Message, StringComparison.Ordinal);

        string path = Path.Combine(folder.Path, Retrofit.FileName);
        using (DisposeScope scope = NewDisposeScope())
        {
            Safetensors.Write(path, [KeyValuePair.Create("x", zeros([2]))]);
        }

        Assert.Contains("no RETROfit", Assert.Throws<CheckpointException>(() => Retrofit.Load(folder.Path, decoder)).Message, StringComparison.Ordinal);
        File.WriteAllBytes(path, new byte[5]);
        Assert.Throws<CheckpointException>(() => Retrofit.Load(folder.Path, decoder));
    }

    [Fact]
    public void A_folder_with_another_model_is_refused_and_nothing_in_it_is_touched()
    {
        using TemporaryFolder theirs = PretrainedDecoderTests.Copy("mistral-sliding-window"), own = PretrainedDecoderTests.Copy("gpt2-no-prefix");
        using PretrainedDecoder decoder = PretrainedDecoder.Load(own.Path);
        using Retrofit retrofit = Retrofit.From(decoder, s_small);
        Dictionary<string, byte[]> before = Directory.EnumerateFiles(theirs.Path).ToDictionary(file => file, File.ReadAllBytes);
        string message = Assert.Throws<CheckpointException>(() => decoder.Origin.Write(retrofit.Model, theirs.Path)).Message;
        Assert.Contains(theirs.Path, message, StringComparison.Ordinal);
        Assert.Contains("another folder", message, StringComparison.Ordinal);
        Assert.Equal(before, Directory.EnumerateFiles(theirs.Path).ToDictionary(file => file, File.ReadAllBytes));
        decoder.Origin.Write(retrofit.Model, own.Path);
        using PretrainedDecoder again = PretrainedDecoder.Load(own.Path);
        Assert.Equal(decoder.Origin.Hash, again.Origin.Hash);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_canceled_save_leaves_what_was_there(bool llama2C)
    {
        using TemporaryFolder folder = new();
        string back = folder["back"];
        using PretrainedDecoder decoder = PretrainedDecoder.Load(llama2C ? PretrainedDecoderTests.WithLlama2C(folder.Path) : Folder("gpt2-no-prefix"));
        manual_seed(1);
        using Retrofit first = Retrofit.From(decoder, s_small), second = Retrofit.From(decoder, s_small, RetrofitUnfreeze.All);
        RequireKept((model, progress, token) => model.Save(folder["additions"], progress, token), folder["additions"]);
        RequireKept((model, progress, token) => decoder.Origin.Write(model.Model, back, progress, token), llama2C ? folder.Path : back);
        using CancellationTokenSource ended = new();
        ended.Cancel();
        Assert.Throws<OperationCanceledException>(() => Retrofit.Load(folder["additions"], decoder, cancellationToken: ended.Token));
        Retrofit.Load(folder["additions"], decoder).Dispose();

        void RequireKept(Action<Retrofit, IProgress<StageProgress>, CancellationToken> save, string where)
        {
            List<StageProgress> reports = [];
            save(first, new Reports<StageProgress>(reports.Add), TestContext.Current.CancellationToken);
            long tensors = reports[^1].Total;
            Assert.Equal(Enumerable.Range(0, (int)tensors + 1).Select(done => new StageProgress("save weights", done, tensors)), reports);
            Dictionary<string, byte[]> before = Content();
            for (int at = 0; at < tensors - 1; at += 7)
            {
                using CancellationTokenSource source = new();
                Reports<StageProgress> cancel = new(report =>
                {
                    if (report.Done == at)
                    {
                        source.Cancel();
                    }
                });
                Assert.Throws<OperationCanceledException>(() => save(second, cancel, source.Token));
                Assert.Equal(before, Content());
            }

            Dictionary<string, byte[]> Content()
                => Directory.EnumerateFiles(where, "*", SearchOption.AllDirectories).ToDictionary(file => file, File.ReadAllBytes);
        }
    }

    /// <summary>A file may say any size: nothing is allocated before its tensors have been compared with it.</summary>
    [Theory]
    [InlineData("\"feed_forward_size\": 16", "\"feed_forward_size\": 1000000", "expected F64, F32 or BF16 [1000000, 8]")]
    [InlineData("\"unfreeze\":\"Nothing\"", "\"unfreeze\":\"7\"", "\"unfreeze\" is \"7\"; supported is one of Nothing, Norms, All")]
    public void A_file_that_says_other_than_it_holds_is_refused(string said, string instead, string expected)
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        using Retrofit retrofit = Retrofit.From(decoder, s_small);
        retrofit.Save(folder.Path);
        string path = Path.Combine(folder.Path, Retrofit.FileName);
        Dictionary<string, Tensor> tensors;
        string description;
        using (Safetensors file = Safetensors.Open(path))
        {
            tensors = file.Entries.ToDictionary(entry => entry.Name, entry => file.Read(entry.Name));
            description = file.Metadata!["retrofit"];
        }

        string escaped = description.Contains(said, StringComparison.Ordinal) ? description.Replace(said, instead, StringComparison.Ordinal)
            : description.Replace(
                System.Text.Json.JsonSerializer.Serialize(said)[1..^1], System.Text.Json.JsonSerializer.Serialize(instead)[1..^1], StringComparison.Ordinal);
        Assert.NotEqual(description, escaped);
        Safetensors.Write(path, tensors, new Dictionary<string, string> { ["retrofit"] = escaped });

        Assert.Contains(expected, Assert.Throws<CheckpointException>(() => Retrofit.Load(folder.Path, decoder)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_llama2_c_decoder_is_fitted_and_written_back()
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        string path = PretrainedDecoderTests.WithLlama2C(folder.Path), back = folder["back.bin"];
        using PretrainedDecoder decoder = PretrainedDecoder.Load(path);
        (Tensor tokens, Tensor neighbors, Tensor valid) = Inputs(decoder.Model.Config.VocabularySize);
        using Retrofit retrofit = Retrofit.From(decoder, s_small);
        Train(retrofit, tokens, neighbors, valid, 2);
        retrofit.Save(folder.Path);
        decoder.Origin.Write(retrofit.Model, back);
        Assert.Equal(File.ReadAllBytes(path), File.ReadAllBytes(back));
        using Retrofit again = Retrofit.Load(folder.Path, decoder);
        Assert.Equal(Bytes(retrofit.Model), Bytes(again.Model));
    }

    [Theory]
    [InlineData(RetrofitUnfreeze.Nothing)]
    [InlineData(RetrofitUnfreeze.Norms)]
    public void A_trainer_s_checkpoint_of_a_RETROfit_loads_as_one(RetrofitUnfreeze unfreeze)
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix")), other = PretrainedDecoder.Load(Folder("mistral-sliding-window"));
        (Tensor tokens, Tensor neighbors, Tensor valid) = Inputs(decoder.Model.Config.VocabularySize);
        using Retrofit retrofit = Retrofit.From(decoder, s_small, unfreeze);
        retrofit.Save(folder.Path); // what comes after takes its place
        Train(retrofit, tokens, neighbors, valid, 2);
        TrainingOptions options = TrainingOptions.SmallModel with { Steps = 3, WarmupSteps = 1 };
        using (Trainer trainer = new(retrofit.Model, options))
        {
            trainer.Save(folder.Path);
        }

        List<StageProgress> reports = [];
        using (Retrofit again = Retrofit.Load(folder.Path, decoder, progress: new Reports<StageProgress>(reports.Add)))
        {
            Assert.All(reports, report => Assert.InRange(report.Done, 0, report.Total));
            Assert.Equal(Bytes(retrofit.Model), Bytes(again.Model));
            Assert.Equal(unfreeze, again.Unfreeze);
            using Trainer trainer = new(again.Model, options);
            trainer.Load(folder.Path);
        }

        Assert.Contains(
            "another configuration", Assert.Throws<CheckpointException>(() => Retrofit.Load(folder.Path, other)).Message, StringComparison.Ordinal);
        using (no_grad())
        {
            decoder.Model.named_parameters().First(pair => pair.parameter.dim() == 2).parameter.zero_();
        }

        Assert.Contains(
            "fitted onto another decoder", Assert.Throws<CheckpointException>(() => Retrofit.Load(folder.Path, decoder)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tied_head_that_is_stored_too_is_written_as_the_embedding_is()
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder source = PretrainedDecoderTests.Copy("gpt2-no-prefix"), target = new();
        PretrainedDecoderTests.Rewrite(source.Path, tensors => tensors["lm_head.weight"] = tensors["wte.weight"].clone());
        using PretrainedDecoder decoder = PretrainedDecoder.Load(source.Path);
        using (Retrofit untrained = Retrofit.From(decoder, s_small))
        {
            RequireBase(untrained, source.Path);
        }

        using Retrofit retrofit = Retrofit.From(decoder, s_small, RetrofitUnfreeze.All);
        using (no_grad())
        {
            retrofit.Model.get_parameter("embedding.weight")!.add_(1);
        }

        decoder.Origin.Write(retrofit.Model, target.Path);
        using Safetensors written = Safetensors.Open(target["model.safetensors"]);
        Assert.True(Same(written.Read("wte.weight"), written.Read("lm_head.weight")));
        Assert.True(Same(retrofit.Model.get_parameter("embedding.weight")!, written.Read("wte.weight")));
    }

    [Fact]
    public void A_trainer_s_checkpoint_loads_onto_its_decoder_in_a_narrower_type_and_leaves_no_tensor()
    {
        using TemporaryFolder folder = new();
        using (PretrainedDecoder wide = PretrainedDecoder.Load(Folder("gpt2-no-prefix")))
        using (Retrofit retrofit = Retrofit.From(wide, s_small))
        {
            Checkpoint.Save(folder.Path, retrofit.Model);
        }

        using (PretrainedDecoder narrow = PretrainedDecoder.Load(Folder("gpt2-no-prefix"), ScalarType.BFloat16))
        using (Retrofit again = Retrofit.Load(folder.Path, narrow))
        {
            Assert.Equal(RetrofitUnfreeze.Nothing, again.Unfreeze);
        }

        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));

        // Making the model leaves some handles to the collector; reading leaves no more.
        Assert.Equal(Left(() => Retrofit.From(decoder, s_small).Dispose()), Left(() => Retrofit.Load(folder.Path, decoder).Dispose()));

        static long Left(Action action)
        {
            action();
            long before = LiveTensors.Settled();
            action();
            return Tensor.TotalCount - before;
        }
    }

    /// <summary>What is replaced need not be whole: a fit of hours is about to be written.</summary>
    [Fact]
    public void Additions_that_cannot_be_read_are_replaced()
    {
        using TemporaryFolder folder = new();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        using Retrofit retrofit = Retrofit.From(decoder, s_small);
        retrofit.Save(folder.Path);
        string path = folder[Retrofit.FileName];
        byte[] whole = File.ReadAllBytes(path);
        foreach (byte[] damaged in new[] { whole[..(whole.Length / 2)], [] })
        {
            File.WriteAllBytes(path, damaged);
            retrofit.Save(folder.Path);
            Assert.Equal(whole, File.ReadAllBytes(path));
        }
    }

    [Theory]
    [InlineData("\"heads\": 2", "\"heads\": 0", "Heads")]
    [InlineData("\"heads\": 2", "\"heads\": 2, \"foo\": 1", "foo")]
    [InlineData("\"format_version\": 2", "\"format_version\": 99", "99")]
    public void A_configuration_of_ours_that_cannot_be_used_is_named(string said, string instead, string named)
    {
        using TemporaryFolder folder = new();
        using (RetroModel model = new(RetroConfig.Tiny with { Heads = 2, KeyValueHeads = 2, Retrieval = null }))
        {
            Checkpoint.Save(folder.Path, model);
        }

        string config = folder["config.json"], text = File.ReadAllText(config);
        Assert.Contains(said, text, StringComparison.Ordinal);
        File.WriteAllText(config, text.Replace(said, instead, StringComparison.Ordinal));
        string message = Assert.Throws<CheckpointException>(() => PretrainedDecoder.Load(folder.Path)).Message;
        Assert.Contains(config, message, StringComparison.Ordinal);
        Assert.Contains(named, message, StringComparison.Ordinal);
        message = Assert.Throws<CheckpointException>(() => Checkpoint.LoadConfig(folder.Path)).Message;
        Assert.Contains(config, message, StringComparison.Ordinal);
        Assert.Contains(named, message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_model_that_does_not_retrieve_is_no_RETROfit()
    {
        using TemporaryFolder folder = new();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        Checkpoint.Save(folder.Path, decoder.Model);
        Assert.Contains("no RETROfit", Assert.Throws<CheckpointException>(() => Retrofit.Load(folder.Path, decoder)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_fitted_model_is_an_ordinary_checkpoint()
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        using Retrofit retrofit = Retrofit.From(decoder, s_small with { CrossAttentionRank = 2 });
        Checkpoint.Save(folder.Path, retrofit.Model);
        using RetroModel model = Checkpoint.Load(folder.Path);
        Assert.Equal(Bytes(retrofit.Model), Bytes(model));
        Assert.Equal(model.Config.Parameters().Select(parameter => parameter.Name).Order(), model.named_parameters().Select(pair => pair.name).Order());
    }

    [Theory]
    [InlineData(1, "[1]")]
    [InlineData(2, "[2]")]
    [InlineData(3, "[2]")]
    [InlineData(5, "[3, 5]")]
    [InlineData(6, "[6]")]
    [InlineData(12, "[6, 9, 12]")]
    [InlineData(32, "[6, 9, 12, 15, 18, 21, 24, 27, 30]")]
    public void Every_third_layer_from_the_sixth_retrieves(int layers, string expected)
        => Assert.Equal(expected, RetrievalConfig.For(new RetroConfig { Layers = layers }).CrossAttentionLayers.ToString());

    [Fact]
    public void Defaults_fit_every_decoder()
    {
        foreach (string name in Folders.Select(row => row.Data))
        {
            using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder(name));
            using Retrofit retrofit = Retrofit.From(decoder);
            Assert.Equal(
                (decoder.Model.Config.Width, decoder.Model.Config.Heads),
                (retrofit.Model.Config.Retrieval!.Encoder.Width, retrofit.Model.Config.Retrieval!.Encoder.Heads));
        }

        EncoderConfig wide = RetrievalConfig.For(new RetroConfig { Width = 4096, Layers = 32, Heads = 32, HeadSize = 128, FeedForwardSize = 11008 }).Encoder;
        Assert.Equal((896, 16, 64, 3584), (wide.Width, wide.Heads, wide.HeadSize, wide.FeedForwardSize));
    }

    [Fact]
    public void Options_that_do_not_fit_are_refused()
    {
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("gpt2-no-prefix"));
        foreach (RetrievalConfig options in (RetrievalConfig[])[
            s_small with { CrossAttentionLayers = [3] }, s_small with { CrossAttentionLayers = [] }, s_small with { CrossAttentionRank = 0 },
            s_small with { ChunkLength = 0 }
        ])
        {
            Assert.Throws<RetroOptionsException>(() => Retrofit.From(decoder, options));
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => Retrofit.From(decoder, s_small, (RetrofitUnfreeze)9));
    }

    private static string Folder(string name) => Path.Combine(Fixtures.Own, "pretrained", name);

    private static (Tensor Tokens, Tensor Neighbors, Tensor Valid) Inputs(int vocabulary)
    {
        Random random = new(3);
        long[] Draw(int count) => [.. Enumerable.Range(0, count).Select(_ => (long)random.Next(vocabulary))];
        bool[] valid = [.. Enumerable.Range(0, 2 * 4 * 2 * 8).Select(i => i % 16 < 12)];
        return (tensor(Draw(2 * 17), [2, 17]), tensor(Draw(2 * 4 * 2 * 8), [2, 4, 2, 8]), tensor(valid, [2, 4, 2, 8]));
    }

    private static Tensor Logits(RetroModel model, Tensor tokens, Tensor? neighbors = null, Tensor? valid = null)
    {
        using IDisposable noGrad = no_grad();
        model.eval();
        return model.call(tokens, neighbors, valid);
    }

    private static bool Same(Tensor a, Tensor b) => a.bytes.SequenceEqual(b.bytes);

    private static string[] Train(Retrofit retrofit, Tensor tokens, Tensor neighbors, Tensor valid, int steps)
    {
        using RetroOptimizer optimizer = new(retrofit.Model, new RetroOptimizerOptions { WeightDecay = 0.1 });
        retrofit.Model.train();
        for (int step = 0; step < steps; step++)
        {
            using DisposeScope scope = NewDisposeScope();
            LogLikelihood.MeanLoss(retrofit.Model.call(tokens, neighbors, valid), LogLikelihood.Targets(tokens)).backward();
            optimizer.Step(1e-2);
        }

        return [.. optimizer.ParameterNames];
    }

    private static Dictionary<string, byte[]> Bytes(RetroModel model)
        => model.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter.detach().contiguous().bytes.ToArray());

    private static void RequireBase(Retrofit retrofit, string folder)
    {
        using TemporaryFolder target = new();
        retrofit.Origin.Write(retrofit.Model, target.Path);
        using Safetensors before = Safetensors.Open(Path.Combine(folder, "model.safetensors")), after = Safetensors.Open(Path.Combine(
            target.Path, "model.safetensors"));
        Assert.Equal(before.Entries.Count, after.Entries.Count);
        Assert.All(before.Entries, entry => Assert.True(before.Bytes(entry.Name).SequenceEqual(after.Bytes(entry.Name)), $"{entry.Name} changed."));
    }

    /// <summary>The way that docs/pretrained.md says: neither a pretrained decoder nor a RETROfit takes branches of one's own.</summary>
    [Fact]
    public void A_fitted_checkpoint_is_loaded_with_branches_of_ones_own_beside_the_frozen_decoder()
    {
        using DisposeScope scope = NewDisposeScope();
        using TemporaryFolder folder = new();
        LayerFactory layers = new() { FeedForward = (config, dtype, device) => new Adapted(config, dtype, device) };
        using PretrainedDecoder decoder = PretrainedDecoder.Load(Folder("mistral-sliding-window"));
        using (Retrofit retrofit = Retrofit.From(decoder, s_small))
        {
            Checkpoint.Save(folder["fitted"], retrofit.Model);
        }

        using RetroModel model = Checkpoint.Load(folder["fitted"], new() { Layers = layers, Strict = false });
        HashSet<string> frozen = [.. decoder.Model.named_parameters().Select(pair => pair.name)];
        foreach ((string name, Parameter parameter) in model.named_parameters())
        {
            parameter.requires_grad = !frozen.Contains(name);
        }

        model.eval();
        Tensor tokens = randint(model.Config.VocabularySize, [1, 12], ScalarType.Int64);
        Assert.True(ModelCase.BitEqual(decoder.Model.call(tokens, null, null), model.call(tokens, null, null)));
        CopyingData data = new(model.Config, 2, 2, seed: 3);
        TrainingOptions options = TrainingOptions.SmallModel with { Steps = 3, WarmupSteps = 0, CheckpointFolder = folder["trained"] };
        using (Trainer trainer = new(model, options with { Dtype = ScalarType.Float32 }))
        {
            trainer.Run(data);
        }

        using RetroModel trained = Checkpoint.Load(folder["trained"], new() { Layers = layers });
        Dictionary<string, Tensor> before = decoder.Model.state_dict(), after = trained.state_dict();
        Assert.All(frozen, name => Assert.True(ModelCase.BitEqual(before[name], after[name]), name));
        Assert.NotEqual(0, after["decoder.1.ffw._out.weight"].abs().max().ToDouble());
    }

    // Changes nothing at first.
    private sealed class Adapted : FeedForward
    {
        private readonly Linear _in, _out;

        public Adapted(RetroConfig config, ScalarType dtype, Device? device)
            : base(config, false, dtype, device)
        {
            _in = nn.Linear(config.Width, 4, hasBias: false, device, dtype);
            _out = nn.Linear(4, config.Width, hasBias: false, device, dtype);
            nn.init.zeros_(_out.weight!);
        }

        public override Tensor forward(Tensor x) => base.forward(x) + _out.call(_in.call(x));
    }
}
