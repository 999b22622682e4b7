using TorchSharp.Modules;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        // What a module holds, by name.
        public partial class Module
        {
            public virtual IEnumerable<(string name, Parameter parameter)> named_parameters(bool recurse = true)
            {
                HashSet<Tensor> seen = new(ReferenceEqualityComparer.Instance);
                return AllParameters("", recurse).Where(pair => seen.Add(pair.Parameter));
            }

            public virtual IEnumerable<Parameter> parameters(bool recurse = true) => named_parameters(recurse).Select(pair => pair.parameter);

            public virtual IEnumerable<(string name, Tensor buffer)> named_buffers(bool recurse = true, bool include_nonpersistent = true)
            {
                HashSet<Tensor> seen = new(ReferenceEqualityComparer.Instance);
                return AllBuffers("", recurse, include_nonpersistent).Where(pair => seen.Add(pair.Buffer));
            }

            public virtual IEnumerable<Tensor> buffers(bool recurse = true, bool include_nonpersistent = true) => named_buffers(recurse, include_nonpersistent).Select(pair => pair.buffer);

            public virtual IEnumerable<(string name, Module module)> named_children() => Submodules;

            // The children come first, then what is below each of them.
            public virtual IEnumerable<(string name, Module module)> named_modules() =>
                Submodules.Concat(Submodules.SelectMany(child => child.Module.named_modules().Select(below => ($"{child.Name}.{below.name}", below.module))));

            public virtual IEnumerable<Module> children() => named_children().Select(pair => pair.module);

            public virtual IEnumerable<Module> modules() => named_modules().Select(pair => pair.module);

            public virtual bool has_parameter(string target) => Find(target) is (Module owner, string name) && owner.ownParameters.ContainsKey(name);

            public virtual Parameter? get_parameter(string target) => Find(target) is (Module owner, string name) && owner.ownParameters.TryGetValue(name, out Parameter? found) ? found : null;

            public virtual bool has_buffer(string target) => Find(target) is (Module owner, string name) && owner.ownBuffers.ContainsKey(name);

            public virtual Tensor? get_buffer(string target) => Find(target) is (Module owner, string name) && owner.ownBuffers.TryGetValue(name, out (Tensor Buffer, bool) found) ? found.Buffer : null;

            public virtual Dictionary<string, Tensor> state_dict(Dictionary<string, Tensor>? destination = null, string? prefix = null)
            {
                destination ??= [];
                string start = string.IsNullOrEmpty(prefix) ? "" : prefix + ".";
                foreach ((string name, Parameter parameter) in AllParameters(start, true))
                {
                    destination.TryAdd(name, parameter);
                }

                foreach ((string name, Tensor buffer) in AllBuffers(start, true, false))
                {
                    destination.TryAdd(name, buffer);
                }

                return destination;
            }

            public virtual (IList<string> missing_keys, IList<string> unexpected_keyes) load_state_dict(Dictionary<string, Tensor> source, bool strict = true, IList<string>? skip = null)
            {
                skip ??= [];
                Dictionary<string, Tensor> target = state_dict();
                List<string> missing = [.. target.Keys.Where(name => !skip.Contains(name) && !source.ContainsKey(name))];
                List<string> unexpected = [.. source.Keys.Where(name => !skip.Contains(name) && !target.ContainsKey(name))];
                if (strict && (missing.Count > 0 || unexpected.Count > 0))
                {
                    throw new InvalidOperationException("The loaded state_dict is not identical to the target dictionary.");
                }

                using IDisposable untracked = no_grad();
                foreach ((string name, Tensor tensor) in target)
                {
                    if (!skip.Contains(name) && source.TryGetValue(name, out Tensor? given))
                    {
                        tensor.copy_(given);
                    }
                }

                return (missing, unexpected);
            }

            private IEnumerable<(string Name, Parameter Parameter)> AllParameters(string prefix, bool recurse)
            {
                foreach (string name in parameterOrder)
                {
                    yield return (prefix + name, ownParameters[name]);
                }

                if (recurse)
                {
                    foreach ((string name, Module child) in Submodules)
                    {
                        foreach ((string, Parameter) pair in child.AllParameters($"{prefix}{name}.", true))
                        {
                            yield return pair;
                        }
                    }
                }
            }

            private IEnumerable<(string Name, Tensor Buffer)> AllBuffers(string prefix, bool recurse, bool includeNonPersistent)
            {
                foreach (string name in bufferOrder)
                {
                    (Tensor buffer, bool persistent) = ownBuffers[name];
                    if (persistent || includeNonPersistent)
                    {
                        yield return (prefix + name, buffer);
                    }
                }

                if (recurse)
                {
                    foreach ((string name, Module child) in Submodules)
                    {
                        foreach ((string, Tensor) pair in child.AllBuffers($"{prefix}{name}.", true, includeNonPersistent))
                        {
                            yield return pair;
                        }
                    }
                }
            }

            private (Module, string)? Find(string target)
            {
                string[] parts = target.Split('.');
                Module owner = this;
                foreach (string part in parts[..^1])
                {
                    if (!owner.submodules.TryGetValue(part, out Module? next))
                    {
                        return null;
                    }

                    owner = next;
                }

                return (owner, parts[^1]);
            }
        }
    }
}
