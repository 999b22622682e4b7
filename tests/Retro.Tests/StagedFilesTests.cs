namespace Retro.Tests;

public sealed class StagedFilesTests
{
    private static DatabaseException Fault(string message, Exception inner) => new(message, inner);

    [Fact]
    public void Files_take_their_names_together_or_not_at_all()
    {
        using TemporaryFolder folder = new();
        string first = Path.Combine(folder.Path, "first"), second = Path.Combine(folder.Path, "deep", "second");
        using (StagedFiles files = new(folder.Path, Fault))
        {
            files.WriteText(first, "one");
            files.WriteText(second, "two");
            Assert.False(File.Exists(first));
            files.Commit();
        }

        Assert.Equal(("one", "two"), (File.ReadAllText(first), File.ReadAllText(second)));
        Assert.Throws<OperationCanceledException>(() =>
        {
            using StagedFiles files = new(folder.Path, Fault);
            files.WriteText(first, "three");
            files.Write(second, _ => throw new OperationCanceledException());
        });
        Assert.Equal(("one", "two"), (File.ReadAllText(first), File.ReadAllText(second)));
        Assert.Equal([second, first], Directory.EnumerateFiles(folder.Path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal));
    }

    /// <summary>Two that wrote the same bytes beside a place would leave a mixture, and both would say that theirs is saved.</summary>
    [Fact]
    public void Of_two_that_write_one_file_the_second_is_refused_for_as_long_as_the_first_is_at_it()
    {
        using TemporaryFolder folder = new();
        string file = folder["file"], other = folder["other"];
        using (StagedFiles first = new(folder.Path, Fault))
        {
            first.Write(file, stream =>
            {
                stream.Write("one"u8);
                Refused();
                stream.Write(" whole"u8);
            });
            Refused();
            first.WriteText(other, "its own");
            Refused();
            first.Commit();
        }

        Assert.Equal(("one whole", "its own"), (File.ReadAllText(file), File.ReadAllText(other)));
        using (StagedFiles given = new(folder.Path, Fault))
        {
            given.WriteText(file, "two");
        }

        AtomicFile.WriteText(file, "three", Fault);
        AtomicFile.WriteByPath(file, path =>
        {
            using FileStream stream = new(path, FileMode.Create, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
            stream.Write("four"u8);
            if (!OperatingSystem.IsWindows())
            {
                Refused();
            }
        }, Fault);
        Assert.Equal("four", File.ReadAllText(file));
        Assert.Equal([file, other], Directory.GetFiles(folder.Path).Order(StringComparer.Ordinal));

        void Refused()
        {
            string message = Assert.Throws<DatabaseException>(() => AtomicFile.WriteText(file, "another's", Fault)).Message;
            Assert.Contains($"'{file}' is being written by another", message, StringComparison.Ordinal);
            Assert.Throws<DatabaseException>(() => AtomicFile.WriteByPath(file, path => File.WriteAllText(path, "another's"), Fault));
        }
    }

    [Fact]
    public void What_a_killed_process_has_left_is_written_over()
    {
        using TemporaryFolder folder = new();
        string file = folder.File("file" + AtomicFile.TemporarySuffix, "longer than what is written now")[..^AtomicFile.TemporarySuffix.Length];
        AtomicFile.WriteText(file, "new", Fault);
        Assert.Equal("new", File.ReadAllText(file));
        Assert.Equal([file], Directory.GetFiles(folder.Path));
    }

    /// <summary>A file that is not there any more, or is another's by now, is not the one that was written.</summary>
    [Theory]
    [InlineData(1, false)]
    [InlineData(1, true)]
    [InlineData(2, false)]
    [InlineData(2, true)]
    public void What_was_taken_away_before_it_has_its_name_is_missed_and_what_was_there_stays(int files, bool replaced)
    {
        Assert.SkipUnless(!replaced || OperatingSystem.IsLinux(), "Whose file it is shows on Linux alone.");
        using TemporaryFolder folder = new();
        string[] paths = [.. Enumerable.Range(0, files).Select(number => folder.File($"{number}", "old"))];
        using (StagedFiles staged = new(folder.Path, Fault))
        {
            Array.ForEach(paths, path => staged.WriteText(path, "new"));
            File.Delete(paths[^1] + AtomicFile.TemporarySuffix);
            if (replaced)
            {
                File.WriteAllText(paths[^1] + AtomicFile.TemporarySuffix, "another's");
            }

            Assert.Contains(paths[^1], Assert.Throws<DatabaseException>(staged.Commit).Message, StringComparison.Ordinal);
        }

        Assert.All(paths, path => Assert.Equal("old", File.ReadAllText(path)));
        Assert.Equal(files + (replaced ? 1 : 0), Directory.GetFiles(folder.Path).Length);
    }

    /// <summary>A folder in the place of a file stops the renaming there, as a kill would; the record stands by then.</summary>
    [Theory]
    [InlineData("a")]
    [InlineData("deep/b")]
    [InlineData("c")]
    public void Stopped_in_the_middle_of_renaming_they_take_the_rest_of_their_names_when_the_folder_is_next_used(string stop)
    {
        using TemporaryFolder folder = new();
        string[] names = ["a", "deep/b", "c"];
        foreach (string name in names)
        {
            string path = Path.Combine(folder.Path, name);
            Directory.CreateDirectory(name == stop ? Path.Combine(path, "in the way") : Path.GetDirectoryName(path)!);
            if (name != stop)
            {
                File.WriteAllText(path, "old");
            }
        }

        File.WriteAllText(Path.Combine(folder.Path, "gone"), "old");
        using (StagedFiles files = new(folder.Path, Fault))
        {
            Array.ForEach(names, name => files.WriteText(Path.Combine(folder.Path, name), "new " + name));
            files.Remove(Path.Combine(folder.Path, "gone"));
            Assert.Throws<DatabaseException>(files.Commit);
        }

        Assert.True(File.Exists(Path.Combine(folder.Path, "gone")));
        Assert.Throws<DatabaseException>(() => StagedFiles.Finish(folder.Path, Fault));
        Directory.Delete(Path.Combine(folder.Path, stop), recursive: true);
        using (StagedFiles next = new(folder.Path, Fault))
        {
            Assert.All(names, name => Assert.Equal("new " + name, File.ReadAllText(Path.Combine(folder.Path, name))));
        }

        Assert.Equal(3, Directory.EnumerateFiles(folder.Path, "*", SearchOption.AllDirectories).Count());
    }

    [Theory]
    [InlineData("../out")]
    [InlineData("/tmp/out")]
    [InlineData("a/../../out")]
    [InlineData("")]
    [InlineData("a//b")]
    public void A_record_never_moves_or_removes_what_lies_outside_of_its_folder(string name)
    {
        using TemporaryFolder folder = new();
        string inner = Path.Combine(folder.Path, "inner"), record = Path.Combine(inner, StagedFiles.RecordName);
        Directory.CreateDirectory(inner);
        File.WriteAllText(Path.Combine(folder.Path, "out"), "stays");
        File.WriteAllText(Path.Combine(folder.Path, "out.tmp"), "stays");
        foreach (object content in new object[]
        {
            new { Written = new[] { name }, Removed = Array.Empty<string>() },
            new { Written = Array.Empty<string>(), Removed = new[] { name } }
        })
        {
            File.WriteAllText(record, System.Text.Json.JsonSerializer.Serialize(content));
            Assert.Contains(record, Assert.Throws<DatabaseException>(() => StagedFiles.Finish(inner, Fault)).Message, StringComparison.Ordinal);
        }

        foreach (string text in new[] { "", "null", "[]", "{", "{}" })
        {
            File.WriteAllText(record, text);
            Assert.Throws<DatabaseException>(() => StagedFiles.Finish(inner, Fault));
        }

        Assert.Equal(
            ["inner/unfinished-save.json", "out", "out.tmp"],
            Directory.EnumerateFiles(folder.Path, "*", SearchOption.AllDirectories)
                .Select(path => Path.GetRelativePath(folder.Path, path))
                .Order(StringComparer.Ordinal));
    }

    /// <summary>The renaming is where a file becomes what is read: all of it goes through what brings the folder to the disk.</summary>
    [Fact]
    public void Every_renaming_of_the_library_goes_through_the_one_that_flushes_the_folder()
    {
        string source = Path.Combine(Fixtures.Root, "src", "Retro");
        IEnumerable<string> files = Directory.EnumerateFiles(source, "*.cs", SearchOption.AllDirectories)
            .Where(path => !path.Contains("/obj/", StringComparison.Ordinal));
        string[] moving = [.. files.Where(path => File.ReadAllText(path).Replace("AtomicFile.Move(", "", StringComparison.Ordinal) is var text
            && (text.Contains("File.Move(", StringComparison.Ordinal)
                || text.Contains("File.Replace(", StringComparison.Ordinal)
                || text.Contains(".MoveTo(", StringComparison.Ordinal)))];
        Assert.Equal([Path.Combine(source, "AtomicFile.cs")], moving);
        Assert.Throws<IOException>(() => AtomicFile.FlushFolder(Path.Combine(source, "no such folder")));
    }
}
