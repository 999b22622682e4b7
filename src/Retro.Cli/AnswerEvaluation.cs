using System.Text.Json.Nodes;
using Retro.Answering;
using Retro.Cli.Reports;
using Retro.Database;
using Retro.Evaluation;
using Retro.Readers;
using Retro.Cli.Workflow;

namespace Retro.Cli;

/// <summary>What eval --task qa measures: answers of models to questions about held-out documents.</summary>
internal static class AnswerEvaluation
{
    /// <summary>Measures, prints, and gives the results.</summary>
    /// <param name="sources">The database that was trained on.</param>
    /// <param name="heldOut">The held-out documents.</param>
    /// <param name="models">The models, with the folders that were named.</param>
    /// <param name="window">Tokens that a decoder reads at most, passages and question together, where it was not fitted to answer from others.</param>
    /// <param name="count">Questions.</param>
    /// <param name="seed">Decides which.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static async Task<JsonObject> MeasureAsync(
        Sources sources,
        ChunkDatabase heldOut,
        (string Path, TrainedModel Trained)[] models,
        Func<TrainedModel, int> window,
        int count,
        long seed,
        CancellationToken cancellationToken)
    {
        HashSet<string> trained = [.. sources.Database.Documents.Select(document => document.Id)];
        using AnsweringData data = AnsweringData.Build(
            sources.Workspace.HeldOutPassages,
            [.. AnsweringData.Documents(sources.Database, sources.Tokenizer), .. AnsweringData.Documents(heldOut, sources.Tokenizer)],
            sources.Tokenizer,
            sources.Database.ChunkLength,
            cancellationToken);
        Question[] questions = AnsweringData.Choose(data.Set.Questions.Where(question => !trained.Contains(question.DocumentId)), count, seed);
        QuestionSet.RequireHeldOut(questions, trained);
        AnswerTables tables = new(data, questions);
        List<TrainedModel> measured = [];
        foreach ((string path, TrainedModel model) in models)
        {
            string of = models.Length > 1 ? $" of {path}" : "";
            if (ModelFolder.Copying(path, model, sources) is { } copying)
            {
                using (copying)
                {
                    await Row($"{ModelFolder.NameOfCopying(copying.Database is not null)}{of}", copying).ConfigureAwait(false);
                }
            }

            // What copying was trained on top of is often among the models, under another name.
            if (measured.Exists(model.HasSameWeights))
            {
                continue;
            }

            measured.Add(model);
            bool reads = model.Model.Config.HasRetrieval;
            await Row($"{(reads ? "RETRO off" : "closed book")}{of}", new DecoderReader(model.Model)).ConfigureAwait(false);
            IReader reading = ModelFolder.ReaderOfPassages(path, model, sources, window: window(model));
            string many = reading.Neighbors == AnsweringData.UsualPassages ? "" : $", k = {reading.Neighbors}";
            await Row($"{(reads ? "RETRO" : "in context")}{many}{of}", reading).ConfigureAwait(false);

            Task Row(string name, IReader reader) => tables.MeasureAsync(name, reader, model.Time, cancellationToken);
        }

        Screen.Table("answers to questions about held-out documents", tables.AnswerHeader, tables.Answers);
        Screen.Line($"{Amount.Of(questions.Length, "question")}; the passage that {data.Keyword.Name} finds holds the answer of {tables.Found}.");
        Screen.Table("RGB's four abilities, by likelihood", tables.AbilityHeader, tables.Abilities);
        return new() { ["questions"] = questions.Length, ["readers"] = ResultsJson.Of(tables) };
    }
}
