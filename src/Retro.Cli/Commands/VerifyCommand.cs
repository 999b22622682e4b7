using System.CommandLine;
using System.Text.Json.Nodes;
using Retro.Checkpoints;
using Retro.Database;
using Retro.Modeling;
using Samples;

namespace Retro.Cli.Commands;

/// <summary>`retro verify`: whether what a folder holds is whole.</summary>
internal sealed class VerifyCommand : Verb
{
    private readonly Argument<string> _folder = new("folder") { Description = "A folder that the tool has written, or a database or a model." };

    public VerifyCommand()
        : base("verify", "Reads every byte of a folder's databases and models and says whether all is as it was written; ends with 1 where it is not.",
            "retro verify work", "retro verify work/database")
    {
        Add(_folder);
        AddOptions();
    }

    public override Task RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string folder = parsed.GetValue(_folder)!;
        Workspace workspace = new(folder);
        JsonObject all = [];
        List<string> faults = [];
        foreach (string part in new[] { folder, workspace.Database, workspace.HeldOut, workspace.Model })
        {
            if (File.Exists(Path.Combine(part, DatabaseManifest.FileName)))
            {
                Check(part, () =>
                {
                    string[] listed = [.. DatabaseManifest.Load(part).Files.Select(file => file.Name)];
                    using ChunkDatabase database = Stages.Run(
                        $"verify {part}", progress => ChunkDatabase.Open(part, verify: true, progress, cancellationToken));
                    foreach (string name in listed)
                    {
                        database.RequireFile(name);
                    }

                    return $"{database.ChunkCount:#,0} chunks and {listed.Length} files are as they were written";
                });
            }
            else if (File.Exists(Path.Combine(part, Checkpoint.ConfigName)))
            {
                Check(part, () =>
                {
                    CheckpointLoadOptions options = new() { RequireFinite = true };
                    using RetroModel model = Stages.Run(
                        $"verify {part}", progress => Checkpoint.Load(part, options, progress, cancellationToken));
                    return $"{model.Config.CountParameters().Total:#,0} parameters are there and finite";
                });
            }
        }

        if (all.Count == 0)
        {
            throw new RetroException($"{folder} holds no database and no model; name a folder that {Tool.Name} has written.");
        }

        WriteJson(parsed, all);
        return faults.Count == 0 ? Task.CompletedTask : throw new RetroException(string.Join(" ", faults));

        void Check(string part, Func<string> check)
        {
            try
            {
                string found = check();
                all[part] = new JsonObject { ["whole"] = true };
                Screen.Line($"{part}: {found}");
            }
            catch (RetroException fault)
            {
                faults.Add(fault.Message);
                all[part] = new JsonObject { ["whole"] = false, ["fault"] = fault.Message };
            }
        }
    }
}
