using Retro.Tests.Build;

namespace Retro.Postgres.Tests;

/// <summary>The package as its users get it.</summary>
public class PackageTests
{
    [Fact]
    public void A_new_project_uses_the_package()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "libfaiss_c.so is packed for Linux.");
        using PackedApp app = new("Retro", "Retro.Postgres");

        // The library of the very same version, whose internals it uses.
        Assert.Contains(
            $"<dependency id=\"Retro\" version=\"[{PackedApp.Version}]\"", app.RequireContent("Retro.Postgres"), StringComparison.Ordinal);
        app.Write("""
            using Retro.Embedders;
            using Retro.Postgres;
            using Retro.Tokenizers;

            RetroTokenizer tokenizer = BpeTrainer.Train(["the river and the bridge"], vocabularySize: 260, "tokenizer");
            try
            {
                using PostgresDatabase database = PostgresDatabase.Create("Host=127.0.0.1;Port=1;Timeout=5", tokenizer, new ChunkKeyer(tokenizer, new HashingEmbedder()));
            }
            catch (PostgresDatabaseException fault)
            {
                Console.WriteLine(fault.Message);
            }
            """, "", ("Retro.Postgres", PackedApp.Version));
        app.Dotnet("build", "-c", "Release");
        Assert.StartsWith("The server 127.0.0.1:1 ", app.Dotnet(app.Program), StringComparison.Ordinal);
    }
}
