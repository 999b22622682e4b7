using System.Collections;
using System.Reflection;
using System.Runtime.CompilerServices;
using TorchSharp;
using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>The parts that a custom branch adds to Retro's.</summary>
internal static class DerivedParts
{
    /// <summary>
    /// Registers what derived types keep in fields, as TorchSharp's own RegisterComponents does: modules, parameters, and tensors as buffers, by the names of
    /// the fields. What is registered already, under whatever name, is left as it is; Retro's own parts are, by their constructors.
    /// </summary>
    /// <param name="module">The branch.</param>
    /// <param name="own">Retro's type, whose fields are left out.</param>
    public static void Register(nn.Module module, Type own)
    {
        HashSet<object> known = new(ReferenceEqualityComparer.Instance);
        known.UnionWith(module.named_children().Select(pair => pair.module));
        known.UnionWith(module.named_parameters(recurse: false).Select(pair => pair.parameter));
        known.UnionWith(module.named_buffers(recurse: false).Select(pair => pair.buffer));
        for (Type type = module.GetType(); type != own; type = type.BaseType!)
        {
            foreach (FieldInfo field in Fields(type))
            {
                string name = field.GetCustomAttribute<ComponentNameAttribute>()?.Name ?? field.Name;
                switch (field.GetValue(module))
                {
                    case nn.Module part when known.Add(part):
                        module.register_module(name, part);
                        break;
                    case Parameter { IsInvalid: false } parameter when known.Add(parameter): // a field may keep one that a cast has replaced
                        module.register_parameter(name, parameter);
                        break;
                    case Tensor { IsInvalid: false } buffer when known.Add(buffer):
                        module.register_buffer(name, buffer);
                        break;
                    default:
                        break;
                }
            }
        }
    }

    /// <summary>Refuses a branch that keeps parts where nobody finds them, such as in an array: they would be neither trained, cast, saved nor read.</summary>
    /// <param name="branch">The branch, with all that is registered in it.</param>
    /// <exception cref="RetroException">A field holds modules or parameters that are not registered.</exception>
    public static void RequireAllRegistered(nn.Module branch)
    {
        HashSet<object> known = new(branch.parameters(), ReferenceEqualityComparer.Instance);
        nn.Module[] modules = [branch, .. branch.named_modules().Select(pair => pair.module)];
        known.UnionWith(modules);
        foreach (nn.Module module in modules)
        {
            for (Type type = module.GetType(); IsOwn(type); type = type.BaseType!)
            {
                FieldInfo? lost = Fields(type).FirstOrDefault(field => HoldsOther(field.GetValue(module), known));
                if (lost is not null)
                {
                    throw new RetroException(
                        $"{type.Name} keeps modules or parameters in the {lost.FieldType.Name} {NameOf(lost)}, in which nobody finds them: they would be "
                            + "neither trained nor saved. Keep them in a ModuleList or ParameterList, or register each (register_module, register_parameter).");
                }
            }
        }
    }

    // Those of Retro and of TorchSharp register what they are made of.
    private static bool IsOwn(Type type) => type.Assembly != typeof(DerivedParts).Assembly && type.Assembly != typeof(nn.Module).Assembly;

    private static FieldInfo[] Fields(Type type)
        => type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly);

    // That of a property's field is "<Name>k__BackingField".
    private static string NameOf(FieldInfo field) => field.Name.StartsWith('<') ? field.Name[1..field.Name.IndexOf('>', StringComparison.Ordinal)] : field.Name;

    private static bool HoldsOther(object? value, HashSet<object> known)
    {
        Stack<object?> open = new([value]);
        HashSet<object> seen = new(ReferenceEqualityComparer.Instance);
        while (open.TryPop(out object? one))
        {
            if (one is nn.Module or Parameter { IsInvalid: false } && !known.Contains(one))
            {
                return true;
            }

            // What is made while one looks, such as by a query, is not kept.
            IEnumerable inside = one switch
            {
                null or string or nn.Module or Tensor => Array.Empty<object>(),
                ITuple tuple => Enumerable.Range(0, tuple.Length).Select(i => tuple[i]),
                IDictionary dictionary => dictionary.Values,
                Array array when array.GetType().GetElementType()!.IsPrimitive => Array.Empty<object>(),
                ICollection or IReadOnlyCollection<object> => (IEnumerable)one,
                _ => Array.Empty<object>(),
            };
            if (one is null || (one is not ValueType && !seen.Add(one)))
            {
                continue;
            }

            try
            {
                foreach (object? part in inside)
                {
                    open.Push(part);
                }
            }
            catch (InvalidOperationException)
            {
                // Nothing was put in it yet: the default value of an ImmutableArray or ArraySegment cannot be enumerated.
            }
        }

        return false;
    }
}
