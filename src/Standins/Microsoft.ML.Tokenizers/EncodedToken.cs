namespace Microsoft.ML.Tokenizers;

/// <summary>A token: its id, the vocabulary's text for it, and the characters of the normalized text it stands for.</summary>
public readonly struct EncodedToken : IEquatable<EncodedToken>
{
    public EncodedToken(int id, string value, Range offset)
    {
        Id = id;
        Value = value;
        Offset = offset;
    }

    public int Id { get; }

    public string Value { get; }

    public Range Offset { get; }

    public bool Equals(EncodedToken other)
        => Id == other.Id && Value == other.Value && Offset.Equals(other.Offset);
}
