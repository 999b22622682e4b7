using System.Globalization;
using System.Text;
using static Retro.Generation.JinjaLexer;
using static Retro.Generation.JinjaValues;

namespace Retro.Generation;

/// <summary>A template in the part of Jinja that chat templates use. It comes with a model, from strangers: what it may do is bounded.</summary>
internal sealed class JinjaTemplate
{
    /// <summary>Statements that are run, and levels that a template has, at most.</summary>
    private const int MostStatements = 1_000_000, MostLevels = 100;

    private readonly List<Word> _words;
    private int _at;
    private int _level;
    private Action<Run> _body = _ => { };

    private JinjaTemplate(List<Word> words) => _words = words;

    private Word Now => _at < _words.Count ? _words[_at] : new(Kind.End, "");

    /// <summary>Reads a template.</summary>
    /// <exception cref="RetroException">It is none, or has what is not supported.</exception>
    public static JinjaTemplate Parse(string template)
    {
        JinjaTemplate parsed = new(Cut(template));
        parsed._body = parsed.Body();
        return parsed._at == parsed._words.Count ? parsed : throw parsed.Unexpected("the end of the template");
    }

    /// <summary>Writes it.</summary>
    /// <param name="values">Values by name.</param>
    /// <exception cref="RetroException">It raises an exception, or does what is not supported.</exception>
    public string Render(IReadOnlyDictionary<string, object?> values)
    {
        Run run = new();
        foreach ((string name, object? value) in values)
        {
            run.Set(name, value);
        }

        try
        {
            _body(run);
        }
        catch (Exception fault) when (fault is IndexOutOfRangeException or ArgumentException or InvalidCastException or NullReferenceException
            or FormatException or ArithmeticException or OutOfMemoryException)
        {
            throw new RetroException($"The chat template uses a function in a way that is not supported ({fault.Message}).", fault);
        }

        return run.Output.ToString();
    }

    /// <summary>Statements up to one that ends them, which is not read.</summary>
    private Action<Run> Body(params string[] ends)
    {
        if (++_level > MostLevels)
        {
            throw new RetroException($"The chat template has more than {MostLevels} levels.");
        }

        List<Action<Run>> all = [];
        while (_at < _words.Count)
        {
            Word word = _words[_at];
            if (word.Kind == Kind.Text)
            {
                _at++;
                all.Add(run => run.Write(word.Text));
            }
            else if (word.Kind == Kind.Output)
            {
                _at++;
                Func<Run, object?> value = Tuple();
                Take(Kind.End);
                all.Add(run => run.Write(Text(value(run))));
            }
            else if (_at + 1 < _words.Count && ends.Contains(_words[_at + 1].Text))
            {
                break;
            }
            else
            {
                _at++;
                all.Add(Statement());
            }
        }

        _level--;
        return run =>
        {
            foreach (Action<Run> one in all)
            {
                run.Count();
                one(run);
                if (run.Jump != 0)
                {
                    return;
                }
            }
        };
    }

    private Action<Run> Statement()
    {
        string name = Take(Kind.Name);
        switch (name)
        {
            case "if":
                return If();
            case "for":
                return For();
            case "set":
                return Set();
            case "macro":
                return Macro();
            case "call":
                return CallBlock();
            case "break" or "continue":
                Take(Kind.End);
                int jump = name == "break" ? 1 : 2;
                return run => run.Jump = jump;
            case "generation":
                Take(Kind.End);
                Action<Run> inner = Body("endgeneration");
                EndOf("endgeneration");
                return inner;
            default:
                throw new RetroException($"The chat template has the statement '{name}', which is not supported.");
        }
    }

    private Action<Run> If()
    {
        List<(Func<Run, object?> When, Action<Run> Then)> branches = [];
        string word = "if";
        while (word != "endif")
        {
            Func<Run, object?> when = word == "else" ? _ => true : Expression();
            Take(Kind.End);
            Action<Run> then = Body("elif", "else", "endif");
            branches.Add((when, then));
            Take(Kind.Statement);
            word = Take(Kind.Name);
        }

        Take(Kind.End);
        return run =>
        {
            foreach ((Func<Run, object?> when, Action<Run> then) in branches)
            {
                if (IsTrue(when(run)))
                {
                    then(run);
                    return;
                }
            }
        };
    }

