using System.Text.Json;
using Microsoft.Extensions.AI;
using Retro.Generation;
using Retro.Generation.Templates;

namespace Retro.Tests.Generation;

/// <summary>Chat templates as decoders come with them, against what transformers writes for them; what of Jinja they use; and hostile ones.</summary>
public sealed class ChatTemplateTests : IDisposable
{
    private const string Qwen2 =
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    private const string Llama2 =
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";

    private const string Llama3 =
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

    private const string Blocks = """
        {%- set ns = namespace(count=0) %}
        {%- macro say(who, text="nothing") -%}
        <{{ who|upper }}>{{ text }}
        {%- endmacro %}
        {% for message in messages if message.role != "system" %}
            {# counted #}
            {%- set ns.count = ns.count + 1 %}
        {{ say(message.role, text=message.content) }}
        {% else %}
        nobody
        {% endfor %}
        {{ ns.count }} of {{ messages|length }}{{ " and a tool" if tools is defined and tools else "" }}
        """;

    private const string TwiceTheSame =
        "{% set n = namespace(x=1, y=1) %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}";

    private static readonly ChatMessage[] s_messages =
    [
        new(ChatRole.System, "Be brief."), new(ChatRole.User, " What is a river? "), new(ChatRole.Assistant, "Water."), new(ChatRole.User, "And a \"bridge\"?"),
    ];

