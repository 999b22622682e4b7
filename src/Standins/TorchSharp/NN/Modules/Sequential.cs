using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace TorchSharp
{
    public static partial class torch
    {
        public static partial class nn
        {
            public static Modules.Sequential Sequential() => new(Array.Empty<Module<Tensor, Tensor>>());

            public static Modules.Sequential Sequential(params Module<Tensor, Tensor>[] modules) => new(modules);

            public static Modules.Sequential Sequential(params (string name, Module<Tensor, Tensor> submodule)[] modules) => new(modules);

            public static Modules.Sequential Sequential(IEnumerable<(string name, Module<Tensor, Tensor> submodule)> modules) => new([.. modules]);

            public static Modules.Sequential Sequential(IEnumerable<Module<Tensor, Tensor>> modules) => new([.. modules]);
        }
    }
}

namespace TorchSharp.Modules
{
    /// <summary>Modules one after another, registered under their names or numbers.</summary>
    public class Sequential : Module<Tensor, Tensor>
    {
        private readonly List<IModule<Tensor, Tensor>> list = [];

        protected internal Sequential(params (string name, Module<Tensor, Tensor> submodule)[] modules)
            : base(nameof(Sequential))
        {
            foreach ((string name, Module<Tensor, Tensor> module) in modules)
            {
                append(name, module);
            }
        }

        protected internal Sequential(params Module<Tensor, Tensor>[] modules)
            : base(nameof(Sequential))
        {
            foreach (Module<Tensor, Tensor> module in modules)
            {
                append(module);
            }
        }

        public int Count => list.Count;

        public IModule<Tensor, Tensor> this[int index] => list[index];

        public Sequential append(string name, IModule<Tensor, Tensor> module)
        {
            if (module is not Module registered)
            {
                throw new ArgumentException("only a module can stand in a sequence of modules", nameof(module));
            }

            register_module(name, registered);
            list.Add(module);
            return this;
        }

        public Sequential append(IModule<Tensor, Tensor> module) => append(list.Count.ToString(System.Globalization.CultureInfo.InvariantCulture), module);

        public override Tensor forward(Tensor tensor)
        {
            if (list.Count == 0)
            {
                return tensor.alias();
            }

            // What lies between two modules is nobody else's.
            Tensor current = list[0].call(tensor);
            for (int i = 1; i < list.Count; i++)
            {
                Tensor before = current;
                current = list[i].call(before);
                if (!ReferenceEquals(before, current))
                {
                    before.Dispose();
                }
            }

            return current;
        }
    }
}
