using System.Buffers;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Retro.Corpora;

/// <summary>
/// Finds what names a person in a text, in one pass that looks a bounded number of characters ahead. Numbers are taken where their check digits are right, and
/// only whole: what goes on with a letter or a digit before or behind is something else, but for letters of scripts whose words stand directly beside it. What
/// other numbers follow behind a space, or its port, is no part.
/// </summary>
internal static class PersonalDataSearch
{
    private const int LongestAddress = 254; // of e-mail, RFC 5321
    private const int LongestNumber = 48;
    private const int ShortestCard = 13, LongestCard = 19; // ISO/IEC 7812-1
    private const int LongestPhone = 15, LongestCountry = 3; // E.164
    private const int LongestZone = 15; // names of interfaces

    // No-break, thin and figure spaces; hyphens, figure and en dash, minus.
    private static readonly SearchValues<char> s_parting = SearchValues.Create("\u00A0\u2007\u2009\u202F\u2010\u2011\u2012\u2013\u2212");

    private static readonly string[] s_dates = ["yyyy-MM-dd", "yyyy/MM/dd"];
    private static readonly string[] s_pictures = ["avif", "gif", "jpeg", "jpg", "png", "svg", "webp"]; // of which none is a domain's last part
    private static readonly string[] s_versions = ["version", "版本", "版本号", "バージョン", "버전"];

    // Lengths by country of the IBAN registry (ISO 13616, https://www.swift.com/standards/data-standards/iban-international-bank-account-number).
    private static readonly Dictionary<string, int> s_ibanLengths =
        ("AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
            + "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 "
            + "LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 "
            + "QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30")
        .Split(' ').ToDictionary(entry => entry[..2], entry => int.Parse(entry.AsSpan(2), CultureInfo.InvariantCulture));

    /// <summary>A place that was found.</summary>
    public readonly record struct Found(int Start, int End, PersonalDataKinds Kind);

    /// <summary>What is in a text, in its order, without overlaps.</summary>
    public static List<Found> In(string text, PersonalDataKinds kinds)
    {
        List<Found> found = [];
        string plain = Plain(text);
        int done = 0;
        for (int i = 0; i < text.Length; i++)
        {
            if (At(text, plain, i, done, kinds) is { } one)
            {
                found.Add(one);
                done = one.End;
                i = one.End - 1;
            }
        }

        return found;
    }

    /// <summary>The text with the spaces and the dashes that typesetters part numbers with as those of ASCII, each in its place.</summary>
    private static string Plain(string text) => !text.AsSpan().ContainsAny(s_parting) ? text : string.Create(text.Length, text, (plain, from) =>
    {
        for (int i = 0; i < plain.Length; i++)
        {
            plain[i] = !s_parting.Contains(from[i]) ? from[i] : char.IsWhiteSpace(from[i]) ? ' ' : '-';
        }
    });

    /// <summary>What begins at a place or, of an address of e-mail, has its @ there.</summary>
    /// <param name="text">The text.</param>
    /// <param name="plain">What numbers are looked for in.</param>
    /// <param name="at">The place.</param>
    /// <param name="done">Where what was found before ends.</param>
    /// <param name="kinds">What is looked for.</param>
    private static Found? At(string text, string plain, int at, int done, PersonalDataKinds kinds)
    {
        char character = text[at];
        if (character == '@')
        {
            return kinds.HasFlag(PersonalDataKinds.Email) && Email(text, done, at, out int start) is var last and > 0
                ? new(start, last, PersonalDataKinds.Email)
                : null;
        }

        bool digit = char.IsAsciiDigit(character);
        if (!(digit || char.IsAsciiLetter(character) || character is ':' or '+' or '('))
        {
            return null;
        }

        // What went into a tag is not there anymore.
        ReadOnlySpan<char> before = text.AsSpan(done, at - done);
        if (!IsBefore(before))
        {
            return null;
        }

        // A colon ends a label, but for one in a time or in an address; with check digits, what follows is neither.
        bool labeled = before is not [.., >= '0' and <= '9', ':'];
        bool isFraction = before is [.., '.'] and not [.., '.', '.']; // without its zero
        return kinds.HasFlag(PersonalDataKinds.Iban) && char.IsAsciiLetterUpper(character) && Iban(plain, at) is var iban and > 0
                ? new(at, iban, PersonalDataKinds.Iban)
            : kinds.HasFlag(PersonalDataKinds.Card) && digit && !isFraction && Card(plain, at) is var card and > 0
                ? new(at, card, PersonalDataKinds.Card)
            : kinds.HasFlag(PersonalDataKinds.IpAddress) && !IsGroupOfAddress(before) && Address(text, at) is var address and > 0
                ? new(at, address, PersonalDataKinds.IpAddress)
            : kinds.HasFlag(PersonalDataKinds.Phone) && labeled && (digit || character is '+' or '(') && Phone(plain, text, at) is var phone and > 0
                ? new(at, phone, PersonalDataKinds.Phone)
            : null;
    }

