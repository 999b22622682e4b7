using System.IO.Compression;
using System.IO.Enumeration;
using System.Text.RegularExpressions;

namespace Retro.Tests.Build;

/// <summary>What a package says of what it holds of others: THIRD-PARTY-NOTICES.txt, tables of files with the licenses' texts below.</summary>
internal static partial class Notices
{
    private const string File = "THIRD-PARTY-NOTICES.txt", ToolAlone = "In the tool's package alone:", Text = "\n====";

    /// <summary>
    /// Requires that whose each file is stands in the tables, that nothing stands there which is not in the package, and that each license has its notice, its
    /// conditions and its disclaimer.
    /// </summary>
    public static void Require(string package)
    {
        using ZipArchive archive = ZipFile.OpenRead(package);
        string[] files =
        [
            .. archive.Entries.Select(entry => entry.Name)
                .Where(name => name.EndsWith(".dll", StringComparison.Ordinal) || name.Contains(".so", StringComparison.Ordinal)),
        ];
        bool isTool = files.Contains("TorchSharp.dll");
        string said = Read(File), tables = said[..said.IndexOf(Text, StringComparison.Ordinal)], texts = said[tables.Length..];
        string[] named = [.. Code().Matches(isTool ? tables : tables.Split(ToolAlone)[0]).Select(match => match.Groups[1].Value)];
        Assert.Contains("libfaiss_c.so", named);
        Assert.All(files, file => Assert.True(file.StartsWith("Retro.", StringComparison.Ordinal) || named.Any(name => Fits(name, file)), $"whose is {file}?"));
        Assert.All(named, name => Assert.True(files.Any(file => Fits(name, file)), $"the package has no {name}"));
        (string Of, string[] Parts)[] wanted =
        [
            ("MIT license", ["FAISS: Copyright (c)", "The above copyright notice and this permission notice", "WITHOUT WARRANTY OF ANY KIND"]),
            ("OpenBLAS", ["The OpenBLAS Project", "Redistributions in binary form must reproduce", "ARE DISCLAIMED"]),
            ("OpenBLAS, files of the University of Texas at Austin", ["Redistributions in binary form must reproduce", "DISCLAIMED"]),
            ("LAPACK", ["The University of Tennessee", "Redistributions in binary form must reproduce", "ARE DISCLAIMED"]),
            ("Unicode Character Database", ["Copyright \u00a9 1991-2022 Unicode, Inc.", "this copyright and permission notice", "WITHOUT WARRANTY OF ANY"]),
        ];
        foreach ((string of, string[] parts) in wanted)
        {
            string text = texts.Split($"=\n{of}\n=", 2)[1].Split("=\n\n", 2)[1].Split(Text)[0];
            Assert.All(parts, part => Assert.Contains(part, text, StringComparison.Ordinal));
        }

        Assert.Contains("Permission is hereby granted", Read("LICENSE"), StringComparison.Ordinal);
        Assert.True(!isTool || Read("LICENSE-LIBTORCH.txt").Length > 1000);
        Assert.True(!isTool || Read("LICENSE-ARROW.txt").Contains("Apache License", StringComparison.Ordinal));

        string Read(string name)
        {
            using StreamReader reader = new(archive.GetEntry(name)!.Open());
            return reader.ReadToEnd();
        }

        static bool Fits(string name, string file) => FileSystemName.MatchesSimpleExpression(name, file);
    }

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Code();
}
