using static Retro.Generation.Templates.JinjaLexer;
using static Retro.Generation.Templates.JinjaValues;

namespace Retro.Generation.Templates;

/// <summary>A template in the part of Jinja that chat templates use. It comes with a model, from strangers: what it may do is bounded.</summary>
internal sealed partial class JinjaTemplate
{
    /// <summary>Statements that are run at most.</summary>
    private const int MostStatements = 1_000_000;

    private readonly List<Word> _words;
    private int _at;
    private int _level;
    private int _loops; // around what is read, within its macro
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
            else if (Array.Exists(ends, end => Stands(end, 1)))
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
            case "with":
                return With();
            case "macro":
                return Macro();
            case "call":
                return CallBlock();
            case "filter":
                return FilterBlock();
            case "break" or "continue":
                Take(Kind.End);
                if (_loops == 0)
                {
                    throw new RetroException($"The chat template has '{name}' outside of a loop.");
                }

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
        _loops++;
        Action<Run> body = Body("else", "endfor"), otherwise = _ => { };
        _loops--;
        if (Stands("else", 1))
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
            object?[]? told = null;
            loop["changed"] = (Function)((arguments, _) =>
            {
                (object?[]? before, told) = (told, arguments);
                return before is null || !AreEqual(arguments.ToList(), before.ToList());
            });
            bool whole = false; // whether a round came to its end: without one, jinja2 goes on with "else"
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
                whole |= jump == 0;
                if (jump == 1)
                {
                    break;
                }
            }

            if (!whole)
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
        while (Is(",") && (several = true) && (Stands("(") || (Now.Kind == Kind.Name && !Stands("in"))));
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
        if (Stands(".", 1))
        {
            string space = Take(Kind.Name), member = Take(".") ? Take(Kind.Name) : "";
            Take("=");
            Func<Run, object?> said = Tuple();
            Take(Kind.End);
            return run => (run.Get(space) as Namespace
                ?? throw new RetroException($"The chat template sets '{member}' of '{space}', which is no namespace."))[member] = said(run);
        }

        Action<Run, object?> bind = Target();
        if (!Is("="))
        {
            Func<Run, object?> written = Within("endset");
            return run => bind(run, written(run));
        }

        Func<Run, object?> value = Tuple();
        Take(Kind.End);
        return run => bind(run, value(run));
    }

    /// <summary>What is written up to a statement, behind the filters that stand here.</summary>
    private Func<Run, object?> Within(string end)
    {
        Action<Run> body = _ => { };
        Func<Run, object?> written = Filters(run =>
        {
            run.Enter();
            string text = run.Written(body);
            run.Leave();
            return text;
        });
        Take(Kind.End);
        body = Body(end);
        EndOf(end);
        return written;
    }

    private Action<Run> FilterBlock()
    {
        _words[--_at] = new(Kind.Sign, "|"); // the first of the filters stands without
        Func<Run, object?> written = Within("endfilter");
        return run => run.Write(Text(written(run)));
    }

    private Action<Run> With()
    {
        List<(Action<Run, object?> Bind, Func<Run, object?> Value)> names = [];
        while (Now.Kind != Kind.End)
        {
            Action<Run, object?> bind = Target();
            Take("=");
            names.Add((bind, Expression()));
            if (Now.Kind != Kind.End)
            {
                Take(",");
            }
        }

        Take(Kind.End);
        Action<Run> body = Body("endwith");
        EndOf("endwith");
        return run =>
        {
            List<object?> values = names.ConvertAll(one => one.Value(run)); // none of them sees the others
            run.Enter();
            for (int i = 0; i < values.Count; i++)
            {
                names[i].Bind(run, values[i]);
            }

            body(run);
            run.Leave();
        };
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
        List<(string Name, Func<Run, object?>? Default)> parameters = Stands("(") ? Parameters() : [];
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
        int loops = _loops;
        _loops = 0;
        Action<Run> body = Body(end);
        _loops = loops;
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

    /// <summary>Whether a sign or a name stands here, or some words from here; a text that says the same is neither.</summary>
    private bool Stands(string sign, int ahead = 0) => _words.ElementAtOrDefault(_at + ahead) is { Kind: Kind.Sign or Kind.Name } word && word.Text == sign;

    private bool Is(string sign)
    {
        bool isIt = Stands(sign);
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
}