    // Words of scripts that put no spaces between them, and particles of Korean, stand directly beside what is of another script.
    private static bool StandsBeside(char character) => WordGrams.WritesWithoutSpaces(character) || character is >= '\uAC00' and <= '\uD7A3';

    private static bool GoesOn(char character) => char.IsLetterOrDigit(character) && !StandsBeside(character);

    private static bool IsOfWord(char character) => char.IsLetterOrDigit(character) || IsMark(character);

    // What belongs to the letter before it: accents of decomposed text, vowels of Indic scripts and of Thai.
    private static bool IsMark(char character)
        => char.GetUnicodeCategory(character) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark;

    // Nothing that the place could be the middle of comes before it.
    private static bool IsBefore(ReadOnlySpan<char> before)
        => before.IsEmpty || (!GoesOn(before[^1]) && !(before.Length > 1 && before[^1] is '.' or '-' or '_' or '/' && GoesOn(before[^2])));

    // Whether a group of an IPv6 address and its colon come before a place.
    private static bool IsGroupOfAddress(ReadOnlySpan<char> before)
    {
        if (before is not [.., ':'])
        {
            return false;
        }

        int length = 0;
        while (length < before.Length - 1 && length <= 4 && char.IsAsciiHexDigit(before[^(length + 2)]))
        {
            length++;
        }

        return length is >= 1 and <= 4 && (length == before.Length - 1 || !GoesOn(before[^(length + 2)]));
    }

    private static bool IsBehind(string text, int end) => end == text.Length || !(GoesOn(text[end]) || text[end] == '_');

    private static int Email(string text, int least, int at, out int start)
    {
        // Of what can stand beside an address, nothing is part of one whose name ends in another script; what parts paths and URLs (RFC 3986, 3) could be, and
        // is not.
        start = at;
        bool beside = at > least && StandsBeside(text[at - 1]);
        while (start > least && at - start < LongestAddress
            && ((IsOfWord(text[start - 1]) && (beside || !StandsBeside(text[start - 1]))) || ".!#$%'*+-^_`{|}~".Contains(text[start - 1])))
        {
            start--;
        }

        while (start < at && !char.IsLetterOrDigit(text[start]) && text[start] != '_')
        {
            start++;
        }

        int end = at + 1, last = -1, dot = -1, label = -1;
        for (; end < text.Length && end - at < LongestAddress && (IsOfWord(text[end]) || text[end] is '-' or '.'); end++)
        {
            if (text[end] == '.')
            {
                if (end == at + 1 || text[end - 1] == '.')
                {
                    break;
                }

                dot = end;
            }
            else if (dot > 0 && IsOfWord(text[end - 1]) && text[end] != '-' && StandsBeside(text[end]) != StandsBeside(text[end - 1]))
            {
                break; // the last part of a domain is of one script
            }
            else if (dot > 0 && text[end] != '-')
            {
                (last, label) = (end + 1, dot + 1);
            }
        }

        // The user "git" of a host is nobody.
        if (start == at || last < 0 || text.AsSpan(start, at - start) is "git" || IsUserOfUrl(text, least, start))
        {
            return -1;
        }

        // The last part of the domain is of letters, two or more (RFC 3696, 2), or stands for such (RFC 5890, 2.3.2.1): that of a version has digits. Behind a
        // hyphen a word may follow.
        ReadOnlySpan<char> top = text.AsSpan(label, last - label);
        int letters = 0;
        while (letters < top.Length && (char.IsLetter(top[letters]) || IsMark(top[letters])))
        {
            letters++;
        }

        return top.StartsWith("xn--", StringComparison.OrdinalIgnoreCase) ? last
            : letters >= 2 && (letters == top.Length || top[letters] == '-') && !IsPicture(top[..letters]) ? label + letters
            : -1;
    }