    private Action<Run> For()
    {
        Action<Run, object?> bind = Target();
        Take("in");
        Func<Run, object?> of = Tuple(Or); // "if" behind it is the loop's own
        Func<Run, object?>? when = Is("if") ? Expression() : null;
        Take(Kind.End);
        Action<Run> body = Body("else", "endfor"), otherwise = _ => { };
        if (_words.ElementAtOrDefault(_at + 1).Text == "else")
        {
            EndOf("else");
            otherwise = Body("endfor");
        }

        EndOf("endfor");
        return run =>
        {
            List<object?> items = [.. Items(of(run))];
            if (when is not null)
            {
                run.Enter();
                items = [.. items.Where(item =>
                {
                    bind(run, item);
                    return IsTrue(when(run));
                })];
                run.Leave();
            }

            Dictionary<string, object?> loop = new(StringComparer.Ordinal) { ["length"] = (long)items.Count, ["depth"] = 1L, ["depth0"] = 0L };
            loop["cycle"] = (Function)((arguments, _) => arguments[(int)((long)loop["index0"]! % arguments.Length)]);
            for (int i = 0; i < items.Count; i++)
            {
                run.Count();
                run.Enter(); // what a round sets the next one does not see
                bind(run, items[i]);
                (loop["index"], loop["index0"], loop["first"], loop["last"]) = (i + 1L, (long)i, i == 0, i == items.Count - 1);
                (loop["revindex"], loop["revindex0"]) = ((long)items.Count - i, (long)items.Count - i - 1);
                loop["previtem"] = i > 0 ? items[i - 1] : Undefined;
                loop["nextitem"] = i + 1 < items.Count ? items[i + 1] : Undefined;
                run.Set("loop", loop);
                body(run);
                run.Leave();
                int jump = run.Jump;
                run.Jump = 0;
                if (jump == 1)
                {
                    break;
                }
            }

            if (items.Count == 0)
            {
                otherwise(run);
            }
        };
    }

    /// <summary>What a value is given to: a name, or several that take its parts.</summary>
    private Action<Run, object?> Target()
    {
        if (++_level > MostLevels)
        {
            throw new RetroException($"The chat template has more than {MostLevels} levels.");
        }

        List<Action<Run, object?>> parts = [];
        bool several = false;
        do
        {
            if (Is("("))
            {
                parts.Add(Target());
                Take(")");
            }
            else
            {
                string name = Take(Kind.Name);
                parts.Add((run, value) => run.Set(name, value));
            }
        }
        while (Is(",") && (several = true) && (Now.Kind == Kind.Name ? Now.Text != "in" : Now.Text == "("));
        _level--;
        return !several ? parts[0] : (run, value) =>
        {
            List<object?> values = Items(value);
            if (values.Count != parts.Count)
            {
                throw new RetroException($"The chat template gives {values.Count} values to {parts.Count} names.");
            }

            for (int i = 0; i < parts.Count; i++)
            {
                parts[i](run, values[i]);
            }
        };
    }

    private Action<Run> Set()
    {
        if (_words.ElementAtOrDefault(_at + 1).Text == ".")
        {
            string space = Take(Kind.Name), member = Take(".") ? Take(Kind.Name) : "";
            Take("=");
            Func<Run, object?> said = Tuple();
            Take(Kind.End);
            return run => (run.Get(space) as Dictionary<string, object?>
                ?? throw new RetroException($"The chat template sets '{member}' of '{space}', which is no namespace."))[member] = said(run);
        }

        Action<Run, object?> bind = Target();
        if (!Is("="))
        {
            Take(Kind.End);
            Action<Run> body = Body("endset");
            EndOf("endset");
            return run =>
            {
                run.Enter();
                string written = run.Written(body);
                run.Leave();
                bind(run, written);
            };
        }

        Func<Run, object?> value = Tuple();
        Take(Kind.End);
        return run => bind(run, value(run));
    }

    private Action<Run> Macro()
    {
        string name = Take(Kind.Name);
        Func<Run, Function> macro = Written(name, Parameters(), "endmacro");
        return run => run.Set(name, macro(run));
    }

    /// <summary>A call of a macro, which writes what stands within where it calls "caller".</summary>
    private Action<Run> CallBlock()
    {
        List<(string Name, Func<Run, object?>? Default)> parameters = Now is { Kind: Kind.Sign, Text: "(" } ? Parameters() : [];
        Func<Run, object?> call = Expression();
        Func<Run, Function> caller = Written("caller", parameters, "endcall");
        return run =>
        {
            run.Caller = caller(run);
            run.Write(Text(call(run)));
            run.Caller = null;
        };
    }

    private List<(string Name, Func<Run, object?>? Default)> Parameters()
    {
        List<(string Name, Func<Run, object?>? Default)> parameters = [];
        Take("(");
        while (!Is(")"))
        {
            string parameter = Take(Kind.Name);
            parameters.Add((parameter, Is("=") ? Expression() : null));
            Is(",");
        }

        return parameters;
    }

