using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Cli.Reports;
using Retro.Database;
using Retro.Tokenizers;
using Retro.Training;

namespace Retro.Cli;

/// <summary>
/// A folder that the tool writes into: retro.json, and below it tokenizer, database, held-out, embedder and model, as far as they were made. Where a command
/// asks for a database or a model, such a folder may be named as well as the part itself.
/// </summary>
/// <param name="folder">The folder; it need not be there.</param>
internal sealed class Workspace(string folder)
{
    /// <summary>The file of what was typed.</summary>
    public const string SettingsFile = "retro.json";

    /// <summary>What retro.json calls the folder that it lay in when it was written.</summary>
    private const string Place = "folder";

    private static readonly (string Part, string File) s_database = ("database", DatabaseManifest.FileName), s_model = ("model", Checkpoint.ConfigName);

    /// <summary>Files that make a folder a model, a database or a tokenizer, and others that lie in such a folder.</summary>
    private static readonly string[]
        s_marks = [Checkpoint.ConfigName, DatabaseManifest.FileName, "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"],
        s_others =
        [
            "merges.txt", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json", "generation_config.json", Trainer.DescriptionFile,
            RunReport.StepsFile, "recall.json",
        ],
        s_endings = [".safetensors", ".safetensors.index.json", ".bin", ".faiss"];

    private static readonly JsonSerializerOptions s_json = new()
    {
        WriteIndented = true,
        NewLine = "\n",
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, // what people read, in no page
    };

    /// <summary>The folder.</summary>
    public string Folder { get; } = folder;

    /// <summary>The path of retro.json.</summary>
    public string SettingsPath => Path.Combine(Folder, SettingsFile);

    /// <summary>The folder of the tokenizer that was trained, or copied, for the database.</summary>
    public string Tokenizer => Path.Combine(Folder, "tokenizer");

    /// <summary>The folder of a tokenizer that is to take that one's place once its database is whole.</summary>
    public string NewTokenizer => Tokenizer + ".new";

    /// <summary>The folder of the database that is trained on and retrieved from.</summary>
    public string Database { get; private init; } = Path.Combine(folder, "database");

    /// <summary>The folder of the database of held-out documents.</summary>
    public string HeldOut => Path.Combine(Folder, "held-out");

    /// <summary>Whether there is a database of held-out documents.</summary>
    public bool HasHeldOut => File.Exists(Path.Combine(HeldOut, DatabaseManifest.FileName));

    /// <summary>Deletes the database of held-out documents.</summary>
    public void DeleteHeldOut()
    {
        File.Delete(Path.Combine(HeldOut, DatabaseManifest.FileName)); // first: what is left of it by a kill is no database
        Directory.Delete(HeldOut, recursive: true);
    }

    /// <summary>The folder of the database of passages that questions are answered from.</summary>
    public string Passages => Path.Combine(Folder, "passages");

    /// <summary>The same with those of held-out documents.</summary>
    public string HeldOutPassages => Path.Combine(Folder, "held-out-passages");

    /// <summary>The folder of the embedder.</summary>
    public string Embedder => Path.Combine(Folder, "embedder");

    /// <summary>The folder of the model.</summary>
    public string Model { get; private init; } = Path.Combine(folder, "model");

    /// <summary>
    /// The folders of databases and models: this one, those that have a name here, be they there or not, and behind these what else lies directly below it and
    /// is one, such as the models of a quickstart, by name.
    /// </summary>
    public IReadOnlyList<string> Parts()
    {
        IEnumerable<string> below = Directory.Exists(Folder)
            ? Directory.EnumerateDirectories(Folder).Where(IsDatabaseOrModel).Order(StringComparer.Ordinal)
            : [];
        return [.. new[] { Folder, Database, HeldOut, Passages, HeldOutPassages, Model }.Concat(below).DistinctBy(Full)];

        static bool IsDatabaseOrModel(string folder) => File.Exists(Path.Combine(folder, DatabaseManifest.FileName))
            || (File.Exists(Path.Combine(folder, Checkpoint.ConfigName)) && ModelFolder.IsOurs(folder));
    }

    /// <summary>Whether the tool has written into a folder.</summary>
    public static bool IsOurs(string path) => File.Exists(Path.Combine(path, SettingsFile));

