using Retro.Checkpoints;
using Retro.Embedders;
using Retro.Modeling;

namespace Retro.Tests.Cli.Commands;

/// <summary>`retro verify`, and what `retro info` says of the same: what is damaged, or does not belong together.</summary>
public sealed class VerifyCommandTests : IDisposable
{
    private readonly CliRun _retro = new();

    public void Dispose() => _retro.Dispose();

    [Fact]
    public void What_is_damaged_is_found()
    {
        _retro.Build();
        string tokens = Path.Combine(_retro["work"], "database", "tokens.bin");
        byte[] bytes = File.ReadAllBytes(tokens);
        bytes[^1] ^= 1;
        File.WriteAllBytes(tokens, bytes);
        foreach (string file in Directory.EnumerateFiles(Path.Combine(_retro["work"], "tokenizer")))
        {
            File.Delete(file);
        }

        ChildProcess.Outcome run = _retro.Run("verify", "work", "--quiet", "--json", "verify.json");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("tokens.bin' has checksum", run.Errors, StringComparison.Ordinal);
        Assert.Contains("holds no tokenizer", run.Errors, StringComparison.Ordinal);
        Assert.False((bool)_retro.Json("verify.json").Single(part => part.Key.EndsWith("database", StringComparison.Ordinal)).Value!["whole"]!);
        Assert.True((bool)_retro.Json("verify.json").Single(part => part.Key.EndsWith("held-out", StringComparison.Ordinal)).Value!["whole"]!);
    }

    /// <summary>Nothing in the folder can be read without it, and a copy of the folder may have lost it.</summary>
    [Fact]
    public void A_database_without_the_tokenizer_beside_it_is_not_whole()
    {
        _retro.Build();
        Directory.Delete(_retro["work/tokenizer"], recursive: true);
        ChildProcess.Outcome run = _retro.Run("verify", "work");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains($"{Path.Combine("work", "tokenizer")} holds no tokenizer", run.Errors, StringComparison.Ordinal);
        _retro.Done("verify", Path.Combine("work", "database")); // of which alone it is asked
    }

    /// <summary>Models have no checksums: what can be told is whether all of it is there, is read and is numbers.</summary>
    [Fact]
    public void Every_file_of_a_model_is_read()
    {
        _retro.Build();
        string[] sizes = ["--database", "work", "--steps", "2", "--window", "64"];
        _retro.Done(["train", "--out", "decoder", "--source", "none", "--preset", "tiny", .. sizes]);
        _retro.Done(["fit", "--base", "decoder", "--out", "fitted", .. sizes]);
        _retro.Done(["fit", "--base", "decoder", "--out", "copied", "--reader", "copying", .. sizes]);
        foreach (string file in new[]
        {
            "decoder/model/training.safetensors", "decoder/model/model.safetensors", "fitted/model/retrofit.safetensors", "copied/model/copying.safetensors",
        })
        {
            string folder = file.Split('/')[0], path = _retro[file];
            _retro.Done("verify", folder);
            byte[] whole = File.ReadAllBytes(path);
            long first = FirstNumber(path);
            using (FileStream stream = File.OpenWrite(path))
            {
                stream.Position = first;
                stream.Write([255, 255, 255, 255, 255, 255, 255, 255]); // no number, in any type of such
            }

            ChildProcess.Outcome run = _retro.Run("verify", folder);
            Assert.True(run.ExitCode == 1, file);
            Assert.Contains("not finite", run.Errors, StringComparison.Ordinal);
            File.WriteAllBytes(path, whole);
        }

        static long FirstNumber(string path)
        {
            using Safetensors file = Safetensors.Open(path);
            SafetensorsEntry first = file.Entries.First(entry => entry.Dtype is ['F' or 'B', ..] and not "BOOL");
            return sizeof(long) + BitConverter.ToInt64(File.ReadAllBytes(path)) + first.Begin;
        }
    }

    /// <summary>A folder of several models, such as a quickstart's, has names of its own for them.</summary>
    [Fact]
    public void What_lies_beside_the_usual_parts_of_a_folder_is_looked_at_too()
    {
        _retro.Build();
        foreach (string name in new[] { "model", "closed-book", "checkpoint" })
        {
            using RetroModel model = new(RetroConfig.Tiny with { Retrieval = null });
            Checkpoint.Save(_retro[$"work/{name}"], model);
        }

        string[] parts = ["database", "held-out", "model", "checkpoint", "closed-book"];
        _retro.Done("verify", "work", "--json", "verify.json");
        Assert.Equal([.. parts, "tokenizer"], _retro.Json("verify.json").Select(part => Path.GetFileName(part.Key)));
        _retro.Done("info", "work", "--json", "info.json");
        Assert.Equal(["tokenizer", .. parts], _retro.Json("info.json").Take(parts.Length + 1).Select(part => Path.GetFileName(part.Key)));

        // What copies on top of the closed book lies beside it.
        string copying = _retro["work/copying.safetensors"], weights = _retro["work/closed-book/model.safetensors"];
        File.WriteAllBytes(copying, new byte[100]);
        RequireFound();
        File.Delete(copying);
        File.WriteAllBytes(weights, File.ReadAllBytes(weights)[..^1]);
        RequireFound();

        void RequireFound()
        {
            Assert.Equal(1, _retro.Run("verify", "work", "--quiet", "--json", "damaged.json").ExitCode);
            Assert.Equal(
                ["closed-book"],
                _retro.Json("damaged.json").Where(part => !(bool)part.Value!["whole"]!).Select(part => Path.GetFileName(part.Key)));
        }
    }

    /// <summary>What a folder remembers is told to be damaged, and all else is looked at, too.</summary>
    [Fact]
    public void A_damaged_file_of_what_was_typed_is_a_fault_beside_others()
    {
        using (RetroModel model = new(RetroConfig.Tiny with { Retrieval = null }))
        {
            Checkpoint.Save(_retro["work/model"], model);
        }

        using (TextEmbedder embedder = TextEmbedder.Load(Fixtures.Pretrained("bert")))
        {
            embedder.Save(_retro["work/embedder"]);
        }

        _retro.WriteFile("work/retro.json", "{");
        ChildProcess.Outcome run = _retro.Run("verify", "work", "--json", "verify.json");
        Assert.Equal(1, run.ExitCode);
        string settings = Path.Combine("work", "retro.json");
        Assert.StartsWith($"{settings} cannot be read", run.Errors, StringComparison.Ordinal);
        Assert.Contains($"{Path.Combine("work", "embedder")}: keys of ", run.Output, StringComparison.Ordinal);
        Assert.False((bool)_retro.Json("verify.json")[settings]!["whole"]!);
    }

    /// <summary>Each is whole, and nothing can be read with both.</summary>
    [Fact]
    public void A_tokenizer_that_is_not_that_of_the_database_beside_it_is_told()
    {
        _retro.Build();
        _retro.Done("build", "--corpus", "docs", "--out", "other", "--vocabulary", "290", "--chunk", "16", "--held-out-share", "0");
        _retro.Done("verify", "work");
        Directory.Delete(_retro["work/tokenizer"], recursive: true);
        Directory.Move(_retro["other/tokenizer"], _retro["work/tokenizer"]);
        ChildProcess.Outcome verified = _retro.Run("verify", "work");
        Assert.Equal(1, verified.ExitCode);
        Assert.Contains("was made with the tokenizer", verified.Errors, StringComparison.Ordinal);
        string told = $"{Path.Combine("work", "tokenizer")} is not the tokenizer of {Path.Combine("work", "database")}";
        Assert.Contains(told, _retro.Done("info", "work"), StringComparison.Ordinal);
    }
}