    /// <summary>A function that gives what is written up to a statement.</summary>
    private Func<Run, Function> Written(string name, List<(string Name, Func<Run, object?>? Default)> parameters, string end)
    {
        Take(Kind.End);
        Action<Run> body = Body(end);
        EndOf(end);
        return run =>
        {
            Scope around = run.Names;
            return (arguments, named) => Call(run, around, arguments, named);
        };

        // It sees the names of where it stands, not of where it is called.
        object? Call(Run run, Scope around, object?[] arguments, Dictionary<string, object?> named)
        {
            if (arguments.Length > parameters.Count || named.Keys.FirstOrDefault(given => parameters.All(one => one.Name != given)) is not null)
            {
                throw new RetroException($"The chat template gives its macro '{name}' what it does not take, which is not supported.");
            }

            Scope before = run.Names;
            run.Enter(around);
            if (run.Caller is { } caller)
            {
                run.Set("caller", caller);
                run.Caller = null;
            }

            for (int i = 0; i < parameters.Count; i++)
            {
                (string parameter, Func<Run, object?>? otherwise) = parameters[i];
                object? argument = i < arguments.Length ? arguments[i]
                    : named.TryGetValue(parameter, out object? given) ? given
                    : otherwise is null ? Undefined : otherwise(run);
                run.Set(parameter, argument);
            }

            string written = run.Written(body);
            run.Leave(before);
            return written;
        }
    }

    /// <summary>An expression, or several with commas between them, which are a list.</summary>
    private Func<Run, object?> Tuple(Func<Func<Run, object?>>? one = null)
    {
        one ??= Expression;
        List<Func<Run, object?>> items = [one()];
        bool several = false;
        while (Is(","))
        {
            several = true;
            if (Now.Kind == Kind.End)
            {
                break;
            }

            items.Add(one());
        }

        return several ? run => new Series(items.Select(item => item(run))) : items[0];
    }

    private Func<Run, object?> Expression()
    {
        if (++_level > MostLevels)
        {
            throw new RetroException($"The chat template has more than {MostLevels} levels.");
        }

        Func<Run, object?> value = Or();
        if (Is("if"))
        {
            Func<Run, object?> when = Or(), otherwise = Is("else") ? Expression() : _ => Undefined, then = value;
            value = run => IsTrue(when(run)) ? then(run) : otherwise(run);
        }

        _level--;
        return value;
    }

    private Func<Run, object?> Or()
    {
        Func<Run, object?> value = And();
        while (Is("or"))
        {
            Func<Run, object?> one = value, other = And();
            value = run => one(run) is var first && IsTrue(first) ? first : other(run);
        }

        return value;
    }

    private Func<Run, object?> And()
    {
        Func<Run, object?> value = Not();
        while (Is("and"))
        {
            Func<Run, object?> one = value, other = Not();
            value = run => one(run) is var first && !IsTrue(first) ? first : other(run);
        }

        return value;
    }

    private Func<Run, object?> Not()
    {
        int count = 0;
        while (Is("not"))
        {
            count++;
        }

        Func<Run, object?> value = Comparison();
        return count == 0 ? value : run => IsTrue(value(run)) == (count % 2 == 0);
    }

    /// <summary>A value, or values compared each with the next one, as in Python.</summary>
    private Func<Run, object?> Comparison()
    {
        Func<Run, object?> value = Sum();
        List<(Func<object?, object?, bool> Holds, Func<Run, object?> Other)> comparisons = [];
        while (true)
        {
            bool negates = Now is { Kind: Kind.Name, Text: "not" } && _words.ElementAtOrDefault(_at + 1).Text == "in";
            _at += negates ? 1 : 0;
            string sign = Now.Kind is Kind.Sign or Kind.Name ? Now.Text : "";
            Func<object?, object?, bool>? holds = sign switch
            {
                "in" => (one, other) => Contains(other, one) != negates,
                "==" => AreEqual,
                "!=" => (one, other) => !AreEqual(one, other),
                "<" => (one, other) => Compare(one, other) < 0,
                ">" => (one, other) => Compare(one, other) > 0,
                "<=" => (one, other) => Compare(one, other) <= 0,
                ">=" => (one, other) => Compare(one, other) >= 0,
                _ => null,
            };
            if (holds is null)
            {
                break;
            }

            _at++;
            comparisons.Add((holds, Sum()));
        }

        return comparisons.Count == 0 ? value : run =>
        {
            object? one = value(run);
            foreach ((Func<object?, object?, bool> holds, Func<Run, object?> of) in comparisons)
            {
                object? other = of(run);
                if (!holds(one, other))
                {
                    return false;
                }

                one = other;
            }

            return true;
        };
    }