    // Before the host of a URL may stand a user, and a password behind a colon (RFC 3986, 3.2.1).
    private static bool IsUserOfUrl(string text, int least, int start)
    {
        int begin = start;
        while (begin > least && start - begin < LongestAddress && (char.IsAsciiLetterOrDigit(text[begin - 1]) || "-._~%:".Contains(text[begin - 1])))
        {
            begin--;
        }

        return text.AsSpan(least, begin - least).EndsWith("://", StringComparison.Ordinal);
    }

    // A picture for screens of twice the resolution is called logo@2x.png.
    private static bool IsPicture(ReadOnlySpan<char> ending)
    {
        foreach (string picture in s_pictures)
        {
            if (ending.Equals(picture, StringComparison.OrdinalIgnoreCase))
            {
                return true;
            }
        }

        return false;
    }

    private static int Iban(string text, int start)
    {
        if (start + 4 > text.Length || !s_ibanLengths.TryGetValue(text.Substring(start, 2), out int length))
        {
            return -1;
        }

        int taken = 0, rest = 0;
        Span<char> code = stackalloc char[length];
        int end = start;
        for (; end < text.Length && taken < length; end++)
        {
            if (char.IsAsciiDigit(text[end]) || char.IsAsciiLetterUpper(text[end]))
            {
                code[taken++] = text[end];
            }
            else if (text[end] is not (' ' or '-') || !char.IsAsciiLetterOrDigit(text[end - 1]))
            {
                return -1;
            }
        }

        if (taken < length || !IsBehind(text, end) || !char.IsAsciiDigit(code[2]) || !char.IsAsciiDigit(code[3]))
        {
            return -1;
        }

        // ISO 7064, MOD 97-10: the first four behind the others, letters as 10 to 35.
        for (int i = 4; i < length + 4; i++)
        {
            char character = code[i % length];
            rest = char.IsAsciiDigit(character) ? ((rest * 10) + character - '0') % 97 : ((rest * 100) + character - 'A' + 10) % 97;
        }

        return rest == 1 ? end : -1;
    }

