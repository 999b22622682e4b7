using System.Buffers.Binary;
using System.Text;
using System.Text.Json;

namespace Retro.Checkpoints;

/// <summary>
/// The header of a safetensors file (https://github.com/huggingface/safetensors): eight bytes of length, then JSON. Read as hostile input, with the verdicts of
/// the original library: everything is checked before anything is taken from the file, tensors lie one after another without holes or overlaps, and they cover
/// the file.
/// </summary>
internal sealed class SafetensorsHeader
{
    public const int LengthBytes = 8;

    /// <summary>The most bytes of JSON that the original reads.</summary>
    public const long LargestHeader = 100_000_000;

    private const int DeepestJson = 127;

    // Bits a value, by the format's name.
    private static readonly Dictionary<string, uint> s_bits = new(StringComparer.Ordinal)
    {
        ["BOOL"] = 8, ["F4"] = 4, ["F6_E2M3"] = 6, ["F6_E3M2"] = 6, ["U8"] = 8, ["I8"] = 8, ["F8_E5M2"] = 8, ["F8_E4M3"] = 8, ["F8_E8M0"] = 8,
        ["F8_E4M3FNUZ"] = 8, ["F8_E5M2FNUZ"] = 8, ["I16"] = 16, ["U16"] = 16, ["F16"] = 16, ["BF16"] = 16, ["I32"] = 32, ["U32"] = 32, ["F32"] = 32,
        ["C64"] = 64, ["F64"] = 64, ["I64"] = 64, ["U64"] = 64,
    };

    private readonly Dictionary<string, SafetensorsEntry> _entries = new(StringComparer.Ordinal);

    private SafetensorsHeader()
    {
    }

    /// <summary>Null where the file has none.</summary>
    public Dictionary<string, string>? Metadata { get; private set; }

    public IReadOnlyDictionary<string, SafetensorsEntry> Entries => _entries;

    /// <summary>Where values begin in the file.</summary>
    public long DataStart { get; private set; }

    /// <summary>The length of the JSON that the first bytes of a file announce.</summary>
    public static int JsonLength(ReadOnlySpan<byte> start, long fileLength)
    {
        if (fileLength < LengthBytes)
        {
            throw new FormatException($"it has {fileLength} bytes, too few for the 8 bytes that begin it");
        }

        if (LfsPointer.Is(start))
        {
            throw new FormatException($"it is {LfsPointer.Said}");
        }

        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(start);
        if (length > LargestHeader)
        {
            throw new FormatException(OtherKind(start) ?? $"its header is said to have {length} bytes; more than {LargestHeader} is refused");
        }

        if ((long)length > fileLength - LengthBytes)
        {
            throw new FormatException(
                $"its header is said to have {length} bytes, but only {fileLength - LengthBytes} follow; the file is cut off or no safetensors file");
        }

        return (int)length;
    }

    /// <summary>What a file of another kind is by its first bytes, whatever it is called; null: not known.</summary>
    private static string? OtherKind(ReadOnlySpan<byte> start)
        => start.StartsWith("PK\u0003\u0004"u8) || (start[0] == 0x80 && start[1] is >= 2 and <= 5)
            ? "it is a Python pickle, as torch.save writes it, and no safetensors file; convert it in Python, "
                + "safetensors.torch.save_file(torch.load(file), other)"
            : start.StartsWith("GGUF"u8) ? "it is a GGUF file, and no safetensors file; take the model's own safetensors files"
            : start[0] == '<' ? "it begins as a page of HTML does, such as a failed download leaves, and is no safetensors file; fetch it again"
            : null;