    /// <summary>
    /// Where the tokenizer lies that is named: a folder of one, or its file, or a folder of the tool's with a model or a database, which have theirs. What
    /// holds none is given back as it is.
    /// </summary>
    public static string TokenizerOf(string path)
    {
        Workspace workspace = new(path);
        return Array.Find([path, workspace.Model, workspace.Tokenizer], RetroTokenizer.IsIn) ?? path;
    }

    /// <summary>The workspace that a named database belongs to.</summary>
    /// <param name="path">The workspace, or the database in it.</param>
    /// <exception cref="RetroException">There is no database.</exception>
    public static Workspace OfDatabase(string path)
        => FindDatabase(path) ?? throw Missing(path, s_database, $"make one with: {Tool.Name} build --corpus TEXT {Shell.Option("--out", ToBeMade(path))}");

    /// <summary>The workspace that a named database belongs to; null: there is none.</summary>
    /// <inheritdoc cref="OfDatabase"/>
    public static Workspace? FindDatabase(string path) => Find(path, s_database, itself => new(Path.GetDirectoryName(itself)!) { Database = itself });

    /// <summary>The workspace that a named model belongs to.</summary>
    /// <param name="path">The workspace, or the model in it.</param>
    /// <exception cref="RetroException">There is no model.</exception>
    public static Workspace OfModel(string path)
        => FindModel(path) ?? throw (ModelFolder.Begun(path) is { } goOn
            ? new RetroException(
                $"{path} holds no model yet ({Path.Combine(s_model.Part, s_model.File)}): it is being trained, or that was stopped before there was one. Wait "
                    + $"for it, or go on with: {goOn}")
            : FindDatabase(path) is { } bare
            ? new RetroException(
                $"{path} is a database without a model; train a decoder on it first: {Tool.Name} train {Shell.Option("--database", bare.Folder)} --out decoder "
                    + "--source none")
            : Missing(path, s_model, $"make one with: {Tool.Name} train --database FOLDER {Shell.Option("--out", ToBeMade(path))}"));

    /// <summary>The workspace that a named model belongs to; null: there is none.</summary>
    /// <inheritdoc cref="OfModel"/>
    public static Workspace? FindModel(string path) => Find(path, s_model, itself => new(Path.GetDirectoryName(itself)!) { Model = itself });

    /// <summary>
    /// A path as retro.json keeps it: relative to itself, so that where all of it is copied or moved, the copy is read; whole where it shares nothing with this
    /// folder but the disk, or the user's home.
    /// </summary>
    public string ToRelative(string path)
    {
        string here = Full(Folder), full = Full(path);
        return OfProject(here).Prepend(here).Any(folder => full == folder || IsBelow(full, folder)) ? Path.GetRelativePath(here, full) : full;
    }

    /// <summary>A path that retro.json keeps.</summary>
    public string FromRelative(string path) => Full(Path.Combine(Full(Folder), path));

    /// <summary>
    /// A path that retro.json keeps, of what is read. Where nothing is there, it is looked for: a relative one where this folder lay when it was written, and
    /// one that is kept whole in the same place beside this folder; that it was found there is told.
    /// </summary>
    public string Locate(string path)
    {
        string full = FromRelative(path);
        if (!Path.IsPathRooted(path))
        {
            if (!Path.Exists(full) && Read()[Place]?.ToString() is { Length: > 0 } place && new Workspace(place).FromRelative(path) is var before
                && Path.Exists(before))
            {
                Screen.Warn($"{SettingsPath} names {path}, and nothing is there: {before} is read, which that was when the folder was {place}.");
                return before;
            }

            return full;
        }

        // It was written before paths of one project were relative: beside a copy, its own may lie.
        string[] parts = full[Path.GetPathRoot(full)!.Length..].Split(Path.DirectorySeparatorChar);
        string? beside = OfProject(Full(Folder))
            .SelectMany(folder => parts.Select((_, first) => Path.Combine([folder, .. parts[first..]])))
            .FirstOrDefault(Path.Exists);
        if (beside is null || beside == full)
        {
            return full;
        }

        bool isThere = Path.Exists(full);
        if (isThere && Read()[Place]?.ToString() == Full(Folder))
        {
            return full; // it is no copy
        }

        Screen.Warn(isThere
            ? $"{SettingsPath} names {path}, which is read; where this is a copy, its own may be {beside}: name that."
            : $"{SettingsPath} names {path}, and nothing is there: {beside} is read, which lies so beside the folder.");
        return isThere ? full : beside;
    }

