using Retro.Corpora;

namespace Retro.Tests.Corpora;

public class CorpusCleaningTests
{
    [Fact]
    public void By_default_characters_are_in_one_form_and_no_text_comes_twice()
    {
        CorpusCleaning cleaning = new();
        Document[] documents =
        [
            new("a", "Caf\u0065\u0301", "re\u0301sume\u0301\u0000\tof\nlines", ""), new("b", "", "r\u00e9sum\u00e9\tof\nlines", ""),
            new("c", "", "\u0001\u0007", ""), new("d", "", "plain", "") { Labels = ["x"] },
        ];
        Document[] clean = [.. cleaning.Clean(documents)];
        Assert.Equal(["a", "d"], clean.Select(document => document.Id));
        Assert.Equal(("Caf\u00e9", "r\u00e9sum\u00e9\tof\nlines"), (clean[0].Title, clean[0].Text));
        Assert.Same(documents[3], clean[1]);
        Assert.Equal("unicode, exact duplicates", cleaning.Name);
        CleaningReport report = cleaning.Report!;
        Assert.Equal((4, 2), (report.Documents, report.Kept));
        Assert.Equal([(1L, 1L), (1L, 0L)], report.Steps.Select(step => (step.Removed, step.Changed)));
        Assert.Contains("c: nothing is left of it", report.Steps[0].Examples);
        Assert.Contains("2 of 4 documents kept", report.ToString(), StringComparison.Ordinal);
    }

    /// <summary>Who may not see the first of equal documents finds what it says in a later one.</summary>
    [Fact]
    public void A_document_repeats_only_what_all_may_see_who_may_see_it()
    {
        string text = string.Join(' ', Enumerable.Range(0, 100).Select(i => $"w{i}"));
        Document[] documents =
        [
            Of("hr", ["hr"]), Of("hr again", ["hr"]), Of("hr and law", ["law", "hr"]), Of("law", ["law"]), Of("public", []), Of("hr at last", ["hr"]),
            Of("public again", []),
        ];
        foreach (CleaningStep step in new[] { CleaningStep.ExactDuplicates(), CleaningStep.NearDuplicates() })
        {
            Assert.Equal(["hr", "law", "public"], new CorpusCleaning(step).Clean(documents).Select(document => document.Id));
        }

        Document Of(string id, string[] labels) => new(id, "", text, "") { Labels = labels };
    }

    [Theory]
    [InlineData("one\vtwo\fthree\u0085four\rfive\r\nsix", "one\ntwo\nthree\nfour\nfive\nsix")]
    [InlineData("a\u001Cb\u001Dc\u001Ed\u001Fe", "a b c d e")]
    [InlineData("\fso\u0000ft\u007F\thy\u0090phen\f", "soft\thyphen")]
    public void Control_characters_that_part_words_part_them_still(string text, string plain)
    {
        Document clean = new CorpusCleaning(CleaningStep.Unicode()).Clean([new("a", text.Trim(), text, "")]).Single();
        Assert.Equal((plain, plain), (clean.Title, clean.Text));
    }

    [Fact]
    public void Without_steps_nothing_is_done_and_every_pass_gives_the_same()
    {
        Document[] documents = [new("a", "", "x", ""), new("b", "", "x", "")];
        CorpusCleaning none = new([]);
        Assert.Equal(documents, none.Clean(documents));
        Assert.Equal(("none", 2L), (none.Name, none.Report!.Kept));

        IEnumerable<Document> twice = new CorpusCleaning().Clean(documents);
        Assert.Equal(["a"], twice.Select(document => document.Id));
        Assert.Equal(["a"], twice.Select(document => document.Id));
        Assert.Throws<ArgumentException>(() => new CorpusCleaning(CleaningStep.Unicode(), null!));
    }

