using System.Text;
using Retro.Tokenizers;

namespace Retro.Tests.Tokenizers;

public sealed class SentencePieceModelTests
{
    // A model of the unknown piece alone: a message with its text and its kind.
    private const string Unknown = "0A 05 0A01 3F 1802 ";

    [Theory]
    [InlineData("", "no pieces")]
    [InlineData("0A 05 0A01 3F 1801", "unknown piece")]
    [InlineData("0A 02 1802", "empty")]
    [InlineData("0A 05 0A01 3F 1807", "kind 7")]
    [InlineData("0A 05 0A01 FF 1802", "UTF-8")]
    [InlineData(Unknown + "0A 04 0A01 3F 18", "protocol buffer")] // cut in the number
    [InlineData(Unknown + "0A 06 0A01 3F 1802", "middle of a field")] // longer than the file
    [InlineData("0A 04 0A01 3F 1802", "middle of a field")] // the last field leads out of its message
    [InlineData(Unknown + "0A FFFFFFFF0F", "middle of a field")] // a negative length
    [InlineData(Unknown + "0A 80808080808080808080 01", "protocol buffer")] // a length without an end
    [InlineData(Unknown + "00", "protocol buffer")]
    [InlineData(Unknown + "33 0C", "protocol buffer")] // a group with the end of another
    [InlineData(Unknown + "34", "protocol buffer")] // the end of a group that was not begun
    [InlineData(Unknown + "36", "wire type 6")]
    [InlineData(Unknown + "37", "wire type 7")]
    [InlineData(Unknown + "32 7F 00", "protocol buffer")] // what is passed over is longer than the file
    [InlineData(Unknown + "08 01", "another type")] // a piece that is a number
    [InlineData("0A 05 0801 1802 00", "another type")] // a text that is a number
    [InlineData("0A 06 0A01 3F 1201 00", "another type")] // a score that is a text
    [InlineData(Unknown + "12 03 1A01 02", "another type")] // a kind of model that is a text
    public void What_is_no_model_is_refused(string bytes, string named)
        => Assert.Contains(
            named,
            Assert.Throws<FormatException>(() => SentencePieceModel.Parse(Convert.FromHexString(bytes.Replace(" ", "", StringComparison.Ordinal)))).Message,
            StringComparison.Ordinal);

    [Fact]
    public void Fields_that_are_not_known_are_passed_over_as_deep_as_messages_go()
    {
        // Of each wire type, in the file, a piece and the trainer's settings.
        string unknown = "F001 01 F101 0000000000000000 F201 02 FFFF F301 0801 F401 F501 00000000 ";
        SentencePieceModel model = SentencePieceModel.Parse(Convert.FromHexString(
            (Unknown + unknown + "0A 26 0A01 61 15 0000C0BF " + unknown + "12 20 1802 " + unknown).Replace(" ", "", StringComparison.Ordinal)));
        Assert.Equal([new Piece("?", 0, PieceKind.Unknown), new Piece("a", -1.5f, PieceKind.Normal)], model.Pieces);
        Assert.Equal((2, 0), (model.ModelType, model.UnknownId));

        // Groups within groups are no way to fill the stack.
        byte[] deep = [.. Convert.FromHexString(Unknown.Replace(" ", "", StringComparison.Ordinal)), .. Enumerable.Repeat((byte)0x33, 1 << 20)];
        Assert.Contains("protocol buffer", Assert.Throws<FormatException>(() => SentencePieceModel.Parse(deep)).Message, StringComparison.Ordinal);
        Assert.Throws<FormatException>(() => SentencePieceModel.Parse(Encoding.UTF8.GetBytes("no model at all")));
    }
}