    private Func<Run, object?> Sum()
    {
        Func<Run, object?> value = Product();
        while (Now.Kind == Kind.Sign && Now.Text is "+" or "-" or "~")
        {
            string sign = _words[_at++].Text;
            Func<Run, object?> one = value, other = Product();
            value = sign == "~" ? run => Bounded(Text(one(run)) + Text(other(run))) : run => Compute(sign, one(run), other(run));
        }

        return value;
    }

    private Func<Run, object?> Product()
    {
        Func<Run, object?> value = Power();
        while (Now.Kind == Kind.Sign && Now.Text is "*" or "/" or "//" or "%")
        {
            string sign = _words[_at++].Text;
            Func<Run, object?> one = value, other = Power();
            value = run => Compute(sign, one(run), other(run));
        }

        return value;
    }

    private Func<Run, object?> Power()
    {
        Func<Run, object?> value = Unary();
        while (Is("**"))
        {
            Func<Run, object?> one = value, other = Unary();
            value = run => Compute("**", one(run), other(run));
        }

        return value;
    }

    /// <summary>A value with its sign, which binds more than a filter or a test does.</summary>
    private Func<Run, object?> Unary()
    {
        int minus = 0;
        for (; Now is { Kind: Kind.Sign, Text: "-" or "+" }; _at++)
        {
            minus += Now.Text == "-" ? 1 : 0;
        }

        Func<Run, object?> value = Postfix(Primary());
        return Filters(minus % 2 == 0 ? value : run => Compute("-", 0L, value(run)));
    }

