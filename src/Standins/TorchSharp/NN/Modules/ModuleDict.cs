using System.Collections;
using System.Diagnostics.CodeAnalysis;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace TorchSharp
{
    public static partial class torch
    {
        public static partial class nn
        {
            public static Modules.ModuleDict<Module> ModuleDict(params (string, Module)[] modules) => ModuleDict<Module>(modules);

            public static Modules.ModuleDict<T> ModuleDict<T>(params (string, T)[] modules)
                where T : Module
            {
                Modules.ModuleDict<T> dictionary = [];
                foreach ((string key, T module) in modules)
                {
                    dictionary.Add(key, module);
                }

                return dictionary;
            }
        }
    }
}

namespace TorchSharp.Modules
{
    /// <summary>Modules by name, in the order they were added, registered when the dictionary itself is.</summary>
    public class ModuleDict<T> : Module, IDictionary<string, T>, IList<(string, T)>
        where T : Module
    {
        private readonly List<(string Key, T Module)> list = [];
        private readonly Dictionary<string, T> byKey = [];
        private bool registered;

        public ModuleDict()
            : base(nameof(ModuleDict))
        {
        }

        public int Count => list.Count;

        public bool IsReadOnly => false;

        public ICollection<string> Keys => [.. list.Select(pair => pair.Key)];

        public ICollection<T> Values => [.. list.Select(pair => pair.Module)];

        public (string, T) this[int index]
        {
            get => list[index];
            set
            {
                byKey.Remove(list[index].Key);
                byKey.Add(value.Item1, value.Item2);
                list[index] = value;
                Renew();
            }
        }

        public T this[string key]
        {
            get => byKey[key];
            set
            {
                int at = list.FindIndex(pair => pair.Key == key);
                if (at < 0)
                {
                    Add(key, value);
                    return;
                }

                byKey[key] = value;
                list[at] = (key, value);
                Renew();
            }
        }

        public void Add(string key, T value)
        {
            byKey.Add(key, value);
            list.Add((key, value));
            if (registered)
            {
                register_module(key, value);
            }
        }

        public void Add((string, T) item) => Add(item.Item1, item.Item2);

        public void Add(KeyValuePair<string, T> item) => Add(item.Key, item.Value);

        public void Insert(int index, (string, T) item)
        {
            byKey.Add(item.Item1, item.Item2);
            list.Insert(index, item);
            Renew();
        }

        public bool Remove(string key)
        {
            if (!byKey.Remove(key))
            {
                return false;
            }

            list.RemoveAt(list.FindIndex(pair => pair.Key == key));
            Renew();
            return true;
        }

        public bool Remove((string, T) item) => Contains(item) && Remove(item.Item1);

        public bool Remove(KeyValuePair<string, T> item) => Contains(item) && Remove(item.Key);

        public void RemoveAt(int index) => Remove(list[index].Key);

        public void Clear()
        {
            list.Clear();
            byKey.Clear();
            Renew();
        }

        public void clear() => Clear();

        public bool ContainsKey(string key) => byKey.ContainsKey(key);

        public bool TryGetValue(string key, [MaybeNullWhen(false)] out T value) => byKey.TryGetValue(key, out value);

        public bool Contains((string, T) item) => byKey.TryGetValue(item.Item1, out T? found) && ReferenceEquals(found, item.Item2);

        public bool Contains(KeyValuePair<string, T> item) => Contains((item.Key, item.Value));

        public int IndexOf((string, T) item) => list.FindIndex(pair => pair.Key == item.Item1 && ReferenceEquals(pair.Module, item.Item2));

        public void CopyTo((string, T)[] array, int arrayIndex) => list.CopyTo(array, arrayIndex);

        public void CopyTo(KeyValuePair<string, T>[] array, int arrayIndex)
        {
            foreach ((string key, T module) in list)
            {
                array[arrayIndex++] = new(key, module);
            }
        }

        public IEnumerable<string> keys() => list.Select(pair => pair.Key);

        public IEnumerable<T> values() => list.Select(pair => pair.Module);

        public IEnumerator<(string, T)> items() => list.GetEnumerator();

        public IEnumerator<(string, T)> GetEnumerator() => list.GetEnumerator();

        IEnumerator<KeyValuePair<string, T>> IEnumerable<KeyValuePair<string, T>>.GetEnumerator() => list.Select(pair => new KeyValuePair<string, T>(pair.Key, pair.Module)).GetEnumerator();

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

        protected override void RegisterComponents()
        {
            if (!registered)
            {
                registered = true;
                Renew();
            }
        }

        private void Renew()
        {
            if (!registered)
            {
                return;
            }

            ClearModules();
            foreach ((string key, T module) in list)
            {
                register_module(key, module);
            }
        }
    }
}
