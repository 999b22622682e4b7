using System.Text;
using static Retro.Generation.Templates.JinjaValues;

namespace Retro.Generation.Templates;

/// <content>What a writing of a template knows.</content>
internal sealed partial class JinjaTemplate
{
    /// <summary>Names and their values, and those around them.</summary>
    private sealed class Scope(Scope? around)
    {
        public Scope? Around { get; } = around;

        public Dictionary<string, object?> Values { get; } = new(StringComparer.Ordinal);
    }

    /// <summary>A writing of a template: its names, and what is written so far.</summary>
    private sealed class Run
    {
        private int _statements, _scopes;

        public Run()
        {
            Set("raise_exception", (Function)((arguments, _) => throw new RetroException($"The chat template refuses the conversation: {Text(arguments[0])}")));
            Set("namespace", (Function)((arguments, named) => Filled(new Namespace(), arguments, named)));
            Set("dict", (Function)((arguments, named) => Filled(new(StringComparer.Ordinal), arguments, named)));
            Set("range", (Function)((arguments, _) =>
            {
                (int from, int to) = arguments.Length > 1 ? (Whole(arguments[0]), Whole(arguments[1])) : (0, Whole(arguments[0]));
                int step = arguments.Length > 2 ? Whole(arguments[2]) : 1;
                List<object?> numbers = [];
                for (long i = from; step > 0 ? i < to : step < 0 && i > to; i += step)
                {
                    Count();
                    numbers.Add(i);
                }

                return numbers;
            }));
            Set("strftime_now", (Function)((arguments, _) => JinjaFilters.Time(Text(arguments[0]), TimeProvider.System.GetLocalNow())));
        }

        public StringBuilder Output { get; private set; } = new();

        /// <summary>1: the loop ends, 2: its next round begins; 0: neither.</summary>
        public int Jump { get; set; }

        /// <summary>The names that are seen.</summary>
        public Scope Names { get; private set; } = new(null);

        /// <summary>What the next macro that is called knows as "caller".</summary>
        public Function? Caller { get; set; }

        public object? Get(string name)
        {
            for (Scope? scope = Names; scope is not null; scope = scope.Around)
            {
                if (scope.Values.TryGetValue(name, out object? value))
                {
                    return value;
                }
            }

            return Undefined;
        }

        public void Set(string name, object? value) => Names.Values[name] = value;

        public void Enter(Scope? around = null)
        {
            if (++_scopes > MostLevels)
            {
                throw new RetroException($"The chat template has more than {MostLevels} levels.");
            }

            Names = new(around ?? Names);
        }

        public void Leave(Scope? to = null)
        {
            _scopes--;
            Names = to ?? Names.Around!;
        }

        /// <summary>Counts a statement, a call or a round, each of which may hold others.</summary>
        public void Count()
        {
            RequireStack();
            if (++_statements > MostStatements)
            {
                throw new RetroException($"The chat template runs more than {MostStatements:#,0} statements.");
            }
        }

        public void Write(string text)
        {
            Output.Append(text);
            if (Output.Length > MostCharacters)
            {
                throw new RetroException($"The chat template writes more than {MostCharacters:#,0} characters.");
            }
        }

        /// <summary>A dictionary with the members of the one that is given, and those that are given by name.</summary>
        private static Dictionary<string, object?> Filled(Dictionary<string, object?> made, object?[] arguments, Dictionary<string, object?> named)
        {
            Dictionary<string, object?> first = arguments.Length > 0 ? (Dictionary<string, object?>)arguments[0]! : [];
            foreach ((string name, object? value) in first.Concat(named))
            {
                made[name] = value;
            }

            return made;
        }

        public string Written(Action<Run> body)
        {
            StringBuilder outer = Output;
            Output = new();
            body(this);
            string text = Output.ToString();
            Output = outer;
            return text;
        }
    }
}
