using Retro.Search;

namespace Retro.Tests.Search;

public class ResumableFileTests
{
    private const int Header = 5, Row = 4, BlockRows = 3;

    [Theory]
    [InlineData(null, BlockRows)]
    [InlineData(1, 1)]
    [InlineData(2, 1)] // of which a block has one, and a shorter one
    public void Taken_up_after_a_kill_at_any_byte_it_ends_the_same(int? pieceRows, int lastRows)
    {
        using TemporaryFolder folder = new();
        byte[] expected = Write(folder["whole"], "note");
        for (int length = 0; length <= expected.Length; length++)
        {
            // What a kill leaves: the note, and as much of the part as was written, the end of it possibly garbage.
            string path = folder[$"cut{length}"];
            File.WriteAllText(path + ".part.txt", "note");
            byte[] part = expected[..length];
            for (int i = Math.Max(0, length - Row * lastRows); i < length; i++)
            {
                part[i] = 0xee;
            }

            File.WriteAllBytes(path + ".part", part);
            Assert.Equal(expected, Write(path, "note", pieceRows));
            Assert.Equal([path], Directory.GetFiles(folder.Path, $"cut{length}*"));
        }
    }

    [Fact]
    public void With_another_note_it_starts_over()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["file.part.txt"], "another");
        File.WriteAllBytes(folder["file.part"], Enumerable.Repeat((byte)9, 300).ToArray());
        byte[] written = Write(folder["file"], "note");
        Assert.Equal(Write(folder["plain"], "note"), written);
    }

    [Fact]
    public void A_full_disk_and_a_missing_right_are_named()
    {
        using TemporaryFolder folder = new();
        File.WriteAllText(folder["file"], "");
        Assert.Contains(
            "below", Assert.Throws<DatabaseException>(() => Write(Path.Combine(folder["file"], "below"), "note")).Message, StringComparison.Ordinal);
        Assert.SkipUnless(File.Exists("/dev/full"), "This system has no /dev/full.");
        string path = folder["full"];
        File.WriteAllText(path + ".part.txt", "note");
        File.CreateSymbolicLink(path + ".part", "/dev/full");
        Assert.Contains(path, Assert.Throws<DatabaseException>(() => Write(path, "note")).Message, StringComparison.Ordinal);
        Assert.False(File.Exists(path));
    }

    [Theory]
    [InlineData(7)]
    [InlineData(8)]
    public void A_disk_that_is_full_in_the_middle_is_named_and_with_more_space_the_file_goes_on(int blocks)
    {
        using MountedDisk disk = new("32k");
        string path = disk["file"];
        File.WriteAllText(path + ".part.txt", "note");
        byte[] block = new byte[4096];
        Exception? fault = Record.Exception(() =>
        {
            // Of eight pages the note has one; the seventh block fits, and what comes behind it does not.
            using ResumableFile file = ResumableFile.Open(path, "note", [], block.Length, 1, blocks);
            for (int i = 0; i < blocks; i++)
            {
                block.AsSpan().Fill((byte)i);
                file.Append(block, 1);
            }

            file.Complete(stream => stream.Write(new byte[100]));
        });
        Assert.Contains(
            $"There is no space left on the disk to write '{path}'; free some space",
            Assert.IsType<DatabaseException>(fault).Message, StringComparison.Ordinal);
        Assert.False(File.Exists(path));

        File.Copy(path + ".part", disk["../file.part"]);
        File.Copy(path + ".part.txt", disk["../file.part.txt"]);
        using (ResumableFile more = ResumableFile.Open(disk["../file"], "note", [], block.Length, 1, blocks))
        {
            Assert.Equal(6, more.Rows);
            int next = 0;
            more.ReadBlocks(read => Assert.Equal(Enumerable.Repeat((byte)next++, block.Length), read.ToArray()));
        }
    }

    /// <summary>Checksums behind the rows may be longer than a block; they are no rows.</summary>
    [Fact]
    public void What_was_written_behind_the_rows_before_a_kill_is_not_taken_for_rows()
    {
        using TemporaryFolder folder = new();
        string path = folder["file"];
        using (ResumableFile file = ResumableFile.Open(path, "note", [], 1, 1, 4))
        {
            for (byte row = 0; row < 4; row++)
            {
                file.Append([row], 1);
            }
        }

        File.AppendAllText(path + ".part", "checksums");
        using ResumableFile again = ResumableFile.Open(path, "note", [], 1, 1, 4);
        Assert.Equal(4, again.Rows);
        List<byte> rows = [];
        again.ReadBlocks(block => rows.AddRange(block));
        Assert.Equal([0, 1, 2, 3], rows);
    }

    /// <summary>Ten rows in blocks of three, the last one short, and a header.</summary>
    private static byte[] Write(string path, string note, int? pieceRows = null)
    {
        using (ResumableFile file = ResumableFile.Open(path, note, new byte[Header], Row, BlockRows, 10, pieceRows))
        {
            for (long first = file.Rows; first < 10; first = file.Rows)
            {
                int rows = (int)Math.Min(Math.Min(pieceRows ?? BlockRows, BlockRows - (first % BlockRows)), 10 - first);
                file.Append(Enumerable.Range(0, rows * Row).Select(i => (byte)(first * Row + i)).ToArray(), rows);
            }

            file.Complete(stream =>
            {
                stream.Position = 0;
                stream.Write("head!"u8);
            });
        }

        return File.ReadAllBytes(path);
    }
}
