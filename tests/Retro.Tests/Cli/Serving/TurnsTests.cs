using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Retro.Cli.Serving;
using static Retro.Tests.Cli.Serving.Requests;
using static TorchSharp.torch;

namespace Retro.Tests.Cli.Serving;

/// <summary>How many texts are written at once, who waits, and who joins.</summary>
public sealed class TurnsTests
{
    /// <summary>What was fitted to answer computes no more texts at once than have their turn.</summary>
    [Fact]
    public async Task Answers_to_one_question_are_written_in_lots()
    {
        await using ServedModel served = await ServedModel.StartAsync(options => options with { Running = 2 }, fitted: "retro");
        ConcurrentBag<long> rows = [];
        nn.Module<Tensor, Tensor> observed = served.Model.Layers[0].FeedForward;
        observed.register_forward_pre_hook((_, x) =>
        {
            rows.Add(x.shape[0]);
            return x;
        });
        JsonNode answer = await Json(await served.Http.PostAsync(
            "/v1/chat/completions",
            Body("""{"model":"tiny","messages":[{"role":"user","content":"bridge 5\nStones:"}],"temperature":1,"n":5,"min_tokens":3}"""),
            Cancel));
        Assert.Equal(5, answer["choices"]!.AsArray().Count);
        Assert.Equal(2, rows.Max());
    }

    [Fact]
    public async Task As_many_texts_have_their_turn_as_there_is_room_for_in_the_order_in_which_they_came()
    {
        Turns turns = new(4, 4);
        IDisposable three = await turns.TakeAsync(3, Cancel);
        using CancellationTokenSource gone = new();
        Task<IDisposable> two = turns.TakeAsync(2, gone.Token), one = turns.TakeAsync(1, Cancel), many = turns.TakeAsync(128, Cancel);
        Task<IDisposable> last = turns.TakeAsync(1, Cancel);
        Assert.Equal((1, 4, 0), turns.State);
        Assert.Equal(429, (await Assert.ThrowsAsync<Fault>(() => turns.TakeAsync(1, Cancel))).Status);

        // There is room for one behind it, which has waited for its turn.
        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => two);
        IDisposable second = await one;
        Assert.Equal((2, 2, 0), turns.State);

