using TorchSharp.Interop;
using static TorchSharp.torch;
using static TorchSharp.torch.optim;

namespace TorchSharp
{
    public static partial class torch
    {
        public static partial class optim
        {
            public static Modules.Adam Adam(IEnumerable<Modules.Parameter> parameters, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-8, double weight_decay = 0, bool amsgrad = false, bool maximize = false) =>
                new(parameters, lr, beta1, beta2, eps, weight_decay, amsgrad, maximize);

            public static Modules.Adam Adam(IEnumerable<(string name, Modules.Parameter parameter)> parameters, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-8, double weight_decay = 0, bool amsgrad = false, bool maximize = false) =>
                new(parameters.Select(pair => pair.parameter), lr, beta1, beta2, eps, weight_decay, amsgrad, maximize);

            public static Modules.Adam Adam(IEnumerable<Modules.Adam.ParamGroup> parameters, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-8, double weight_decay = 0, bool amsgrad = false, bool maximize = false) =>
                new(parameters, lr, beta1, beta2, eps, weight_decay, amsgrad, maximize);
        }
    }
}

namespace TorchSharp.Modules
{
    /// <summary>Adam.</summary>
    public class Adam : OptimizerHelper, IBetas
    {
        private readonly Options defaults;

        public Adam(IEnumerable<Parameter> parameters, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-8, double weight_decay = 0, bool amsgrad = false, bool maximize = false)
            : this([new ParamGroup(parameters, new Options())], lr, beta1, beta2, eps, weight_decay, amsgrad, maximize)
        {
        }

        public Adam(IEnumerable<ParamGroup> parameters, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-8, double weight_decay = 0, bool amsgrad = false, bool maximize = false)
        {
            if (lr < 0)
            {
                throw new ArgumentException($"Invalid learning rate: {lr}", nameof(lr));
            }

            if (beta1 is < 0 or >= 1)
            {
                throw new ArgumentException($"Invalid beta1 value: {beta1}", nameof(beta1));
            }

            if (beta2 is < 0 or >= 1)
            {
                throw new ArgumentException($"Invalid beta2 value: {beta2}", nameof(beta2));
            }

            if (eps < 0)
            {
                throw new ArgumentException($"Invalid eps value: {eps}", nameof(eps));
            }

            if (weight_decay < 0)
            {
                throw new ArgumentException($"Invalid weight_decay value: {weight_decay}", nameof(weight_decay));
            }

            defaults = new Options
            {
                LearningRate = lr,
                InitialLearningRate = lr,
                beta1 = beta1,
                beta2 = beta2,
                eps = eps,
                weight_decay = weight_decay,
                amsgrad = amsgrad,
                maximize = maximize,
            };
            foreach (ParamGroup group in parameters)
            {
                add_param_group(group);
            }
        }

        public (double, double) Betas
        {
            get => _parameter_groups.Select(group => ((Options)group.Options).Betas).Distinct().Single();
            set
            {
                foreach (Modules.ParamGroup group in _parameter_groups)
                {
                    ((Options)group.Options).Betas = value;
                }
            }
        }

        public override void add_param_group(Modules.ParamGroup param_group)
        {
            Options options = (Options)param_group.Options;
            options.LearningRate ??= defaults.LearningRate;
            options.beta1 ??= defaults.beta1;
            options.beta2 ??= defaults.beta2;
            options.eps ??= defaults.eps;
            options.weight_decay ??= defaults.weight_decay;
            options.amsgrad ??= defaults.amsgrad;
            options.maximize ??= defaults.maximize;
            AddGroup(param_group, parameter => new State(parameter));
        }

        public override Tensor? step(Func<Tensor>? closure = null) => Step(closure, group =>
        {
            Options options = (Options)group.Options;
            double learningRate = options.LearningRate!.Value;
            (double beta1, double beta2) = options.Betas;
            double weightDecay = options.weight_decay!.Value;
            foreach (Parameter parameter in group.Parameters)
            {
                Tensor? gradient = parameter.grad;
                if (gradient is null)
                {
                    continue;
                }

                if (options.maximize!.Value)
                {
                    gradient = gradient.neg();
                }

                State state = (State)StateOf(parameter);
                state.step++;
                if (weightDecay != 0)
                {
                    gradient = gradient.add(parameter, weightDecay);
                }

                Aten.lerp__Scalar.Apply(state.exp_avg, gradient, 1 - beta1);
                state.exp_avg_sq.mul_(beta2).addcmul_(gradient, gradient, 1 - beta2);
                Tensor squares = state.exp_avg_sq;
                if (state.max_exp_avg_sq is Tensor largest)
                {
                    using Tensor larger = largest.maximum(squares);
                    squares = largest.copy_(larger);
                }

                using Tensor root = squares.sqrt();
                root.div_(Math.Sqrt(1 - Math.Pow(beta2, state.step))).add_(options.eps!.Value);
                parameter.addcdiv_(state.exp_avg, root, -learningRate / (1 - Math.Pow(beta1, state.step)));
            }
        });

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                DisposeStates();
            }