    /// <summary>Whether a path lies in a folder, or anywhere below it.</summary>
    public static bool IsBelow(string path, string folder)
    {
        string full = Full(path), above = Full(folder);
        return full.Length > above.Length
            && full.StartsWith(Path.EndsInDirectorySeparator(above) ? above : above + Path.DirectorySeparatorChar, StringComparison.Ordinal);
    }

    /// <summary>What was typed for a verb; null: nothing.</summary>
    /// <exception cref="RetroException">The file is no JSON, or cannot be read.</exception>
    public JsonObject? Section(string verb) => Read()[verb] switch
    {
        null => null,
        JsonObject section => section,
        _ => throw new RetroException($"{SettingsPath} holds no object for '{verb}'; fix the file, or delete it and give all options again."),
    };

    /// <summary>Keeps what was typed for a verb, and the rest of the file.</summary>
    /// <param name="verb">The verb.</param>
    /// <param name="section">Values by option; null: it is forgotten.</param>
    /// <exception cref="RetroException">The file cannot be written.</exception>
    public void Write(string verb, JsonObject? section)
    {
        Create();
        using FileStream writing = TakeSettings();
        JsonObject all = Read();
        all.Remove(verb);
        if (section is not null)
        {
            all[verb] = section;
            all[Place] = Full(Folder);
        }

        WriteText(SettingsPath, Serialize(all));
    }

    /// <summary>Makes the folder.</summary>
    /// <exception cref="RetroException">It is a file, or may not be written.</exception>
    public void Create()
    {
        if (File.Exists(Folder))
        {
            throw new RetroException($"{Folder} is a file; name a folder to write into.");
        }

        try
        {
            Directory.CreateDirectory(Folder);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new RetroException($"The folder {Folder} cannot be made ({exception.Message}); name one that this user may write.", exception);
        }
    }

    /// <summary>Makes the folder, and takes the right to write into it, so that of two commands the second is told. Dispose it.</summary>
    /// <param name="what">What is to be done, for whom it keeps out.</param>
    /// <exception cref="RetroException">Another command is writing there, the folder is a file, or it may not be written.</exception>
    public WriterLock Take(string what)
    {
        Create();
        return WriterLock.Take(Folder, what);
    }

    /// <summary>JSON as the tool writes it.</summary>
    public static string Serialize(JsonObject json) => json.ToJsonString(s_json) + "\n";

    /// <summary>Whether a path is the system's own, such as a terminal, or the pipe behind /dev/fd/63: written to as it is, and replaced by nothing.</summary>
    public static bool IsDevice(string path) => Path.GetFullPath(path) is var full
        && (full.StartsWith("/dev/", StringComparison.Ordinal) || full.StartsWith("/proc/", StringComparison.Ordinal))
        && !full.StartsWith("/dev/shm/", StringComparison.Ordinal); // files in memory are files

    /// <summary>
    /// Whether a file is what a folder of the tool's cannot be without: its retro.json, be it there or not, or a part of a model, a database or a tokenizer
    /// that is there.
    /// </summary>
    public static bool IsPart(string path)
    {
        string full = Path.GetFullPath(path), name = Path.GetFileName(full), folder = Path.GetDirectoryName(full)!;
        return name == SettingsFile
            || (File.Exists(full)
                && (s_endings.Any(ending => name.EndsWith(ending, StringComparison.Ordinal))
                    || (s_marks.Concat(s_others).Contains(name) && s_marks.Any(mark => File.Exists(Path.Combine(folder, mark))))));
    }

