using System.Globalization;
using System.Runtime.CompilerServices;

namespace Retro;

/// <summary>
/// Collects the faults of a record of options, so that all are told at once. A fault names the property, the value that came and what was expected; the
/// property's name is taken from the expression of the value.
/// </summary>
internal sealed class OptionFaults
{
    private readonly string _options;
    private readonly string _prefix;
    private readonly List<string> _faults;

    /// <summary>Begins with no fault.</summary>
    /// <param name="options">Name of the options' type.</param>
    public OptionFaults(string options)
        : this(options, "", [])
    {
    }

    private OptionFaults(string options, string prefix, List<string> faults)
    {
        _options = options;
        _prefix = prefix;
        _faults = faults;
    }

    /// <summary>Collects into the same list the faults of options that are a property of these: their names begin with that property's.</summary>
    public OptionFaults Of(string property) => new(_options, $"{_prefix}{property}.", _faults);

    /// <summary>A fault in words of its own.</summary>
    public void Add(FormattableString sentence) => _faults.Add(sentence.ToString(CultureInfo.InvariantCulture));

    /// <summary>A fault unless a condition holds.</summary>
    /// <param name="condition">Whether the value is right.</param>
    /// <param name="value">The value.</param>
    /// <param name="expected">What is expected, as it follows "expected".</param>
    /// <param name="name">The property; left out, it is read from the expression of the value.</param>
    public void Require<T>(bool condition, T value, string expected, [CallerArgumentExpression(nameof(value))] string name = "")
    {
        if (!condition)
        {
            string came = value is null ? "not set"
                : value is IEnumerable<string> several ? string.Join(", ", several.Select(one => $"\"{one}\""))
                : Convert.ToString(value, CultureInfo.InvariantCulture)!;
            Add($"{_prefix}{name[(name.LastIndexOf('.') + 1)..]} is {came}; expected {expected}.");
        }
    }

    /// <summary>A whole number of at least <paramref name="least"/> and at most <paramref name="most"/>.</summary>
    public void Between(long value, long least, long most = long.MaxValue, [CallerArgumentExpression(nameof(value))] string name = "")
        => Require(value >= least && value <= most, value, most == long.MaxValue ? $"at least {least}" : $"{least} to {most}", name);

    /// <summary>A number of tokens that is whole chunks.</summary>
    /// <param name="value">The tokens.</param>
    /// <param name="chunkLength">M: tokens of a chunk; null: not known yet.</param>
    /// <param name="leastChunks">How many chunks it is at least.</param>
    /// <param name="name">The property; left out, it is read from the expression of the value.</param>
    public void MultipleOf(int value, int? chunkLength, int leastChunks = 1, [CallerArgumentExpression(nameof(value))] string name = "")
    {
        int chunk = chunkLength ?? 1;
        Require(
            value >= (long)leastChunks * chunk && value % chunk == 0,
            value,
            chunkLength is null ? $"at least {leastChunks}"
                : $"a multiple of the chunk length, {chunk}{(leastChunks > 1 ? $", and at least {leastChunks} chunks" : "")}",
            name);
    }

    /// <summary>A finite number.</summary>
    public void Finite(double value, [CallerArgumentExpression(nameof(value))] string name = "")
        => Require(double.IsFinite(value), value, "a finite number", name);

    /// <summary>A finite number above 0.</summary>
    public void Positive(double value, [CallerArgumentExpression(nameof(value))] string name = "")
        => Require(value > 0 && double.IsFinite(value), value, "a finite number above 0", name);

    /// <summary>A finite number of at least 0.</summary>
    public void NotNegative(double value, [CallerArgumentExpression(nameof(value))] string name = "")
        => Require(value >= 0 && double.IsFinite(value), value, "a finite number of at least 0", name);

    /// <summary>A number from 0 to 1.</summary>
    public void Share(double value, [CallerArgumentExpression(nameof(value))] string name = "")
        => Require(value is >= 0 and <= 1, value, "0 to 1", name);

    /// <summary>A number from 0 to below 1.</summary>
    public void ShareBelowOne(double value, [CallerArgumentExpression(nameof(value))] string name = "")
        => Require(value is >= 0 and < 1, value, "at least 0 and less than 1", name);

    /// <summary>A named value of an enumeration.</summary>
    public void Defined<T>(T value, [CallerArgumentExpression(nameof(value))] string name = "")
        where T : struct, Enum
        => Require(Enum.IsDefined(value), value, $"one of {string.Join(", ", Enum.GetNames<T>())}", name);

    /// <summary>Throws where there is a fault.</summary>
    /// <exception cref="RetroOptionsException">There is; the message names every one.</exception>
    public void Throw()
    {
        if (_faults.Count > 0)
        {
            throw new RetroOptionsException(_options, _faults);
        }
    }
}
