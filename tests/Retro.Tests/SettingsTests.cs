using System.Reflection;
using System.Runtime.CompilerServices;
using Retro.Modeling;

namespace Retro.Tests;

/// <summary>Settings look and behave alike in every room.</summary>
public class SettingsTests
{
    public static TheoryData<Type> Options => [.. Public().Where(type => type.Name.EndsWith("Options", StringComparison.Ordinal))];

    [Theory]
    [MemberData(nameof(Options))]
    public void Options_are_sealed_records_that_cannot_change_and_check_themselves(Type options)
    {
        Assert.True(options.IsSealed, "not sealed");
        Assert.True(options.GetMethod("<Clone>$") is not null, "no record");
        Assert.Empty(Settable(options));
        if (options.GetProperties().All(property => property.PropertyType == typeof(bool) || property.SetMethod is null))
        {
            return; // Nothing of it can be wrong.
        }

        MethodInfo validate = Assert.Single(options.GetMethods(), method => method.Name == "Validate");
        Assert.Equal(options, validate.ReturnType);
        object made = Activator.CreateInstance(options)!;
        Assert.Same(made, validate.Invoke(made, [.. validate.GetParameters().Select(parameter => parameter.DefaultValue)]));
    }

    public static TheoryData<Type> OptionsWithNumbers => [.. Options.Select(row => row.Data).Where(type => Numbers(type).Any())];

    /// <summary>Every number set to what no setting can be is refused with one type of exception, which names the setting.</summary>
    [Theory]
    [MemberData(nameof(OptionsWithNumbers))]
    public void A_number_that_cannot_be_is_refused_by_name(Type options)
    {
        MethodInfo validate = options.GetMethod("Validate")!;
        foreach ((PropertyInfo property, object wrong) in Numbers(options))
        {
            object made = Activator.CreateInstance(options)!;
            property.SetValue(made, wrong);
            TargetInvocationException thrown = Assert.Throws<TargetInvocationException>(
                () => validate.Invoke(made, [.. validate.GetParameters().Select(parameter => parameter.DefaultValue)]));
            RetroOptionsException fault = Assert.IsType<RetroOptionsException>(thrown.InnerException);
            Assert.Contains(property.Name, fault.Message, StringComparison.Ordinal);
            Assert.Contains(FormattableString.Invariant($"{wrong}"), fault.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Nothing_public_has_settings_that_change_after_it_was_made()
        => Assert.Equal(
            ["Retro.Readers.ReadingBatch.Retrieved", "Retro.Training.TokenBatch.Retrieved"],
            Public().SelectMany(type => Settable(type).Select(property => $"{type.FullName}.{property.Name}")).Order(StringComparer.Ordinal));

    [Fact]
    public void Seeds_thread_counts_and_time_budgets_are_named_and_typed_alike()
    {
        Dictionary<string, Type> types = new()
        {
            ["Seed"] = typeof(long),
            ["Threads"] = typeof(int),
            ["TimeBudget"] = typeof(TimeSpan?),
            ["WindowLength"] = typeof(int),
            ["BatchSize"] = typeof(int)
        };
        PropertyInfo[] settings = [.. Options.SelectMany(row => row.Data.GetProperties())];
        Assert.All(settings.Where(property => types.ContainsKey(property.Name)), property => Assert.Equal(types[property.Name], property.PropertyType));
        string[] others = ["seed", "thread", "budget"];
        Assert.DoesNotContain(
            settings, property => !types.ContainsKey(property.Name) && others.Any(part => property.Name.Contains(part, StringComparison.OrdinalIgnoreCase)));
    }

    /// <summary>The settings that are numbers, and what none of them can be; seeds may be any number.</summary>
    private static IEnumerable<(PropertyInfo Property, object Wrong)> Numbers(Type options)
        => options.GetProperties(BindingFlags.Public | BindingFlags.Instance)
            .Where(property => property.SetMethod is not null && property.Name != "Seed")
            .SelectMany<PropertyInfo, (PropertyInfo, object)>(property => (Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType) switch
            {
                Type type when type == typeof(int) => [(property, -7)],
                Type type when type == typeof(long) => [(property, -7L)],
                Type type when type == typeof(double) => [(property, double.NaN)],
                _ => [],
            });

    private static IEnumerable<Type> Public() => typeof(RetroModel).Assembly.GetExportedTypes();

    private static IEnumerable<PropertyInfo> Settable(Type type)
        => type.GetProperties(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly)
            .Where(property =>
                property.SetMethod is { IsPublic: true } set && !set.ReturnParameter.GetRequiredCustomModifiers().Contains(typeof(IsExternalInit)));
}
