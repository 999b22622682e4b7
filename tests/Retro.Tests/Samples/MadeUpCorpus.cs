using System.Text;

namespace Retro.Tests.Samples;

/// <summary>Documents of made-up words, twelve a line.</summary>
internal static class MadeUpCorpus
{
    /// <summary>Writes the documents to "corpus" below a folder.</summary>
    /// <returns>Its path.</returns>
    public static string Write(TemporaryFolder folder, int documents, int lines, int words)
    {
        Random random = new(1);
        string[] all = [.. Enumerable.Range(0, words)
            .Select(_ => string.Concat(Enumerable.Range(0, random.Next(2, 9)).Select(_ => (char)('a' + random.Next(26)))))];
        for (int i = 0; i < documents; i++)
        {
            StringBuilder text = new();
            for (int line = 0; line < lines; line++)
            {
                text.AppendJoin(' ', Enumerable.Range(0, 12).Select(_ => all[random.Next(all.Length)])).Append(".\n");
            }

            folder.File(Path.Combine("corpus", $"{i}.md"), text.ToString());
        }

        return folder["corpus"];
    }
}
