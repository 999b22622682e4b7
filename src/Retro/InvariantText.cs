using System.Globalization;

namespace Retro;

/// <summary>How values are written into identities and files.</summary>
internal static class InvariantText
{
    /// <summary>A value as it writes itself, the same in every culture: a record writes its numbers in the thread's, whatever asks for it.</summary>
    public static string Of(object? value)
    {
        CultureInfo before = CultureInfo.CurrentCulture;
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        try
        {
            return value?.ToString() ?? "";
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }
}
