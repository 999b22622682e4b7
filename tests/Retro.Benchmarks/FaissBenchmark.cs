using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Retro.Search;
using Retro.Vectors;

namespace Retro.Benchmarks;

/// <summary>
/// FAISS through this library beside the same calls from Python's faiss of the same version (python3-faiss of the distribution): the same vectors, threads and
/// number of neighbors, the two by turns.
/// </summary>
internal static class FaissBenchmark
{
    private const int Dimensions = 128, Neighbors = 8, Rounds = 7;

    /// <summary>Prints the script that the other process runs: it searches whenever it is told to, and says how long that took.</summary>
    private const string Peer = """
        import sys, time, numpy, faiss
        vectors = numpy.fromfile(sys.argv[1], dtype=numpy.float32).reshape(-1, int(sys.argv[2]))
        faiss.omp_set_num_threads(int(sys.argv[4]))
        index = faiss.read_index(sys.argv[3])
        print(faiss.__version__, flush=True)
        for line in sys.stdin:
            count = int(line)
            start = time.perf_counter()
            index.search(vectors[:count], 8)
            print(time.perf_counter() - start, flush=True)
        """;

    public static void Run()
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("retro-benchmark");
        try
        {
            Console.WriteLine("# FAISS here and from Python");
            Console.WriteLine();
            Console.WriteLine(
                $"{DateTime.UtcNow:yyyy-MM-dd}, {ReportBenchmark.Processor()}, {Environment.ProcessorCount} threads; medians of {Rounds} searches each, by turns.");
            Measuring.Head(
                "Searches, 128 numbers, 8 neighbors", "index", "queries at once", "here, ms", "Python, ms", "here / Python", "managed exact index, ms");
            foreach ((int count, string factory) in new[] { (10_000, "Flat"), (100_000, "Flat"), (100_000, "IVF1024,Flat") })
            {
                string vectorsFile = Path.Combine(folder.FullName, "vectors"), indexFile = Path.Combine(folder.FullName, "index");
                SeededRandom random = new(1, (Purpose)2, count);
                float[] vectors = [.. Enumerable.Range(0, count * Dimensions).Select(_ => (float)random.NextDouble())];
                File.WriteAllBytes(vectorsFile, MemoryMarshal.AsBytes<float>(vectors).ToArray());
                using VectorIndex index = VectorIndex.Create(Dimensions, factory, engine: VectorEngine.Faiss);
                using VectorIndex exact = VectorIndex.Create(Dimensions, engine: VectorEngine.Exact);
                index.Train(vectors.AsSpan(0, Math.Min(vectors.Length, 65_536 * Dimensions)));
                index.Add(vectors);
                exact.Add(vectors);
                index.Save(indexFile);
                ProcessStartInfo start = new("/usr/bin/python3") { RedirectStandardInput = true, RedirectStandardOutput = true };
                foreach (string argument in new[] { "-c", Peer, vectorsFile, $"{Dimensions}", indexFile, $"{Environment.ProcessorCount}" })
                {
                    start.ArgumentList.Add(argument);
                }

                using Process python = Process.Start(start)!;
                string version = python.StandardOutput.ReadLine()
                    ?? throw new InvalidOperationException("Python has no faiss here: install python3-faiss and python3-numpy.");
                foreach (int queries in new[] { 1, 16, 256 })
                {
                    long[] ids = new long[queries * Neighbors];
                    float[] distances = new float[ids.Length];
                    List<double> here = [], there = [], managed = [];
                    for (int round = -1; round < Rounds; round++)
                    {
                        double own = Time(() => index.Search(vectors.AsSpan(0, queries * Dimensions), Neighbors, ids, distances));
                        python.StandardInput.WriteLine(queries);
                        double other = double.Parse(python.StandardOutput.ReadLine()!, CultureInfo.InvariantCulture);
                        double plain = Time(() => exact.Search(vectors.AsSpan(0, queries * Dimensions), Neighbors, ids, distances));
                        if (round >= 0)
                        {
                            here.Add(own);
                            there.Add(other);
                            managed.Add(plain);
                        }
                    }

                    double ratio = Median(here.Zip(there, (a, b) => a / b));
                    string ofExact = factory == "Flat" ? (1e3 * Median(managed)).ToString("0.00", CultureInfo.InvariantCulture) : "";
                    Measuring.Row(
                        $"{factory}, {count:#,0} ({version})", $"{queries}", $"{1e3 * Median(here):0.00}", $"{1e3 * Median(there):0.00}", $"{ratio:0.00}", $"{ofExact}");
                }

                python.StandardInput.Close();
                python.WaitForExit();
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        static double Median(IEnumerable<double> values) => values.Order().ElementAt(Rounds / 2);

        static double Time(Action work)
        {
            long start = Stopwatch.GetTimestamp();
            work();
            return Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
    }
}