    /// <summary>
    /// Writes a text beside its place, and gives it its name when it is whole; into what is no file of this user's, as it is: behind what that holds, since a
    /// shell may have sent it into a file.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="text">The text.</param>
    /// <exception cref="RetroException">It cannot be written.</exception>
    public static void WriteText(string path, string text)
    {
        try
        {
            if (Printed(path) is { } output)
            {
                output.Write(text); // opened once more, a file would have two ends, and what is printed later would stand over this
                output.Flush();
                return;
            }

            if (IsDevice(path) || new FileInfo(path) is { Exists: true, Length: 0 }) // nothing is lost of an empty file, and it may be a pipe
            {
                File.AppendAllText(path, text);
                return;
            }

            string beside = path + ".tmp";
            if (new FileInfo(beside).LinkTarget is not null)
            {
                File.Delete(beside); // what it leads to is not ours to write
            }

            // Alone, so that of two that write the same file one is told, and neither takes away what the other is writing.
            FileShare share = OperatingSystem.IsWindows() ? FileShare.Delete : FileShare.None;
            using (FileStream file = new(beside, FileMode.Create, FileAccess.Write, share, bufferSize: 0))
            {
                try
                {
                    file.Write(Encoding.UTF8.GetBytes(text));
                    file.Flush(flushToDisk: true);
                }
                catch
                {
                    File.Delete(beside);
                    throw;
                }
            }

            File.Move(beside, path, overwrite: true);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new RetroException($"{path} cannot be written ({exception.Message}); name a file in a folder that this user may write.", exception);
        }
    }

    /// <summary>Whether a path is a name of the standard output.</summary>
    public static bool IsOutput(string path) => Printed(path) == Console.Out;

    /// <summary>What is printed on, where a path is one of its names; else null.</summary>
    private static TextWriter? Printed(string path) => Path.GetFullPath(path) switch
    {
        "/dev/stdout" or "/dev/fd/1" or "/proc/self/fd/1" => Console.Out,
        "/dev/stderr" or "/dev/fd/2" or "/proc/self/fd/2" => Console.Error,
        _ => null,
    };

    /// <summary>The whole path of a folder, without a separator at its end.</summary>
    public static string Full(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));

    /// <summary>The folders above one that can be a project's, and are copied with all that is in it, from the nearest on.</summary>
    private static IEnumerable<string> OfProject(string folder)
    {
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) is { Length: > 0 } known ? Full(known) : "/";
        for (string? above = Path.GetDirectoryName(folder); above is not null; above = Path.GetDirectoryName(above))
        {
            // What lies side by side belongs together anywhere.
            if (above == Path.GetDirectoryName(folder) || !(above == Path.GetPathRoot(above) || above == home || IsBelow(home, above)))
            {
                yield return above;
            }
        }
    }

    // Where the part itself is named, what belongs to it lies beside it.
    private static Workspace? Find(string path, (string Part, string File) what, Func<string, Workspace> itself)
    {
        string full = Full(path);
        return File.Exists(Path.Combine(full, what.Part, what.File)) ? new(path)
            : File.Exists(Path.Combine(full, what.File)) ? itself(full)
            : null;
    }

    /// <summary>Where what was not found is to be made: where it was looked for, but in no folder of somebody else's, such as a corpus.</summary>
    private static string ToBeMade(string path) => Directory.Exists(path) && !IsOurs(path) ? "FOLDER" : path;

    private static RetroException Missing(string path, (string Part, string File) what, string remedy) => new(File.Exists(path)
        ? $"{path} is a file; name the folder of a {what.Part}."
        : $"{path} holds no {what.Part} ({Path.Combine(what.Part, what.File)}); {remedy}");

    /// <summary>
    /// The right to change retro.json, which is waited for: nobody has it longer than that takes, and a wait that is long is told. The folder's own
    /// (<see cref="Take"/>) a training has for hours, and other verbs, which change no file of the folder's but this one, go on beside it.
    /// </summary>
    private FileStream TakeSettings()
    {
        try
        {
            return FileLock.Wait(SettingsPath + ".lock", Screen.Warn);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new RetroException($"{SettingsPath} cannot be written ({exception.Message}); name a folder that this user may write.", exception);
        }
    }

    private JsonObject Read()
    {
        try
        {
            return File.Exists(SettingsPath)
                ? JsonNode.Parse(File.ReadAllText(SettingsPath), documentOptions: new() { AllowDuplicateProperties = false }) as JsonObject
                    ?? throw new JsonException("it holds no object")
                : [];
        }
        catch (Exception exception) when (exception is JsonException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new RetroException($"{SettingsPath} cannot be read ({exception.Message}); fix the file, or delete it and give all options again.", exception);
        }
    }
}