    /// <summary>A value with what is asked of it: members and calls.</summary>
    private Func<Run, object?> Postfix(Func<Run, object?> value)
    {
        while (true)
        {
            Func<Run, object?> of = value;
            if (Is("."))
            {
                string name = Now.Kind is Kind.Name or Kind.Number ? _words[_at++].Text : throw Unexpected("a name");
                value = run => Member(of(run), long.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out long place) ? place : name);
            }
            else if (Is("["))
            {
                value = Subscript(of);
            }
            else if (Now is { Kind: Kind.Sign, Text: "(" })
            {
                string called = _words[_at - 1] is { Kind: Kind.Name } word ? word.ToString() : "what";
                Func<Run, (object?[] Arguments, Dictionary<string, object?> Named)> given = Arguments();
                value = run =>
                {
                    run.Count();
                    Function? caller = run.Caller;
                    run.Caller = null; // what is called for the arguments does not have it
                    (object?[] arguments, Dictionary<string, object?> named) = given(run);
                    run.Caller = caller;
                    return of(run) is Function function ? Bounded(function(arguments, named))
                        : throw new RetroException($"The chat template calls {called}, which is no function, or one that is not supported.");
                };
            }
            else
            {
                return value;
            }
        }
    }

    /// <summary>A value with filters and tests.</summary>
    private Func<Run, object?> Filters(Func<Run, object?> value)
    {
        while (true)
        {
            Func<Run, object?> of = value;
            if (Is("|"))
            {
                string name = Take(Kind.Name);
                Func<Run, (object?[] Arguments, Dictionary<string, object?> Named)> given =
                    Now is { Kind: Kind.Sign, Text: "(" } ? Arguments() : _ => ([], []);
                value = run => given(run) is var (arguments, named) ? Bounded(JinjaFilters.Apply(name, of(run), arguments, named)) : null;
            }
            else if (Now is { Kind: Kind.Name, Text: "is" })
            {
                _at++;
                bool negates = Is("not");
                string name = Take(Kind.Name);
                Func<Run, object?>? argument = Now is { Kind: Kind.Sign, Text: "(" } ? (Arguments() is var given ? run => given(run).Arguments[0] : null)
                    : Now is { Kind: Kind.String or Kind.Number } or { Kind: Kind.Sign, Text: "[" or "{" }
                        or { Kind: Kind.Name, Text: not ("and" or "or" or "not" or "is" or "in" or "if" or "else") } ? Postfix(Primary())
                    : null;
                value = run => JinjaFilters.Test(name, of(run), argument?.Invoke(run)) != negates;
            }
            else
            {
                return value;
            }
        }
    }

    private Func<Run, object?> Subscript(Func<Run, object?> of)
    {
        Func<Run, object?>? first = Now.Text == ":" ? null : Expression(), to = null, step = null;
        if (Is("]"))
        {
            return run => Member(of(run), first!(run));
        }

        Take(":");
        to = Now.Text is "]" or ":" ? null : Expression();
        step = Is(":") && Now.Text != "]" ? Expression() : null;
        Take("]");
        return run => Slice(of(run), first?.Invoke(run), to?.Invoke(run), step?.Invoke(run));
    }

    private Func<Run, (object?[] Arguments, Dictionary<string, object?> Named)> Arguments()
    {
        Take("(");
        List<Func<Run, object?>> arguments = [];
        List<(string Name, Func<Run, object?> Value)> named = [];
        while (!Is(")"))
        {
            if (Now.Kind == Kind.Name && _words.ElementAtOrDefault(_at + 1) is { Kind: Kind.Sign, Text: "=" })
            {
                string name = Take(Kind.Name);
                Take("=");
                named.Add((name, Expression()));
            }
            else
            {
                arguments.Add(Expression());
            }

            if (Now.Text != ")")
            {
                Take(",");
            }
        }

        return run => ([.. arguments.Select(one => one(run))], named.ToDictionary(one => one.Name, one => one.Value(run), StringComparer.Ordinal));
    }

    private Func<Run, object?> Primary()
    {
        Word word = Now;
        _at++;
        switch (word.Kind)
        {
            case Kind.String:
                string text = word.Text;
                while (Now.Kind == Kind.String)
                {
                    text += _words[_at++].Text;
                }

                return _ => text;
            case Kind.Number:
                if (long.TryParse(word.Text, NumberStyles.None, CultureInfo.InvariantCulture, out long whole))
                {
                    return _ => whole;
                }

                double number = double.Parse(word.Text, CultureInfo.InvariantCulture);
                return _ => number;
            case Kind.Name:
                return word.Text switch
                {
                    "true" or "True" => _ => true,
                    "false" or "False" => _ => false,
                    "none" or "None" => _ => null,
                    _ => run => run.Get(word.Text),
                };
            case Kind.Sign when word.Text == "[":
                List<Func<Run, object?>> items = List("]");
                return run => items.Select(item => item(run)).ToList();
            case Kind.Sign when word.Text == "(":
                List<Func<Run, object?>> inner = List(")");
                return inner.Count == 1 && _words[_at - 2].Text != "," ? inner[0] : run => new Series(inner.Select(item => item(run)));
            case Kind.Sign when word.Text == "{":
                List<(Func<Run, object?> Key, Func<Run, object?> Value)> pairs = [];
                while (!Is("}"))
                {
                    Func<Run, object?> key = Expression();
                    Take(":");
                    pairs.Add((key, Expression()));
                    if (Now.Text != "}")
                    {
                        Take(",");
                    }
                }

                return run =>
                {
                    Dictionary<string, object?> map = new(StringComparer.Ordinal);
                    foreach ((Func<Run, object?> key, Func<Run, object?> value) in pairs)
                    {
                        map[Text(key(run))] = value(run);
                    }

                    return map;
                };
            default:
                _at--;
                throw Unexpected("a value");
        }
    }

    private List<Func<Run, object?>> List(string end)
    {
        List<Func<Run, object?>> items = [];
        while (!Is(end))
        {
            items.Add(Expression());
            if (Now.Text != end)
            {
                Take(",");
            }
        }

        return items;
    }

    private bool Is(string sign)
    {
        bool isIt = Now.Kind is Kind.Sign or Kind.Name && Now.Text == sign;
        _at += isIt ? 1 : 0;
        return isIt;
    }

    private bool Take(string sign) => Is(sign) ? true : throw Unexpected($"'{sign}'");

    private string Take(Kind kind)
        => _at < _words.Count && _words[_at].Kind == kind ? _words[_at++].Text : throw Unexpected(kind == Kind.End ? "the end of the tag" : $"a {kind}");

    private void EndOf(string name)
    {
        Take(Kind.Statement);
        Take(name);
        Take(Kind.End);
    }

    private RetroException Unexpected(string expected)
        => new($"The chat template has {(_at < _words.Count ? _words[_at].ToString() : "its end")} where {expected} was expected.");

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
            Set("namespace", (Function)Made);
            Set("dict", (Function)Made);
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
            Set("strftime_now", (Function)((arguments, _) => JinjaFilters.Time(Text(arguments[0]))));
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

        public void Count()
        {
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

        private static Dictionary<string, object?> Made(object?[] arguments, Dictionary<string, object?> named)
        {
            Dictionary<string, object?> made = arguments.Length > 0
                ? new((Dictionary<string, object?>)arguments[0]!, StringComparer.Ordinal)
                : new(StringComparer.Ordinal);
            foreach ((string name, object? value) in named)
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
