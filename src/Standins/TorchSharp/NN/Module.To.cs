using System.Reflection;
using TorchSharp.Modules;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        // Other types and devices. As in the original, a parameter that changes becomes another object and the old one is disposed.
        public partial class Module
        {
            protected internal virtual Module _to(Device device, ScalarType dtype, bool non_blocking)
            {
                Convert(dtype, device, non_blocking);
                return this;
            }

            protected internal virtual Module _to(DeviceType deviceType, int deviceIndex, bool non_blocking)
            {
                Convert(null, new Device(deviceType, deviceIndex), non_blocking);
                return this;
            }

            protected internal virtual Module _to(ScalarType dtype, bool non_blocking)
            {
                Convert(dtype, null, non_blocking);
                return this;
            }

            public Module _to(Tensor other, bool non_blocking) => _to(other.device, other.dtype, non_blocking);

            private void Convert(ScalarType? dtype, Device? device, bool non_blocking)
            {
                foreach ((_, Module child) in Submodules)
                {
                    if (device is not null && dtype is ScalarType both)
                    {
                        child._to(device, both, non_blocking);
                    }
                    else if (device is not null)
                    {
                        child._to(device.type, device.index, non_blocking);
                    }
                    else if (dtype is ScalarType type)
                    {
                        child._to(type, non_blocking);
                    }
                }

                Dictionary<Tensor, Tensor> replaced = new(ReferenceEqualityComparer.Instance);
                foreach (string name in parameterOrder.ToArray())
                {
                    Parameter old = ownParameters[name];
                    if (Converted(old, dtype, device, non_blocking) is Tensor converted)
                    {
                        ownParameters[name] = Replacement(old, converted, device, non_blocking);
                        replaced[old] = ownParameters[name];
                    }
                }

                foreach (string name in bufferOrder.ToArray())
                {
                    (Tensor old, bool persistent) = ownBuffers[name];
                    if (Converted(old, dtype, device, non_blocking) is Tensor converted)
                    {
                        converted.DetachFromDisposeScope();
                        ownBuffers[name] = (converted, persistent);
                        replaced[old] = converted;
                    }
                }

                foreach (FieldInfo field in FieldsOf(GetType()))
                {
                    if (field.GetValue(this) is Tensor held && replaced.TryGetValue(held, out Tensor? now))
                    {
                        field.SetValue(this, now);
                    }
                }

                foreach (Tensor old in replaced.Keys)
                {
                    old.Dispose();
                }
            }

            // Only floating-point tensors change their type; null where nothing changes.
            private static Tensor? Converted(Tensor tensor, ScalarType? dtype, Device? device, bool non_blocking)
            {
                ScalarType type = dtype is ScalarType wanted && tensor.is_floating_point() ? wanted : tensor.dtype;
                Device target = device ?? tensor.device;
                bool moves = target.type != tensor.device_type || (target.index >= 0 && target.index != tensor.device_index);
                if (type == tensor.dtype && !moves)
                {
                    return null;
                }

                using IDisposable untracked = no_grad();
                return tensor.to(type, target, non_blocking: non_blocking);
            }

            private static Parameter Replacement(Parameter old, Tensor converted, Device? device, bool non_blocking)
            {
                Parameter parameter = new(converted, old.requires_grad);
                parameter.DetachFromDisposeScope();
                using Tensor? gradient = old.grad;
                if (gradient is not null)
                {
                    using Tensor moved = gradient.to(parameter.dtype, device ?? gradient.device, non_blocking: non_blocking);
                    parameter.grad = moved;
                }

                return parameter;
            }

            private static IEnumerable<FieldInfo> FieldsOf(Type? type)
            {
                for (; type is not null && type != typeof(Module); type = type.BaseType)
                {
                    foreach (FieldInfo field in type.GetFields(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.DeclaredOnly))
                    {
                        yield return field;
                    }
                }
            }
        }
    }
}

public static class ModuleExtensionMethods
{
    public static T to<T>(this T module, torch.Device device, torch.ScalarType type, bool non_blocking = false)
        where T : torch.nn.Module => (T)module._to(device, type, non_blocking);

    public static T to<T>(this T module, torch.Device device, bool non_blocking = false)
        where T : torch.nn.Module => (T)module._to(device.type, device.index, non_blocking);

    public static T to<T>(this T module, string device, bool non_blocking = false)
        where T : torch.nn.Module => module.to(new torch.Device(device), non_blocking);

    public static T to<T>(this T module, DeviceType deviceType, int deviceIndex = -1, bool non_blocking = false)
        where T : torch.nn.Module => (T)module._to(deviceType, deviceIndex, non_blocking);

    public static T to<T>(this T module, torch.ScalarType type, bool non_blocking = false)
        where T : torch.nn.Module => (T)module._to(type, non_blocking);

    public static T to<T>(this T module, torch.Tensor other, bool non_blocking = false)
        where T : torch.nn.Module => (T)module._to(other, non_blocking);

    public static T cpu<T>(this T module, bool non_blocking = false)
        where T : torch.nn.Module => (T)module._to(DeviceType.CPU, -1, non_blocking);

    public static T cuda<T>(this T module, int deviceIndex = -1, bool non_blocking = false)
        where T : torch.nn.Module => (T)module._to(DeviceType.CUDA, deviceIndex, non_blocking);

    public static T half<T>(this T module, bool non_blocking = false)
        where T : torch.nn.Module => module.to(torch.float16, non_blocking);

    public static T bfloat16<T>(this T module, bool non_blocking = false)
        where T : torch.nn.Module => module.to(torch.bfloat16, non_blocking);

    public static T @float<T>(this T module, bool non_blocking = false)
        where T : torch.nn.Module => module.to(torch.float32, non_blocking);

    public static T @double<T>(this T module, bool non_blocking = false)
        where T : torch.nn.Module => module.to(torch.float64, non_blocking);
}
