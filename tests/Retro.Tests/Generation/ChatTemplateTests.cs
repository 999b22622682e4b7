using Microsoft.Extensions.AI;
using Retro.Generation;

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

    private static readonly ChatMessage[] s_messages =
    [
        new(ChatRole.System, "Be brief."), new(ChatRole.User, " What is a river? "), new(ChatRole.Assistant, "Water."), new(ChatRole.User, "And a \"bridge\"?"),
    ];

    private static readonly Dictionary<string, string> s_tokens = new() { ["bos_token"] = "<s>", ["eos_token"] = "</s>" };

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(Qwen2, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n What is a river? <|im_end|>\n<|im_start|>assistant\nWater.<|im_end|>\n<|im_start|>user\nAnd a \"bridge\"?<|im_end|>\n<|im_start|>assistant\n")]
    [InlineData(Llama2, "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n What is a river? [/INST] Water. </s><s>[INST] And a \"bridge\"? [/INST]")]
    [InlineData(Llama3, "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhat is a river?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nWater.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd a \"bridge\"?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")]
    [InlineData(Blocks, "<USER> What is a river? \n<ASSISTANT>Water.\n<USER>And a \"bridge\"?\n3 of 4")]
    public void Templates_of_decoders_are_rendered_as_they_are_elsewhere(string template, string expected)
        => Assert.Equal(expected, new ChatTemplate(template, s_tokens).Render(s_messages));

    [Theory]
    [InlineData("{{ 1 + 2 * 3 - 4 // 3 }} {{ 7 % 4 }} {{ 1 / 2 }} {{ -2 + 1 }}", "6 3 0.5 -1")]
    [InlineData("{{ 'a' ~ 1 ~ none ~ true ~ missing }}", "a1NoneTrue")]
    [InlineData("{{ [1, 'a', none] }} {{ {'k': [1.5]} | tojson }} {{ {'k': 'ä'} | tojson(indent=2) }}", "[1, 'a', None] {\"k\": [1.5]} {\n  \"k\": \"ä\"\n}")]
    [InlineData("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }}{{ ',' if not loop.last }}{% endfor %}", "a=1,b=2")]
    [InlineData("{{ 'abcdef'[1:4] }} {{ [1,2,3][::-1] }} {{ 'abc'[-1] }} {{ messages[-1].content }}", "bcd [3, 2, 1] c And a \"bridge\"?")]
    [InlineData("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('|') }}", " What is a river? |And a \"bridge\"?")]
    [InlineData("{{ 'x' in 'axe' }} {{ 2 not in [1, 2] }} {{ missing is not defined }} {{ none is none and 'a' is string }}", "True False True True")]
    [InlineData("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}", "023")]
    [InlineData("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}{% set y %}a{{ x }}b{% endset %}{{ y }}", "1a1b")]
    [InlineData("a  {%- if true -%}  b  {%- endif -%}  c", "abc")]
    [InlineData("a\n  {% if true %}\n  b\n  {% endif %}\nc {{ '' }}\nd", "a\n  b\nc \nd")]
    [InlineData("{{ ' a ' | trim | default('z') }}{{ missing | default('z') }}{{ '' | d('y', true) }}{{ ('a', 'b') | last }}", "azyb")]
    [InlineData("{{ 'a,b'.split(',') | length }}{{ 'A'.lower() }}{{ 'ab'.startswith('a') }}{{ not 'ab'.endswith('a') and not not 1 }}", "2aTrueTrue")]
    [InlineData("{% generation %}{{ 'it\\'s' \" fine\" }}{% endgeneration %}{# nothing #}", "it's fine")]
    public void What_templates_use_does_what_it_does_in_Jinja(string template, string expected)
        => Assert.Equal(expected, new ChatTemplate(template, s_tokens).Render(s_messages));

    [Theory]
    [InlineData("{{ raise_exception('No system, please.') }}", "refuses the conversation: No system, please.")]
    [InlineData("{% include 'x' %}", "the statement 'include', which is not supported")]
    [InlineData("{{ 'a' | sort }}", "the filter 'sort', which is not supported")]
    [InlineData("{{ 'a' is strange }}", "the test 'strange', which is not supported")]
    [InlineData("{{ lipsum() }}", "calls what is no function")]
    [InlineData("{{ missing.member }}", "asks what is not there for 'member'")]
    [InlineData("{{ 'a' - 1 }}", "which is no number")]
    [InlineData("{{ 'a'.replace('b') }}", "in a way that is not supported")]
    [InlineData("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "runs more than 1,000,000 statements")]
    [InlineData("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "more than 100 levels")]
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
    public void What_is_no_template_is_refused(string template) => Assert.Throws<RetroException>(() => new ChatTemplate(template));

    [Fact]
    public void No_template_is_deeper_than_the_stack()
    {
        Assert.Throws<RetroException>(() => new ChatTemplate($"{{{{ {new string('(', 100_000)}1{new string(')', 100_000)} }}}}"));
        Assert.Throws<RetroException>(() => new ChatTemplate(string.Concat(Enumerable.Repeat("{% if 1 %}", 100_000))));
        Assert.Equal("True", new ChatTemplate($"{{{{ {string.Concat(Enumerable.Repeat("not ", 100_000))}1 }}}}").Render(s_messages));
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
        Assert.Equal("</b>", ChatTemplate.Load(_folder.Path)!.Render(s_messages));
        File.WriteAllText(config, """{"chat_template":[{"name":"rag","template":"r"},{"name":"default","template":"d"}]}""");
        Assert.Equal("d", ChatTemplate.Load(_folder.Path)!.Render(s_messages));
        _folder.File("chat_template.jinja", "of its own");
        Assert.Equal("of its own", ChatTemplate.Load(_folder.Path)!.Render(s_messages));
        File.WriteAllText(config, "{");
        Assert.Contains("mend tokenizer_config.json", Assert.Throws<RetroException>(() => ChatTemplate.Load(_folder.Path)).Message, StringComparison.Ordinal);
    }
}