    private static int Card(string text, int start)
    {
        Span<char> number = stackalloc char[LongestNumber];
        Span<int> ends = stackalloc int[LongestNumber + 1];
        int digits = Digits(text, start, number, " -", ends);
        for (int count = Math.Min(digits, LongestCard); count >= ShortestCard; count--)
        {
            if (ends[count] > 0 && IsBehind(text, ends[count]) && IsCard(number[..count])
                && (count == digits || IsWritten(text, ends, count) || AreAll(number[..digits], ends, count)))
            {
                return ends[count];
            }
        }

        return -1;

        // A row of numbers of four may be one of cards.
        static bool AreAll(ReadOnlySpan<char> number, ReadOnlySpan<int> ends, int count)
        {
            bool areAll = number.Length % count == 0;
            for (int card = count; areAll && card < number.Length; card += count)
            {
                areAll = ends[card] > 0 && IsCard(number.Slice(card, count));
            }

            return areAll;
        }

        // What others follow is a card where it is written as one: in one piece or from four digits on, and in no row of numbers of four.
        static bool IsWritten(string text, ReadOnlySpan<int> ends, int count)
            => ends[1..].IndexOfAnyExcept(0) + 1 is var first && (first == count || (first == 4 && !IsRow(text, ends, count)));

        static bool IsRow(string text, ReadOnlySpan<int> ends, int count)
        {
            bool isRow = ends[(count + 1)..].IndexOfAnyExcept(0) == 3;
            for (int digit = 1; isRow && digit <= count; digit++)
            {
                isRow = digit % 4 == 0 ? ends[digit] > 0 && text[ends[digit]] == text[ends[count]] : ends[digit] == 0;
            }

            return isRow;
        }

        static bool IsCard(ReadOnlySpan<char> number) => IsIssued(number) && HasCheckDigit(number);

        // How the issuers' numbers begin, and how many digits they have (ISO/IEC 7812-1, https://en.wikipedia.org/wiki/Payment_card_number). Times written as
        // one number (20240115103002) begin as none.
        static bool IsIssued(ReadOnlySpan<char> number) => int.Parse(number[..4], NumberStyles.None, CultureInfo.InvariantCulture) switch
        {
            >= 4000 and <= 4999 => number.Length is 13 or 16 or 19, // Visa
            (>= 3400 and <= 3499) or (>= 3700 and <= 3799) => number.Length == 15, // American Express
            (>= 2221 and <= 2720) or (>= 5100 and <= 5599) => number.Length == 16, // Mastercard
            (>= 3000 and <= 3059) or 3095 or (>= 3600 and <= 3699) or (>= 3800 and <= 3999) => number.Length >= 14, // Diners Club
            (>= 2200 and <= 2204) or (>= 3528 and <= 3589) => number.Length >= 16, // Mir, JCB
            8600 or 9792 or 9860 or (>= 8100 and <= 8299) => number.Length == 16, // Uzcard, Troy, Humo, RuPay
            9704 => number.Length is 16 or 19, // NAPAS
            (>= 5000 and <= 5099) or (>= 5600 and <= 5899) or (>= 6000 and <= 6999) => true, // Maestro, Discover, UnionPay, RuPay
            _ => false,
        };

        // Luhn (US patent 2950048): every second digit from the right doubled, the digits of the products added.
        static bool HasCheckDigit(ReadOnlySpan<char> number)
        {
            int sum = 0;
            for (int i = 0; i < number.Length; i++)
            {
                int digit = number[^(i + 1)] - '0';
                sum += i % 2 == 0 ? digit : digit > 4 ? (2 * digit) - 9 : 2 * digit;
            }

            return sum % 10 == 0;
        }
    }

    private static int Address(string text, int start)
    {
        int end = start, colons = 0, dots = 0, groups = 0, digits = 0;
        for (; end < text.Length && end - start < LongestNumber && (char.IsAsciiHexDigit(text[end]) || text[end] is ':' or '.'); end++)
        {
            if (text[end] == ':' && dots == 3 && colons == 0)
            {
                break; // behind an address of IPv4 its port
            }

            colons += text[end] == ':' ? 1 : 0;
            dots += text[end] == '.' ? 1 : 0;
            digits += char.IsAsciiDigit(text[end]) ? 1 : 0;
            groups += char.IsAsciiHexDigit(text[end]) && (end == start || !char.IsAsciiHexDigit(text[end - 1])) ? 1 : 0;
        }

        // What ends a sentence is no part of it.
        while (end > start && (text[end - 1] is '.' or ':') && !(text[end - 1] == ':' && end - start > 1 && text[end - 2] == ':'))
        {
            dots -= text[end - 1] == '.' ? 1 : 0;
            colons -= text[end - 1] == ':' ? 1 : 0;
            end--;
        }

        if (!IsBehind(text, end) || !IPAddress.TryParse(text.AsSpan(start, end - start), out IPAddress? address))
        {
            return -1;
        }

        // The double colon of programs stands between names of hexadecimal letters, too, and between short numbers: of two groups the first is a whole one, and
        // no name begins with a digit.
        ReadOnlySpan<char> found = text.AsSpan(start, end - start);
        return address.AddressFamily == AddressFamily.InterNetwork ? dots == 3 && colons == 0 && IsDecimal(found) && !IsVersion(text, start) ? end : -1
            : colons < 2 || digits == 0 || !(groups > 2 || (groups == 2 && found.IndexOf("::") == 4 && found.Length > 6 && char.IsAsciiDigit(found[6]))) ? -1
            : address.IsIPv6LinkLocal ? ZoneEnd(text, end)
            : end;
    }

    // Of four numbers, too, are versions: Version=8.0.0.0 in an assembly's name, AssemblyVersion("1.0.0.0").
    private static bool IsVersion(string text, int start)
    {
        ReadOnlySpan<char> before = text.AsSpan(0, start).TrimEnd(" =:：(>\"'");
        foreach (string word in s_versions)
        {
            if (before.EndsWith(word, StringComparison.OrdinalIgnoreCase))
            {
                return true;
            }
        }

        return false;
    }

