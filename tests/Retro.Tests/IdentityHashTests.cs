using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Retro.Embedders;

namespace Retro.Tests;

public sealed class IdentityHashTests
{
    /// <summary>Databases hold these: another hash would make their keys and tables another's.</summary>
    [Fact]
    public void Identities_are_those_that_databases_hold()
    {
        Assert.Equal(Sha256("18:hashing embedder 23:256"), new HashingEmbedder(256).Identity);
        Assert.Equal(Sha256("1:a;0:;4:-1.5;"), IdentityHash.Of(IdentityHash.SourceEnd, "a", null, -1.5));
    }

    [Fact]
    public void Parts_do_not_run_into_one_another_and_no_culture_counts()
    {
        Assert.NotEqual(IdentityHash.Of(IdentityHash.KeyEnd, "ab", "c"), IdentityHash.Of(IdentityHash.KeyEnd, "a", "bc"));
        string here = IdentityHash.Of(IdentityHash.SourceEnd, 0.5, -3);
        CultureInfo culture = CultureInfo.CurrentCulture;
        try
        {
            CultureInfo.CurrentCulture = new CultureInfo("") { NumberFormat = new NumberFormatInfo { NumberDecimalSeparator = ",", NegativeSign = "~" } };
            Assert.Equal(here, IdentityHash.Of(IdentityHash.SourceEnd, 0.5, -3));
        }
        finally
        {
            CultureInfo.CurrentCulture = culture;
        }
    }

    private static string Sha256(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
}
