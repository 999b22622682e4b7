using Microsoft.ML.Tokenizers;
using TorchSharp;

namespace Retro.Tests.Standins;

/// <summary>Whether the tests run over the originals or over the stand-ins.</summary>
internal static class LoadedLibraries
{
    /// <summary>The stand-in calls operators by name; the original has an entry of its own for each.</summary>
    public static bool TorchIsStandin { get; } = typeof(torch).Assembly.GetType("TorchSharp.Interop.Aten") is not null;

    /// <summary>The original names its maker.</summary>
    public static bool TokenizersAreStandin { get; } =
        !(typeof(Tokenizer).Assembly.GetCustomAttributes(typeof(System.Reflection.AssemblyCompanyAttribute), false) is [System.Reflection.AssemblyCompanyAttribute { Company: string maker }, ..] && maker.Contains("Microsoft", StringComparison.Ordinal));
}
