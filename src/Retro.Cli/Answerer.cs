using System.Text.Json.Nodes;
using Retro.Answering;
using Retro.Cli.Workflow;
using Retro.Database;
using Retro.Generation;
using Retro.Search;

namespace Retro.Cli;

/// <summary>
/// A model that was fitted to answer questions (fit --task qa): asked as it has learned to be, with a document's title and what to fill in, above passages that
/// are cut from the database as those of its training were.
/// </summary>
internal sealed class Answerer : IDisposable
{
    /// <summary>Why what says how another model is asked does nothing.</summary>
    public const string Fitted = "the model was fitted to answer questions (fit --task qa)";

    private readonly ReadingOptions.Opened _opened;
    private readonly AnsweringData _data;
    private readonly QuestionReader _reader;
    private readonly Lazy<int[][]> _passagesOf;

    private Answerer(ReadingOptions.Opened opened, AnsweringData data, QuestionReader reader)
    {
        (_opened, _data, _reader) = (opened, data, reader);
        _passagesOf = new(() =>
        {
            ILookup<string, int> passages = data.Database.Documents
                .Select((passage, number) => (Document: AnsweringData.DocumentOf(passage.Id), Number: number))
                .ToLookup(one => one.Document, one => one.Number);
            return [.. opened.Sources!.Database.Documents.Select(document => passages[document.Id].ToArray())];
        });
    }

    /// <summary>Cuts the passages of a database, or opens them where they are there as they would be cut.</summary>
    /// <param name="path">The model's folder, which keeps them.</param>
    /// <param name="opened">The model, and the database; they stay the caller's.</param>
    /// <param name="neighbors">Passages that a RETRO reads; null: as many as it was trained with.</param>
    /// <param name="running">Answers to one question that are written at once; null: all of them.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>What answers; null: the model was not fitted to, or no database is read.</returns>
    /// <exception cref="RetroException">The database gives no passages, or they cannot be written.</exception>
    public static Answerer? Open(string path, ReadingOptions.Opened opened, int? neighbors, int? running, CancellationToken cancellationToken)
    {
        if (opened.Sources is not { } sources || !ModelFolder.Answers(path))
        {
            return null;
        }

        AnsweringData data = AnsweringData.Of(sources, Workspace.OfModel(path), asks: false, cancellationToken);
        try
        {
            return new(opened, data, new(ModelFolder.ReaderOfPassages(path, opened.Trained, sources, neighbors), data.Passages) { TextsAtOnce = running });
        }
        catch
        {
            data.Dispose();
            throw;
        }
    }

    /// <summary>Whether passages are its neighbors, and not in front of the question.</summary>
    public bool ReadsNeighbors => _opened.Trained.Model.Config.HasRetrieval;

    /// <summary>A question as it is read: its lines without spaces around them. A line's end may be typed as \n, which any shell passes on.</summary>
    /// <param name="typed">What was typed.</param>
    /// <exception cref="UsageException">Nothing was but that.</exception>
    public string Question(string typed)
    {
        string question = string.Join(
            '\n',
            _opened.AsCleaned(typed.Replace("\\n", "\n", StringComparison.Ordinal))
                .Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries));
        return question.Length > 0 ? question : throw new UsageException("The question is empty; ask something.");
    }

    /// <summary>The passages that are found for a question.</summary>
    /// <param name="question">The question.</param>
    /// <param name="options">Whether any are read, of which documents none, and which labels may be seen.</param>
    /// <param name="cancellationToken">Stops the search.</param>
    /// <returns>Their first chunks, best first.</returns>
    public IReadOnlyList<long> Find(string question, GenerationOptions options, CancellationToken cancellationToken)
        => !options.Retrieval ? [] : _data.Passages.Found(
            question,
            _reader.Reader.Neighbors,
            options.Labels,
            [.. _opened.Excluded(options.ExcludedDocuments).SelectMany(document => _passagesOf.Value[document])],
            cancellationToken);

    /// <summary>How many tokens are read of a question before its answer, passages in front of it included.</summary>
    /// <param name="question">The question.</param>
    /// <param name="passages">What is read.</param>
    public int Count(string question, IReadOnlyList<long> passages) => _reader.CountTokens(question, passages);

    /// <summary>Writes answers.</summary>
    /// <param name="question">The question.</param>
    /// <param name="passages">What is read.</param>
    /// <param name="options">How they are written.</param>
    /// <param name="cancellationToken">Ends it before the next token.</param>
    public IAsyncEnumerable<(int Text, GeneratedPiece Piece)> WriteAsync(
        string question, IReadOnlyList<long> passages, GenerationOptions options, CancellationToken cancellationToken)
        => _reader.WriteAsync(
            question,
            passages,
            options with { Neighbors = null, ExcludedDocuments = [] }, // what was found is as many as are read, and none of these
            cancellationToken);

    /// <summary>Log₂ of an answer's probability, its end included.</summary>
    /// <param name="question">The question.</param>
    /// <param name="passages">What is read.</param>
    /// <param name="answer">The answer.</param>
    public double Bits(string question, IReadOnlyList<long> passages, string answer)
        => _reader.LogLikelihoods(question, passages, [answer])[0] / Math.Log(2);

    /// <summary>
    /// A passage that was read, for programs: by the document of the database that it was cut from and its number among that one's passages, from 0. It is no
    /// chunk of the database, and it has no score: all that is known where it is read is its rank.
    /// </summary>
    /// <param name="passage">What was read.</param>
    public static JsonObject Json(RetrievedNeighbor passage)
    {
        JsonObject json = ReadingOptions.Json(passage);
        json["document"] = AnsweringData.DocumentOf(passage.DocumentId);
        json["passage"] = AnsweringData.NumberOf(passage.DocumentId);
        json["chunk"] = json["chunkInDocument"] = json["score"] = null;
        return json;
    }

    /// <inheritdoc/>
    public void Dispose() => _data.Dispose();
}