        // A request for more than there is ever room for is alone.
        three.Dispose();
        Assert.Equal((1, 2, 1), turns.State);
        second.Dispose();
        second.Dispose();
        IDisposable all = await many;
        Assert.Equal((1, 1, 2), turns.State);
        all.Dispose();
        (await last).Dispose();
        Assert.Equal((0, 0, 4), turns.State);
    }

    [Fact]
    public async Task Whoever_closes_the_server_waits_for_what_computes()
    {
        Turns turns = new(1, 1);
        IDisposable turn = await turns.TakeAsync(1, Cancel);
        Assert.False(await turns.EndAsync(TimeSpan.FromMilliseconds(50)));
        Task<bool> end = turns.EndAsync(TimeSpan.FromMinutes(5));
        turn.Dispose();
        Assert.True(await end);
    }

    [Fact]
    public async Task A_client_that_goes_away_frees_its_turn_and_one_too_many_is_told_to_come_again()
    {
        await using ServedModel served = await ServedModel.StartAsync(options => options with { Running = 1, Waiting = 0 }, tokens: 2048);
        const string Long = """{"text":"The river","max_tokens":2048}""";
        using TcpClient tcp = new();
        await tcp.ConnectAsync(IPAddress.Loopback, new Uri(served.Url).Port, Cancel);
        NetworkStream stream = tcp.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(
            $"POST /api/write HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {Long.Length}\r\n\r\n{Long}"), Cancel);
        byte[] some = new byte[200];
        await stream.ReadExactlyAsync(some, Cancel);
        Assert.StartsWith("HTTP/1.1 200", Encoding.ASCII.GetString(some), StringComparison.Ordinal);

        HttpResponseMessage refused = await served.Http.PostAsync("/api/write", Body(Long), Cancel);
        Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
        Assert.Equal(TimeSpan.FromSeconds(1), refused.Headers.RetryAfter!.Delta);
        tcp.Client.LingerState = new(true, 0);
        tcp.Close();

        // Between two tokens it is noticed.
        long began = Environment.TickCount64;
        while ((int)(await Json(await served.Http.GetAsync("/api/state", Cancel)))["running"]! > 0)
        {
            Assert.True(Environment.TickCount64 - began < ChildProcess.Limit.TotalMilliseconds, "What nobody waits for is computed all the same.");
            await Task.Delay(20, Cancel);
        }

        HttpResponseMessage next = await served.Http.PostAsync("/api/write", Body("""{"text":"The river","max_tokens":2}"""), Cancel);
        Assert.Equal(HttpStatusCode.OK, next.StatusCode);
    }

    [Fact]
    public async Task A_request_joins_the_batch_of_those_that_run_and_is_answered_before_they_end()
    {
        await using ServedModel served = await ServedModel.StartAsync(options => options with { Seed = 1 }, tokens: 12);
        const string Chat = """{"model":"tiny","messages":[{"role":"user","content":"How many stones has bridge 5?"}],"min_tokens":12,"temperature":1""";
        string[] requests = [Chat + "}", Chat + ",\"n\":2}", Chat + ",\"seed\":5,\"top_k\":9}"];
        List<string> alone = [];
        foreach (string request in requests)
        {
            alone.Add(await Answer(request));
        }

        Assert.Equal(requests.Length, alone.Distinct().Count());
        ConcurrentBag<long> rows = [];
        nn.Module<Tensor, Tensor> observed = served.Model.Layers[0].FeedForward;
        observed.register_forward_pre_hook((_, x) =>
        {
            rows.Add(x.shape[1] == 1 ? x.shape[0] : 0);
            return x;
        });

        // Nobody reads on, so that it goes on for as long as the others ask.
        using HttpRequestMessage message = new(HttpMethod.Post, "/v1/completions")
        {
            Content = Body("""{"model":"tiny","prompt":"The river","max_tokens":2048,"min_tokens":2048,"stream":true,"logprobs":20}"""),
        };
        using (await served.Http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, Cancel))
        {
            for (int i = 0; i < requests.Length; i++)
            {
                rows.Clear();
                Assert.Equal(alone[i], await Answer(requests[i]));
                Assert.Equal(i == 1 ? 3 : 2, rows.Max());
            }

            Assert.Equal(1, (int)(await Json(await served.Http.GetAsync("/api/state", Cancel)))["running"]!);
        }

        async Task<string> Answer(string request)
            => (await Json(await served.Http.PostAsync("/v1/chat/completions", Body(request), Cancel)))["choices"]!.ToJsonString();
    }

    [Fact]
    public async Task A_request_for_more_texts_than_there_is_room_for_has_them_written_one_lot_after_the_other()
    {
        List<string> answers = [];
        foreach (int running in new[] { 8, 2 })
        {
            await using ServedModel served = await ServedModel.StartAsync(options => options with { Running = running }, tokens: 12);
            ConcurrentBag<long> rows = [];
            nn.Module<Tensor, Tensor> observed = served.Model.Layers[0].FeedForward;
            observed.register_forward_pre_hook((_, x) =>
            {
                rows.Add(x.shape[0]);
                return x;
            });
            foreach (string request in new[] { "\"prompt\":\"The river\",\"n\":5", "\"prompt\":[\"The river\",\"A bridge\",\"The\",\"A\",\"Five\"]" })
            {
                rows.Clear();
                JsonNode whole = await Json(await served.Http.PostAsync(
                    "/v1/completions", Body($"{{\"model\":\"tiny\",{request},\"min_tokens\":12,\"temperature\":1,\"seed\":3}}"), Cancel));
                Assert.Equal(Math.Min(5, running), rows.Max());
                answers.Add(whole["choices"]!.ToJsonString());
            }
        }

        Assert.Equal(answers[..2], answers[2..]);
    }

    [Fact]
    public Task Streams_at_once_lose_nothing() => LoseNothing(24, 1);

    [Fact]
    [Trait("Category", "Long")]
    public async Task Two_hundred_streams_at_once_lose_nothing_and_memory_stays_flat()
    {
        long first = await LoseNothing(200, 1), later = await LoseNothing(200, 3);
        Assert.InRange(later, 0, first + (64L << 20));
    }

    /// <summary>Streams of the same question at once, some rounds of them.</summary>
    /// <returns>Bytes of managed memory and tensors' memory of the process afterwards.</returns>
    private static async Task<long> LoseNothing(int streams, int rounds)
    {
        await using ServedModel served = await ServedModel.StartAsync();
        using SocketsHttpHandler handler = new() { MaxConnectionsPerServer = streams };
        using HttpClient http = new(handler) { BaseAddress = new(served.Url), Timeout = TimeSpan.FromMinutes(20) };
        HashSet<string> answers = [];
        for (int round = 0; round < rounds; round++)
        {
            string[] all = await Task.WhenAll(Enumerable.Range(0, streams).Select(async _ =>
            {
                HttpResponseMessage response = await http.PostAsync(
                    "/v1/chat/completions",
                    Body("""{"model":"tiny","messages":[{"role":"user","content":"How many stones has bridge 5?"}],"stream":true,"max_tokens":12}"""),
                    Cancel);
                string text = await response.Content.ReadAsStringAsync(Cancel);
                Assert.Equal(HttpStatusCode.OK, response.StatusCode);
                Assert.EndsWith("data: [DONE]\n\n", text, StringComparison.Ordinal);
                return string.Concat(Events(text).Select(one => (string?)one["choices"]![0]!["delta"]!["content"]));
            }));
            answers.UnionWith(all);
        }

        Assert.Single(answers);
        JsonNode state = await Json(await http.GetAsync("/api/state", Cancel));
        Assert.Equal((0, 0, streams * rounds), ((int)state["running"]!, (int)state["waiting"]!, (int)state["served"]!));
        LiveTensors.Settled();
        return Environment.WorkingSet;
    }
}
