using System.CommandLine;
using Retro.Checkpoints;
using Retro.Tokenizers;
using Retro.Training;

namespace Retro.Cli;

/// <summary>The folder that train or fit makes its model in: whether it is free, and what is kept there with the model.</summary>
/// <param name="arguments">What was asked for.</param>
internal sealed class MadeModel(TrainingArguments arguments)
{
    private Action? _keep;
    private Func<TrainedDocuments, TrainedDocuments> _withBelow = own => own;

    /// <summary>The tokenizer that is kept with the model, which says what ends its texts; null: the database's.</summary>
    public RetroTokenizer? Tokenizer { private get; set; }

    /// <summary>Whether the folder holds the model that is trained now, and not the one before.</summary>
    public bool IsSaved { get; private set; }

    /// <summary>Checks that the folder is free, or holds the run that is to go on.</summary>
    /// <exception cref="RetroException">It is neither.</exception>
    public Workspace Prepare(ParseResult parsed)
    {
        Workspace workspace = new(parsed.GetValue(arguments.Out)!);
        bool resume = arguments.GoesOn(parsed);
        if (resume && !File.Exists(Path.Combine(workspace.Model, Trainer.StateFile)))
        {
            throw new RetroException(
                $"--resume: {workspace.Model} holds no training that could go on ({Trainer.StateFile}); leave out --resume to begin one.");
        }

        _ = arguments.Together(parsed);
        RequireFree(parsed, workspace);
        return workspace;
    }

    /// <summary>
    /// Takes the right to write into the folder, and has what was typed kept: at once, or where the folder holds a model that is replaced or goes on, with its
    /// first checkpoint from now on, since until then it may be refused.
    /// </summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="workspace">The folder.</param>
    /// <param name="keep">Keeps it.</param>
    /// <returns>The right; dispose it when the model is written.</returns>
    /// <exception cref="RetroException">Another command is writing there, or has left a model since.</exception>
    public WriterLock Keep(ParseResult parsed, Workspace workspace, Action keep)
    {
        WriterLock writing = workspace.Take("train a model");
        try
        {
            RequireFree(parsed, workspace);
            _keep = keep;
            if (!IsThere(workspace))
            {
                KeepTyped();
            }

            return writing;
        }
        catch
        {
            writing.Dispose();
            throw;
        }
    }

    /// <summary>Says what the model was trained on before: with the decoder that it is fitted onto.</summary>
    /// <param name="below">The documents; null: it is not known.</param>
    public void GoesOnFrom(TrainedDocuments? below) => _withBelow = own => own.And(below);

    /// <summary>What to do after the training was stopped.</summary>
    public string HowToGoOn(ParseResult parsed, string verb)
    {
        Workspace workspace = new(parsed.GetValue(arguments.Out)!);
        return !IsSaved && !arguments.GoesOn(parsed) ? "No step was saved, and what the folder held is as it was; the same command begins again."
            : File.Exists(Path.Combine(workspace.Model, Trainer.StateFile))
            ? $"The checkpoint is in {workspace.Model}; go on with: {Tool.Name} {verb} {Shell.Option(arguments.Out.Name, workspace.Folder)} --resume"
            : $"What was trained is in {workspace.Model}.";
    }

    /// <summary>Opens the database.</summary>
    /// <exception cref="RetroException">It cannot be opened, or has another tokenizer than the training that is to go on.</exception>
    public Sources Open(ParseResult parsed, CancellationToken cancellationToken)
    {
        Sources sources = arguments.Open(parsed, cancellationToken);
        try
        {
            if (arguments.GoesOn(parsed))
            {
                Tokenizer = ModelFolder.OwnTokenizer(new Workspace(parsed.GetValue(arguments.Out)!).Model, sources.Tokenizer);
            }

            return sources;
        }
        catch
        {
            sources.Dispose();
            throw;
        }
    }

    /// <summary>From now on the folder holds another model: what belongs to it comes, and what belonged to the one before goes.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="workspace">The folder.</param>
    /// <param name="sources">The database that it is trained on.</param>
    /// <param name="others">The files of a model of another kind.</param>
    public void Saved(ParseResult parsed, Workspace workspace, Sources sources, params string[] others)
    {
        IsSaved = true;
        KeepTyped();
        (Tokenizer ?? sources.Tokenizer).Save(workspace.Model);

        // Documents may have come and gone since the training that goes on was begun.
        TrainedDocuments documents = _withBelow(TrainedDocuments.Of(sources.Database));
        (arguments.GoesOn(parsed) ? documents.And(TrainedDocuments.Load(workspace.Model)) : documents).Save(workspace.Model);
        foreach (string other in others)
        {
            File.Delete(Path.Combine(workspace.Model, other));
        }
    }

    /// <summary>Keeps what was typed, where that was not done.</summary>
    public void KeepTyped()
    {
        _keep?.Invoke();
        _keep = null;
    }

    private void RequireFree(ParseResult parsed, Workspace workspace)
    {
        if (!arguments.GoesOn(parsed) && IsThere(workspace) && !arguments.StartsOver(parsed))
        {
            throw new RetroException($"{workspace.Model} holds a model already; go on with it (--resume), replace it (--start-over), or name another folder.");
        }
    }

    /// <summary>Whether a folder holds a model; what is left of one may be the state of its training alone, from which it goes on.</summary>
    public static bool IsThere(Workspace workspace)
        => new[] { Checkpoint.ConfigName, Trainer.StateFile }.Any(name => File.Exists(Path.Combine(workspace.Model, name)));
}