    // Behind an address of one link stands which link that is: "%eth0" (RFC 4007, 11).
    private static int ZoneEnd(string text, int end)
    {
        int zone = end + 1;
        while (zone < text.Length && zone - end <= LongestZone && char.IsAsciiLetterOrDigit(text[zone]))
        {
            zone++;
        }

        return end < text.Length && text[end] == '%' && zone > end + 1 ? zone : end;
    }

    private static bool IsDecimal(ReadOnlySpan<char> text)
    {
        foreach (char character in text)
        {
            if (!char.IsAsciiDigit(character) && character != '.')
            {
                return false;
            }
        }

        return true;
    }

    private static int Phone(string text, string written, int start)
    {
        if (text[start] == '+')
        {
            // With the country's number right behind the plus (RFC 3966, 3), whose first digit is not 0.
            if ((start > 0 && text[start - 1] == '+') || start + 1 == text.Length || !(char.IsAsciiDigit(text[start + 1]) || text[start + 1] == '('))
            {
                return -1;
            }

            Span<char> number = stackalloc char[LongestNumber];
            Span<int> ends = stackalloc int[LongestNumber + 1];
            int digits = Digits(text, start + 1, number, " -./()", ends);
            for (int count = Math.Min(digits, LongestPhone); count >= 8 && number[0] != '0' && !IsQuantity(ends); count--)
            {
                if (ends[count] > 0 && IsBehindNumber(ends[count]))
                {
                    return ends[count];
                }
            }

            return -1;
        }

        // As in North America.
        return Fits("(ddd) ddd-dddd") is var bracketed and > 0 ? bracketed
            : Fits("1-ddd-ddd-dddd") is var whole and > 0 ? whole
            : Fits("ddd-ddd-dddd") is var dashed and > 0 ? dashed
            : Fits("ddd.ddd.dddd");

        int Fits(string form)
        {
            int end = start + form.Length;
            bool fits = end <= text.Length;
            for (int i = 0; fits && i < form.Length; i++)
            {
                fits = form[i] == 'd' ? char.IsAsciiDigit(text[start + i]) : text[start + i] == form[i];
            }

            // No more of the number; another may stand behind a dash that is none of its own.
            fits = fits && IsBehindNumber(end)
                && !(end + 1 < text.Length && (written[end] is '-' or '.' || written[end] == written[end - 5]) && char.IsAsciiDigit(text[end + 1]));
            return fits ? end : -1;
        }

        // A sign, or the mark of a line that was added, stands before a date, or before a number with more digits than a country's and a point behind them.
        bool IsQuantity(ReadOnlySpan<int> ends)
            => (text.Length - start > 10
                    && DateOnly.TryParseExact(text.AsSpan(start + 1, 10), s_dates, CultureInfo.InvariantCulture, DateTimeStyles.None, out DateOnly date)
                    && date.Year is >= 1900 and < 2100)
                || (ends[1..].IndexOfAnyExcept(0) + 1 is > LongestCountry and var first
                    && ends[first] is var end && end + 1 < text.Length && text[end] == '.' && char.IsAsciiDigit(text[end + 1]));

        // An extension ("x89") may stand there.
        bool IsBehindNumber(int end) => IsBehind(text, end) || text[end] is 'x' or 'X';
    }

    /// <summary>
    /// The digits from a place on: between two stands one of the characters that part them, beside a bracket another. Where no digit follows so many directly,
    /// their end is noted.
    /// </summary>
    private static int Digits(string text, int start, Span<char> digits, string between, Span<int> ends)
    {
        int count = 0, parted = 0;
        ends.Clear();
        for (int i = start; i < text.Length && count < digits.Length; i++)
        {
            if (char.IsAsciiDigit(text[i]))
            {
                ends[count] = parted == 0 ? 0 : ends[count];
                digits[count++] = text[i];
                ends[count] = i + 1;
                parted = 0;
            }
            else if (!between.Contains(text[i]) || (++parted > 1 && text[i - 1] is not (')' or '(') && text[i] is not ('(' or ')')) || parted > 3)
            {
                break;
            }
        }

        return count;
    }
}
