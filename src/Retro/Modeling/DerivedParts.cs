using System.Reflection;
using TorchSharp;
using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace Retro.Modeling;

/// <summary>The parts that a branch of one's own adds to Retro's.</summary>
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
            foreach (FieldInfo field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
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
}
