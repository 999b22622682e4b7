using System.Globalization;
using Retro.Checkpoints;
using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>
/// Rotary positions as a config.json says them: <c>rope_theta</c> and <c>rope_scaling</c> of transformers 4, or <c>rope_parameters</c> of transformers 5.
/// </summary>
/// <param name="Base">The base of the frequencies.</param>
/// <param name="Fraction">The share of a head that is rotated; null: nothing is said.</param>
/// <param name="Scaling">The change of the frequencies; null: none.</param>
/// <param name="Longest">The length up to which it is that; null: any.</param>
internal sealed record PretrainedRotary(double Base, double? Fraction, RotaryScaling? Scaling, int? Longest)
{
    /// <summary>The base that most families have.</summary>
    public const double UsualBase = 10_000;

    /// <summary>The kinds of layers, in <c>layer_types</c> and <c>rope_parameters</c>.</summary>
    public const string FullAttention = "full_attention", SlidingAttention = "sliding_attention";

    /// <summary>Reads the settings.</summary>
    /// <param name="config">The file.</param>
    /// <param name="unsaidBase">The base where the file says none.</param>
    /// <param name="oldBase">What the family called <c>rope_theta</c> before; null for nothing.</param>
    /// <param name="oldFraction">What the family called <c>partial_rotary_factor</c> before; null for nothing.</param>
    /// <param name="partly">Whether the family rotates a part of a head where that says so.</param>
    public static PretrainedRotary Read(
        StrictJson config, double unsaidBase = UsualBase, string? oldBase = null, string? oldFraction = null, bool partly = false)
        => Read(config, config.Part("rope_parameters"), unsaidBase, oldBase, oldFraction, partly);

    /// <summary>The same where <c>rope_parameters</c> has a part for each kind of layer.</summary>
    /// <param name="config">The file.</param>
    /// <param name="parameters">The part, or all of it; null: it says nothing.</param>
    /// <param name="unsaidBase">The base where the file says none.</param>
    /// <param name="oldBase">What the family called <c>rope_theta</c> before; null for nothing.</param>
    /// <param name="oldFraction">What the family called <c>partial_rotary_factor</c> before; null for nothing.</param>
    /// <param name="partly">Whether the family rotates a part of a head where that says so.</param>
    public static PretrainedRotary Read(
        StrictJson config, StrictJson? parameters, double unsaidBase, string? oldBase = null, string? oldFraction = null, bool partly = false)
    {
        StrictJson? scaling = config.Part("rope_scaling");
        double? rotaryBase = Agree(
            config, "the rotary base", Value(parameters, "rope_theta"), Value(config, "rope_theta"), Value(config, oldBase), Value(scaling, "rope_theta"));
        double? fraction = !partly ? null
            : Agree(
                config,
                "the share of a head that is rotated",
                Value(parameters, "partial_rotary_factor"),
                Value(config, "partial_rotary_factor"),
                Value(config, oldFraction),
                Value(scaling, "partial_rotary_factor"));
        foreach (StrictJson? part in partly ? [] : (StrictJson?[])[parameters, config, scaling])
        {
            if (Value(part, "partial_rotary_factor") is { Number: not 1 } partial)
            {
                throw part!.Unsupported(partial.Key, partial.Number.ToString(CultureInfo.InvariantCulture), "1");
            }
        }

        (RotaryScaling? Scaling, int? Longest) change = parameters is null ? default : ReadScaling(parameters, config);
        (RotaryScaling? Scaling, int? Longest) old = scaling is null ? default : ReadScaling(scaling, config);
        if (parameters is not null && scaling is not null && change != old)
        {
            throw config.Fault("\"rope_parameters\" and \"rope_scaling\" contradict each other; keep the one that is meant");
        }

        parameters?.RequireAllRead();
        scaling?.RequireAllRead();
        (RotaryScaling? made, int? longest) = parameters is null ? old : change;
        return new(rotaryBase ?? unsaidBase, fraction, made, longest);
    }

    /// <summary>The same of a family whose layers with a window have a base of their own, which transformers 5 says in a part for each kind of layer.</summary>
    /// <param name="config">The file.</param>
    /// <param name="unsaidBase">The base of the other layers where the file says none.</param>
    /// <param name="oldBase">What the family called it before; null: <c>rope_theta</c>.</param>
    /// <param name="oldWindowBase">What it called the base of layers with a window before.</param>
    /// <returns>The positions of the other layers, and that base; null: nothing is said.</returns>
    public static (PretrainedRotary All, double? WindowBase) ReadByKind(StrictJson config, double unsaidBase, string? oldBase, string oldWindowBase)
    {
        StrictJson? parameters = config.Part("rope_parameters");
        StrictJson? full = Needed(FullAttention), windowed = Needed(SlidingAttention);
        parameters?.RequireAllRead();
        PretrainedRotary all = Read(config, full, unsaidBase, oldBase);
        if (windowed is not null && Read(windowed, windowed, UsualBase) is not { Scaling: null, Longest: null })
        {
            throw windowed.Unsupported("rope_type", "of another kind", "\"default\"");
        }

        return (all, Agree(config, "the rotary base of layers with a window", Value(windowed, "rope_theta"), Value(config, oldWindowBase)));

        StrictJson? Needed(string kind)
            => parameters is null ? null : parameters.Part(kind) ?? throw parameters.Fault($"\"{kind}\" is missing; each kind of layer has to have its own");
    }

