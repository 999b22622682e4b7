using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Retro;
using Retro.Text;

namespace Quickstart;

/// <summary>Takes as many documents of a corpus as fit the run's time, chosen by a hash of their ids.</summary>
internal static class CorpusSample
{
    public static List<Document> Take(Corpus corpus, long mostBytes, int seed, IProgress<StageProgress> progress, CancellationToken cancellationToken)
    {
        List<(ulong Draw, Document Document)> all = [];
        foreach (Document document in corpus.Documents())
        {
            cancellationToken.ThrowIfCancellationRequested();
            all.Add((Draw(document.Id, seed), document));
            if (all.Count % 100 == 0)
            {
                progress.Report(new StageProgress("", all.Count, 0));
            }
        }

        long bytes = 0;
        HashSet<Document> taken = new(ReferenceEqualityComparer.Instance);
        foreach ((_, Document document) in all.OrderBy(d => d.Draw))
        {
            bytes += Encoding.UTF8.GetByteCount(document.Text);
            if (bytes > mostBytes && taken.Count > 0)
            {
                break;
            }

            taken.Add(document);
        }

        return all.Select(d => d.Document).Where(taken.Contains).ToList();
    }

    private static ulong Draw(string id, int seed)
        => BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes($"{seed}:{id}")));
}