            base.Dispose(disposing);
        }

        public class Options : OptimizerOptions
        {
            public double? beta1;
            public double? beta2;
            public double? eps;
            public double? weight_decay;
            public bool? amsgrad;
            public bool? maximize;

            internal (double, double) Betas
            {
                get => (beta1!.Value, beta2!.Value);
                set => (beta1, beta2) = value;
            }

            public override void LoadStateDict(OptimizerOptions source)
            {
                base.LoadStateDict(source);
                Options given = (Options)source;
                beta1 = given.beta1;
                beta2 = given.beta2;
                eps = given.eps;
                weight_decay = given.weight_decay;
                amsgrad = given.amsgrad;
                maximize = given.maximize;
            }

            public override void SaveStateDict(BinaryWriter writer)
            {
                base.SaveStateDict(writer);
                writer.Write(beta1!.Value);
                writer.Write(beta2!.Value);
                writer.Write(eps!.Value);
                writer.Write(weight_decay!.Value);
                writer.Write(amsgrad!.Value);
                writer.Write(maximize!.Value);
            }

            public override void LoadStateDict(BinaryReader reader)
            {
                base.LoadStateDict(reader);
                beta1 = reader.ReadDouble();
                beta2 = reader.ReadDouble();
                eps = reader.ReadDouble();
                weight_decay = reader.ReadDouble();
                amsgrad = reader.ReadBoolean();
                maximize = reader.ReadBoolean();
            }
        }

        public class ParamGroup : ParamGroup<Options>, IBetas
        {
            public ParamGroup()
            {
            }

            public ParamGroup(IEnumerable<Parameter> parameters, Options options)
                : base(parameters, options)
            {
            }

            public ParamGroup(IEnumerable<Parameter> parameters, double lr = 1e-3, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-8, double weight_decay = 0, bool amsgrad = false, bool maximize = false)
                : base(parameters, new Options { LearningRate = lr, beta1 = beta1, beta2 = beta2, eps = eps, weight_decay = weight_decay, amsgrad = amsgrad, maximize = maximize })
            {
            }

            public (double, double) Betas
            {
                get => Options.Betas;
                set => Options.Betas = value;
            }
        }

        public sealed class State : OptimizerState, IDisposable
        {
            public long step;
            public Tensor exp_avg = null!;
            public Tensor exp_avg_sq = null!;
            public Tensor? max_exp_avg_sq;

            public State(Parameter parameter)
                : base(parameter)
            {
            }

            public override void Initialize(OptimizerOptions options)
            {
                Dispose();
                step = 0;
                exp_avg = zeros_like(parameter).DetachFromDisposeScope();
                exp_avg_sq = zeros_like(parameter).DetachFromDisposeScope();
                max_exp_avg_sq = ((Options)options).amsgrad == true ? zeros_like(parameter).DetachFromDisposeScope() : null;
            }

            public void Dispose()
            {
                exp_avg?.Dispose();
                exp_avg_sq?.Dispose();
                max_exp_avg_sq?.Dispose();
            }

            public override void to(Device device)
            {
                StateTensors.Move(ref exp_avg, device);
                StateTensors.Move(ref exp_avg_sq, device);
                if (max_exp_avg_sq is not null)
                {
                    StateTensors.Move(ref max_exp_avg_sq!, device);
                }
            }

            public override void LoadStateDict(OptimizerState source)
            {
                State given = (State)source;
                step = given.step;
                exp_avg.copy_(given.exp_avg);
                exp_avg_sq.copy_(given.exp_avg_sq);
                if (max_exp_avg_sq is not null && given.max_exp_avg_sq is not null)
                {
                    max_exp_avg_sq.copy_(given.max_exp_avg_sq);
                }
            }

            public override void SaveStateDict(BinaryWriter writer)
            {
                writer.Write(step);
                StateTensors.Write(writer, exp_avg);
                StateTensors.Write(writer, exp_avg_sq);
                writer.Write(max_exp_avg_sq is not null);
                if (max_exp_avg_sq is not null)
                {
                    StateTensors.Write(writer, max_exp_avg_sq);
                }
            }

            public override void LoadStateDict(BinaryReader reader)
            {
                step = reader.ReadInt64();
                StateTensors.Read(reader, exp_avg);
                StateTensors.Read(reader, exp_avg_sq);
                if (reader.ReadBoolean())
                {
                    max_exp_avg_sq ??= zeros_like(parameter).DetachFromDisposeScope();
                    StateTensors.Read(reader, max_exp_avg_sq);
                }
            }

            public override bool ApproximatelyEquals(OptimizerState other) => other is State that
                && step == that.step
                && exp_avg.allclose(that.exp_avg)
                && exp_avg_sq.allclose(that.exp_avg_sq)
                && max_exp_avg_sq is null == that.max_exp_avg_sq is null
                && (max_exp_avg_sq is null || max_exp_avg_sq.allclose(that.max_exp_avg_sq!));
        }
    }
}
