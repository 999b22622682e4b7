using System.Text.Json;

namespace Retro.Tests;

/// <summary>The states in which a killed process leaves a folder of files that are saved together, once all of them are written.</summary>
internal static class StoppedSave
{
    /// <summary>
    /// Saves over a folder, and checks for each number of files that have their new names when the process ends that the folder is read as the new one.
    /// </summary>
    /// <param name="folder">The folder with what is replaced; copied for each state.</param>
    /// <param name="save">Saves the new files into a folder.</param>
    /// <param name="check">Reads a folder, and checks that it is the new one.</param>
    public static void Check(string folder, Action<string> save, Action<string> check)
    {
        using TemporaryFolder scratch = new();
        string whole = Path.Combine(scratch.Path, "whole"), blocked = Path.Combine(scratch.Path, "blocked");
        save(whole);
        foreach (string file in Directory.EnumerateFiles(whole))
        {
            // Nothing can take the name of a folder that holds something.
            Directory.CreateDirectory(Path.Combine(blocked, Path.GetFileName(file), "in the way"));
        }

        Assert.ThrowsAny<RetroException>(() => save(blocked));
        string record = Path.Combine(blocked, StagedFiles.RecordName);
        using JsonDocument said = JsonDocument.Parse(File.ReadAllText(record));
        string[] names = [.. said.RootElement.GetProperty("Written").EnumerateArray().Select(name => name.GetString()!)];
        Assert.Equal(Directory.EnumerateFiles(whole).Select(Path.GetFileName).Order(), names.Order());
        Assert.True(names.Length > 1);
        for (int renamed = 0; renamed <= names.Length; renamed++)
        {
            string left = Path.Combine(scratch.Path, $"left{renamed}");
            Directory.CreateDirectory(left);
            foreach (string file in Directory.EnumerateFiles(folder))
            {
                File.Copy(file, Path.Combine(left, Path.GetFileName(file)));
            }

            File.Copy(record, Path.Combine(left, StagedFiles.RecordName));
            for (int number = 0; number < names.Length; number++)
            {
                string temporary = names[number] + AtomicFile.TemporarySuffix;
                File.Copy(Path.Combine(blocked, temporary), Path.Combine(left, number < renamed ? names[number] : temporary), overwrite: true);
            }

            check(left);
            Assert.DoesNotContain(
                Directory.EnumerateFiles(left),
                file => file.EndsWith(AtomicFile.TemporarySuffix, StringComparison.Ordinal) || file.EndsWith(StagedFiles.RecordName, StringComparison.Ordinal));
        }
    }
}