    [Fact]
    public void What_is_taken_out_comes_without_text_where_that_is_asked_for()
    {
        Document[] documents = [new("a", "", "", "a.txt"), new("b", "", "x", ""), new("c", "", "x", ""), new("d", "", "\u0001", ""), new("e", "", "y", "")];
        CorpusCleaning cleaning = new();
        Assert.Equal(
            [("b", "x"), ("e", "y"), ("a", ""), ("c", ""), ("d", "")],
            cleaning.Clean(documents, keepRemoved: true).Select(document => (document.Id, document.Text)));
        Assert.Equal((4, 2), (cleaning.Report!.Documents, cleaning.Report.Kept));
    }

    /// <summary>Steps that look at everything first see what the steps before them leave, and nobody counts it twice.</summary>
    [Fact]
    public void Steps_compose_and_count_what_they_did_once()
    {
        string footer = "All rights of this page are reserved.";
        Document[] documents =
        [
            .. Enumerable.Range(0, 12).Select(i => new Document($"d{i}", "", $"Text number {i} says {i * 7} things.\n{footer}", "")),
            new("copy", "", $"Text number 3 says 21 things.\n{footer}", ""), new("short", "", "ab", ""),
        ];
        CorpusCleaning cleaning = new(
            CleaningStep.Unicode(), CleaningStep.ExactDuplicates(), CleaningStep.RepeatedLines(), CleaningStep.NearDuplicates(), CleaningStep.Length(3));
        Document[] clean = [.. cleaning.Clean(documents)];
        Assert.Equal(Enumerable.Range(0, 12).Select(i => $"Text number {i} says {i * 7} things."), clean.Select(document => document.Text));
        Assert.Equal(
            [(0L, 0L), (1L, 0L), (0L, 12L), (0L, 0L), (1L, 0L)], cleaning.Report!.Steps.Select(step => (step.Removed, step.Changed)));
        Assert.Equal((14, 12), (cleaning.Report.Documents, cleaning.Report.Kept));
        Assert.Contains($"'{footer}'", cleaning.Report.Steps[2].Examples[0], StringComparison.Ordinal);
        Assert.Equal(
            "unicode, exact duplicates, lines in 10 documents, of 20 characters, near duplicates 0.8 of 13, length 3 to 2147483647, 0 words", cleaning.Name);
    }

    /// <summary>Against comparing all with all: nothing stays that the exact similarity takes out, nothing goes that it leaves.</summary>
    [Theory]
    [InlineData(0.8, 13)]
    [InlineData(0.5, 3)]
    [InlineData(1, 2)]
    public void Near_duplicates_are_those_that_comparing_all_with_all_finds(double similarity, int words)
    {
        Random random = new(4);
        List<Document> documents = [];
        for (int i = 0; i < 120; i++)
        {
            // Some are new, some a changed copy of one before.
            double changed = 0.01 * random.Next(3);
            string[] text = i == 0 || random.Next(2) == 0
                ? [.. Enumerable.Range(0, random.Next(20, 300)).Select(_ => $"w{random.Next(2000)}")]
                : [.. documents[random.Next(i)].Text.Split(' ').Select(word => random.NextDouble() < changed ? $"v{random.Next(2000)}" : word)];
            documents.Add(new($"d{i}", "", string.Join(' ', text), ""));
        }

        List<(string Id, ulong[] Grams)> kept = [];
        foreach (Document document in documents)
        {
            ulong[] grams = WordGrams.Of(document.Text, words);
            if (!kept.Exists(other =>
            {
                int common = WordGrams.Common(grams, other.Grams);
                return (double)common / (grams.Length + other.Grams.Length - common) >= similarity;
            }))
            {
                kept.Add((document.Id, grams));
            }
        }

        CorpusCleaning cleaning = new(CleaningStep.NearDuplicates(similarity, words));
        Assert.Equal(kept.Select(document => document.Id), cleaning.Clean(documents).Select(document => document.Id));
        Assert.InRange(cleaning.Report!.Steps[0].Removed, 5, 100);
        Assert.Matches(@"^d\d+: [01]\.\d\d of it is d\d+$", cleaning.Report.Steps[0].Examples[0]);
    }

