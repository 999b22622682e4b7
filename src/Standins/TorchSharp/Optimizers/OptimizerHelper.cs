using static TorchSharp.torch;
using static TorchSharp.torch.optim;

namespace TorchSharp.Modules;

/// <summary>An optimizer that keeps a state for each parameter.</summary>
public abstract class OptimizerHelper : Optimizer
{
    private protected readonly List<OptimizerState> states = [];
    private readonly Dictionary<Tensor, OptimizerState> byParameter = new(ReferenceEqualityComparer.Instance);

    private protected OptimizerHelper()
    {
    }

    public override void zero_grad()
    {
        foreach (Parameter parameter in parameters())
        {
            parameter.grad = null;
        }
    }

    public override IEnumerable<Parameter> parameters() => _parameter_groups.SelectMany(group => group.Parameters);

    public virtual StateDictionary state_dict()
    {
        StateDictionary dictionary = new();
        foreach (ParamGroup group in _parameter_groups)
        {
            dictionary.Options.Add(group.Options);
            List<int> indices = [];
            foreach (Parameter parameter in group.Parameters)
            {
                indices.Add(dictionary.State.Count);
                dictionary.State.Add(StateOf(parameter));
            }

            dictionary.StateIndexRef.Add(indices);
        }

        return dictionary;
    }

    public virtual void load_state_dict(StateDictionary state_dict)
    {
        StateDictionary own = this.state_dict();
        if (own.Options.Count != state_dict.Options.Count || own.State.Count != state_dict.State.Count)
        {
            throw new ArgumentException($"The state has {state_dict.Options.Count} groups of {state_dict.State.Count} parameters in all, the optimizer {own.Options.Count} of {own.State.Count}.", nameof(state_dict));
        }

        for (int i = 0; i < own.Options.Count; i++)
        {
            own.Options[i].LoadStateDict(state_dict.Options[i]);
        }

        using IDisposable untracked = no_grad();
        for (int i = 0; i < own.State.Count; i++)
        {
            if (!ReferenceEquals(own.State[i], state_dict.State[i]))
            {
                own.State[i].LoadStateDict(state_dict.State[i]);
            }
        }
    }

    public void save_state_dict(string location)
    {
        using FileStream stream = File.Create(location);
        using BinaryWriter writer = new(stream);
        save_state_dict(writer);
    }

    public void load_state_dict(string location)
    {
        using FileStream stream = File.OpenRead(location);
        using BinaryReader reader = new(stream);
        load_state_dict(reader);
    }

    public void save_state_dict(BinaryWriter writer)
    {
        StateDictionary dictionary = state_dict();
        writer.Write(GetType().Name);
        writer.Write(dictionary.Options.Count);
        writer.Write(dictionary.State.Count);
        dictionary.Options.ForEach(options => options.SaveStateDict(writer));
        dictionary.State.ForEach(state => state.SaveStateDict(writer));
    }

    public void load_state_dict(BinaryReader reader)
    {
        StateDictionary dictionary = state_dict();
        string kind = reader.ReadString();
        int groups = reader.ReadInt32();
        int count = reader.ReadInt32();
        if (kind != GetType().Name || groups != dictionary.Options.Count || count != dictionary.State.Count)
        {
            throw new ArgumentException($"The file holds the state of {kind} with {groups} groups of {count} parameters in all, not of {GetType().Name} with {dictionary.Options.Count} of {dictionary.State.Count}.", nameof(reader));
        }

        using IDisposable untracked = no_grad();
        dictionary.Options.ForEach(options => options.LoadStateDict(reader));
        dictionary.State.ForEach(state => state.LoadStateDict(reader));
    }

    public void to(Device device) => states.ForEach(state => state.to(device));

    private protected void DisposeStates() => states.ForEach(state => (state as IDisposable)?.Dispose());

    private protected void AddGroup(ParamGroup group, Func<Parameter, OptimizerState> newState)
    {
        group.Parameters = [.. group.Parameters];
        foreach (Parameter parameter in group.Parameters)
        {
            if (byParameter.ContainsKey(parameter))
            {
                throw new ArgumentException("some parameters appear in more than one parameter group");
            }

            OptimizerState state = newState(parameter);
            state.Initialize(group.Options);
            byParameter.Add(parameter, state);
            states.Add(state);
        }

        group.Options.InitialLearningRate = group.Options.LearningRate ?? group.Options.InitialLearningRate;
        _parameter_groups.Add(group);
    }

    private protected OptimizerState StateOf(Parameter parameter) => byParameter[parameter];

    /// <summary>Runs the closure with gradients, then the body on every group without.</summary>
    private protected Tensor? Step(Func<Tensor>? closure, Action<ParamGroup> body)
    {
        Tensor? loss = null;
        if (closure is not null)
        {
            using IDisposable tracked = enable_grad();
            loss = closure();
        }

        using IDisposable untracked = no_grad();
        foreach (ParamGroup group in _parameter_groups)
        {
            using DisposeScope scope = NewDisposeScope();
            body(group);
        }

        return loss;
    }
}
