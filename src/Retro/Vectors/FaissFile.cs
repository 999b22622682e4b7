using System.Text;

namespace Retro.Vectors;

/// <summary>
/// What an index file of FAISS (1.7) says that it is. FAISS believes its files: it allocates what they say and, for some kinds, opens other files that they
/// name. What is not of the kinds that are written here (an exact index, or inverted lists of plain or 8-bit vectors or of product codes under an exact one,
/// rotated before or not), or does not fit its own length, is told before FAISS reads it.
/// </summary>
internal sealed class FaissFile : IDisposable
{
    private readonly BinaryReader _reader;
    private readonly long _length;

    private FaissFile(string path)
    {
        FileIdentity.RequireFile(path);
        FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        _reader = new(stream, Encoding.Latin1);
        _length = stream.Length;
    }

    /// <summary>Why a file must not be read without trusting it; null where it may.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="DatabaseException">It cannot be read.</exception>
    public static string? FaultOf(string path)
    {
        try
        {
            using FaissFile file = new(path);
            file.Index(lists: true, outermost: true);
            return file._reader.BaseStream.Position == file._length ? null : "something follows the index";
        }
        catch (FormatException fault)
        {
            return fault.Message;
        }
        catch (EndOfStreamException)
        {
            return "it ends in the middle";
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new DatabaseException($"The vector index {path} cannot be read ({exception.Message}); check its rights.", exception);
        }
    }

    public void Dispose() => _reader.Dispose();

    // Field by field as impl/index_write.cpp of FAISS writes them; a size_t and an idx_t have 8 bytes.
    private (int Dimensions, long Count) Index(bool lists, bool outermost = false)
    {
        string kind = Kind();
        int dimensions = _reader.ReadInt32();
        long count = _reader.ReadInt64();
        Skip(8 + 8 + 1); // unused, unused, whether it is trained
        int metric = _reader.ReadInt32();
        Require(dimensions > 0 && count >= 0 && metric is 0 or 1, "its sizes make no sense");
        if (kind is "IxFI" or "IxF2")
        {
            long numbers = _reader.ReadInt64();
            Require(numbers >= 0 && numbers == (Int128)count * dimensions, "it says another number of vectors than it has");
            Skip(numbers, sizeof(float));
            return (dimensions, count);
        }

        if (outermost && kind == "IxPT")
        {
            Require(_reader.ReadInt32() == 1, "it changes vectors more than once");
            int rotated = Rotated(dimensions);
            Require(Index(lists: true) == (rotated, count), "it says other sizes than the index inside of it");
            return (dimensions, count);
        }

        Require(lists && kind is "IwFl" or "IwSq" or "IwPQ", $"it holds an index of the kind {kind}");
        long listCount = _reader.ReadInt64();
        Require(_reader.ReadInt64() > 0, "it looks into none of its lists");
        Require(Index(lists: false) == (dimensions, listCount), "it says other sizes than the index over its lists");
        Require(_reader.ReadByte() == 0 && _reader.ReadInt64() == 0, "it holds a map from ids to lists");
        if (kind == "IwSq")
        {
            const string Sizes = "its codes are of another kind or size than it says";
            Require(_reader.ReadInt32() == 0, Sizes); // of 8 bits, each number with a range of its own
            Skip(4 + 4); // range, its argument
            Require(_reader.ReadInt64() == dimensions && _reader.ReadInt64() == dimensions, Sizes);
            Require(_reader.ReadInt64() is var learned && learned == 2L * dimensions, Sizes);
            Skip(learned, sizeof(float)); // what was learned of the ranges
            Require(_reader.ReadInt64() == dimensions, Sizes);
            Skip(1); // whether the codes are of residuals
        }

        long codeBytes = kind == "IwFl" ? sizeof(float) * (long)dimensions : dimensions;
        if (kind == "IwPQ")
        {
            Skip(1); // whether the codes are of residuals
            codeBytes = _reader.ReadInt64();
            long parts = _reader.ReadInt64() == dimensions ? _reader.ReadInt64() : 0, bits = _reader.ReadInt64();
            Require(parts > 0 && dimensions % parts == 0 && bits is > 0 and <= 16, "its codes make no sense");
            Require(codeBytes == ((parts * bits) + 7) / 8, "its codes are of another size than they say");
            Require(_reader.ReadInt64() is var numbers && numbers == (long)dimensions << (int)bits, "its codes' tables are of another size than they say");
            Skip(numbers, sizeof(float));
        }

        Lists(listCount, count, codeBytes);
        return (dimensions, count);
    }

    /// <summary>A matrix that vectors are multiplied by, and how many numbers they have then.</summary>
    private int Rotated(int dimensions)
    {
        string kind = Kind();
        Require(kind == "LTra", $"it changes vectors by the kind {kind}");
        Skip(1); // whether something is added
        long matrix = _reader.ReadInt64();
        Skip(matrix, sizeof(float));
        long added = _reader.ReadInt64();
        Skip(added, sizeof(float));
        Require(_reader.ReadInt32() == dimensions, "its rotation is of vectors of another size");
        int rotated = _reader.ReadInt32();
        Require(rotated > 0 && matrix == (long)dimensions * rotated && (added == 0 || added == rotated), "its rotation is of another size than it says");
        Skip(1); // whether it is trained
        return rotated;
    }

    private void Lists(long listCount, long count, long codeBytes)
    {
        string kind = Kind();
        Require(kind == "ilar", $"its lists are of the kind {kind}");
        Require(_reader.ReadInt64() == listCount && listCount > 0, "it says two numbers of lists");
        Require(_reader.ReadInt64() == codeBytes, "its vectors are of another size than it says");
        string form = Kind();
        Require(form is "full" or "sprs", $"its lists are of the form {form}");
        long numbers = _reader.ReadInt64();
        Require(numbers >= 0 && numbers <= (_length - _reader.BaseStream.Position) / 8 && numbers % (form == "full" ? 1 : 2) == 0, "its lists are cut short");
        Int128 entries = 0;
        for (long i = 0; i < numbers; i++)
        {
            long value = _reader.ReadInt64();
            bool isSize = form == "full" || i % 2 == 1;
            Require(value >= 0 && (isSize ? value <= count : value < listCount), "its lists have impossible sizes");
            entries += isSize ? value : 0;
        }

        Require(entries == count, "its lists hold another number of vectors");
        Skip(count, (Int128)codeBytes + 8); // codes and ids
    }

    private string Kind() => Encoding.Latin1.GetString(_reader.ReadBytes(4)) is { Length: 4 } kind ? kind : throw new EndOfStreamException();

    private void Skip(long count, Int128 size) => Skip(count < 0 ? -1 : count * size);

    private void Skip(Int128 bytes)
    {
        Require(bytes >= 0 && bytes <= _length - _reader.BaseStream.Position, "it is cut short, or says impossible sizes");
        _reader.BaseStream.Position += (long)bytes;
    }

    private static void Require(bool holds, string fault)
    {
        if (!holds)
        {
            throw new FormatException(fault);
        }
    }
}
