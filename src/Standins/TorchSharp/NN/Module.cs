using System.Reflection;
using TorchSharp.Modules;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        /// <summary>A part of a network: its parameters, buffers and submodules by name, in the order they were registered.</summary>
        public partial class Module : IDisposable
        {
            protected readonly string name;

            private readonly Dictionary<string, Parameter> ownParameters = [];
            private readonly Dictionary<string, (Tensor Buffer, bool Persistent)> ownBuffers = [];
            private readonly Dictionary<string, Module> submodules = [];
            private readonly List<string> parameterOrder = [];
            private readonly List<string> bufferOrder = [];
            private readonly List<string> submoduleOrder = [];
            private bool registered;
            private bool disposed;

            protected Module(string name) => this.name = name;

            ~Module() => Dispose(false);

            public bool training { get; private set; } = true;

            public virtual string GetName() => name;

            public void Dispose()
            {
                Dispose(true);
                GC.SuppressFinalize(this);
            }

            protected virtual void Dispose(bool disposing)
            {
                if (!disposing || disposed)
                {
                    return;
                }

                disposed = true;
                foreach (Module submodule in Submodules.Select(pair => pair.Module))
                {
                    submodule.Dispose();
                }

                foreach (Parameter parameter in ownParameters.Values)
                {
                    parameter.Dispose();
                }

                foreach ((Tensor buffer, _) in ownBuffers.Values)
                {
                    buffer.Dispose();
                }
            }

            public virtual void train(bool train = true)
            {
                training = train;
                foreach ((_, Module submodule) in Submodules)
                {
                    submodule.train(train);
                }
            }

            public virtual void eval() => train(false);

            public virtual void zero_grad(bool set_to_none = true)
            {
                foreach (Parameter parameter in parameters())
                {
                    using Tensor? gradient = parameter.grad;
                    if (gradient is null)
                    {
                        continue;
                    }

                    if (set_to_none)
                    {
                        parameter.grad = null;
                    }
                    else
                    {
                        gradient.detach_().zero_();
                    }
                }
            }

            public virtual Module apply(Action<Module> fn)
            {
                foreach ((_, Module submodule) in Submodules)
                {
                    submodule.apply(fn);
                }

                fn(this);
                return this;
            }

            /// <summary>Registers the fields that hold parameters, tensors and modules, once, in the order they are declared.</summary>
            protected virtual void RegisterComponents()
            {
                if (registered)
                {
                    return;
                }

                registered = true;
                foreach (FieldInfo field in GetType().GetFields(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance))
                {
                    string name = field.ComponentName();
                    if (ownParameters.ContainsKey(name) || ownBuffers.ContainsKey(name) || submodules.ContainsKey(name))
                    {
                        continue;
                    }

                    switch (field.GetValue(this))
                    {
                        case Module submodule:
                            register_module(name, submodule);
                            break;
                        case Parameter parameter:
                            register_parameter(name, parameter);
                            break;
                        case Tensor tensor:
                            register_buffer(name, tensor);
                            break;
                    }
                }
            }

            public virtual void register_module(string name, Module submodule)
            {
                RequireName(name, "module");
                if (submodule is null || submodule == this)
                {
                    throw new ArgumentException($"the module '{name}' is {(submodule is null ? "null" : "the module itself")}.", nameof(submodule));
                }

                if (submodules.ContainsKey(name))
                {
                    throw new InvalidOperationException($"Sub-module {name} is already registered.");
                }

                submodule.RegisterComponents();
                submodules.Add(name, submodule);
                submoduleOrder.Add(name);
            }

            public void add_module(string name, Module module) => register_module(name, module);

            public virtual void register_parameter(string name, Parameter? param)
            {
                RequireName(name, "parameter");
                if (ownParameters.ContainsKey(name))
                {
                    throw new InvalidOperationException($"Parameter {name} is already registered.");
                }

                if (param is null)
                {
                    return;
                }

                ownParameters.Add(name, param);
                parameterOrder.Add(name);
            }

            public virtual void register_buffer(string name, Tensor tensor, bool persistent = true)
            {
                RequireName(name, "buffer");
                ArgumentNullException.ThrowIfNull(tensor);
                if (!ownBuffers.TryAdd(name, (tensor, persistent)))
                {
                    throw new InvalidOperationException($"Tensor {name} is already registered.");
                }

                bufferOrder.Add(name);
            }

            /// <summary>Registers the parameter, replaces the one of that name, or removes it where it is null.</summary>
            protected void ConditionallyRegisterParameter(string name, Parameter? value)
            {
                if (value is null)
                {
                    ownParameters.Remove(name);
                    parameterOrder.Remove(name);
                }
                else if (!ownParameters.ContainsKey(name))
                {
                    register_parameter(name, value);
                }
                else
                {
                    ownParameters[name] = value;
                }
            }

            protected void ConditionallyRegisterParameter(string name, Tensor? value) => ConditionallyRegisterParameter(name, value is null ? null : value as Parameter ?? new Parameter(value));

            protected void ConditionallyRegisterBuffer(string name, Tensor? value, bool persistent = true)
            {
                if (value is null)
                {
                    ownBuffers.Remove(name);
                    bufferOrder.Remove(name);
                }
                else if (!ownBuffers.ContainsKey(name))
                {
                    register_buffer(name, value, persistent);
                }
                else
                {
                    ownBuffers[name] = (value, persistent);
                }
            }

            /// <summary>The parameter of that name; the modules that come with the library keep theirs nowhere else.</summary>
            private protected Parameter? Own(string name) => ownParameters.GetValueOrDefault(name);

            /// <summary>Registers a parameter that lives as long as the module, whatever scope it was made in.</summary>
            private protected void Take(string name, Parameter? value)
            {
                value?.DetachFromDisposeScope();
                ConditionallyRegisterParameter(name, value);
            }

            protected void ClearModules()
            {
                submodules.Clear();
                submoduleOrder.Clear();
            }

            private IEnumerable<(string Name, Module Module)> Submodules => submoduleOrder.Select(name => (name, submodules[name]));

            private static void RequireName(string name, string kind)
            {
                if (string.IsNullOrEmpty(name))
                {
                    throw new ArgumentException($"{kind} name can't be empty string \"\"", nameof(name));
                }

                if (name.Contains('.', StringComparison.Ordinal))
                {
                    throw new ArgumentException($"{kind} name can't contain \".\", got: {name}", nameof(name));
                }
            }
        }
    }
}