    [Theory]
    [InlineData("Write to anna.b+c@mail.example.org, please.", "Write to <email>, please.")]
    [InlineData("Ask a@b.org. Or c@d.example...", "Ask <email>. Or <email>...")]
    [InlineData("<mailto:a_b@x-y.de>", "<mailto:<email>>")]
    [InlineData("not @home, a@b, a@b.c or x@.org", null)]
    [InlineData("https://b.example/x?next=a&email=a@b.org or /home/backup/a@b.org/mail",
        "https://b.example/x?next=a&email=<email> or /home/backup/<email>/mail")]
    [InlineData("https://b.example/x?next=redis://user:pass@cache&email=a@b.org", "https://b.example/x?next=redis://user:pass@cache&email=<email>")]
    [InlineData("owner=admin@corp.com:active, http://b.example, a@b.org or http://b.example/a@b.org",
        "owner=<email>:active, http://b.example, <email> or http://b.example/<email>")]
    [InlineData("![logo](img/logo@2x.png), a@2x.JPEG and http://test:my%20pass@example.com/x or ssh://anna@host.example.org:22", null)]
    [InlineData("git clone git@github.com:newrelic/java_agent.git", null)]
    [InlineData("legit@github.com and a@b.pngs", "<email> and <email>")]
    [InlineData("IBAN DE89 3704 0044 0532 0130 00.", "IBAN <iban>.")]
    [InlineData("GB82WEST12345698765432 and FR14 2004 1010 0505 0001 3M02 606", "<iban> and <iban>")]
    [InlineData("DE88 3704 0044 0532 0130 00", null)] // wrong check digits
    [InlineData("XDE89370400440532013000 DE893704004405320130001", null)] // too long
    [InlineData("Card 4111 1111 1111 1111, 5500-0000-0000-0004 or 378282246310005", "Card <card>, <card> or <card>")]
    [InlineData("4111 1111 1111 1112 and 9111111111111115", null)] // wrong check digit; no issuer
    [InlineData("20240115103002, 20240115103010, 20240115103028 and 20240115103000018", null)] // times
    [InlineData("411111111111116, 27210000000000009, 51000000000008, 40123456789017", null)] // of no issuer's length
    [InlineData("4222222222222, 4000000000000000006, 30569309025904 or 3530111333300000", "<card>, <card>, <card> or <card>")]
    [InlineData("8600311234567897, 9860011234567896, 9792121234567896 or 8171123456789011", "<card>, <card>, <card> or <card>")]
    [InlineData("9704361234567895, 9704 3612 3456 7890 120 or 970436123456789013", "<card>, <card> or 970436123456789013")]
    [InlineData("2223003122003222, 2200000000000004, 6200000000000005 or 5018123456789", "<card>, <card>, <card> or <card>")]
    [InlineData("from 192.168.0.254: port 80, 2001:db8::ff00:42:8329 and ::ffff:10.0.0.1", "from <ip>: port 80, <ip> and <ip>")]
    [InlineData("version 1.2.3, 1.2.3.4.5, 256.1.1.1, std::vector, a::b, 12:30:45 and 1.2.3.400", null)]
    [InlineData("Call +49 (0) 30 901820-10 or +1-212-555-0199!", "Call <phone> or <phone>!")]
    [InlineData("(555) 123-4567, 555-123-4567 and 555.123.4567", "<phone>, <phone> and <phone>")]
    [InlineData("192.168.0.1:8080, http://192.168.0.1:8080/x, u@10.0.0.5:22: refused", "<ip>:8080, http://<ip>:8080/x, u@<ip>:22: refused")]
    [InlineData("4111 1111 1111 1111 12/27, 4111111111111111 123 and 4111-1111-1111-1111-99", "<card> 12/27, <card> 123 and <card>-99")]
    [InlineData("4111 1111 1111 1111 9am", "<card> 9am")]
    [InlineData("4111 1111 1111 1111 4111 1111 1111 1111", "<card> <card>")]
    [InlineData("5555 5555 5555 4444 4111 1111 1111 1111 4012 8888 8888 1881.", "<card> <card> <card>.")]
    [InlineData("4111 1111 1111 1111 2001 2002 2003 2005", null)] // a row of which the first numbers alone make one
    [InlineData("In 4111 1111 1111 1111 2004 2005 or 411 111 111 111 111 1 111 111 1", null)] // rows of numbers
    [InlineData("555-123-4567 24/7, (555) 123-4567 9am, 555-123-4567x89", "<phone> 24/7, <phone> 9am, <phone>x89")]
    [InlineData("555.123.4567/555.123.4568, 555-123-4567 123", "<phone>/<phone>, <phone> 123")]
    [InlineData("555-123-4567-8901, 555.123.4567.8901, 555-123-45678 and 555-123-4567y", null)]
    [InlineData("+491701234567 1699999999 or +1 555 123 4567 12345", "<phone> 1699999999 or <phone> 12345")]
    [InlineData("IBAN:DE89370400440532013000 Tel:+49 30 901820, tel:+1-555-123-4567", "IBAN:<iban> Tel:<phone>, tel:<phone>")]
    [InlineData("IP:203.0.113.7 node:10.0.0.1 ip:2001:db8::1 Card:4111111111111111", "IP:<ip> node:<ip> ip:<ip> Card:<card>")]
    [InlineData("3782 822463 10005 1234 or 378282246310005 1234", "<card> 1234 or <card> 1234")]
    [InlineData("4111111111111111 1227, 4111-1111-1111-1111 1227", "<card> 1227, <card> 1227")]
    [InlineData("4111\u00A01111\u00A01111\u00A01111 and +33\u00A01\u00A023\u00A045\u00A067\u00A089", "<card> and <phone>")]
    [InlineData("Karte1:4111111111111111, 1:DE89370400440532013000", "Karte1:<card>, 1:<iban>")]
    [InlineData("+1-555-123-4567x89, tel:+1-555-123-4567X89, +1 (555) 123-4567x89, +49 30 901820x12",
        "<phone>x89, tel:<phone>X89, <phone>x89, <phone>x12")]
    [InlineData("12:30:45, 1:2:3:4:5:6:7:8:9, abcd:10.0.0.1", null)]
    [InlineData("192.168.1.10-192.168.1.20, 10.0.0.1/10.0.0.2", "<ip>-<ip>, <ip>/<ip>")]
    [InlineData("HN88CABF00000000000250005469 and YE15CBYE0001018861234567891234", "<iban> and <iban>")]
    [InlineData("fe80::1 fe80::a1%eth0, fe80::1%eth0: 2a00::5, fd00::1.", "<ip> fe80::a1%eth0, <ip>: <ip>, <ip>.")]
    [InlineData("fe80::1% of x[1::2], dead::beef, add::1, face::b00c or 2001:db8::", "<ip>% of x[1::2], dead::beef, add::1, face::b00c or 2001:db8::")]
    [InlineData("1-555-123-4567, 1-555-123-4567x8, 2-555-123-4567 and 1-555-123-45678", "<phone>, <phone>x8, 2-555-123-4567 and 1-555-123-45678")]
    [InlineData("npm install lodash@4.17.21-beta, vue@3.4.0-alpha, pkg@1.0.0-SNAPSHOT, golang.org/x/tools@v0.1.13-dev or a@b.c0m", null)]
    [InlineData("a@b.xn--p1ai, \u7528\u6237@\u4f8b\u5b50.\u516c\u53f8, a@1-2.co.uk and the a@b.org-address", "<email>, <email>, <email> and the <email>-address")]
    [InlineData("お問い合わせはinfo@example.co.jpまで, 请联系support@example.com谢谢合作", "お問い合わせは<email>まで, 请联系<email>谢谢合作")]
    [InlineData("문의:help@naver.com으로, 邮箱=a1@b.org或a@例子.公司, 和12@b.org, a@nic.中国", "문의:<email>으로, 邮箱=<email>或<email>, 和<email>, <email>")]
    [InlineData("IP为192.168.1.10的服务器, 卡号4111111111111111, 账号DE89370400440532013000为", "IP为<ip>的服务器, 卡号<card>, 账号<iban>为")]
    [InlineData("電話は+49 30 901820です、서버 2001:db8::1에서, 卡a4111111111111111", "電話は<phone>です、서버 <ip>에서, 卡a4111111111111111")]
    [InlineData("版本8.0.0.0、バージョン：1.2.3.4, 버전 1.0.0.1", null)]
    [InlineData("a + 12345678 bytes, 2 + 30000000 = 30000002, C++ 12345678, Visual C++ 2017-12-01, C++ 14.29.30133.0", null)]
    [InlineData("+ 12345678 rows\n++ 49 30 901820\n++4930901820 + (12345678)\n+", null)]
    [InlineData("+2019-01-01  Jane Doe\n+2019/01/01 12:00 fixed, +12345678.90, +1234567.89e5", null)]
    [InlineData("+4930-901820, +2019-013-01, +1.2125550199, +33.1.23.45.67.89 and +(49) 30 901820", "<phone>, <phone>, <phone>, <phone> and <phone>")]
    [InlineData("System.Private.CoreLib, Version=8.0.0.0, Culture=neutral, version 4.0.0.0, <Version>1.0.0.0</Version>", null)]
    [InlineData("[assembly: AssemblyVersion(\"1.0.0.0\")] version: \"1.2.3.4\" Chrome/120.0.0.0, versions: 10.0.0.1", "[assembly: AssemblyVersion(\"1.0.0.0\")] version: \"1.2.3.4\" Chrome/120.0.0.0, versions: <ip>")]
    [InlineData("x = .4111111111111111, but ...4111111111111111", "x = .4111111111111111, but ...<card>")]
    [InlineData("jose\u0301@example.com, o\u0308@u\u0308ber.de.", "<email>, <email>.")]
    [InlineData("संपर्क@डाटामेल.भारत को लिखें, தொடர்பு@எடுத்துக்காட்டு.இந்தியா", "<email> को लिखें, <email>")]
    [InlineData("ผู้ใช้@ไทย.คอม ติดต่อinfo@example.co.thครับ", "<email> ติดต่อ<email>ครับ")]
    [InlineData("\u2709\uFE0Fanna@example.org\uFE0F, \u260E\uFE0F+49 30 901820", "\u2709\uFE0F<email>, \u260E\uFE0F<phone>")]
    [InlineData("+49\u202F30\u202F9018200, +49 30 9018\u20112000, 555\u2011123\u20114567", "<phone>, <phone>, <phone>")]
    [InlineData("555\u2013123\u20134567, (555)\u00A0123-4567", "<phone>, <phone>")]
    [InlineData("DE89\u202F3704\u202F0044\u202F0532\u202F0130\u202F00 DE89\u20093704\u20090044\u20090532\u20090130\u200900", "<iban> <iban>")]
    [InlineData("4111\u202F1111\u202F1111\u202F1111, 4111\u20111111\u20111111\u20111111 4111\u20071111\u20071111\u20071111", "<card>, <card> <card>")]
    [InlineData("Tel\u2013555-123-4567 a\u2013anna@b.org 555-123-4567\u2013555-123-4570", "Tel\u2013<phone> a\u2013<email> <phone>\u2013<phone>")]
    [InlineData("555\u2011123\u20114567\u20118901 and 555\u2013123\u20134567\u20138901", null)]
    [InlineData("In 2024-11-26 there were 1234567890 things, +5 more, 10 000 000 000", null)]
    public void Personal_data_gives_way_to_a_tag_and_what_only_looks_like_it_stays(string text, string? tagged)
    {
        CorpusCleaning cleaning = new(CleaningStep.PersonalData());
        Assert.Equal(tagged ?? text, cleaning.Clean([new("a", "", text, "")]).Single().Text);
        Assert.Equal(tagged is null ? 0 : 1, cleaning.Report!.Steps[0].Changed);
    }