    /// <summary>Reads and checks the header.</summary>
    /// <exception cref="FormatException">The header is not valid or does not fit the file; the message names the fault.</exception>
    public static SafetensorsHeader Parse(ReadOnlySpan<byte> json, long fileLength)
    {
        SafetensorsHeader header = new() { DataStart = LengthBytes + json.Length };
        try
        {
            _ = new UTF8Encoding(false, throwOnInvalidBytes: true).GetCharCount(json);
            Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = DeepestJson });
            reader.Read();
            header.ReadObject(ref reader);
            if (reader.Read())
            {
                throw new FormatException("something follows its header's JSON object");
            }
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or DecoderFallbackException)
        {
            throw new FormatException($"its header is not valid JSON in UTF-8: {exception.Message}", exception);
        }

        header.CheckLayout(fileLength);
        return header;
    }

    private void ReadObject(ref Utf8JsonReader reader)
    {
        Expect(reader.TokenType == JsonTokenType.StartObject, "its header is no JSON object");
        bool metadataSeen = false;
        while (Next(ref reader) == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            Next(ref reader);
            if (name != "__metadata__")
            {
                ReadEntry(ref reader, name);
                continue;
            }

            Expect(!metadataSeen, "it has two \"__metadata__\"");
            metadataSeen = true;
            ReadMetadata(ref reader);
        }
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Null)
        {
            return;
        }

        Expect(reader.TokenType == JsonTokenType.StartObject, "\"__metadata__\" is no JSON object");
        Metadata = new(StringComparer.Ordinal);
        while (Next(ref reader) == JsonTokenType.PropertyName)
        {
            string key = reader.GetString()!;
            Expect(Next(ref reader) == JsonTokenType.String, $"the metadata \"{key}\" is no string");
            Metadata[key] = reader.GetString()!;
        }
    }

    private void ReadEntry(ref Utf8JsonReader reader, string name)
    {
        string? dtype = null;
        List<ulong>? shape = null, offsets = null;
        if (reader.TokenType == JsonTokenType.StartArray)
        {
            // The original also takes the three fields as a list in their order.
            Next(ref reader);
            dtype = ReadDtype(ref reader, name);
            Next(ref reader);
            shape = ReadNumbers(ref reader, name, "shape");
            Next(ref reader);
            offsets = ReadNumbers(ref reader, name, "data_offsets");
            Expect(Next(ref reader) == JsonTokenType.EndArray, $"tensor \"{name}\" is a list of more than three");
        }
        else
        {
            Expect(reader.TokenType == JsonTokenType.StartObject, $"tensor \"{name}\" is no JSON object");
            while (Next(ref reader) == JsonTokenType.PropertyName)
            {
                string field = reader.GetString()!;
                Next(ref reader);
                switch (field)
                {
                    case "dtype":
                        Expect(dtype is null, $"tensor \"{name}\" has two \"dtype\"");
                        dtype = ReadDtype(ref reader, name);
                        break;
                    case "shape":
                        Expect(shape is null, $"tensor \"{name}\" has two \"shape\"");
                        shape = ReadNumbers(ref reader, name, field);
                        break;
                    case "data_offsets":
                        Expect(offsets is null, $"tensor \"{name}\" has two \"data_offsets\"");
                        offsets = ReadNumbers(ref reader, name, field);
                        break;
                    default:
                        SkipValue(ref reader);
                        break;
                }
            }
        }

        Expect(dtype is not null, $"tensor \"{name}\" has no \"dtype\"");
        Expect(shape is not null, $"tensor \"{name}\" has no \"shape\"");
        Expect(offsets is not null, $"tensor \"{name}\" has no \"data_offsets\"");
        Expect(offsets!.Count == 2, $"tensor \"{name}\" has {offsets.Count} data offsets, not 2");
        Expect(offsets[0] <= long.MaxValue && offsets[1] <= long.MaxValue, $"tensor \"{name}\" lies at {offsets[0]} to {offsets[1]}, beyond any file");
        SafetensorsEntry entry = new(name, dtype!, shape!, (long)offsets[0], (long)offsets[1]);
        if (!_entries.TryAdd(name, entry))
        {
            SafetensorsEntry other = _entries[name];
            Expect(
                other.Dtype == entry.Dtype && other.Begin == entry.Begin && other.End == entry.End && other.Dimensions.SequenceEqual(entry.Dimensions),
                $"tensor \"{name}\" is described twice, differently");
        }
    }

    private static string ReadDtype(ref Utf8JsonReader reader, string name)
    {
        string? dtype = null;
        if (reader.TokenType == JsonTokenType.String)
        {
            dtype = reader.GetString();
        }
        else if (reader.TokenType == JsonTokenType.StartObject && Next(ref reader) == JsonTokenType.PropertyName)
        {
            // The original's other spelling of an enumeration's value: {"F32": null}.
            dtype = reader.GetString();
            Expect(Next(ref reader) == JsonTokenType.Null && Next(ref reader) == JsonTokenType.EndObject, $"the dtype of tensor \"{name}\" is no string");
        }

        Expect(dtype is not null, $"the dtype of tensor \"{name}\" is no string");
        Expect(s_bits.ContainsKey(dtype!), $"tensor \"{name}\" has the unknown dtype \"{dtype}\"");
        return dtype!;
    }

    private static List<ulong> ReadNumbers(ref Utf8JsonReader reader, string name, string field)
    {
        Expect(reader.TokenType == JsonTokenType.StartArray, $"\"{field}\" of tensor \"{name}\" is no list");
        List<ulong> numbers = [];
        while (Next(ref reader) != JsonTokenType.EndArray)
        {
            // "-0", "2.0" and "1e1" are no integers to the original.
            ulong number = 0;
            Expect(
                reader.TokenType == JsonTokenType.Number
                    && reader.ValueSpan.IndexOfAnyExceptInRange((byte)'0', (byte)'9') < 0
                    && reader.TryGetUInt64(out number),
                $"\"{field}\" of tensor \"{name}\" holds something other than whole numbers from 0 to 2^64 - 1");
            numbers.Add(number);
        }

        return numbers;
    }

    private static void SkipValue(ref Utf8JsonReader reader)
    {
        int depth = reader.CurrentDepth;
        while (true)
        {
            // Strings are decoded, so that a lone surrogate is found; numbers have to be finite.
            if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName)
            {
                reader.GetString();
            }
            else if (reader.TokenType == JsonTokenType.Number)
            {
                Expect(double.IsFinite(reader.GetDouble()), "its header holds a number out of range");
            }

            if (reader.CurrentDepth == depth && reader.TokenType is not (JsonTokenType.StartArray or JsonTokenType.StartObject or JsonTokenType.PropertyName))
            {
                return;
            }

            Next(ref reader);
        }
    }

    private void CheckLayout(long fileLength)
    {
        long start = 0;
        foreach (SafetensorsEntry entry in _entries.Values.OrderBy(entry => entry.Begin).ThenBy(entry => entry.End))
        {
            Expect(
                entry.Begin == start && entry.End >= entry.Begin,
                $"tensor \"{entry.Name}\" lies at {entry.Begin} to {entry.End}, but the one before it ends at {start}: tensors have to follow one another "
                    + "without holes or overlaps");
            ulong bits = Bits(entry);
            Expect(bits % 8 == 0, $"tensor \"{entry.Name}\" does not end at a whole byte");
            Expect(
                bits / 8 == (ulong)entry.ByteLength,
                $"tensor \"{entry.Name}\" of {entry.Dtype} and shape [{string.Join(", ", entry.Dimensions)}] needs {bits / 8} bytes, but has "
                    + $"{entry.ByteLength}");
            start = entry.End;
        }

        Expect(
            start == fileLength - DataStart,
            $"its tensors have {start} bytes, but {fileLength - DataStart} follow the header; the file is cut off or holds something else");
    }

    private static ulong Bits(SafetensorsEntry entry)
    {
        try
        {
            ulong count = 1;
            foreach (ulong size in entry.Dimensions)
            {
                count = checked(count * size);
            }

            return checked(count * s_bits[entry.Dtype]);
        }
        catch (OverflowException exception)
        {
            throw new FormatException(
                $"tensor \"{entry.Name}\" of shape [{string.Join(", ", entry.Dimensions)}] has more values than can be counted", exception);
        }
    }

    private static JsonTokenType Next(ref Utf8JsonReader reader)
    {
        Expect(reader.Read(), "its header ends too early");
        return reader.TokenType;
    }

    private static void Expect(bool condition, string fault)
    {
        if (!condition)
        {
            throw new FormatException(fault);
        }
    }
}
