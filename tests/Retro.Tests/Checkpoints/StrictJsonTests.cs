using System.Text;
using System.Text.Json;
using Retro.Checkpoints;

namespace Retro.Tests.Checkpoints;

public sealed class StrictJsonTests
{
    [Theory]
    [InlineData("{\"n\": 1.5}", "\"n\" has to be a whole number, not 1.5")]
    [InlineData("{\"n\": 3000000000}", "\"n\" has to be a whole number, not 3000000000")]
    [InlineData("{\"n\": 1, \"n\": 2}", "\"n\" stands there twice")]
    [InlineData("{\"n\": \"\\ud800\"}", "\"n\" has to be a whole number")]
    [InlineData("{\"\\ud800\": 1}", "a key holds half a surrogate pair")]
    [InlineData("[1]", "has to hold a JSON object")]
    [InlineData("{\"n\": 1", "is not valid JSON")]
    public void A_fault_names_file_key_and_what_was_expected(string json, string expected)
    {
        string message = Assert.Throws<CheckpointException>(() =>
        {
            using StrictJson file = StrictJson.Parse("some.json", Encoding.UTF8.GetBytes(json));
            file.Integer("n");
        }).Message;
        Assert.Contains("some.json", message, StringComparison.Ordinal);
        Assert.Contains(expected, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("8192.0", 8192)]
    [InlineData("8.192e3", 8192)]
    [InlineData("-1", -1)]
    [InlineData("2147483647", int.MaxValue)]
    public void A_whole_number_is_one_however_it_is_written(string said, int number)
    {
        using StrictJson file = StrictJson.Parse("some.json", Encoding.UTF8.GetBytes($"{{\"n\": {said}}}"));
        Assert.Equal(number, file.Integer("n"));
    }

    [Fact]
    public void Values_of_other_kinds_are_refused_and_null_says_nothing()
    {
        using StrictJson file = StrictJson.Parse(
            "some.json", "\uFEFF{\"n\": null, \"t\": \"x\", \"h\": \"\\ud800\", \"o\": {\"k\": 1e400}, \"f\": false}"u8.ToArray());
        Assert.Null(file.Integer("n"));
        Assert.Null(file.Text("missing"));
        Assert.Equal("x", file.Text("t"));
        Assert.Contains("\"h\" has to be text", Assert.Throws<CheckpointException>(() => file.Text("h")).Message, StringComparison.Ordinal);
        Assert.Contains(
            "some.json, \"o\": \"k\" has to be a number, not 1e400",
            Assert.Throws<CheckpointException>(() => file.Part("o")!.Number("k")).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "\"f\" is false; supported is true", Assert.Throws<CheckpointException>(() => file.Require("f", true)).Message, StringComparison.Ordinal);
        Assert.Contains(
            "\"t\" is \"x\"; supported is \"y\"", Assert.Throws<CheckpointException>(() => file.Require("t", "y")).Message, StringComparison.Ordinal);
        Assert.Contains("\"f\" has to be a string", Assert.Throws<CheckpointException>(() => file.Text("f")).Message, StringComparison.Ordinal);
    }

    /// <summary>The parser lets both pass, at any depth, and throws where they are read.</summary>
    [Fact]
    public void Bytes_that_are_no_text_and_keys_of_half_a_surrogate_pair_are_refused_with_the_file()
    {
        foreach (byte[] json in new byte[][] { [.. "{\"o\": {\"k"u8, 0xFF, .. "\": 1}}"u8], [.. "{\"o\": \"v"u8, 0xC3, .. "\"}"u8] })
        {
            Assert.Contains(
                "some.json is not valid JSON: it is not valid UTF-8",
                Assert.Throws<CheckpointException>(() => StrictJson.Parse("some.json", json)).Message,
                StringComparison.Ordinal);
        }

        using StrictJson file = StrictJson.Parse("some.json", "{\"o\": {\"\\ud800\": 1}}"u8.ToArray());
        Assert.Contains(
            "some.json, \"o\": a key holds half a surrogate pair", Assert.Throws<CheckpointException>(() => file.Part("o")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Keys_that_nobody_read_are_refused_but_for_those_without_effect()
    {
        using StrictJson file = StrictJson.Parse(
            "some.json", "{\"a\": 1, \"b\": 2, \"dropout\": 0.5, \"_note\": 1, \"empty\": {}, \"none\": null, \"c\": 3}"u8.ToArray());
        file.Integer("a");
        Assert.Contains("says \"b\" (2), \"c\" (3), which", Assert.Throws<CheckpointException>(() => file.RequireAllRead()).Message, StringComparison.Ordinal);
        file.Integer("b");
        file.RequireAllRead("c");
    }

    [Fact]
    public void A_list_s_items_are_objects_of_their_own()
    {
        using StrictJson file = StrictJson.Parse("some.json", "[{\"a\": 1}, {\"a\": true}]"u8.ToArray(), JsonValueKind.Array);
        IReadOnlyList<StrictJson> items = file.Items();
        Assert.Equal(1, items[0].Integer("a"));
        Assert.Contains(
            "some.json, \"[1]\": \"a\" has to be a whole number, not true",
            Assert.Throws<CheckpointException>(() => items[1].Integer("a")).Message,
            StringComparison.Ordinal);
        using StrictJson other = StrictJson.Parse("some.json", "[1]"u8.ToArray(), JsonValueKind.Array);
        Assert.Contains("item 0 has to be an object, not 1", Assert.Throws<CheckpointException>(() => other.Items()).Message, StringComparison.Ordinal);
    }
}
