namespace Retro.Corpora;

/// <summary>What names a person, or leads to one.</summary>
[Flags]
public enum PersonalDataKinds
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>Addresses of e-mail; who is a user before the host of a URL, or called git, has none there.</summary>
    Email = 1,

    /// <summary>Numbers of telephones, with a plus and right behind it the country's (+49 30 ...), or in the form (555) 123-4567.</summary>
    Phone = 2,

    /// <summary>Numbers of bank accounts (ISO 13616) in capital letters, of their country's length and with the right check digits.</summary>
    Iban = 4,

    /// <summary>Numbers of cards, 13 to 19 digits of a known issuer's beginning and length and with the right check digit (Luhn's).</summary>
    Card = 8,

    /// <summary>Addresses of the Internet protocol, of both versions; behind a name and a slash stands the version of a program (RFC 9110, 10.1.5).</summary>
    IpAddress = 16,

    /// <summary>All of them.</summary>
    All = Email | Phone | Iban | Card | IpAddress,
}