    [Fact]
    public void Personal_data_is_taken_by_kinds_and_never_told()
    {
        const string Text = "a@b.org called +49 30 9018200 from 10.0.0.1";
        Assert.Equal(
            "a@b.org called <phone> from 10.0.0.1",
            new CorpusCleaning(CleaningStep.PersonalData(PersonalDataKinds.Phone)).Clean([new("a", "", Text, "")]).Single().Text);
        CorpusCleaning cleaning = new(CleaningStep.PersonalData(PersonalDataKinds.Email | PersonalDataKinds.IpAddress));
        Document tagged = cleaning.Clean([new("a", "mail of a@b.org", Text, "")]).Single();
        Assert.Equal(("mail of <email>", "<email> called +49 30 9018200 from <ip>"), (tagged.Title, tagged.Text));
        Assert.Equal(["a: 2 <email>, 1 <ip>"], cleaning.Report!.Steps[0].Examples);
    }

    [Theory]
    [InlineData(PersonalDataKinds.Email, "a@b.org", "<email>")]
    [InlineData(PersonalDataKinds.Phone, "+49 30 9018200", "<phone>")]
    [InlineData(PersonalDataKinds.Iban, "DE89 3704 0044 0532 0130 00", "<iban>")]
    [InlineData(PersonalDataKinds.Card, "4111 1111 1111 1111", "<card>")]
    [InlineData(PersonalDataKinds.IpAddress, "10.0.0.1", "<ip>")]
    public void Each_kind_of_personal_data_takes_its_own_and_leaves_the_others(PersonalDataKinds kind, string own, string tag)
    {
        const string Text = "a@b.org called +49 30 9018200 from 10.0.0.1: IBAN DE89 3704 0044 0532 0130 00, card 4111 1111 1111 1111.";
        CorpusCleaning cleaning = new(CleaningStep.PersonalData(kind));
        Assert.Equal(Text.Replace(own, tag, StringComparison.Ordinal), cleaning.Clean([new("a", "", Text, "")]).Single().Text);
        Assert.Equal([$"a: 1 {tag}"], cleaning.Report!.Steps[0].Examples);
    }

