using System.Text.Json;
using Retro.Checkpoints;

namespace Retro.Tests.Checkpoints;

public class SafetensorsCasesTests(ITestOutputHelper output)
{
    [Fact]
    public void Every_case_gets_the_verdict_of_the_original_library()
    {
        int accepted = 0, refused = 0;
        List<string> differences = [];
        foreach (string path in Fixtures.Files("safetensors-cases*.json"))
        {
            output.WriteLine(path);
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            foreach (JsonElement item in document.RootElement.GetProperty("cases").EnumerateArray())
            {
                string name = item.GetProperty("name").GetString()!;
                string? fault = Check(item, out bool wasAccepted);
                accepted += wasAccepted ? 1 : 0;
                refused += wasAccepted ? 0 : 1;
                if (fault is not null)
                {
                    differences.Add($"{name}: {fault}");
                }
            }
        }

        output.WriteLine($"{accepted} accepted, {refused} refused.");
        Assert.Empty(differences);
        Assert.True(accepted > 0 && refused > 0);
    }

    private static string? Check(JsonElement item, out bool accepted)
    {
        using TemporaryFolder folder = new();
        string file = Path.Combine(folder.Path, "case.safetensors");
        File.WriteAllBytes(file, item.GetProperty("file").GetBytesFromBase64());
        accepted = item.GetProperty("accepted").GetBoolean();
        try
        {
            using Safetensors opened = Safetensors.Open(file);
            return accepted ? CompareContent(item, opened) : $"accepted, but the original says {item.GetProperty("original_error")}";
        }
        catch (CheckpointException exception)
        {
            return accepted ? $"refused: {exception.Message}"
                : exception.Message.Contains(file, StringComparison.Ordinal) && exception.Message.Length > file.Length + 40 ? null
                : $"the message names no file or fault: {exception.Message}";
        }
    }

    private static string? CompareContent(JsonElement item, Safetensors opened)
    {
        Dictionary<string, string> expected = item.GetProperty("tensors").EnumerateObject()
            .ToDictionary(
                tensor => tensor.Name, tensor => $"{tensor.Value.GetProperty("dtype")} {string.Join(",", tensor.Value.GetProperty("shape").EnumerateArray())}");
        Dictionary<string, string> came = opened.Entries.ToDictionary(entry => entry.Name, entry => $"{entry.Dtype} {string.Join(",", entry.Dimensions)}");
        if (!expected.OrderBy(pair => pair.Key, StringComparer.Ordinal).SequenceEqual(came.OrderBy(pair => pair.Key, StringComparer.Ordinal)))
        {
            return $"other tensors: {string.Join("; ", came)} instead of {string.Join("; ", expected)}";
        }

        JsonElement metadata = item.GetProperty("metadata");
        if (metadata.ValueKind == JsonValueKind.Null)
        {
            return opened.Metadata is null ? null : "metadata where the original has none";
        }

        return opened.Metadata is not null
            && metadata.EnumerateObject()
                .Select(pair => (pair.Name, pair.Value.GetString()!))
                .Order()
                .SequenceEqual(opened.Metadata.Select(pair => (pair.Key, pair.Value)).Order())
            ? null : "other metadata";
    }
}
