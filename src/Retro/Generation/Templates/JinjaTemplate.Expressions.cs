using System.Globalization;
using static Retro.Generation.Templates.JinjaLexer;
using static Retro.Generation.Templates.JinjaValues;

namespace Retro.Generation.Templates;

/// <content>What has a value, from the loosest operator to the tightest.</content>
internal sealed partial class JinjaTemplate
{
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
        return run =>
        {
            RequireStack();
            return value(run);
        };
    }

    private Func<Run, object?> Or() => FirstOf("or", And, when: true);

    private Func<Run, object?> And() => FirstOf("and", Not, when: false);

    /// <summary>The first of the values with a word between them that counts as true, or as false; else the last one.</summary>
    private Func<Run, object?> FirstOf(string word, Func<Func<Run, object?>> one, bool when) => Followed(one(), () =>
    {
        if (!Is(word))
        {
            return null;
        }

        Func<Run, object?> other = one();
        return (run, value) => IsTrue(value) == when ? value : other(run);
    });

    /// <summary>A value, and what is made of it step by step: a list of steps, so that no chain of them goes deeper than the stack.</summary>
    /// <param name="first">The value.</param>
    /// <param name="next">The next step; null where there is none.</param>
    private static Func<Run, object?> Followed(Func<Run, object?> first, Func<Func<Run, object?, object?>?> next)
    {
        List<Func<Run, object?, object?>> steps = [];
        while (next() is { } step)
        {
            steps.Add(step);
        }

        return steps.Count == 0 ? first : run => steps.Aggregate(first(run), (value, step) => step(run, value));
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
            bool negates = Stands("not") && Stands("in", 1);
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

    private Func<Run, object?> Sum() => Computed(Joined, "+", "-");

    private Func<Run, object?> Joined() => Computed(Product, "~");

    private Func<Run, object?> Product() => Computed(Power, "*", "/", "//", "%");

    private Func<Run, object?> Power() => Computed(Unary, "**");

    private Func<Run, object?> Computed(Func<Func<Run, object?>> one, params string[] signs) => Followed(one(), () =>
    {
        if (Now.Kind != Kind.Sign || !signs.Contains(Now.Text))
        {
            return null;
        }

        string sign = _words[_at++].Text;
        Func<Run, object?> other = one();
        return (run, value) => Compute(sign, value, other(run));
    });

    /// <summary>A value with its sign, which binds more than a filter or a test does.</summary>
    private Func<Run, object?> Unary()
    {
        long? sign = null;
        for (; Now is { Kind: Kind.Sign, Text: "-" or "+" }; _at++)
        {
            sign = (sign ?? 1) * (Now.Text == "-" ? -1 : 1);
        }

        Func<Run, object?> value = Postfix(Primary());
        return Filters(sign is not { } times ? value : run => value(run) is var of && of is long or double or bool ? Compute("*", times, of) : Number(of));
    }

    /// <summary>A value with what is asked of it: members and calls.</summary>
    private Func<Run, object?> Postfix(Func<Run, object?> value) => Followed(value, () =>
    {
        if (Is("."))
        {
            string name = Now.Kind is Kind.Name or Kind.Number ? _words[_at++].Text : throw Unexpected("a name");
            return (_, of) => Dotted(of, name);
        }

        if (Is("["))
        {
            return Subscript();
        }

        if (!Stands("("))
        {
            return null;
        }

        string called = _words[_at - 1] is { Kind: Kind.Name } word ? word.ToString() : "what";
        Func<Run, (object?[] Arguments, Dictionary<string, object?> Named)> given = Arguments();
        return (run, of) =>
        {
            run.Count();
            Function? caller = run.Caller;
            run.Caller = null; // what is called for the arguments does not have it
            (object?[] arguments, Dictionary<string, object?> named) = given(run);
            run.Caller = caller;
            return of is Function function ? Bounded(function(arguments, named))
                : throw new RetroException($"The chat template calls {called}, which is no function, or one that is not supported.");
        };
    });

    /// <summary>A value with filters and tests.</summary>
    private Func<Run, object?> Filters(Func<Run, object?> value) => Followed(value, () =>
    {
        if (Is("|"))
        {
            string filter = Take(Kind.Name);
            Func<Run, (object?[] Arguments, Dictionary<string, object?> Named)> given = Stands("(") ? Arguments() : _ => ([], []);
            return (run, of) => given(run) is var (arguments, named) ? Bounded(JinjaFilters.Apply(filter, of, arguments, named)) : null;
        }

        if (!Is("is"))
        {
            return null;
        }

        bool negates = Is("not");
        string name = Take(Kind.Name);
        Func<Run, object?>? argument = Stands("(") ? (Arguments() is var all ? run => all(run).Arguments.FirstOrDefault() : null)
            : Now is { Kind: Kind.String or Kind.Number } or { Kind: Kind.Sign, Text: "[" or "{" }
                or { Kind: Kind.Name, Text: not ("and" or "or" or "not" or "is" or "in" or "if" or "else") } ? Postfix(Primary())
            : null;
        return (run, of) => JinjaFilters.Test(name, of, argument?.Invoke(run)) != negates;
    });

    private Func<Run, object?, object?> Subscript()
    {
        Func<Run, object?>? first = Stands(":") ? null : Expression(), to = null, step = null;
        if (Is("]"))
        {
            return (run, of) => Member(of, first!(run));
        }

        Take(":");
        to = Stands("]") || Stands(":") ? null : Expression();
        step = Is(":") && !Stands("]") ? Expression() : null;
        Take("]");
        return (run, of) => Slice(of, first?.Invoke(run), to?.Invoke(run), step?.Invoke(run));
    }

    private Func<Run, (object?[] Arguments, Dictionary<string, object?> Named)> Arguments()
    {
        Take("(");
        List<Action<Run, List<object?>, Dictionary<string, object?>>> given = [];
        while (!Is(")"))
        {
            if (Is("*"))
            {
                Func<Run, object?> several = Expression();
                given.Add((run, arguments, _) => arguments.AddRange(Items(several(run))));
            }
            else if (Is("**"))
            {
                Func<Run, object?> members = Expression();
                given.Add((run, _, named) =>
                {
                    foreach ((string name, object? value) in (Dictionary<string, object?>)members(run)!)
                    {
                        named.Add(name, value);
                    }
                });
            }
            else if (Now.Kind == Kind.Name && Stands("=", 1))
            {
                string name = Take(Kind.Name);
                Take("=");
                Func<Run, object?> value = Expression();
                given.Add((run, _, named) => named.Add(name, value(run)));
            }
            else
            {
                Func<Run, object?> value = Expression();
                given.Add((run, arguments, _) => arguments.Add(value(run)));
            }

            if (!Stands(")"))
            {
                Take(",");
            }
        }

        return run =>
        {
            List<object?> arguments = [];
            Dictionary<string, object?> named = new(StringComparer.Ordinal);
            foreach (Action<Run, List<object?>, Dictionary<string, object?>> one in given)
            {
                one(run, arguments, named);
            }

            return ([.. arguments], named);
        };
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
                object number = NumberOf(word.Text.Replace("_", "", StringComparison.Ordinal));
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
                return inner.Count == 1 && !Stands(",", -2) ? inner[0] : run => new Series(inner.Select(item => item(run)));
            case Kind.Sign when word.Text == "{":
                List<(Func<Run, object?> Key, Func<Run, object?> Value)> pairs = [];
                while (!Is("}"))
                {
                    Func<Run, object?> key = Expression();
                    Take(":");
                    pairs.Add((key, Expression()));
                    if (!Stands("}"))
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

    private static object NumberOf(string digits)
    {
        int numberBase = digits.Length < 2 ? 10 : char.ToLowerInvariant(digits[1]) switch { 'x' => 16, 'o' => 8, 'b' => 2, _ => 10 };
        try
        {
            return numberBase != 10 ? checked((long)Convert.ToUInt64(digits[2..], numberBase))
                : digits.AsSpan().IndexOfAny(".eE") >= 0 ? (object)double.Parse(digits, CultureInfo.InvariantCulture)
                : long.Parse(digits, NumberStyles.None, CultureInfo.InvariantCulture);
        }
        catch (OverflowException)
        {
            throw new RetroException($"The chat template has the number {digits}; whole ones up to {long.MaxValue} are supported.");
        }
    }

    private List<Func<Run, object?>> List(string end)
    {
        List<Func<Run, object?>> items = [];
        while (!Is(end))
        {
            items.Add(Expression());
            if (!Stands(end))
            {
                Take(",");
            }
        }

        return items;
    }
}