    private static (RotaryScaling? Scaling, int? Longest) ReadScaling(StrictJson part, StrictJson config)
    {
        string? type = part.Text("rope_type"), old = part.Text("type");
        if (type is not null && old is not null && type != old)
        {
            throw part.Fault($"\"rope_type\" is \"{type}\" and \"type\" is \"{old}\"; keep the one that is meant");
        }

        type ??= old ?? "default";
        if (type is not ("yarn" or "longrope") && part.Number("attention_factor") is { } attention and not 1)
        {
            throw part.Unsupported("attention_factor", attention.ToString(CultureInfo.InvariantCulture), "1");
        }

        if (type == "default" && part.Number("factor") is { } factor and not 1)
        {
            throw part.Unsupported("factor", factor.ToString(CultureInfo.InvariantCulture), "1 with \"default\"");
        }

        // The others may say it without effect.
        int? original = part.Integer("original_max_position_embeddings");
        return type switch
        {
            "default" => default,
            "linear" => (new() { Kind = RotaryScalingKind.Linear, Factor = Needed("factor") }, null),
            "llama3" => (new()
            {
                Kind = RotaryScalingKind.Llama3,
                Factor = Needed("factor"),
                LowFrequencyFactor = Needed("low_freq_factor"),
                HighFrequencyFactor = Needed("high_freq_factor"),
                OriginalLength = original ?? throw part.Fault("\"original_max_position_embeddings\" is missing, which \"llama3\" needs"),
            }, null),
            "yarn" => (ReadYarn(part, Needed("factor"), original ?? Positions()), null),
            "longrope" => ReadLongRope(part, config),

            // The frequencies change with the length of a text, but not before the one that the model was trained for.
            "dynamic" => (null, Needed("factor") >= 1 ? Positions() : throw part.Fault("\"factor\" has to be at least 1")),
            _ => throw part.Unsupported("rope_type", $"\"{type}\"", "\"default\", \"linear\", \"llama3\", \"yarn\", \"longrope\" or \"dynamic\""),
        };

        int Positions() => config.Integer("max_position_embeddings") ?? throw config.Fault($"\"max_position_embeddings\" is missing, which \"{type}\" needs");

        double Needed(string key) => part.Number(key) ?? throw part.Fault($"\"{key}\" is missing, which \"{type}\" needs");
    }

    private static RotaryScaling ReadYarn(StrictJson part, double factor, int original)
    {
        // What is 0 is as good as unsaid, in the original too.
        double? attention = part.Number("attention_factor"), own = Said("mscale"), all = Said("mscale_all_dim");
        return new()
        {
            Kind = RotaryScalingKind.Yarn,
            Factor = factor,
            LowFrequencyFactor = Said("beta_slow") ?? 1,
            HighFrequencyFactor = Said("beta_fast") ?? 32,
            OriginalLength = original,
            WholePairs = part.Boolean("truncate") ?? true,
            AttentionFactor = attention ?? (own is { } one && all is { } other ? Temperature(one) / Temperature(other) : Temperature(1)),
        };

        double? Said(string key) => part.Number(key) is { } number and not 0 ? number : null;

        double Temperature(double weight) => factor <= 1 ? 1 : (0.1 * weight * Math.Log(factor)) + 1;
    }

    // The numbers for long texts take the place of these beyond the original length, even for the tokens before it.
    private static (RotaryScaling? Scaling, int? Longest) ReadLongRope(StrictJson part, StrictJson config)
    {
        const string Original = "original_max_position_embeddings", Positions = "max_position_embeddings";
        _ = part.Numbers("long_factor");
        double original = Agree(config, "the original length", Value(part, Original), Value(config, Original))
            ?? throw part.Fault($"\"{Original}\" is missing, which \"longrope\" needs");
        double longest = config.Number(Positions) ?? throw config.Fault($"\"{Positions}\" is missing, which \"longrope\" needs");
        if (original is not (>= 2 and <= int.MaxValue) || !double.IsInteger(original))
        {
            throw part.Fault(FormattableString.Invariant($"\"{Original}\" is {original}; it has to be a whole number above 1"));
        }

        // Versions of transformers differ in which of the two they take.
        double factor = longest / original;
        if (part.Number("factor") is { } said && said != factor)
        {
            throw part.Unsupported("factor", said.ToString(CultureInfo.InvariantCulture), FormattableString.Invariant($"{factor}, as the lengths say"));
        }

        return (new()
        {
            Kind = RotaryScalingKind.LongRope,
            OriginalLength = (int)original,
            PairFactors = [.. part.Numbers("short_factor") ?? throw part.Fault("\"short_factor\" is missing, which \"longrope\" needs")],
            AttentionFactor = part.Number("attention_factor") ?? (factor <= 1 ? 1 : Math.Sqrt(1 + (Math.Log(factor) / Math.Log(original)))),
        }, (int)original);
    }

    private static (string Key, double Number)? Value(StrictJson? part, string? key)
        => key is not null && part?.Number(key) is { } number ? (key, number) : null;

    private static double? Agree(StrictJson config, string what, params (string Key, double Number)?[] said)
    {
        (string Key, double Number)[] values = [.. said.Where(value => value is not null).Select(value => value!.Value)];
        return values.Select(value => value.Number).Distinct().Count() > 1
            ? throw config.Fault(
                $"{what} is said more than once with different values: "
                    + $"{string.Join(", ", values.Select(value => string.Create(CultureInfo.InvariantCulture, $"\"{value.Key}\" {value.Number}")))}; keep "
                    + "the one that is meant")
            : values.Length == 0 ? null : values[0].Number;
    }
}
