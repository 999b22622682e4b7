using System.IO.Compression;
using System.Text;
using Retro.Corpora;

namespace Retro.Tests.Corpora;

/// <summary>Files as they are met: marked up, packed, and in other encodings.</summary>
public class CorpusReadersTests
{
    /// <summary>Python's json writes what is no number as words that JSON has not, unless it is told otherwise.</summary>
    [Theory]
    [InlineData("""{"text": "A score of NaN or -Infinity.", "score": NaN, "more": [-Infinity, Infinity, {"a": NaN}]}""", "A score of NaN or -Infinity.")]
    [InlineData("""{"score":NaN,"text":"It says \" NaN, and \\","labels":["NaN"]}""", "It says \" NaN, and \\", "NaN")]
    [InlineData("""{"id": NaN, "title": Infinity, "text": "It has no id.", "labels": NaN}""", "It has no id.")]
    [InlineData("""{"text": NaN}""", null)]
    [InlineData("""{"text": "Of another word.", "score": NaNs}""", null)]
    [InlineData("""{"text": "Cut short.", "score": NaN, "more": "NaN""", null)]
    public void What_is_no_number_in_a_line_of_JSON_is_null(string line, string? text, string labels = "")
    {
        using TemporaryFolder folder = new();
        string path = folder.File("a.jsonl", line + "\n{\"text\":\"Another.\"}\n");
        Corpus corpus = Corpus.Open(path, new() { SkipBroken = true });
        Document[] documents = [.. corpus.Documents()];
        Assert.Equal(text is null ? ["Another."] : [text, "Another."], documents.Select(document => document.Text));
        Assert.Equal(text is null ? 1 : 0, corpus.Skipped);
        Assert.Equal(labels, string.Join(',', documents[0].Labels));
        Assert.StartsWith("a.jsonl#", documents[0].Id, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("rows.jsonl", "{\"id\":\"1\",\"title\":\" \\n\",\"text\":\"It floods.\"}\n{\"title\":\"\\u00a0\",\"text\":\"It dries.\"}", "1|rows.jsonl:2")]
    [InlineData("rows.csv", "id,title,text\n1,\"  \",It floods.\n,\t,It dries.\n", "1|rows.csv:3")]
    public void A_title_of_white_space_is_none(string file, string rows, string titles)
    {
        using TemporaryFolder folder = new();
        Assert.Equal(titles, string.Join('|', Corpus.Open(folder.File(file, rows)).Documents().Select(document => document.Title)));
    }

    [Theory]
    [InlineData("rows.jsonl", "{\"title\":\" A\\r\\n\\u0000 long \\t title \",\"labels\":[\" staff \",\" \"],\"text\":\"It floods.\"}")]
    [InlineData("one.jsonl", "{\"title\":\"A long title\",\"labels\":\" staff\\t\",\"text\":\"It floods.\"}")]
    [InlineData("rows.csv", "title,labels,text\n\"A\n long \0title\", staff ,It floods.\n")]
    public void A_title_is_one_line_and_a_label_has_no_space_around_it_whatever_they_are_read_from(string file, string rows)
    {
        using TemporaryFolder folder = new();
        Document document = Assert.Single(Corpus.Open(folder.File(file, rows)).Documents());
        Assert.Equal(("A long title", "staff"), (document.Title, string.Join('|', document.Labels)));
    }

    [Theory]
    [InlineData("{\"text\":\" a\\r\\n\"}", "a")]
    [InlineData("{\"textAsItIs\":true,\"text\":\" a\\r\\n\"}", " a\r\n")]
    [InlineData("{\"text\":\" a\\r\\n\",\"textAsItIs\":[true]}", "a")]
    public void A_row_of_an_export_may_say_that_its_text_stays_as_it_is(string row, string text) => Assert.Equal(text, Read("a.jsonl", row).Text);

    [Theory]
    [InlineData("page.html", "<pre><h1>A\n  long\ttitle</h1></pre>")]
    [InlineData("page.rst", "A \0long title\n=============")]
    [InlineData("page.md", "---\ntitle: \"A\\n long \\0title\"\n---\nWords.")]
    [InlineData("A\n long title.txt", "Words.")]
    public void A_title_of_a_page_is_one_line(string file, string page) => Assert.Equal("A long title", Read(file, page).Title);

    /// <summary>CommonMark 4.1 to 4.6: what is a heading and what only looks like one.</summary>
    [Theory]
    [InlineData("Backup guide\n============\n\n```bash\n# install the tools\n```", "Backup guide")]
    [InlineData("Words.\n\n~~~python\n# not a heading\n~~~\n\n# Real heading", "Real heading")]
    [InlineData("````\n```\n# inside\n````\n# After", "After")]
    [InlineData("Words.\n\n    # four spaces make this code\n\n# After the code", "After the code")]
    [InlineData("# Closing hashes #\n\nText", "Closing hashes")]
    [InlineData("<!--\n# no heading\n-->\n\n# Heading", "Heading")]
    [InlineData("<div>\n# in HTML\n</div>\n\n# Heading", "Heading")]
    [InlineData("> # quoted\n\n- # listed\n\n# Own", "Own")]
    [InlineData("#hashtag\n\n   # Three spaces", "Three spaces")]
    [InlineData("# The `code` of *some* [links](a.md) &amp; <b>more</b>", "The code of some links & more")]
    [InlineData("Two lines\nof a title\n===", "Two lines of a title")]
    [InlineData("## Second level\n\ntext", "page")]
    [InlineData("#\n\n# ", "page")]
    [InlineData("# Install it {#install_it}", "Install it")]
    [InlineData("# Install `it` {#install .unnumbered key=\"a b\" -} ##", "Install it")]
    [InlineData("Install it {: #install .wide }\n===", "Install it")]
    [InlineData("# Install it {/* #install */}", "Install it")]
    [InlineData("# Install \\{#it} {.x}", "Install {#it}")]
    [InlineData("# The set {x} of `{#it}`", "The set {x} of {#it}")]
    [InlineData("# Of {name}", "Of {name}")]
    [InlineData("# Retro<br>Language<BR />models", "Retro Language models")]
    [InlineData("# Le XIX<sup>e</sup> siècle, n<sup>o</sup> 5", "Le XIXe siècle, no 5")]
    [InlineData("# Of CO<sub>2</sub>, *10<SUP>x*</sup> and a</sub><sup>", "Of CO₂, 10^{x} and a")]
    [InlineData("% Install *it*\n% A. Author\n\n# First part", "Install it")]
    [InlineData("%Not a title\n\n# First part", "First part")]
    [InlineData("\\# escaped\n\nText", "page")]
    [InlineData("    # four spaces at the head make this code\n\n# Real", "Real")]
    [InlineData("\t# and so does a tab\n\n# Real", "Real")]
    [InlineData("---\nx: 1\n---\n\n    # code\n\n# Real", "Real")]
    [InlineData("# [Retro] [1.0.0][v] ![logo][] [other]\n\n[retro]: /a\n\n> [v]:\n> /b\n\n[LOGO]: /c", "Retro 1.0.0 logo [other]")]
    [InlineData("[Foo*bar\\]] [link [foo [bar]]][ref]\n===\n\n[Foo*bar\\]]: /a\n[ref]: /b", "Foo*bar] link [foo [bar]]")]
    [InlineData("<h1 align=\"center\">\n  <img src=a>\n  The <b>project</b> &amp; more\n</h1>\n\n# Installation", "The project & more")]
    [InlineData("<h1 align=\"center\">\n\nMy **project** &amp; [more](x)\n\n<br>\n\n</h1>\n\n# Installation", "My project & more")]
    [InlineData("<h1>\n\nNo end.\n\n<h1>\n\nNor here.\n\n# Own\n\n</h1>", "Own")]
    [InlineData("<div align=center>\n\n<h1><img src=logo></h1>\n\n<!-- <h1>no</h1> -->\n\n</div>\n\n> <h1>no</h1>\n\n# Own\n\n<h1>no</h1>", "Own")]
    [InlineData("# [unpaired <https://a.b/?c=d&e=f>", "[unpaired https://a.b/?c=d&e=f")]
    public void The_title_of_a_Markdown_page_is_its_first_heading(string page, string title) => Assert.Equal(title, Read("page.md", page).Title);

    /// <summary>YAML 1.2: the spellings of a scalar (7.3, 8.1), and what is none.</summary>
    [Theory]
    [InlineData("title: >-\n  A long title that\n  goes over two lines\nlayout: page", "A long title that goes over two lines")]
    [InlineData("title: |\n  Literal block\nlayout: page", "Literal block")]
    [InlineData("title: \"The \\\"quoted\\\" word \\u00e9\"", "The \"quoted\" word é")]
    [InlineData("title: 'It''s a dog''s life'", "It's a dog's life")]
    [InlineData("title: What people mean by \"cloud\"", "What people mean by \"cloud\"")]
    [InlineData("title: Release notes # internal", "Release notes")]
    [InlineData("tags: [a, {title: no}]\nnested:\n  title: no\ntitle: Outer", "Outer")]
    [InlineData("{title: In flow style, layout: page}", "In flow style")]
    [InlineData("name: &n Anchored\ntitle: *n", "Anchored")]
    [InlineData("\"title\": quoted key", "quoted key")]
    [InlineData("Title: 2024", "2024")]
    [InlineData("title: ~", "Heading")]
    [InlineData("title:\nlayout: page", "Heading")]
    [InlineData("layout: page", "Heading")]
    [InlineData("title: not: quite: YAML", "Heading")]
    [InlineData("title: 'It's a dog's life'", "Heading")]
    [InlineData("title: \"The \"quoted\" word\"\nauthor: Bar", "Heading")]
    [InlineData("title: \"Foo\" and \"Bar\"", "Heading")]
    [InlineData("title: \"Foo\nauthor: \"Bar\"", "Heading")]
    [InlineData("title: \"\\UFFFFFFFF\"", "Heading")]
    [InlineData("tags: [a, b\ntitle: X", "Heading")]
    [InlineData("title: {a: b\nname: y", "Heading")]
    [InlineData("tags: [a [b]\ntitle: x", "Heading")]
    [InlineData("tags: [a, # c\ntitle: x", "Heading")]
    [InlineData("authors: [{name: A, x: B}, {name: C\ntitle: T", "Heading")]
    [InlineData("title: Guide\nurl: {{ site.url }}/x", "Guide")]
    [InlineData("title: X\ntags: [a, b", "X")]
    [InlineData("title: X\ntags: [a, b\nname: y", "X")]
    [InlineData("title: X\ndescription: Foo: bar", "X")]
    [InlineData("title: T\nsub:\n\tkey: v", "T")]
    [InlineData("title: in\u2028two\u0085parts", "in two parts")]
    [InlineData("# comment\n# another", "Heading")]
    [InlineData("# comment\ntitle: not: quite: YAML", "Heading")]
    [InlineData("", "Heading")]
    public void Front_matter_is_YAML_and_leaves_the_text(string yaml, string title)
    {
        Document document = Read("page.md", $"---\n{yaml}\n---\n\n# Heading\n\nBody");

        Assert.Equal(title, document.Title);
        Assert.Equal("# Heading\n\nBody", document.Text);
    }

    [Theory]
    [InlineData("---\ntitle: Dots end it\n...\nBody", "Dots end it", "Body")]
    [InlineData("--- \ntitle: A space behind\n---\t\nBody", "A space behind", "Body")]
    [InlineData("---\ntitle: Nothing follows\nx: 1\n---", "Nothing follows", "")]
    [InlineData("---\nA quotation, no front matter.\n\n---\nBody", "page", "---\nA quotation, no front matter.\n\n---\nBody")]
    [InlineData("----\ntitle: no\n---\nBody", "page", "----\ntitle: no\n---\nBody")]
    [InlineData("---\n---\nBody", "page", "Body")]
    [InlineData("---\nNote: A rule.\n\nMore text.\n\n---\nRest", "page", "---\nNote: A rule.\n\nMore text.\n\n---\nRest")]
    [InlineData("---\n# heading\nTo: Bob\nFrom: Al\n\nDear Bob, hi\n---\nRest", "heading", "---\n# heading\nTo: Bob\nFrom: Al\n\nDear Bob, hi\n---\nRest")]
    [InlineData("---\ntitle: X\nlast edit: y: z\n\"k\": [\n  a\n]\n- b\n# c\n\nurl: {{ x }}/y\n---\nBody", "X", "Body")]
    [InlineData("---\n\n## A slide\n\n---\nBody", "page", "---\n\n## A slide\n\n---\nBody")]
    [InlineData("+++\ndate = 2026-01-01\ntitle = \"The \\\"quoted\\\" \\u00e9\"\n[x]\ntitle = \"no\"\n+++\nBody", "The \"quoted\" é", "Body")]
    [InlineData("+++\nTitle = 'C:\\path' # comment\n+++\nBody", "C:\\path", "Body")]
    [InlineData("+++\ntitle = \"\"\"\nTwo \\\n  lines\"\"\"\n+++\nBody", "Two lines", "Body")]
    [InlineData("+++\n[x]\ntitle = \"no\"\n+++\nBody", "page", "Body")]
    [InlineData("+++\nd = \"\"\"\nHow to:\ntitle = \"no\"\n\"\"\"\ntitle = \"yes\"\n+++\nBody", "yes", "Body")]
    [InlineData("+++\nd = '''\ntitle = 'no'\n'''\n+++\nBody", "page", "Body")]
    [InlineData("+++\nd.title = 'no'\np = [\n  [1, 2],\n  [3, 4],\n]\nt = { a = 1, title = \"no\" }\ntitle = \"yes\"\n+++\nBody", "yes", "Body")]
    [InlineData("+++\ntitle = \"\"\"\"quoted\"\"\"\"\n+++\nBody", "\"quoted\"", "Body")]
    [InlineData("+++\ntitle = \"\"\"yes\\\"\"\"\"\"\"\n+++\nBody", "yes\"\"\"", "Body")]
    [InlineData("+++\ntitle = \"yes\"\ndate = 2026-99-99\nx =\n+++\nBody", "yes", "Body")]
    [InlineData("+++\ntitle = 2026\n+++\nBody", "page", "Body")]
    [InlineData("+++\ntitle = 'It's a dog's life'\n+++\nBody", "page", "Body")]
    [InlineData("+++\ntitle = \"yes\"\n+++\nBody", "yes", "Body")]
    [InlineData("+++\n+++\nBody", "page", "Body")]
    [InlineData("+++\nNo TOML.\n+++\nBody", "page", "+++\nNo TOML.\n+++\nBody")]
    public void Front_matter_ends_where_it_ends(string page, string title, string text)
    {
        using TemporaryFolder folder = new();
        folder.File("z.txt", "there is always some text");
        folder.File("page.md", page);
        Document? read = Corpus.Open(folder.Path).Documents().FirstOrDefault(document => document.Id == "page.md");

        Assert.Equal(text.Length == 0 ? default : (title, text), (read?.Title, read?.Text));
    }

    [Fact]
    public void Pages_that_nest_without_end_are_read_with_no_title()
    {
        string quotes = string.Concat(Enumerable.Repeat("> ", 100_000)) + "x", brackets = new('[', 60_000);

        Assert.Equal("page", Read("page.md", quotes).Title);
        Assert.Equal("Heading", Read("page.md", $"---\ntitle: {brackets}\n---\n# Heading").Title);
        Assert.Equal("Heading", Read("page.md", $"+++\na = {brackets}\n+++\n# Heading").Title);
        Assert.Equal("Heading", Read("page.md", $"+++\n{string.Concat(Enumerable.Repeat("a.", 30_000))}a = 1\n+++\n# Heading").Title);
    }

    [Fact]
    public void Html_becomes_text_with_a_line_for_each_block()
    {
        const string page = """
            <!DOCTYPE html><html><head><title>The &amp; title</title><meta name="x" content="no"><style>p { color: red }</style>
            <script>if (a < b) { document.write("<p>no</p>"); }</script></head>
            <body><nav>Home</nav><h1>Head<br>line</h1><p>One
            <b>bo</b>ld word<p>Two&nbsp;&eacute;<svg><title>no</title><text>no</text></svg>
            <ul><li>first<li>second</ul><table><tr><th>a</th><td>b</td></tr><tr><td>c<td>d</table>
            <pre>code {
              x
            }</pre><noscript>no</noscript><!-- no --><template><p>no</p></template>end</body></html>
            """;

        Document document = Read("page.html", page);

        Assert.Equal("The & title", document.Title);
        Assert.Equal(
            "Home\nHead\nline\nOne bold word\nTwo é\n- first\n- second\na b\nc d\ncode {\n  x\n}\nend", document.Text);
        Assert.Equal("Head line", Read("page.htm", "<h1>Head<br>line</h1>text").Title);
        Assert.Equal("page", Read("page.html", "<p>text").Title);
    }

    [Theory]
    [InlineData("<head><title/></head><body><p>one <b>two</b></p><p>three</p></body>", "page", "one two\nthree")]
    [InlineData("<head><title>T</title><script src='x.js'/><style/></head><p>one <b>two</b></p><iframe/><p>three</p><textarea/>", "T", "one two\nthree")]
    [InlineData("<script>no<script/>no</script><p>one</p>", "page", "one")]
    [InlineData("<h1/><p>one</p><pre/><p>two\n  three</p><h1>T</h1>", "T", "one\ntwo three\nT")]
    public void An_element_of_XHTML_that_closes_itself_holds_nothing_of_what_follows(string page, string title, string text)
        => Assert.Equal((title, text), Read("page.xhtml", page) is var read ? (read.Title, read.Text) : default);

    [Theory]
    [InlineData("<h1>Short heading</h2><p>First paragraph.</p>", "Short heading")]
    [InlineData("<h1>Short heading<p>First paragraph.</p><div>More.</div>", "Short heading")]
    [InlineData("<h1>Short heading<h2>Another</h2>", "Short heading")]
    [InlineData("<h1><img src=logo alt=Logo></h1><h1> <br> </h1><h1>Real heading</h1><h1>no</h1>", "Real heading")]
    [InlineData("<h1><div>Real<br>heading</div></h1><p>no", "Real heading")]
    [InlineData("<title> </title><title>Real title</title><h1>no</h1>", "Real title")]
    [InlineData("<h1>Of CO<sub>2</sub> and 10<sup>x</sup></h1>no", "Of CO₂ and 10^{x}")]
    [InlineData("<h1>Of <math><mi>E</mi><annotation encoding=LaTeX>E^2</annotation></math></h1>no", "Of E^2")]
    [InlineData("<h1>On <q>this</q></h1>no", "On \"this\"")]
    [InlineData("<h1>Real heading<title></title>no</h1>", "Real heading")]
    public void A_title_of_Html_is_what_its_first_title_or_heading_with_words_says(string page, string title)
        => Assert.Equal(title, Read("page.html", page).Title);

    [Theory]
    [InlineData("<pre>\n\nif x:\n\ty\n\n  \t<b>z</b>\n\n</pre>end", "if x:\n\ty\n\n  \tz\nend")]
    [InlineData("<p>a \t b</p><listing>c\n  d</listing><xmp><i>\n  e</xmp>", "a b\nc\n  d\n<i>\n  e")]
    [InlineData("x<pre>  &nbsp;a&nbsp;&nbsp;b</pre>", "x\n   a  b")]
    public void What_is_preformatted_keeps_tabs_and_empty_lines(string page, string text) => Assert.Equal(text, Read("page.html", page).Text);

    [Theory]
    [InlineData("<p>a</p><video>Your browser <b>plays</b> no video.</video><audio>no</audio><canvas>no</canvas><datalist><option>no</datalist>b", "a\nb")]
    [InlineData("one<svg><path d=''><text>no</text><p>two</p><svg/>three", "one\ntwo\nthree")]
    [InlineData("one<svg><foreignObject><p>no</p></foreignObject><desc><b>no</b></desc></svg>two", "onetwo")]
    [InlineData("<math><mi>E</mi>=m<annotation encoding='application/x-tex'>{E=m}</annotation><annotation-xml>no</annotation-xml></math>", "{E=m}")]
    [InlineData("<p>The rate is <math><semantics><annotation encoding='TeX'> 10^{-4}\n</annotation></semantics></math> per token.", "The rate is 10^{-4} per token.")]
    [InlineData("<math><msup><mn>10</mn><mrow><mo>\u2212</mo><mn>4</mn></mrow></msup></math> and <math><annotation>no</annotation><mi>a</mi></math>", "10⁻⁴ and a")]
    [InlineData("<math>\n<mn>2</mn><mfrac> <mn>1</mn> <mn>2</mn> </mfrac><mi>x</mi><mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mi>c</mi></mfrac></math>.", "2 1/2 x (a+b)/c.")]
    [InlineData("<math><munderover><mo>\u2211</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup></math>", "\u2211_{i=1}^{n}x_{i}²")]
    [InlineData("<math><msqrt><mi>x</mi><mo>+</mo><mn>1</mn></msqrt>=<mn>2</mn><mroot><mn>8</mn><mn>3</mn></mroot></math>", "√(x+1)=2 ³√8")]
    [InlineData("<math><mtable><mtr><mtd>1</mtd><mtd>2</mtd></mtr></mtable></math><math><msup><mi>a</mi><mrow/></msup><mfrac><mi>b</mi></math>c", "1 2abc")]
    [InlineData("<math><mi>a</mi><mo>=</mo><semantics><mi>b</mi><annotation encoding=\"application/x-tex\">b</annotation></semantics><mo>+</mo><mi>c</mi></math>", "a=b+c")]
    [InlineData("<math><mfrac><semantics>a word<mi>b</mi><annotation encoding=TeX>b</annotation></semantics><semantics><mi>c</mi><annotation encoding=TeX>c_1</annotation></semantics></mfrac></math>", "b/(c_1)")]
    [InlineData("<math><semantics><semantics><mi>a</mi><annotation encoding=TeX>b</annotation></semantics><annotation encoding=TeX>c</annotation></semantics></math>d", "cd")]
    [InlineData("<math><mrow><mi>a</mi><annotation encoding=TeX>no</annotation></mrow><mi>b</mi></math>", "ab")]
    [InlineData("where <math><semantics><mrow><mi>m</mi></mrow><annotation encoding=TeX>{\\displaystyle m}</annotation></semantics></math> is its mass", "where m is its mass")]
    [InlineData("<math><annotation encoding=TeX>{\\displaystyle E=mc^{2}\\}}</annotation></math>, <math><annotation encoding=TeX>{\\displaystyle a}{b}</annotation></math>", "E=mc^{2}\\}, {\\displaystyle a}{b}")]
    [InlineData("<math><mi>a</mi><annotation encoding=TeX>{\\textstyle }</annotation></math> <math><annotation encoding=TeX>{\\scriptstyles a}</annotation></math>", "a {\\scriptstyles a}")]
    [InlineData("<math><msup><mi>e</mi><mrow><mi>s</mi><mi>t</mi></mrow></msup><msup><mi>a</mi><mrow><mo>[</mo><mn>1</mn><mo>]</mo></mrow></msup><msub><mi>V</mi><mi>th</mi></msub></math>", "e^{st}a^{[1]}V_{th}")]
    [InlineData("<math><msup><mi>a</mi><p>b</p><mn>2</mn></msup></math>c", "a\nb\n2c")]
    [InlineData("<select><option>a<option>b</select>c", "a\nb\nc")]
    [InlineData("<html xmlns='http://www.w3.org/1999/xhtml'><p><![CDATA[a < b && <c>]]></p>", "a < b && <c>")]
    [InlineData("<p>a<![CDATA[a comment in HTML]]>b</p>", "ab")]
    [InlineData("<div hidden>no<div>no</div>no</div>a<span hidden='until-found'>b</span><section hidden role=tabpanel>c</section>", "ab\nc")]
    [InlineData("<p><span hidden>x</p><p>real</p><p>more</p>", "real\nmore")]
    [InlineData("<div><a hidden href=x>skip</div><p>real</p>", "real")]
    [InlineData("<ul><li><b hidden>new<li>two</ul><p>end</p>", "-\nend")]
    [InlineData("<section hidden><p>a<p>b</p></p><br></br>x</section>c", "c")]
    [InlineData("<div hidden>a</b> b</div>c", "c")]
    [InlineData("<b>x</b><div><span hidden>a</b></p><i>b</i></i> c</div>d", "x\nd")]
    [InlineData("<p><b>x <div hidden>no</b> no</div>c", "x c")]
    [InlineData("<div><button>a<div hidden>no</button>b</div>c", "ab\nc")]
    [InlineData("<div>a<br hidden>b<h1 HIDDEN=''>no</h1>c</div><body hidden>d", "a\nbc\nd")]
    [InlineData("<p>a</p><p hidden>no <b>no</b></p><p>b</p><p hidden>no<div>c</div><p hidden>no<p hidden>no<p>d", "a\nb\nc\nd")]
    [InlineData("<ul><li hidden>no<ul><li>no<li>no</ul>no<li>a<li hidden>no</ul>b<div><p hidden>no</div>c", "- a\nb\nc")]
    [InlineData("<table><tr hidden><td>no<table><tr><td>no</table>no<tr><td>a<td hidden>no<td>b</table>c", "a b\nc")]
    [InlineData("<dl><dt>a<dd hidden>no<dt>b<dd>c</dl><select><option hidden>no<option>d</select><ruby>e<rt hidden>no<rp hidden>no</ruby>f", "a\nb\nc\nd\nef")]
    [InlineData("<ul><li><p>First</p><p>more</p></li><li>\n <div>Second</div></li></ul>", "- First\nmore\n- Second")]
    [InlineData("<ul><li><ul><li>b<li><li>c</ul><li></li><li>d</ul><p>e", "- - b\n-\n- c\n-\n- d\ne")]
    [InlineData("<ol><li><pre>\na\n  b</pre></ol>", "1.\na\n  b")]
    [InlineData("<p>Do step 2 first.<ol><li>First<li value=\"100\">Hundredth<li>Next</ol><ol start=\"2\"><li>foo</ol>", "Do step 2 first.\n1. First\n100. Hundredth\n101. Next\n2. foo")]
    [InlineData("<ol><li>a<ul><li>b</ul><li hidden>no<li>c<ol start=-1 ><li>d<li>e</ol></li><li value=x>f</ol></ol><li>g", "1. a\n- b\n2. c\n-1. d\n0. e\n3. f\n- g")]
    [InlineData("<p>See (b).<ol type=\"a\"><li>Fees<li>Terms</ol>", "See (b).\na. Fees\nb. Terms")]
    [InlineData("<ol type=A start=26><li>a<li>b<li type=i value=4>c<ol><li>d</ol><li value=0>e<li value=703>f</ol>", "Z. a\nAA. b\niv. c\n1. d\n0. e\nAAA. f")]
    [InlineData("<ol type=I start=1994><li>a<li value=3999>b<li>c</ol><ul type=a><li>d</ul>", "MCMXCIV. a\nMMMCMXCIX. b\n4000. c\n- d")]
    [InlineData("<ol reversed><li>a<li>b</ol>", "- a\n- b")]
    [InlineData("<ul><li><q>a</q> b</ul><p>He said <q>no</q></q><q/>.", "- \"a\" b\nHe said \"no\".")]
    [InlineData("<article><template shadowrootmode=\"Open\"><style>p{}</style><p>Card text.</p><slot></slot></template><h2>Light</h2></article>", "Card text.\nLight")]
    [InlineData("a<template shadowrootmode=\"no\"><p>no</p></template>b", "ab")]
    [InlineData("<p>a</p><dialog><p>cookies</p></dialog><dialog open>b</dialog>c", "a\nb\nc")]
    [InlineData("<h1>Install<a class=\"x headerlink\" href=\"#install\" title=\"Link\">\u00B6</a></h1><p>\u00B6<a class=headerlinks href=x>a</a>", "Install\n\u00B6a")]
    [InlineData("<div><canvas id=c></div><p>a</p><section><video src=x>no</section>b<p>c<audio>no</p>d", "a\nb\nc\nd")]
    [InlineData("<div><svg><path d=''></div>a<div><svg><foreignObject></div>no</foreignObject></svg></div>b", "a\nb")]
    [InlineData("<math><semantics><mi>a</mi><annotation>no</math><p><datalist><option>no</p>b<div><template>no</div>no</template></div>c", "a\nb\nc")]
    [InlineData("<p>10<sup>2</sup> = 100, CO<sub>2</sub>, 10<sup>\u22124</sup> <sup>14</sup>C", "10² = 100, CO₂, 10⁻⁴ ¹⁴C")]
    [InlineData("<p>e<sup>x<sup>2</sup></sup>, x<sub>max</sub>, 2011<sub>15ya</sub> (a)<sup>n </sup>b", "e^{x²}, x_{max}, 2011_{15ya} (a)^{n} b")]
    [InlineData("<p>1<sup>st</sup> word<sup><a>[a]</a></sup>, Retro<sup>®</sup> <sub>Made of words</sub>", "1st word[a], Retro® Made of words")]
    [InlineData("<p>XIX<sup>e</sup> siècle, n<sup>o</sup> 5, M<sup>me</sup> Curie, 2<sup>ème</sup>, 19<sup>e</sup> eeuw", "XIXe siècle, no 5, Mme Curie, 2ème, 19e eeuw")]
    [InlineData("<p>Intel<sup>TM</sup>, 5<sup>TH</sup>, x<sup>e</sup>, n<sup>e</sup>, CO<sup>o</sup>, R<sup>d</sup>, V<sub>th</sub>, k<sub>er</sub>", "IntelTM, 5TH, x^{e}, n^{e}, CO^{o}, R^{d}, V_{th}, k_{er}")]
    [InlineData("<table><tr><td><sub>2024</sub></td><td><sub>(1-3)</sub></table><p align=center><sub>2019-2024</sub><p>a.<sup>12-14</sup> <sup>238</sup>U", "2024 (1-3)\n2019-2024\na.¹²⁻¹⁴ ²³⁸U")]
    [InlineData("<p>a</sup><sup/><sup>b<p>c</sup><sup>2</sub></sup></sup>d", "ab\nc²d")]
    [InlineData("<p>\uE000 an icon's font</p>", "\uE000 an icon's font")]
    [InlineData("<p>&#150;&#x93;q&#148; &#128; &#xD800; &notit; AT&T", "–“q” € \uFFFD ¬it; AT&T")]
    public void Html_is_read_as_its_standard_has_it(string page, string text) => Assert.Equal(text, Read("page.html", page).Text);

    [Fact]
    public void Html_that_nests_without_end_is_read_in_a_time_that_grows_with_its_length()
    {
        // A tree of this takes minutes.
        string page = string.Concat(Enumerable.Repeat("<div><b><table>", 200_000)) + "x";
        Assert.Equal("x", Read("page.html", page).Text);
    }

    [Theory]
    [InlineData("Notes\n=====\n\ntext", "Notes")]
    [InlineData("======\n Over \n======\n\ntext", "Over")]
    [InlineData(".. comment\n\nWords before.\n\nTitle\n-----\n", "Title")]
    [InlineData("Code::\n\n    not this\n    ========\n\nTitle\n=====", "Title")]
    [InlineData("Too long a line\n===\n\ntext", "page")]
    [InlineData("Words\n\n----\n\nmore words", "page")]
    [InlineData("Underlined too short\n====\n\ntext", "Underlined too short")]
    [InlineData("====\nBoth too short\n====\n\ntext", "Both too short")]
    [InlineData("A\n=\n\ntext", "A")]
    [InlineData(".. _label:\nTitle\n=====\n\ntext", "Title")]
    [InlineData(".. comment\n   more of it\nTitle\n=====", "Title")]
    [InlineData(":mod:`json` --- ``JSON`` *encoder* and **decoder**\n========================================", "json --- JSON encoder and decoder")]
    [InlineData("See :ref:`the guide <guide>`, `a page <x.html>`_ and 2 * 3 * 4\n=====", "See the guide, a page and 2 * 3 * 4")]
    [InlineData("Not \\*emphasized\\*\n=====", "Not *emphasized*")]
    [InlineData("A \\*b\\* c\\ d\n===========", "A *b* cd")]
    [InlineData("foo_bar and x_, the `docs`_ and y__ of __init__\n=====", "foo_bar and x, the docs and y of __init__")]
    [InlineData("_`inline` target [1]_ [#n]_\n=====", "inline target 1 #n")]
    [InlineData("- a\n===\n\n=====\n* b *\n=====\n\nTitle\n=====", "* b *")]
    [InlineData("-x\n===\n\ntext", "-x")]
    [InlineData(".. _label:\n=====\nTitle\n=====", "Title")]
    [InlineData(".. -*- coding: utf-8 -*-\n=====\nTitle\n=====", "Title")]
    [InlineData(":orphan:\n=====\nTitle\n=====", "Title")]
    [InlineData(":date: 2024-01-01\nTitle\n=====", "Title")]
    [InlineData(".. contents::\n=====\nTitle\n=====", "Title")]
    [InlineData("..\nTitle\n=====", "Title")]
    [InlineData("__ https://a.b\n=====\nTitle\n=====", "Title")]
    [InlineData("..\n=====\nTitle\n=====", "Title")]
    [InlineData(":ref:`a` b: c\n=============", "a b: c")]
    [InlineData(":class:`~collections.OrderedDict` and :py:func:`!a.b` objects\n====", "OrderedDict and a.b objects")]
    [InlineData(":class:`.datetime` and :class:`Dict <~a.b>` beside :file:`.profile`\n====", "datetime and Dict beside .profile")]
    [InlineData("What :pep:`701`, :RFC:`2822` and :pep:`this <8>` say\n====", "What PEP 701, RFC 2822 and this say")]
    [InlineData("Title of |XXX| |none| a | b\n====\n\n.. |YYY| replace:: no\n.. |XXX| replace:: the version", "Title of the version |none| a | b")]
    public void The_title_of_reStructuredText_is_its_first_section(string page, string title)
    {
        Document document = Read("page.rst", page);
        Assert.Equal((title, page.Trim()), (document.Title, document.Text));
    }

    [Fact]
    public void Other_encodings_are_read_by_option_beside_utf8()
    {
        using TemporaryFolder folder = new();
        folder.File("menu.txt", [0x43, 0x61, 0x66, 0xE9, 0x20, 0x96, 0x20, 0x80]);
        folder.File("rows.jsonl", [.. "{\"text\": \"Caf"u8, 0xE9, .. "\"}"u8]);
        folder.File("utf8.txt", "Café");

        Assert.Contains("menu.txt", Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path).Documents().ToList()).Message, StringComparison.Ordinal);
        Assert.Equal(
            ["Café – €", "Café", "Café"], Corpus.Open(folder.Path, new() { Encoding = "windows-1252" }).Documents().Select(document => document.Text));
    }

    /// <summary>The first character is U+00B7 in UTF-8, the second none.</summary>
    [Fact]
    public void Json_lines_are_of_one_encoding_whatever_a_line_by_itself_could_be()
    {
        using TemporaryFolder folder = new();
        byte[] road = [0xC2, 0xB7], capital = [0xB1, 0xB1, 0xBE, 0xA9];
        byte[] Row(params byte[] text) => [.. "{\"text\": \""u8, .. text, .. "\"}\n"u8];
        folder.File("a.jsonl", [.. Row(road), .. Row(capital), .. Row(capital), .. Row([.. "plain"u8])]);
        folder.File("b.jsonl", [.. Row(road), .. Row(road), .. Row(capital)]);
        folder.File("c.jsonl", [.. Row(road), .. Row(road)]);
        Assert.Equal(
            ["路", "北京", "北京", "plain", "·", "·", "北京", "·", "·"],
            Corpus.Open(folder.Path, new() { Encoding = "gbk" }).Documents().Select(document => document.Text));
    }

    /// <summary>Bytes of line ends and of ASCII are halves of other characters there: U+010A and U+0A0A hold one, and so does every space.</summary>
    [Theory]
    [InlineData("utf-16", "utf-16", true)]
    [InlineData("utf-16", "utf-16", false)]
    [InlineData("utf-16BE", "utf-16BE", false)]
    [InlineData("utf-16BE", "utf-16", true)]
    [InlineData("utf-32", "utf-32", true)]
    [InlineData("utf-32", "utf-32", false)]
    public void Encodings_of_more_than_a_byte_are_read_by_option_with_a_mark_or_without(string written, string named, bool marked)
    {
        using TemporaryFolder folder = new();
        byte[] Bytes(string text) => Encoding.GetEncoding(written).GetBytes((marked ? "\uFEFF" : "") + text);
        folder.File("a.txt", Bytes("plain letters"));
        folder.File("b.md", Bytes("---\ntitle: Letters\n---\nplain"));
        byte[] rows = Bytes("{\"text\": \"\u010A\u0A0A 😀\"}\r\n\n{\"text\": \"" + new string('x', 99_999) + "\"}\n{\"text\": \"last\"}");
        folder.File("rows.jsonl", rows);
        using (GZipStream packed = new(File.Create(Path.Combine(folder.Path, "rows2.jsonl.gz")), CompressionMode.Compress))
        {
            packed.Write(rows);
        }

        folder.File("utf8.jsonl", "{\"text\": \"as it was\"}");

        Document[] read = [.. Corpus.Open(folder.Path, new() { Encoding = named }).Documents()];
        string[] texts = ["\u010A\u0A0A 😀", new string('x', 99_999), "last"];
        Assert.Equal(["plain letters", "plain", .. texts, .. texts, "as it was"], read.Select(document => document.Text));
        Assert.Equal("Letters", read[1].Title);
        Assert.Equal("rows.jsonl:4", read[4].Location);
    }

    [Fact]
    public void Half_a_character_of_an_encoding_of_more_than_a_byte_is_refused()
    {
        using TemporaryFolder folder = new();
        string file = folder.File("rows.jsonl", Encoding.Unicode.GetBytes("{\"text\": \"a\"}\n{")[..^1]);
        List<Document> read = [];
        string message = Assert.Throws<CorpusException>(() => read.AddRange(Corpus.Open(file, new() { Encoding = "utf-16" }).Documents())).Message;
        Assert.Contains(file, message, StringComparison.Ordinal);
        Assert.Contains("of another encoding than is named", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("utf-16")]
    [InlineData("utf-16BE")]
    [InlineData("utf-32")]
    [InlineData("utf-32BE")]
    public void A_mark_of_UTF_16_or_UTF_32_says_the_encoding_without_an_option_and_whatever_is_named(string written)
    {
        using TemporaryFolder folder = new();
        byte[] Bytes(string text) => Encoding.GetEncoding(written).GetBytes("\uFEFF" + text);
        folder.File("a.txt", Bytes("Héllo"));
        folder.File("b.html", Bytes("<meta charset='windows-1252'><p>Héllo"));
        folder.File("c.jsonl", Bytes("{\"text\": \"é\"}\n{\"text\": \"\u010A\"}\n"));
        foreach (string? encoding in new[] { null, "windows-1252", "utf-16" })
        {
            Corpus corpus = Corpus.Open(folder.Path, new() { Encoding = encoding });
            Assert.Equal(["Héllo", "Héllo", "é", "\u010A"], corpus.Documents().Select(document => document.Text));
        }
    }

    [Theory]
    [InlineData("utf-16")]
    [InlineData("utf-16BE")]
    [InlineData("utf-32")]
    public void Text_that_is_UTF_8_only_by_its_bytes_of_zero_is_refused(string written)
    {
        using TemporaryFolder folder = new();
        string file = folder.File("a.txt", Encoding.GetEncoding(written).GetBytes("Plain letters"));
        string message = Assert.Throws<CorpusException>(() => Corpus.Open(file).Documents().ToList()).Message;
        Assert.Contains($"{file} is no text in UTF-8", message, StringComparison.Ordinal);
        Assert.Contains("UTF-16 or UTF-32", message, StringComparison.Ordinal);
        Assert.Equal("one \0 is none", Read("a.txt", "one \0 is none").Text);
    }

    /// <summary>https://encoding.spec.whatwg.org/#names-and-labels.</summary>
    [Theory]
    [InlineData("iso-8859-1", "93", "“")]
    [InlineData("US-ASCII", "E9", "é")]
    [InlineData("latin1", "80", "€")]
    [InlineData("iso88591", "96", "–")]
    [InlineData("iso-8859-9", "FD", "ı")]
    [InlineData("latin5", "93", "“")]
    [InlineData("x-cp1251", "EF", "п")]
    [InlineData("cp1251", "EF", "п")]
    [InlineData("koi8_r", "D0", "п")]
    [InlineData("tis-620", "A1", "ก")]
    [InlineData("x-user-defined", "E9", "é")]
    [InlineData("euc-kr", "8C63", "똠")]
    [InlineData("windows-31j", "8740", "①")]
    [InlineData("iso-2022-jp", "1B2442467C1B2842", "日")]
    [InlineData("gb2312", "A2E3809439FC36", "€€😀")]
    [InlineData("chinese", "8139EE39C180", "㐀羳")]
    [InlineData("x-gbk", "A8BFA6D9", "ǹ\uE78D")]
    [InlineData("iso-8859-7", "E1A4A5AA", "α€₯ͺ")]
    [InlineData("iso-8859-8", "E0FDFE", "א\u200E\u200F")]
    [InlineData("euc-jp", "B0A18FB0A1ADA18EB1", "亜丂①ｱ")]
    [InlineData("shift_jis", "F04088A0", "\uE000唖")]
    [InlineData("macintosh", "F08A", "\uF8FFä")]
    public void Html_means_by_the_name_of_an_encoding_what_the_web_does(string label, string bytes, string text)
    {
        byte[] content = Convert.FromHexString(bytes);
        using TemporaryFolder folder = new();
        folder.File("a.html", [.. Encoding.ASCII.GetBytes($"<meta charset=\"{label}\"><p>"), .. content]);
        folder.File("b.xhtml", [.. Encoding.ASCII.GetBytes($"<?xml version='1.0' encoding='{label}'?><p>"), .. content]);
        Assert.Equal([text, text], Corpus.Open(folder.Path).Documents().Select(document => document.Text));
    }

    /// <summary>https://html.spec.whatwg.org/multipage/parsing.html#prescan-a-byte-stream-to-determine-its-encoding.</summary>
    [Theory]
    [InlineData("<script src='a.js' charset='windows-1251'></script><meta charset='windows-1252'>")]
    [InlineData("<!-- <meta charset='windows-1251'> --><META CHARSET=windows-1252>")]
    [InlineData("<meta name='description' content='charset=windows-1251'><meta/charset=windows-1252>")]
    [InlineData("<meta data-charset='windows-1251'><meta http-equiv='Content-Type' content='text/html; charset=windows-1252'>")]
    [InlineData("<script>'<meta charset=windows-1251>'</script><meta charset=' windows-1252 '>")]
    [InlineData("<meta charset='nonsense'><meta charset='windows-1252'>")]
    public void Html_names_its_encoding_in_an_element_for_that(string head)
    {
        using TemporaryFolder folder = new();
        string file = folder.File("a.html", [.. Encoding.ASCII.GetBytes(head + "<p>"), 0xE9]);
        Assert.Equal("é", Assert.Single(Corpus.Open(file).Documents()).Text);
    }

    /// <summary>https://html.spec.whatwg.org/multipage/parsing.html#changing-the-encoding-while-parsing.</summary>
    [Theory]
    [InlineData("", "<meta charset='windows-1251'></head><body><meta charset='windows-1252'>", "\u0439")]
    [InlineData("", "</head><body><meta charset='windows-1251'>", null)]
    [InlineData("\u00E9", "<meta charset='windows-1251'></head><body>", "\u00E9")] // UTF-8 says what it is
    public void Html_that_is_not_UTF_8_may_name_its_encoding_late_in_its_head(string utf8, string late, string? text)
    {
        using TemporaryFolder folder = new();
        string page = $"<html><head><style>{new string(' ', 2000)}</style>{late}<p>{utf8}";
        string file = folder.File("a.html", utf8.Length > 0 ? Encoding.UTF8.GetBytes(page) : [.. Encoding.ASCII.GetBytes(page), 0xE9]);
        if (text is null)
        {
            Assert.Throws<CorpusException>(() => Corpus.Open(file).Documents().ToList());
        }
        else
        {
            Assert.Equal(text, Assert.Single(Corpus.Open(file).Documents()).Text);
        }
    }

    [Fact]
    public void An_encoding_that_NET_does_not_read_is_as_unknown_as_any()
    {
        Assert.Equal("plain", Read("a.html", "<meta charset='utf-7'><p>plain").Text);
        Assert.Contains(
            "Encoding", Assert.Throws<RetroOptionsException>(() => new CorpusOptions { Encoding = "utf-7" }.Validate()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Letters_that_are_written_with_bytes_of_ASCII_are_read_by_option()
    {
        using TemporaryFolder folder = new();
        byte[] escaped = [0x1B, 0x24, 0x42, 0x46, 0x7C, 0x1B, 0x28, 0x42];
        folder.File("a.txt", [.. "a "u8, .. escaped]);
        folder.File("b.txt", "plain");
        folder.File("c.jsonl", [.. Encoding.ASCII.GetBytes($"{{\"text\": \"{new string('x', 99_999)}\"}}\n{{\"text\": \""), .. escaped, .. "\"}\n"u8]);
        Assert.Equal(
            ["a 日", "plain", new string('x', 99_999), "日"],
            Corpus.Open(folder.Path, new() { Encoding = "iso-2022-jp" }).Documents().Select(document => document.Text));
    }

    /// <summary>There two tildes write one, and a tilde with a brace begins and ends letters.</summary>
    [Fact]
    public void What_a_decoder_has_made_is_not_decoded_again()
    {
        using TemporaryFolder folder = new();
        string rows = folder.File("a.jsonl", "{\"text\": \"~{VPND~}\"}\n{\"text\": \"a ~~~~ b ~~{c}\"}\n");
        Assert.Equal(["中文", "a ~~ b ~{c}"], Corpus.Open(rows, new() { Encoding = "hz-gb-2312" }).Documents().Select(document => document.Text));

        // A zero is no sign of UTF-16 any more.
        string text = folder.File("b.txt", Encoding.Unicode.GetBytes("\uFEFFa\0\n---\n\0b"));
        Assert.Equal(
            ["a\0", "\0b"], Corpus.Open(text, new() { Encoding = "utf-16", Separator = "---" }).Documents().Select(document => document.Text));
    }

    [Fact]
    public void What_an_encoding_does_not_know_is_refused_with_its_place()
    {
        using TemporaryFolder folder = new();
        string file = folder.File("a.txt", [0x61, 0x82, 0x20]);

        string message = Assert.Throws<CorpusException>(
            () => Corpus.Open(file, new() { Encoding = "shift_jis" }).Documents().ToList()).Message;
        Assert.Contains(file, message, StringComparison.Ordinal);
        Assert.Contains("neither UTF-8 nor shift_jis, at byte", message, StringComparison.Ordinal);
    }

    /// <summary>.NET gives characters for private use to most of these bytes; to the web they are faults.</summary>
    [Theory]
    [InlineData("big5", "CA5C925D9DEF", 2)]
    [InlineData("big5-hkscs", "41C840", 1)]
    [InlineData("windows-1253", "61AA", 1)]
    [InlineData("windows-1255", "D9", 0)]
    [InlineData("iso-8859-7", "E1A4D2", 2)]
    [InlineData("shift_jis", "88A0FD", 2)]
    [InlineData("euc-kr", "B0A1C9A1", 2)]
    [InlineData("euc-jp", "B0A18FB0A1A041", 5)]
    [InlineData("euc-jp", "B0A18FB020", 2)]
    [InlineData("euc-jp", "B0A18FA1A1", 2)]
    [InlineData("euc-jp", "B0A18FB0FF", 2)]
    [InlineData("gb18030", "8061FF", 2)]
    public void What_an_encoding_does_not_define_is_no_character_for_private_use(string label, string bytes, int at)
    {
        string head = $"<meta charset=\"{label}\"><p>";
        using TemporaryFolder folder = new();
        string file = folder.File("a.html", [.. Encoding.ASCII.GetBytes(head), .. Convert.FromHexString(bytes)]);
        string message = Assert.Throws<CorpusException>(() => Corpus.Open(file).Documents().ToList()).Message;
        Assert.StartsWith($"The file {file} is neither UTF-8 nor ", message, StringComparison.Ordinal);
        Assert.Contains($", at byte {head.Length + at}.", message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_option_counts_where_the_encoding_that_a_file_names_is_wrong()
    {
        using TemporaryFolder folder = new();
        folder.File("a.html", [.. "<meta charset='shift_jis'><p>Caf"u8, 0xE9]);
        folder.File(
            "b.xml",
            [
                .. "<?xml version='1.0' encoding='us-ascii'?><doc><members><member name='T:B'><summary>Caf"u8, 0xE9,
                .. "</summary></member></members></doc>"u8,
            ]);
        string message = Assert.Throws<CorpusException>(() => Corpus.Open(folder["a.html"]).Documents().ToList()).Message;
        Assert.Contains("nor shift_jis", message, StringComparison.Ordinal);
        Assert.Equal(["Café", "B\nCafé"], Corpus.Open(folder.Path, new() { Encoding = "latin1" }).Documents().Select(document => document.Text));
    }

    [Theory]
    [InlineData("a.txt", null)]
    [InlineData("a.txt", "---")]
    [InlineData("a.md", null)]
    [InlineData("a.html", null)]
    [InlineData("a.xml", null)]
    [InlineData("a.jsonl", null)]
    [InlineData("a.jsonl.gz", null)]
    public void A_pointer_of_Git_LFS_is_no_document(string name, string? separator)
    {
        using TemporaryFolder folder = new();
        folder.File(name, $"version https://git-lfs.github.com/spec/v1\noid sha256:{new string('a', 64)}\nsize 12345\n");
        folder.File("z.txt", "fine");
        CorpusOptions options = new() { Separator = separator, Encoding = "windows-1252" };
        Assert.Contains(
            $"{folder[name]} is a pointer of Git LFS",
            Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path, options).Documents().ToList()).Message,
            StringComparison.Ordinal);
        Corpus lenient = Corpus.Open(folder.Path, options with { SkipBroken = true });
        Assert.Equal("fine", Assert.Single(lenient.Documents()).Text);
        Assert.Equal(1, lenient.Skipped);
    }

    [Theory]
    [InlineData("<?xml version='1.1' encoding='UTF-8'?>\n<hudson/>")]
    [InlineData("<?xml version='1.0' encoding='windows-1251'?>\n<!DOCTYPE rss SYSTEM 'rss-0.91.dtd'>\n<rss version='0.91'/>")]
    [InlineData("<?xml version='1.0' encoding='windows-1251'?>\n<rss version='0.91'/>")]
    [InlineData("<?xml version='1.0' encoding='no-such'?>\n<docs/>")]
    [InlineData("")]
    [InlineData("{% if x %}<config/>{% endif %}")]
    public void Xml_that_is_no_documentation_is_left_out(string content)
    {
        using TemporaryFolder folder = new();
        folder.File("a.xml", content);
        folder.File("b.xml", [.. Encoding.Unicode.GetPreamble(), .. Encoding.Unicode.GetBytes("<?xml version='1.0' encoding='utf-16'?><list/>")]);
        folder.File("z.txt", "fine");
        Corpus corpus = Corpus.Open(folder.Path);
        Assert.Equal("fine", Assert.Single(corpus.Documents()).Text);
        Assert.Equal(2, Assert.Single(corpus.LeftOut, left => left.Key == "other .xml").Value);
    }

    [Fact]
    public void Documentation_is_known_in_any_encoding_and_told_of_where_it_is_broken()
    {
        const string text = "<!-- é --><doc><members><member name='T:B'><summary>Café</summary></member></members></doc>";
        using TemporaryFolder folder = new();
        folder.File("a.xml", [.. Encoding.Unicode.GetPreamble(), .. Encoding.Unicode.GetBytes(text)]);
        folder.File("b.xml", Encoding.BigEndianUnicode.GetBytes(text.Replace("B'", "C'", StringComparison.Ordinal)));
        folder.File("c.xml", "\uFEFF" + text.Replace("B'", "D'", StringComparison.Ordinal));
        Assert.Equal(
            ["B\nCafé", "C\nCafé", "D\nCafé"],
            Corpus.Open(folder.Path, new() { Encoding = "utf-16BE" }).Documents().Select(document => document.Text));
        string broken = folder.File("d.xml", "{% if x %}" + text);
        string message = Assert.Throws<CorpusException>(() => Corpus.Open(broken).Documents().ToList()).Message;
        Assert.Contains($"{broken} is no well-formed XML", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Html_and_xml_that_name_their_encoding_need_no_option()
    {
        using TemporaryFolder folder = new();
        folder.File("a.html", [.. "<meta charset='windows-1252'><p>Caf"u8, 0xE9]);
        folder.File(
            "b.xml",
            [
                .. "<?xml version=\"1.0\" encoding=\"windows-1252\"?><doc><members><member name=\"T:B\"><summary>Caf"u8, 0xE9,
                .. "</summary></member></members></doc>"u8,
            ]);
        folder.File("c.html", Encoding.Unicode.GetPreamble().Concat(Encoding.Unicode.GetBytes("<p>Café")).ToArray());

        Assert.Equal(["Café", "B\nCafé", "Café"], Corpus.Open(folder.Path).Documents().Select(document => document.Text));
    }

    [Fact]
    public void Packed_pages_are_read_as_those_that_are_not()
    {
        using TemporaryFolder folder = new();
        folder.File("book.txt.gz", Pack("A book."u8.ToArray(), Gzip));
        folder.File("notes.md.zst", Pack("# Notes\n\nOf it."u8.ToArray(), stream => new ZstdSharp.CompressionStream(stream)));
        folder.File("page.rst.gz", Pack("Page\n====\n\nOf it."u8.ToArray(), Gzip));
        Assert.Equal(["book", "Notes", "Page"], Corpus.Open(folder.Path).Documents().Select(document => document.Title));
    }

    [Fact]
    public void Packed_json_lines_are_read_and_damaged_ones_refused_or_skipped()
    {
        using TemporaryFolder folder = new();
        string[] rows = [.. Enumerable.Range(0, 20_000).Select(i => $"{{\"id\": {i}, \"text\": \"row {i * 7919 % 104729}\"}}")];
        byte[] text = Encoding.UTF8.GetBytes(string.Join('\n', rows)), packed = Pack(text, Gzip);
        byte[] zstd = Pack(text, stream => new ZstdSharp.CompressionStream(stream));
        int half = text.AsSpan(0, text.Length / 2).LastIndexOf((byte)'\n') + 1;

        // A file may be several, one after another.
        byte[] parts = [.. Pack(text[..half], Gzip), .. Pack(text[half..], Gzip)];
        byte[] changed = [.. packed];
        changed[packed.Length / 2] ^= 16;

        // A later part that does not begin as one is not what pads a file.
        byte[] next = [.. parts];
        next[Pack(text[..half], Gzip).Length] ^= 16;
        byte[] padded = [.. packed, .. new byte[1000]];

        Assert.Equal(20_000, Rows("a.jsonl.gz", packed).Count);
        Assert.Equal(20_000, Rows("a.ndjson.gz", parts).Count);
        Assert.Equal(20_000, Rows("padded.jsonl.gz", padded).Count);
        Assert.Equal("19999", Rows("a.jsonl.zst", zstd)[^1].Id);
        Assert.Equal("19999", Rows("long.jsonl.zst", Pack(text, Long))[^1].Id);
        foreach ((string name, byte[] content) in new[]
        {
            ("cut.jsonl.gz", packed[..(packed.Length / 2)]), ("end.jsonl.gz", packed[..^3]),
            ("cut.jsonl.zst", zstd[..(zstd.Length / 2)]), ("none.jsonl.zst", packed), ("none.jsonl.gz", text), ("next.jsonl.gz", next),
        })
        {
            string file = folder.File(name, content);
            string message = Assert.Throws<CorpusException>(() => Corpus.Open(file).Documents().ToList()).Message;
            Assert.Contains($"{file} is damaged or cut short", message, StringComparison.Ordinal);
        }

        foreach ((string name, byte[] content, string ending) in new[] { ("named.jsonl", packed, ".gz"), ("named.ndjson", zstd, ".zst") })
        {
            string file = folder.File(name, content);
            Assert.Equal(
                $"The file {file} is packed: give its name the ending {ending}, or unpack it.",
                Assert.Throws<CorpusException>(() => Corpus.Open(file, new() { Encoding = "windows-1252" }).Documents().ToList()).Message);
        }

        // RFC 1952, 2.3.1: the flag of FHCRC, and behind the header the lower half of its CRC-32.
        byte[] head = [0x1F, 0x8B, 8, 2, 0, 0, 0, 0, 0, 3];
        string summed = folder.File("summed.jsonl.gz", [.. head, 0xA7, 0x77, .. packed.AsSpan(10)]);
        Assert.Contains(
            $"{summed} is gzip with a checksum of its header",
            Assert.Throws<CorpusException>(() => Corpus.Open(summed, new() { Encoding = "latin1" }).Documents().ToList()).Message,
            StringComparison.Ordinal);

        // What was changed shows at the end at the latest, or in a line before.
        string other = folder.File("changed.jsonl.gz", changed);
        Assert.Contains(other, Assert.Throws<CorpusException>(() => Corpus.Open(other).Documents().ToList()).Message, StringComparison.Ordinal);

        folder.File("b.jsonl", "{\"text\": \"whole\"}");
        Corpus lenient = Corpus.Open(folder.Path, new() { SkipBroken = true, Include = ["b.jsonl", "cut.jsonl.gz", "none.*"] });
        Assert.Contains(lenient.Documents().ToList(), document => document.Text == "whole");
        Assert.Equal(3, lenient.Skipped);

        List<Document> Rows(string name, byte[] content) => [.. Corpus.Open(folder.File(name, content)).Documents()];

        // zstd --long=31
        static Stream Long(Stream stream)
        {
            ZstdSharp.CompressionStream packer = new(stream);
            packer.SetParameter(ZstdSharp.Unsafe.ZSTD_cParameter.ZSTD_c_windowLog, 31);
            return packer;
        }
    }

    [Theory]
    [InlineData(null, null)]
    [InlineData(null, "---")]
    [InlineData("windows-1252", null)]
    [InlineData("windows-1252", "---")]
    public void A_packed_text_that_is_named_is_unpacked_by_its_ending_and_refused_without_one(string? encoding, string? separator)
    {
        using TemporaryFolder folder = new();
        using MemoryStream written = new();
        using (GZipStream stream = new(written, CompressionMode.Compress))
        {
            stream.Write("One caf\u00E9.\n---\nTwo."u8);
        }

        byte[] packed = written.ToArray();
        CorpusOptions options = new() { Kinds = DocumentKinds.Text, Encoding = encoding, Separator = separator, MaximumDocumentBytes = packed.Length };
        string file = folder.File("book.txt.gz", packed);
        string[] texts = separator is null ? ["One caf\u00E9.\n---\nTwo."] : ["One caf\u00E9.", "Two."];
        Assert.Equal(texts, Corpus.Open(file, options).Documents().Select(document => document.Text));
        Assert.Contains($"{folder.File("notes.txt", packed)} is packed", Fault("notes.txt"), StringComparison.Ordinal);
        Assert.Contains($"{folder.File("cut.txt.gz", packed[..^3])} is damaged or cut short", Fault("cut.txt.gz"), StringComparison.Ordinal);

        string Fault(string name) => Assert.Throws<CorpusException>(() => Corpus.Open(folder[name], options).Documents().ToList()).Message;
    }

    [Fact]
    public void A_document_longer_than_is_allowed_is_refused_or_skipped_whatever_it_is_read_from()
    {
        using TemporaryFolder folder = new();
        folder.File("a.txt", new string('a', 101));
        folder.File("b.md", new string('b', 100));
        folder.File("c.jsonl", $"{{\"text\": \"{new string('c', 200)}\"}}\n{{\"text\": \"c\"}}");
        CorpusOptions options = new() { MaximumDocumentBytes = 100 };

        Assert.Contains(
            "a.txt is longer than the 100 bytes", Assert.Throws<CorpusException>(() => Corpus.Open(folder.Path, options).Documents().ToList()).Message,
            StringComparison.Ordinal);
        Corpus lenient = Corpus.Open(folder.Path, options with { SkipBroken = true });
        Assert.Equal(["b.md", "c.jsonl:2"], lenient.Documents().Select(document => document.Location));
        Assert.Equal(2, lenient.Skipped);
    }

    [Fact]
    public void A_file_of_any_length_costs_no_more_than_a_document_may_have()
    {
        using TemporaryFolder folder = new();
        using (FileStream sparse = File.Create(folder["huge.txt"]))
        {
            sparse.SetLength(1L << 41);
        }

        using (FileStream sparse = File.Create(folder["huge.jsonl"]))
        {
            sparse.SetLength(1L << 28);
        }

        folder.File("z.txt", "fine");
        CorpusOptions options = new() { MaximumDocumentBytes = 1 << 20, SkipBroken = true };
        long before = GC.GetAllocatedBytesForCurrentThread();
        Corpus corpus = Corpus.Open(folder.Path, options);

        Assert.Equal("fine", Assert.Single(corpus.Documents()).Text);
        Assert.Equal(2, corpus.Skipped);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 25);
    }

    [Fact]
    public void Generic_parameters_keep_the_names_that_documentation_gives_them()
    {
        using TemporaryFolder folder = new();
        string file = folder.File(
            "A.xml",
            """
            <doc><members>
            <member name="T:N.Map`2"><summary>Maps.</summary><typeparam name="TKey">Key.</typeparam><typeparam name="TValue">Value.</typeparam></member>
            <member name="M:N.Map`2.Put``1(`0,System.Func{`1,``0},`0[])"><summary>See <see cref="T:N.Map`2.Node`1"/>, <see cref="T:X.Pair`2"/>
              and <see cref="M:N.Map`2.Put``1(`0,System.Func{`1,``0},`0[])"/>.</summary><typeparam name="TResult">Result.</typeparam>
              <param name="key">k</param><param name="make">m</param></member>
            <member name="T:N.Map`2.Node`1"><summary>Node.</summary><typeparam name="TItem">Item.</typeparam></member>
            <member name="M:N.Map`2.Node`1.Set(`0,`1,`2)"><summary>Sets.</summary></member>
            <member name="M:N.Map`2.Node`1.Call(=FUNC:System.Void(System.Int32,N.Map{`0,`1}),System.String)"><summary>Calls.</summary></member>
            <member name="T:N.Other`1"><summary>Other.</summary></member>
            <member name="M:N.Other`1.Go``2(`0,``1)"><summary>Goes.</summary></member>
            <member name="M:N.Map`2.Run``1(``0,System.Func{``0,`0})"><summary>Runs.</summary></member>
            <member name="M:N.Other`1.op_Explicit(N.Other{`0})~System.Int32"><summary>Casts.</summary><param name="value">v</param></member>
            <member name="M:N.Other`1.op_Implicit(`0)~N.Other{`0}"><summary>Casts.</summary></member>
            <member name="M:N.Other`1.op_CheckedExplicit(N.Other{`0})~`0[]"><summary>Casts.</summary></member>
            </members></doc>
            """);

        Document[] documents = [.. Corpus.Open(file).Documents()];

        Assert.Equal(["N.Map<TKey, TValue>", "N.Map<TKey, TValue>.Node<TItem>", "N.Other<T>"], documents.Select(document => document.Title));
        Assert.Contains("Put<TResult>(TKey key, Func<TValue, TResult> make, TKey[])", documents[0].Text, StringComparison.Ordinal);
        Assert.Contains("See Node<TItem>, Pair<T1, T2> and Map<TKey, TValue>.Put<T>.", documents[0].Text, StringComparison.Ordinal);
        Assert.Contains("Set(TKey, TValue, TItem)", documents[1].Text, StringComparison.Ordinal);
        Assert.Contains("Call(Void(Int32, Map<TKey, TValue>), String)", documents[1].Text, StringComparison.Ordinal);
        Assert.Contains("Go<T1, T2>(T, T2)", documents[2].Text, StringComparison.Ordinal);
        Assert.Contains("\nRun<T>(T, Func<T, TKey>)\n", documents[0].Text, StringComparison.Ordinal);
        Assert.Contains("\nexplicit operator Int32(Other<T> value)\n", documents[2].Text, StringComparison.Ordinal);
        Assert.Contains("\nimplicit operator Other<T>(T)\n", documents[2].Text, StringComparison.Ordinal);
        Assert.Contains("\nexplicit operator checked T[](Other<T>)\n", documents[2].Text, StringComparison.Ordinal);
        Assert.DoesNotContain(documents, document => document.Text.Contains('`', StringComparison.Ordinal));
    }

    [Fact]
    public void Parameters_whose_names_are_not_known_are_told_apart_and_operators_are_written_as_in_code()
    {
        using TemporaryFolder folder = new();
        string file = folder.File(
            "A.xml",
            """
            <doc><members>
            <member name="M:N.Outer`1.Inner`2.Do(`0,`1,`2)"><summary>Does.</summary></member>
            <member name="M:N.Outer`1.Inner`2.Run``2(`0,``0,``1)"><summary>Runs.</summary></member>
            <member name="M:N.Box`1.Map``1(`0,``0)"><summary>See <see cref="M:N.Box`1.Map``1(`0,``0)"/>.</summary></member>
            <member name="T:N.Known`1"><summary>Known.</summary><typeparam name="TItem">Item.</typeparam></member>
            <member name="M:N.Known`1.Part`1.Set(`0,`1)"><summary>Sets.</summary></member>
            <member name="M:N.Money.op_Addition(N.Money,N.Money)"><summary>Adds; see <see cref="M:N.Money.op_CheckedUnaryNegation(N.Money)"/>
              and <see cref="M:N.Money.op_Implicit(N.Money)~System.Decimal"/>.</summary><param name="left">l</param><param name="right">r</param></member>
            <member name="M:N.Money.System#IShift{N#Money}#op_UnsignedRightShift(N.Money,System.Int32)"><summary>Shifts.</summary></member>
            </members></doc>
            """);
        Dictionary<string, string> texts = Corpus.Open(file).Documents().ToDictionary(document => document.Title, document => document.Text);
        Assert.Equal(
            ["N.Box<T>", "N.Known<TItem>", "N.Known<TItem>.Part<T2>", "N.Money", "N.Outer<T1>.Inner<T2, T3>"], texts.Keys.Order(StringComparer.Ordinal));
        Assert.Contains("\nDo(T1, T2, T3)\n", texts["N.Outer<T1>.Inner<T2, T3>"], StringComparison.Ordinal);
        Assert.Contains("\nRun<T4, T5>(T1, T4, T5)\n", texts["N.Outer<T1>.Inner<T2, T3>"], StringComparison.Ordinal);
        Assert.Contains("\nMap<T2>(T, T2)\nSee Box<T>.Map<T2>.", texts["N.Box<T>"], StringComparison.Ordinal);
        Assert.Contains("\nSet(TItem, T2)\n", texts["N.Known<TItem>.Part<T2>"], StringComparison.Ordinal);
        Assert.Contains(
            "\noperator +(Money left, Money right)\nAdds; see Money.operator checked - and Money.implicit operator Decimal.",
            texts["N.Money"],
            StringComparison.Ordinal);
        Assert.Contains("\noperator >>>(Money, Int32)\n", texts["N.Money"], StringComparison.Ordinal);
    }

    /// <summary>https://github.com/dotnet/csharplang/blob/main/proposals/extensions.md#docs: what the compiler calls a block is never shown.</summary>
    [Fact]
    public void Blocks_of_extensions_are_told_with_the_class_that_holds_them()
    {
        using TemporaryFolder folder = new();
        string file = folder.File(
            "A.xml",
            """
            <doc><members>
            <member name="M:N.E.First``1(System.Collections.Generic.IEnumerable{``0},System.Int32)"><inheritdoc cref="M:N.E.<G>$AB12`1.First(System.Int32)"/></member>
            <member name="T:N.E.<G>$AB12`1.<M>$CD34"><typeparam name="TItem">Of it.</typeparam><typeparam name="TItem">Of it.</typeparam>
              <param name="source">What is read.</param></member>
            <member name="M:N.E.<G>$AB12`1.First(System.Int32)"><summary>The first; see <see cref="M:N.E.<G>$AB12`1.Last(`0[])"/>
              in <see cref="T:N.E.<G>$AB12`1.<M>$CD34"/>.</summary><param name="count">How many.</param></member>
            <member name="M:N.E.<G>$AB12`1.Last(`0[])"><summary>The last.</summary></member>
            <member name="P:N.E.<G>$EF.Size"><summary>The size.</summary></member>
            <member name="T:N.E.<G>$EF.<M>$01"/>
            <member name="T:N.E"><summary>Extends.</summary></member>
            </members></doc>
            """.Replace("<G>", "&lt;G&gt;", StringComparison.Ordinal).Replace("<M>", "&lt;M&gt;", StringComparison.Ordinal));

        Document document = Assert.Single(Corpus.Open(file).Documents());

        Assert.Equal(("N.E (A)", "N.E"), (document.Id, document.Title));
        Assert.Equal(
            """
            N.E
            Extends.

            extension<TItem>(source)
            TItem: Of it.
            source: What is read.

            First(Int32 count)
            The first; see E.Last in E.
            count: How many.

            Last(TItem[])
            The last.

            Size
            The size.
            """.ReplaceLineEndings("\n"),
            document.Text);
    }

    [Theory]
    [InlineData("one<p>two</p>three", "one\ntwo\nthree")]
    [InlineData("one<div>two</div><div>three</div>", "one\ntwo\nthree")]
    [InlineData("<ul><li>one</li><li>two</li></ul>", "- one\n- two")]
    [InlineData("<h2>one</h2>two<hr/>three<br/>four", "one\ntwo\nthree\nfour")]
    [InlineData("<table><tr><td>one</td><td>two</td></tr><tr><td>three</td></tr></table>", "one two\nthree")]
    [InlineData("<blockquote>one</blockquote><dl><dt>two</dt><dd>three</dd></dl>", "one\ntwo\nthree")]
    [InlineData("o<b>n</b>e <i>two</i>", "one two")]
    [InlineData("<pre>a\n  b</pre>", "a\n  b")]
    [InlineData("<c>10<sup><paramref name=\"x\" /></sup> - 1</c> and log<sub>2</sub>(x)", "10^{x} - 1 and log₂(x)")]
    [InlineData("<code>y = a<sub>i</sub>;\nz = 2<sup>10</sup>;</code>", "y = a_{i};\nz = 2¹⁰;")]
    [InlineData("of <code data-dev-comment-type=\"paramref\">a</code> and <code data-dev-comment-type=\"langword\">true</code>.", "of a and true.")]
    [InlineData("one<block subset=\"none\">two</block>three", "one\ntwo\nthree")]
    [InlineData("<list><item>\n  <description>\n  <para>one</para><para>two</para></description></item><item><term>a</term><description>b</description></item></list>", "- one\ntwo\n- a: b")]
    [InlineData("<list type=\"number\"><item>a<ul><li>b</li></ul></item><item>c</item></list><ol start=\"3\"><li>d</li><li value=\"9\">e</li></ol>", "1. a\n- b\n2. c\n3. d\n9. e")]
    [InlineData("<ol type=\"i\"><li>a</li><li>b<list type=\"number\"><item>c</item></list></li><li type=\"A\">d</li></ol>", "i. a\nii. b\n1. c\nC. d")]
    [InlineData("<list><item><code>\n  x\n    y\n</code></item><item><list><item>z</item></list></item></list>", "- x\n  y\n- - z")]
    public void Block_elements_of_html_part_the_words_of_documentation(string summary, string prose)
    {
        Document document = Read("A.xml", $"<doc><members><member name=\"T:A\"><summary>{summary}</summary></member></members></doc>");
        Assert.Equal($"A\n{prose}", document.Text);
    }

    [Fact]
    public void A_million_combining_marks_are_a_document_like_others()
    {
        string marks = "e" + new string('\u0301', 1_000_000);
        Assert.Equal(marks, Read("a.txt", marks).Text);
    }

    private static Document Read(string name, string content)
    {
        using TemporaryFolder folder = new();
        return Corpus.Open(folder.File(name, content)).Documents().Single();
    }

    private static Stream Gzip(Stream stream) => new GZipStream(stream, CompressionMode.Compress);

    private static byte[] Pack(byte[] content, Func<Stream, Stream> packer)
    {
        using MemoryStream result = new();
        using (Stream stream = packer(result))
        {
            stream.Write(content);
        }

        return result.ToArray();
    }
}