    /// <summary>Whatever comes, in time that grows with the text alone.</summary>
    [Fact]
    public void Random_and_hostile_text_is_scanned_to_its_end()
    {
        Random random = new(6);
        const string Alphabet = "aZ09@.:+-() \n\u00e9_/";
        for (int round = 0; round < 300; round++)
        {
            string text = string.Concat(Enumerable.Range(0, 200).Select(_ => Alphabet[random.Next(Alphabet.Length)]));
            List<PersonalDataSearch.Found> found = PersonalDataSearch.In(text, PersonalDataKinds.All);
            int done = 0;
            Assert.All(found, one =>
            {
                Assert.InRange(one.Start, done, one.End - 1);
                done = one.End;
            });
            Assert.InRange(done, 0, text.Length);
        }

        foreach (string part in new[] { "1", "a@", "+1 ", "DE89", "1:", "((", "4111 " })
        {
            string text = string.Concat(Enumerable.Repeat(part, 200_000));
            Assert.All(PersonalDataSearch.In(text, PersonalDataKinds.All), one => Assert.InRange(one.End - one.Start, 1, 400));
        }
    }

    [Fact]
    public void Lengths_are_counted_in_characters_and_words()
    {
        Document[] documents = [new("a", "", "one two", ""), new("b", "", "three", ""), new("c", "", "four five  six\nseven", "")];
        Assert.Equal(["a", "c"], Left(CleaningStep.Length(6)));
        Assert.Equal(["a", "b"], Left(CleaningStep.Length(most: 10)));
        Assert.Equal(["c"], Left(CleaningStep.Length(leastWords: 4)));
        Assert.Throws<ArgumentOutOfRangeException>(() => CleaningStep.Length(5, 4));
        Assert.Throws<ArgumentOutOfRangeException>(() => CleaningStep.RepeatedLines(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => CleaningStep.NearDuplicates(0.1));
        Assert.Throws<ArgumentOutOfRangeException>(() => CleaningStep.PersonalData(0));

        IEnumerable<string> Left(CleaningStep step) => new CorpusCleaning(step).Clean(documents).Select(document => document.Id);
    }
}
