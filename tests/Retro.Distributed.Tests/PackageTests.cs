using Retro.Tests.Build;

namespace Retro.Distributed.Tests;

/// <summary>The package as its users get it.</summary>
public class PackageTests
{
    [Fact]
    public void A_new_project_uses_the_package()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "libfaiss_c.so is packed for Linux.");
        using PackedApp app = new("Retro", "Retro.Distributed");
        Assert.Contains(
            $"<dependency id=\"Retro\" version=\"{PackedApp.Version}\"", app.RequireContent("Retro.Distributed"), StringComparison.Ordinal);

        // Without libtorch, which takes long to copy, and without mpirun, which need not be there.
        app.Write("""
            using Retro.Distributed;
            using Retro.Optimization;

            try
            {
                using MpiExchange exchange = MpiExchange.Start();
                exchange.ByFirst(() => { });
                Console.WriteLine(string.Join(", ", ((IGradientExchange)exchange).Gather(exchange.Place)));
            }
            catch (ExchangeException fault)
            {
                Console.WriteLine(fault.Message);
            }
            """, "", ("Retro.Distributed", PackedApp.Version));
        app.Dotnet("build", "-c", "Release");
        Assert.Matches(
            "^(rank 0 of 1 on .*|libmpi.so.40 cannot be loaded: .* Install OpenMPI 4 or 5 .*)\n",
            app.Dotnet(app.Program).Replace("\n", " ", StringComparison.Ordinal) + "\n");
    }
}