    private static readonly Dictionary<string, string> s_tokens = new() { ["bos_token"] = "<s>", ["eos_token"] = "</s>" };

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(Qwen2, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n What is a river? <|im_end|>\n<|im_start|>assistant\nWater.<|im_end|>\n<|im_start|>user\nAnd a \"bridge\"?<|im_end|>\n<|im_start|>assistant\n")]
    [InlineData(Llama2, "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n What is a river? [/INST] Water. </s><s>[INST] And a \"bridge\"? [/INST]")]
    [InlineData(Llama3, "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhat is a river?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nWater.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd a \"bridge\"?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")]
    [InlineData(Blocks, "<USER> What is a river? \n<ASSISTANT>Water.\n<USER>And a \"bridge\"?\n3 of 4")]
    public void Templates_of_decoders_are_rendered_as_they_are_elsewhere(string template, string expected)
        => Assert.Equal(expected, new ChatTemplate(template, s_tokens).Render(s_messages));

    /// <summary>Qwen3's and SmolLM3's ask whether the model is to think, and think where nothing is said.</summary>
    [Fact]
    public void What_a_template_asks_for_by_name_can_be_said()
    {
        const string Thinks = "{{ bos_token }}{% if enable_thinking is defined and enable_thinking is false %}<no>{% else %}<think>{% endif %}";
        ChatTemplate template = new(Thinks, s_tokens);
        ChatTemplate silent = template.With(new Dictionary<string, object?> { ["enable_thinking"] = false });
        Assert.Equal(("<s><think>", "<s><no>"), (template.Render(s_messages), silent.Render(s_messages)));
        Assert.Equal("<b><no>", silent.With(new Dictionary<string, object?> { ["bos_token"] = "<b>" }).Render(s_messages));
        using JsonDocument json = JsonDocument.Parse("""{"a":[1,2.5,"x",true,null,{"k":1}]}""");
        Assert.Equal(
            "[1, 2.5, 'x', True, None, {'k': 1}] [2] [3]",
            new ChatTemplate("{{ a }} {{ b }} {{ c }}").With(new Dictionary<string, object?>
            {
                ["a"] = json.RootElement.GetProperty("a"), ["b"] = new[] { 2 }, ["c"] = new List<object?> { 3L },
            }).Render(s_messages));
        foreach ((string name, object? value) in new (string, object?)[] { ("messages", "x"), ("a", new object()), ("a", DateTime.UnixEpoch) })
        {
            Assert.Throws<ArgumentException>(() => template.With(new Dictionary<string, object?> { [name] = value }));
        }

        Assert.Throws<ArgumentException>(() => template.Render([null!]));
    }

    [Theory]
    [InlineData("{{ 1 + 2 * 3 - 4 // 3 }} {{ 7 % 4 }} {{ 1 / 2 }} {{ -2 + 1 }}", "6 3 0.5 -1")]
    [InlineData("{{ 'a' ~ 1 ~ none ~ true ~ missing }}", "a1NoneTrue")]
    [InlineData("{{ 'Turn ' + 1 ~ ':' }} {{ 2 * 3 ~ 4 }}", "Turn 1: 64")]
    [InlineData("{{ [1, 'a', none] }} {{ {'k': [1.5]} | tojson }} {{ {'k': 'ä'} | tojson(indent=2) }}", "[1, 'a', None] {\"k\": [1.5]} {\n  \"k\": \"ä\"\n}")]
    [InlineData("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }}{{ ',' if not loop.last }}{% endfor %}", "a=1,b=2")]
    [InlineData("{{ 'abcdef'[1:4] }} {{ [1,2,3][::-1] }} {{ 'abc'[-1] }} {{ messages[-1].content }}", "bcd [3, 2, 1] c And a \"bridge\"?")]
    [InlineData("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('|') }}", " What is a river? |And a \"bridge\"?")]
    [InlineData("{{ 'x' in 'axe' }} {{ 2 not in [1, 2] }} {{ missing is not defined }} {{ none is none and 'a' is string }}", "True False True True")]
    [InlineData("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}", "023")]
    [InlineData("{% for i in [1, 2] %}{{ i }}{% break %}{% else %}e{% endfor %}|{% for i in [1, 2] %}{{ i }}{% continue %}{% else %}e{% endfor %}", "1e|12e")]
    [InlineData("{% for i in [1, 2] %}{{ i }}{% if loop.last %}{% break %}{% endif %}{% else %}e{% endfor %}", "12")]
    [InlineData("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}{% set y %}a{{ x }}b{% endset %}{{ y }}", "1a1b")]
    [InlineData("a  {%- if true -%}  b  {%- endif -%}  c", "abc")]
    [InlineData("a\n  {% if true %}\n  b\n  {% endif %}\nc {{ '' }}\nd", "a\n  b\nc \nd")]
    [InlineData("{{ ' a ' | trim | default('z') }}{{ missing | default('z') }}{{ '' | d('y', true) }}{{ ('a', 'b') | last }}", "azyb")]
    [InlineData("{{ 'a,b'.split(',') | length }}{{ 'A'.lower() }}{{ 'ab'.startswith('a') }}{{ not 'ab'.endswith('a') and not not 1 }}", "2aTrueTrue")]
    [InlineData("{% generation %}{{ 'it\\'s' \" fine\" }}{% endgeneration %}{# nothing #}", "it's fine")]
    public void What_templates_use_does_what_it_does_in_Jinja(string template, string expected)
        => Assert.Equal(expected, new ChatTemplate(template, s_tokens).Render(s_messages));

    // What Jinja 3.1 writes for the same template, in transformers' environment.
    [Theory]
    [InlineData("{{ 'x' }}\n", "x")] // keep_trailing_newline is off
    [InlineData("x\r\n\r\n", "x\n")]
    [InlineData("a\u2028b\u0085c\fd", "a\u2028b\u0085c\fd")]
    [InlineData("{% if 1 %}  {% if 1 %}x{% endif %}  {% endif %}y", "  x  y")] // lstrip_blocks is of lines
    [InlineData("{# c #}  {% if 1 %}x{% endif %}", "  x")]
    [InlineData("a{# c -#}\n  {% if 1 %}x{% endif %}", "ax")]
    [InlineData("{% if 1 +%}\nx{% endif %}", "\nx")]
    [InlineData("{#-#} x", " x")]
    [InlineData(@"{{ 'a\u2581\x41\d\'\101' }}", @"a▁A\d'A")]
    [InlineData("{{ 'a\\\nb' }}", "ab")]
    [InlineData("{{ '😀é \u2028 \u007f \\x1f\\b\"/</script>' | tojson }}", "\"😀é \u2028 \u007f \\u001f\\b\\\"/</script>\"")]
    [InlineData("{{ {'b': 1, 'a': [2, 'é']} | tojson(separators=(',', ':'), sort_keys=true, ensure_ascii=true) }}", "{\"a\":[2,\"\\u00e9\"],\"b\":1}")]
    [InlineData("{{ '😀ab'[0] }}|{{ '😀ab'[1:] }}|{{ '😀ab' | length }}|{{ 'a😀' | reverse }}|{{ '😀ab'.find('b') }}", "😀|ab|3|😀a|2")]
    [InlineData("{% for c in 'a😀' %}[{{ c }}]{% endfor %}", "[a][😀]")]
    [InlineData("{{ 'a-b-c'.split('-', 1) }} {{ 'a-b-c'.rsplit('-', 1) }} {{ ' a b  c '.split(none, 1) }}", "['a', 'b-c'] ['a-b', 'c'] ['a', 'b  c ']")]
    [InlineData("{{ 'a=b=c'.partition('=') }} {{ 'a\nb\n'.splitlines() }} {{ ','.join(['a', 'b']) }}", "('a', '=', 'b=c') ['a', 'b'] a,b")]
    [InlineData("{{ 'x'.startswith(('a', 'x')) }} {{ 'xab'.startswith('a', 1) }} {{ 'abcabc'.find('a', 1) }} {{ 'abca'.count('a') }}", "True True 3 2")]
    [InlineData("{{ 'aXbXc'.replace('X', '-', 1) }} {{ 'aXbXc' | replace('X', '-', 1) }} {{ 'abc'.removeprefix('a') }} {{ '12'.isdigit() }}", "a-bXc a-bXc bc True")]
    [InlineData("{{ \"they're here\".title() }} {{ \"they're (here)\" | title }}", "They'Re Here They're (Here)")]
    [InlineData("{{ '12.7' | int }} {{ 'x' | int(5) }} {{ none | int(default=7) }} {{ 'x' | float }} {{ '1.5' | float }}", "12 5 7 0.0 1.5")]
    [InlineData("{{ 'a\n\nb' | indent }}|{{ 'a\n\nb' | indent(width=2, first=true, blank=true) }}|{{ 'a\nb' | indent('> ') }}", "a\n\n    b|  a\n  \n  b|a\n> b")]
    [InlineData("{{ 'xxaxx' | trim('x') }} {{ [{'a': 'x'}, {'a': 'y'}] | join('-', attribute='a') }} {{ ['a', 'A'] | unique | list }}", "a x-y ['a']")]
    [InlineData("{{ [{'a': {'b': 1}}, {}] | map(attribute='a', default='n') | list }} {{ [{'a': {'b': 1}}] | selectattr('a.b') | list | length }}", "[{'b': 1}, 'n'] 1")]
    [InlineData("{{ 10 % 0.4 }} {{ 1 // 0.01 }} {{ -7.5 % 2 }} {{ -7.5 // 2 }} {{ 7.5 % -2 }} {{ -4.0 % 2 }} {{ 0.3 // 0.1 }} {{ 4.0 % -2 }} {{ -0.5 // -1 }}", "0.39999999999999947 99.0 0.5 -4.0 -0.5 0.0 2.0 -0.0 0.0")]
    [InlineData("{{ [missing] }} {{ [{}] | map(attribute='a') | list }} {{ {'a': missing} }}", "[Undefined] [Undefined] {'a': Undefined}")]
    [InlineData("{{ 'a' is string() }} {{ 1 is string() }}", "True False")]
    [InlineData("{{ 'a\\r\\nb\\rc\\n' | indent(2) }}|", "a\n  b\n  c\n|")]
    [InlineData("{% for i in [1, 2] %}{% set x %}{% if i == 1 %}{% continue %}{% endif %}b{% endset %}{{ x }}{% endfor %}", "b")]
    [InlineData("{% for i in [1, 2] %}{% for j in [] %}{% else %}{% break %}{% endfor %}{{ i }}{% endfor %}|", "|")]
    [InlineData("{{ 1 < 3 < 2 }} {{ 3 > 2 > 1 }} {{ 1 == 1 == 1 }}", "False True True")]
    [InlineData("{{ -3 | string | length }} {{ 2 ** 3 }} {{ 7 // -2 }} {{ -7 % 3 }} {{ 9007199254740993 + 0 }} {{ '=' * 3 }} {{ 1.5e-3 }}", "2 8 -4 2 9007199254740993 === 0.0015")]
    [InlineData("{{ messages[1].role is eq messages[0].role }} {{ 'a' is in {'k': ['a']}.k }} {{ 4 is divisibleby 2 }} {{ 1.0 is float }}", "False True True True")]
    [InlineData("{{ tools is defined }} {{ tools is none }} {{ documents is none }}{% if tools is not none %} tools{% endif %}", "True True True")]
    [InlineData("{% for i in [1, 2] %}{{ x }}{% set x = i %}{{ x }}{% endfor %}", "12")]
    [InlineData("{% set a, b = 1, 2 %}{{ a }}{{ b }}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}{{ (1,) }}", "12123(1,)")]
    [InlineData("{% macro w() %}{{ name }}{% endmacro %}{% for name in ['a'] %}{{ w() }}{{ loop.cycle('x', 'y') }}{% endfor %}", "x")]
    [InlineData("{{ [\"it's\", 'a\"\\n'] }} {{ {'a': \"x'y\"} }} {{ {'a': [1]} == {'a': [1]} }} {{ dict({'a': 1}, b=2) }}", "[\"it's\", 'a\"\\n'] {'a': \"x'y\"} True {'a': 1, 'b': 2}")]
    [InlineData("{% macro f(c) %}<{{ c }}{{ caller(c) }}>{% endmacro %}{% set v = 'v' %}{% call(x) f(1) %}in{{ x }}{{ v }}{% endcall %}", "<1in1v>")]
    [InlineData("{% macro g() %}{{ caller is defined }}{% endmacro %}{% macro f(c) %}{{ c }}{{ caller() }}{% endmacro %}{% call f(g()) %}in{% endcall %}", "Falsein")]
    [InlineData("a\n  {% raw %}\n{{ x }} {% if %}\n  {% endraw %}\nb{%- raw -%} {#y#} {%- endraw -%} c{% raw %}{% endraw +%}\nd", "a\n\n{{ x }} {% if %}\nb{#y#}c\nd")]
    [InlineData("{% with a = 1, b = messages | length %}{{ a + b }}{% set a = 5 %}{{ a }}{% endwith %}|{{ a }}{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z }}", "55|1")]
    [InlineData("{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{% for i in [1, 2] %}{% with j = i %}{% if j == 1 %}{% continue %}{% endif %}{{ j }}{% endwith %}{% endfor %}{{ a }}", "2121")]
    [InlineData("{% set q | upper | replace('B', 'x') %}ab{{ 1 }}{% endset %}{{ q }}", "Ax1")]
    [InlineData("{{ [3, 1.5, 2] | sort }} {{ [3, 1, 2] | sort(reverse=true) }} {{ ['b', 'A', 'c', 'B'] | sort }} {{ ['b', 'A'] | sort(case_sensitive=true) }} {{ {'b': 1, 'a': 2} | sort }}", "[1.5, 2, 3] [3, 2, 1] ['A', 'b', 'B', 'c'] ['A', 'b'] ['a', 'b']")]
    [InlineData("{{ messages | sort(attribute='role') | map(attribute='role') | join(',') }} {{ messages | sort(attribute='role,content', reverse=true) | map(attribute='content') | join(',') }}", "assistant,system,user,user And a \"bridge\"?, What is a river? ,Be brief.,Water.")]
    [InlineData("{{ {'b': 2, 'a': 3, 'C': 1, 'items': 0} | dictsort }} {{ {'b': 2, 'a': 3, 'C': 1} | dictsort(true) }} {{ {'b': 2, 'a': 3} | dictsort(by='value', reverse=true) }} {% for k, v in {'items': 1} | items %}{{ k }}{{ v }}{% endfor %}", "[('a', 3), ('b', 2), ('C', 1), ('items', 0)] [('C', 1), ('a', 3), ('b', 2)] [('a', 3), ('b', 2)] items1")]
    [InlineData("{{ 42.55 | round }} {{ 42.55 | round(1, 'floor') }} {{ 3.2 | round(method='ceil') }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 2.675 | round(2) }} {{ 0.125 | round(2) }} {{ -0.4 | round }} {{ 7 | round }} {{ 7 | round(1, 'ceil') }} {{ 1e300 | round(3) }}", "43.0 42.5 4.0 2.0 4.0 2.67 0.12 -0.0 7 7.0 1e+300")]
    [InlineData("{{ -5 | abs }} {{ (-5) | abs }} {{ -2.5 | abs }} {{ [1, 2.5] | sum }} {{ [] | sum }} {{ [1] | sum(start=3) }} {{ [{'a': 1}, {'a': 2}] | sum(attribute='a') }}", "5 5 2.5 3.5 0 4 3")]
    [InlineData("{{ [3, 1, 2] | min }} {{ [3, 1, 2] | max }} {{ ['b', 'A', 'a'] | min }} {{ ['b', 'A'] | max(case_sensitive=true) }} {{ messages | max(attribute='role') }} {{ [] | max }}|", "1 3 A b {'role': 'user', 'content': ' What is a river? '} |")]
    [InlineData("{{ '<a href=\"x\">&\\'' | e }} {{ 3 | escape }}", "&lt;a href=&#34;x&#34;&gt;&amp;&#39; 3")]
    [InlineData("{{ [1, 2, 3] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 'x') | list }} {{ 'abc' | batch(2) | list }} {{ [] | batch(2, 1) | list }}", "[[1, 2], [3]] [[1, 2], [3, 'x']] [['a', 'b'], ['c']] []")]
    [InlineData("{% for role, all in messages | groupby('role') %}{{ role }}{{ all | length }} {% endfor %}{% for g in [{'a': 'Y'}, {'a': 'x'}, {'a': 'y'}, {}] | groupby('a', default='z') %}{{ g.grouper }}={{ g.list | length }} {% endfor %}{{ [{'a': 'Y'}, {'a': 'y'}] | groupby('a', case_sensitive=true) }}", "assistant1 system1 user2 x=1 Y=2 z=1 [('Y', [{'a': 'Y'}]), ('y', [{'a': 'y'}])]")]
    [InlineData("{{ '%s is %d' % ('a', 3.9) }} {{ '%.2f' % 3.14159 }} {{ '%5s|%-5s|%05d|%+d|% d|%05.1f' % ('a', 'b', -42, 3, 4, -2.25) }} {{ '%x %X %i%%' % (255, 255, 7) }} {{ '%r %.2s' % ('a', 'é😀x') }} {{ 'a%sb' % 1 }} {{ '%(k)s' % {'k': 1} }} {{ '%s' % [1, 2] }} {{ 7 % 4 }}", "a is 3 3.14     a|b    |-0042|+3| 4|-02.2 ff FF 7% 'a' é😀 a1b 1 [1, 2] 3")]
    [InlineData("{{ '%s, %s!' | format('a', 'b') }} {{ '%(x)03d' | format(x=7) }} {{ '%.0f %.0f %.1f %f %.3f' | format(2.5, 3.5, 0.25, 1, 1e22) }} {{ '%s %s' % (none, true) }}", "a, b! 007 2 4 0.2 1.000000 10000000000000000000000.000 None True")]
    [InlineData("{{ '5'.zfill(3) }} {{ '-5'.zfill(4) }} {{ 'abc'.zfill(2) }} {{ 'abcabc'.index('c') }} {{ [3, 1, 3].count(3) }} {{ [3, 1].index(1) }} {{ 'aXbX'.count('X') }}", "005 -005 abc 2 2 1 2")]
    [InlineData("{{ 1 is sameas 1 }} {{ true is sameas true }} {{ 1 is sameas true }} {{ none is sameas(none) }} {{ 'ab' is lower }} {{ 'aB' is lower }} {{ 'AB' is upper }} {{ '1' is upper }}", "True True False True True False True False")]
    [InlineData("{{ {1: 'x'}[1] }} {{ {1: 'x'}.get(1) }} {{ 1 in {1: 2} }} {{ 2 in {1: 2} }} {{ 'a' in {'a': 1} }} {{ {'a': 1}['b'] }}|", "x x True False True |")]
    [InlineData("{{ [1, 'a'] | map('string') | list }} {{ ['b', 'a'] | map('upper') | sort | first }}", "['1', 'a'] A")]
    [InlineData("{% macro f(a, b=2, c=3) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{% set m = [f] %}{{ m[0](*[4, 5]) }} {{ f(1, *(7,)) }} {{ f(**{'c': 9, 'a': 8}) }} {{ f(*[1], c=5) }} {{ range(*[2, 4]) | list }}", "453 173 829 125 [2, 3]")]
    [InlineData("{% filter upper %}ab{{ 1 }}{% endfilter %}|{% filter replace('b', 'x') | trim %} ab{% for i in [1] %}b{% endfor %} {% endfilter %}", "AB1|axx")]
    [InlineData("{{ -0.0 }} {{ -true }} {{ -(1.5) }} {{ - -2 }}", "-0.0 -1 -1.5 2")]
    [InlineData("{{ 2 ** 62 }} {{ 3 ** 39 }} {{ 2 ** -1 }} {{ 0 ** 0 }} {{ (-3) ** 3 }}", "4611686018427387904 4052555153018976267 0.5 1 -27")]
    [InlineData("{{ 9007199254740993 == 9007199254740992 }} {{ 9007199254740993 > 9007199254740992 }} {{ [9007199254740993, 9007199254740992] | max }} {{ 9007199254740993 | int }}", "False True 9007199254740993 9007199254740993")]
    [InlineData("{{ 3000000000 is even }} {{ 3000000001 is odd }} {{ 6000000003 is divisibleby 3 }} {{ 4611686018427387905 % 9223372036854775807 }} {{ -7 % 9223372036854775807 }}", "True True True 4611686018427387905 9223372036854775800")]
    [InlineData("{{ 1e16 }} {{ -1.5e16 }} {{ 12345678901234567.0 }} {{ 1e15 }} {{ 9007199254740993.0 }} {{ 1e17 }} {{ [1e16] | tojson }}", "1e+16 -1.5e+16 1.2345678901234568e+16 1000000000000000.0 9007199254740992.0 1e+17 [1e+16]")]
    [InlineData("{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1_0.2_5 }} {{ 0XfF }}", "31 5 15 1000 10.25 255")]
    [InlineData("{{ 3 * 'ab' }} {{ 'a' * true }} {{ 2 * [1] }} {{ true + 1 }}", "ababab a [1, 1] 2")]
    [InlineData("{{ 'straße' | upper }} {{ 'ﬁn a-ﬂ' | title }} {{ 'ß' | capitalize }} {{ 'ŉ'.upper() }} {{ 'ᾷ'.upper() }} {{ 'ﬃ'.title() }} {{ 'ǆ'.title() }} {{ 'ა'.title() }} {{ 'ა'.upper() }}", "STRASSE FIn A-FL Ss ʼN Α\u0342Ι Ffi ǅ ა Ა")]
    [InlineData("{{ 'ΣΊΣΥΦΟΣ ΟΔΟΣ' | lower }} {{ 'ΟΔΟΣ'.title() }} {{ 'ΟΔΟΣ' | capitalize }} {{ 'İX' | lower | length }} {{ 'İX'.capitalize() | length }} {{ '中aB c'.title() }} {{ ['ς', 'Σ', 'σ'] | unique | list }}", "σίσυφος οδος Οδος Οδος 3 2 中Ab C ['ς', 'Σ']")]
    [InlineData("{{ ['ﬀ', '😀', 'é', 'b'] | sort }} {{ '😀' > '\\uffff' }} {{ '😀' < '😁' }} {{ 'ab' < 'abc' }}", "['b', 'é', 'ﬀ', '😀'] True True True")]
    [InlineData("{{ '\\x1c a \\x1f' | trim }}|{{ '\\x1ca\\x1db'.split() }} {{ '\\x1e'.isspace() }} {{ 'a\\x1cb\\x1dc'.splitlines() }}", "a|['a', 'b'] True ['a', 'b', 'c']")]
    [InlineData("{{ '😁a'.lstrip('😀') }} {{ 'a😀b😀'.strip('😀') }} {{ '😀a'.strip('a😀') }}|", "😁a a😀b |")]
    [InlineData("{{ 'a b c'.rsplit(none, 1) }} {{ ' a b  c '.rsplit() }} {{ ' a b c '.rsplit(maxsplit=1) }} {{ 'a b'.rsplit(none, 0) }}", "['a b', 'c'] ['a', 'b', 'c'] [' a b', 'c'] ['a b']")]
    [InlineData("{{ 'a\\r\\nb\\n\\nc'.splitlines(true) }} {{ 'a\\n'.splitlines() }} {{ ''.splitlines() }} {{ '\\n'.splitlines(keepends=true) }}", "['a\\r\\n', 'b\\n', '\\n', 'c'] ['a'] [] ['\\n']")]
    [InlineData("{{ 'abc'.replace('', '-') }} {{ 'abc' | replace('', '-', 2) }} {{ ''.replace('', '-') }} {{ 'abc'.replace('', '-', 0) }} {{ 'a😀'.replace('', '.') }} {{ 'abc'.count('') }} {{ ''.count('') }}", "-a-b-c- -a-bc - abc .a.😀. 4 1")]
    [InlineData("{{ 'abcabc'.find('c', 0, 2) }} {{ 'abcabc'.find('b', -3) }} {{ 'abcabc'.rfind('b', 0, 3) }} {{ 'abcabc'.count('b', 2) }} {{ 'abc'.endswith('b', 0, 2) }} {{ 'abc'.startswith('b', 1, 2) }} {{ 'abca'.rindex('a') }} {{ '😀a😀'.rfind('😀') }}", "-1 4 1 1 True True 3 2")]
    [InlineData("{{ '²'.isdigit() }} {{ '²'.isdecimal() }} {{ '𝟗'.isdigit() }} {{ '½'.isalnum() }} {{ '½'.isdigit() }} {{ '𝒜'.isalpha() }} {{ '𝐀'.isupper() }} {{ '😀'.isalnum() }} {{ 'é'.isascii() }} {{ ''.isascii() }}", "True False True True False True True False False True")]
    [InlineData("{{ nothing | default(none.x) | default('z') }} {{ nothing | default(nothing) }}|{{ '' | default(nothing, true) }}|{{ nothing | d(default_value=nothing) | d('y') }}", "z ||y")]
    [InlineData("{% for i in [1, 1, 2, 1] %}{{ loop.changed(i) }}{{ loop.changed(i) }} {% endfor %}{% for a in [1, 2] %}{{ loop.changed(1, 'x') }}{% endfor %}", "TrueFalse FalseFalse TrueFalse TrueFalse TrueFalse")]
    [InlineData("{{ [1, [2]] | tojson(indent='--') }} {{ [1] | tojson(indent='') }}", "[\n--1,\n--[\n----2\n--]\n] [\n1\n]")]
    [InlineData("{{ +true }} {{ -true }} {{ +-+2 }} {{ +1.5 }} {{ -0.0 }} {{ - -3 }} {{ true | round }}", "1 -1 -2 1.5 -0.0 3 1")]
    [InlineData("{% set été = 2 %}{{ été }} {% set 名 = 'n' %}{{ 名 }}", "2 n")]
    [InlineData("{% for k in ['a', 'b'] %}{{ '\"' ~ k ~ '\"' ~ ('' if loop.last else ',') }}{% endfor %}", "\"a\",\"b\"")]
    [InlineData("{{ ('Hi ' + 'Bo' + ',') }} {{ (',') }} {{ (1,) }} {{ (',',) }} {{ (1, ',') }} {{ () }}", "Hi Bo, , (1,) (',',) (1, ',') ()")]
    [InlineData("{% set d = {':': 1, ']': 2} %}{{ d[':'] }} {{ d[']'] }} {{ 'a:b'[1:][:1] }} {{ {'}': '}'} }} {{ [']', 1] }} {{ ['x'][0:'a' | length] }}", "1 2 : {'}': '}'} [']', 1] ['x']")]
    [InlineData("{% set p = {'items': 1, 'get': 2} %}{% for k, v in p.items() %}{{ k }}{{ v }} {% endfor %}{{ p['items'] }} {{ p.get('items') }} {{ p.keys() | list }}", "items1 get2 1 1 ['items', 'get']")]
    [InlineData("{% set p = {'values': '', 'k': ''} %}{{ p.values is defined }} {{ p.values is string }} {{ p.k is string }} {{ [p] | map(attribute='values') | list }}", "True False True ['']")]
    [InlineData("{% set n = namespace({'get': 2}, items=[1]) %}{% set n.keys = 3 %}{{ n.items }} {{ n.get }} {{ n.keys }} {{ dict({'a': 1}, b=2).items() | list }}", "[1] 2 3 [('a', 1), ('b', 2)]")]
    public void What_templates_seldom_use_does_what_it_does_in_Jinja(string template, string expected)
        => Assert.Equal(expected, new ChatTemplate(template, s_tokens).Render(s_messages));

    [Theory]
    [InlineData("{{ raise_exception('No system, please.') }}", "refuses the conversation: No system, please.")]
    [InlineData("{% include 'x' %}", "the statement 'include', which is not supported")]
    [InlineData("{{ 'a' | xmlattr }}", "the filter 'xmlattr', which is not supported")]
    [InlineData("{{ 'a' is strange }}", "the test 'strange', which is not supported")]
    [InlineData("{{ lipsum() }}", "calls 'lipsum', which is no function")]
    [InlineData("{{ 'a'.swapcase() }}", "calls 'swapcase', which is no function")]
    [InlineData("{{ strftime_now('%Q') }}", "writes the time by %Q, which is not supported")]
    [InlineData("{{ [1, 'a'] | sort }}", "computes with a, which is no number")]
    [InlineData("{{ ['a'] | sum }}", "computes with a, which is no number")]
    [InlineData("{{ {'a': 1} | dictsort(by='x') }}", "in a way that is not supported (to sort by x)")]
    [InlineData("{{ [1] | sort(attribute='a,a,a,a,a,a,a,a,a') }}", "in a way that is not supported (9 members to sort by)")]
    [InlineData("{{ ([1] * 2000000) | sort | length }}", "sorts more than 1,000,000 values")]
    [InlineData("{{ [1] | batch(0) }}", "in a way that is not supported")]
    [InlineData("{{ 1.5 | round(-1) }}", "in a way that is not supported (a negative precision)")]
    [InlineData("{{ 'ab'.index('x') }}", "in a way that is not supported (substring not found)")]
    [InlineData("{{ '%q' % 1 }}", "in a way that is not supported (a format with %q of 1)")]
    [InlineData("{{ '%s %s' % 1 }}", "in a way that is not supported (not enough values for a format)")]
    [InlineData("{{ '%s' % (1, 2) }}", "in a way that is not supported (not all values have a place in a format)")]
    [InlineData("{{ '%9000000d%9000000d' % (1, 2) }}", "a text or list of more than 10,000,000")]
    [InlineData("{{ '%.90000000000f' % 1 }}", "a text or list of more than 10,000,000")]
    [InlineData("{{ 'a'.zfill(9000000000) }}", "a text or list of more than 10,000,000")]
    [InlineData("{{ [1] | batch(9000000000, 1) }}", "a text or list of more than 10,000,000")]
    [InlineData("{{ ('&' * 9000000) | e }}", "a text or list of more than 10,000,000")]
    [InlineData("{% set s = 'a' * 9000000 %}{{ [s, s ~ 'b'] | sort | length }}", "a text or list of more than 10,000,000")]
    [InlineData("{% set s = 'a' * 9000000 %}{{ [s, s] | map('upper') | list | length }}", "a text or list of more than 10,000,000")]
    [InlineData("{{ 'a' | int(0, 16) }}", "uses 'int' in a way that is not supported (with 2 arguments)")]
    [InlineData("{{ 'a' | trim(strange=1) }}", "uses 'trim' in a way that is not supported (with \"strange\")")]
    [InlineData("{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", "gives its macro 'f' what it does not take")]
    [InlineData("{{ range(**[1]) }}", "in a way that is not supported")]
    [InlineData("{{ dict(a=1, **{'a': 2}) }}", "in a way that is not supported")]
    [InlineData("{{ range(*missing, **{'a': 2, 'b': *1}) }}", "has '*' where a value was expected")]
    [InlineData("{% for a, b in [[1, 2, 3]] %}{% endfor %}", "gives 3 values to 2 names")]
    [InlineData("{{ 1 // 0 }}", "in a way that is not supported")]
    [InlineData("{{ -'a' }}", "computes with a, which is no number")]
    [InlineData("{{ +[1] }}", "computes with [1], which is no number")]
    [InlineData("{{ 9223372036854775808 }}", "the number 9223372036854775808; whole ones up to 9223372036854775807 are supported")]
    [InlineData("{{ 0x8000000000000000 }}", "whole ones up to 9223372036854775807 are supported")]
    [InlineData("{{ 3 ** 40 }}", "in a way that is not supported")]
    [InlineData("{{ '\\N{BULLET}' }}", "names a character (\\N), which is not supported")]
    [InlineData("{{ 9000000000000000000 + 9000000000000000000 }}", "in a way that is not supported")]
    [InlineData("{{ 'a'.split('') }}", "in a way that is not supported")]
    [InlineData("{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}", "a text or list of more than 10,000,000")]
    [InlineData("{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}", "a text or list of more than 10,000,000")]
    [InlineData("{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}", "a text or list of more than 10,000,000")]
    [InlineData("{{ 'ab' * 9000000000 }}", "a text or list of more than 10,000,000")]
    [InlineData("{% set n = namespace(x='aa') %}{% for i in range(9) %}{% set n.x = n.x.replace('a', n.x) %}{% endfor %}", "a text or list of more than 10,000,000")]
    [InlineData("{% set d = {} %}{% set d.x = 1 %}", "sets 'x' of 'd', which is no namespace")]
    [InlineData("{{ missing.member }}", "asks what is not there for 'member'")]
    [InlineData("{{ 'a' - 1 }}", "which is no number")]
    [InlineData("{{ 'a'.replace('b') }}", "in a way that is not supported")]
    [InlineData("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "runs more than 1,000,000 statements")]
    [InlineData("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "more than 100 levels")]
    [InlineData("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}", "writes a value of more than 100 levels")]
    [InlineData("{% set l = [] %}{% set _ = l.append(l) %}{{ l | tojson(indent=2) }}", "writes a value of more than 100 levels")]
    [InlineData("{% set n = namespace(a=1) %}{% set n.a = n %}{{ n }}", "writes a value of more than 100 levels")]
    [InlineData("{% set n = namespace(x=1) %}{% for i in range(200) %}{% set n.x = (n.x,) %}{% endfor %}{{ n.x }}", "writes a value of more than 100 levels")]
    [InlineData("{% set n = namespace(x=1) %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}", "a text or list of more than 10,000,000")]
    [InlineData("{{ [[1]] | tojson(indent=9000000) }}", "a text or list of more than 10,000,000")]
    [InlineData(TwiceTheSame + "{{ n.x == n.y }}", "compares values")]
    [InlineData(TwiceTheSame + "{{ n.x in [n.y] }}", "compares values")]
    [InlineData("{% set l = [] %}{% set _ = l.append(l) %}{% set m = [] %}{% set _ = m.append(m) %}{{ l == m }}", "compares values")]
    [InlineData("{{ range }}", "writes out a function")]
    [InlineData("{{ missing | tojson }}", "writes what is not there as JSON")]
    [InlineData("{% for i in [1] %}{{ loop }}{% endfor %}", "writes out a function")]
    public void What_a_template_must_not_do_it_is_told(string template, string message)
        => Assert.Contains(
            message, Assert.Throws<RetroException>(() => new ChatTemplate(template, s_tokens).Render(s_messages)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("{{ 1")]
    [InlineData("{% if 1 %}")]
    [InlineData("{% for x in %}{% endfor %}")]
    [InlineData("{% endif %}")]
    [InlineData("{{ 'open }}")]
    [InlineData("{# open")]
    [InlineData("{{ a b }}")]
    [InlineData("{% set = 1 %}")]
    [InlineData("{{ range(1 ')') }}")]
    [InlineData("{{ (1 ')') }}")]
    [InlineData("{{ [1 ']'] }}")]
    [InlineData("{{ {1: 2 '}': 3} }}")]
    [InlineData("{% raw %}{{ 1 }}{% endra %}")]
    [InlineData("{% with 1 %}{% endwith %}")]
    [InlineData("{% set x | %}{% endset %}")]
    [InlineData("{% filter %}{% endfilter %}")]
    [InlineData("x{% break %}y")]
    [InlineData("{% for i in [] %}{% else %}{% continue %}{% endfor %}")]
    [InlineData("{% for i in [1] %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}")]
    public void What_is_no_template_is_refused(string template) => Assert.Throws<RetroException>(() => new ChatTemplate(template));

    [Theory]
    [InlineData("split()")]
    [InlineData("rsplit()")]
    public void A_text_of_twice_the_words_is_divided_with_twice_the_memory(string method)
    {
        ChatTemplate template = new($"{{{{ messages[0].content.{method} | length }}}}");
        long Bytes(int words)
        {
            ChatMessage[] message = [new(ChatRole.User, string.Concat(Enumerable.Repeat("a ", words)))];
            Assert.Equal($"{words}", template.Render(message));
            long before = GC.GetAllocatedBytesForCurrentThread();
            template.Render(message);
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }

        Assert.InRange((double)Bytes(20_000) / Bytes(10_000), 1, 3);
    }

    [Fact]
    public void The_time_is_written_as_Python_writes_it()
    {
        string Written(string format, int hour) => JinjaFilters.Time(format, new(2026, 3, 5, hour, 7, 9, TimeSpan.FromHours(2)));
        Assert.Equal("02:07 PM|2|2026-03-05 14:07:09|03/05/26 14:07", Written("%I:%M %p|%-I|%F %T|%D %R", 14));
        Assert.Equal(" 5|064|5 March 2026|Mar|Thu|Thursday|100%|26||%", Written("%e|%j|%-d %B %Y|%h|%a|%A|100%%|%y|%Z%z|%", 14));
        Assert.Equal("12 AM 00 0 7", Written("%I %p %H %-H %-M", 0));
    }

    [Fact]
    public void No_template_is_deeper_than_the_stack()
    {
        Assert.Throws<RetroException>(() => new ChatTemplate($"{{{{ {new string('(', 100_000)}1{new string(')', 100_000)} }}}}"));
        Assert.Throws<RetroException>(() => new ChatTemplate(string.Concat(Enumerable.Repeat("{% if 1 %}", 100_000))));
        Assert.Equal("True", new ChatTemplate($"{{{{ {string.Concat(Enumerable.Repeat("not ", 100_000))}1 }}}}").Render(s_messages));
    }

    [Fact]
    public void No_chain_of_a_template_is_deeper_than_the_stack()
    {
        string Links(string link) => string.Concat(Enumerable.Repeat(link, 50_000));
        (string Template, string Expected)[] chains =
        [
            ($"{{{{ 1{Links(" + 1")} }}}}", "50001"),
            ($"{{{{ ({Links("'' ~ ")}'a') }}}}", "a"),
            ($"{{{{ 1{Links(" * 1")} }}}}", "1"),
            ($"{{{{ 1{Links(" ** 1")} }}}}", "1"),
            ($"{{{{ 0{Links(" or 0")} or 2 }}}}", "2"),
            ($"{{{{ 1{Links(" and 1")} and 2 }}}}", "2"),
            ($"{{{{ 'a'{Links("[0]")} }}}}", "a"),
            ($"{{{{ 'a'{Links(" | trim")} }}}}", "a"),
        ];
        string[] written = [], refused = [];
        string call = $"{new string('[', 90)}a(n){new string(']', 90)}";
        Exception? fault = null;
        Thread small = new(
            () => fault = Record.Exception(() =>
            {
                written = [.. chains.Select(chain => new ChatTemplate(chain.Template).Render(s_messages))];
                string[] hostile = [$"{{% macro a(n) %}}{{{{ {call} }}}}{{% endmacro %}}{{{{ a(1) }}}}", $"{{{{ 'a' | map({Links("'map', ")}'trim') }}}}"];
                refused = [.. hostile.Select(template => Assert.Throws<RetroException>(() => new ChatTemplate(template).Render(s_messages)).Message)];
            }),
            maxStackSize: 600_000);
        small.Start();
        small.Join();
        Assert.Null(fault);
        Assert.Equal(chains.Select(chain => chain.Expected), written);
        Assert.Equal(["The chat template goes deeper than the stack.", "The chat template goes deeper than the stack."], refused);
    }

    [Fact]
    public void Damaged_templates_are_refused_and_nothing_worse_happens()
    {
        Random random = new(1);
        int refused = 0;
        foreach (string template in new[] { Qwen2, Llama2, Llama3, Blocks })
        {
            for (int i = 0; i < 200; i++)
            {
                char[] damaged = template.ToCharArray();
                for (int j = 0; j < 3; j++)
                {
                    damaged[random.Next(damaged.Length)] = "{}%'()[]|. a"[random.Next(12)];
                }

                try
                {
                    new ChatTemplate(new string(damaged), s_tokens).Render(s_messages);
                }
                catch (RetroException)
                {
                    refused++;
                }
            }
        }

        Assert.InRange(refused, 200, 800);
    }

    [Fact]
    public void A_models_folder_says_its_template_and_its_tokens()
    {
        Assert.Null(ChatTemplate.Load(_folder.Path));
        string config = _folder.File(
            "tokenizer_config.json",
            """{"bos_token":{"content":"<b>"},"eos_token":"</b>","chat_template":"{{ bos_token }}{{ eos_token }}"}""");
        Assert.Equal("<b></b>", ChatTemplate.Load(_folder.Path)!.Render(s_messages));
        File.WriteAllText(config, """{"chat_template":[{"name":"rag","template":"r"},{"name":"default","template":"d"}]}""");
        Assert.Equal("d", ChatTemplate.Load(_folder.Path)!.Render(s_messages));
        foreach ((string none, string fault) in ((string, string)[])[
            ("""[{"name":"tool_use","template":"t"},{"name":"rag","template":"r"}]""", "\"tool_use\", \"rag\" and none of the name \"default\""),
            ("{}", "fix tokenizer_config.json"), ("5", "fix tokenizer_config.json")])
        {
            File.WriteAllText(config, $"{{\"chat_template\":{none}}}");
            Assert.Contains(fault, Assert.Throws<RetroException>(() => ChatTemplate.Load(_folder.Path)).Message, StringComparison.Ordinal);
        }

        File.WriteAllText(config, """{"chat_template":null}""");
        Assert.Null(ChatTemplate.Load(_folder.Path));
        File.WriteAllText(config, """{"chat_template":[{"name":"tool_use","template":"t"}]}""");
        _folder.File("chat_template.jinja", "\uFEFFof its own"); // a byte order mark is no part of it, and the other file's do not count
        Assert.Equal("of its own", ChatTemplate.Load(_folder.Path)!.Render(s_messages));
        File.WriteAllText(config, "{");
        Assert.Contains("fix tokenizer_config.json", Assert.Throws<RetroException>(() => ChatTemplate.Load(_folder.Path)).Message, StringComparison.Ordinal);
        File.Delete(config);
        using (FileStream longer = File.Create(_folder["chat_template.jinja"]))
        {
            longer.SetLength((1 << 24) + 1);
        }

        Assert.Contains("fix chat_template.jinja", Assert.Throws<RetroException>(() => ChatTemplate.Load(_folder.Path)).Message, StringComparison.Ordinal);
    }
}
