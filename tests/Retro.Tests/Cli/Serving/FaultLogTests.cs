using System.Net;
using System.Text.Json.Nodes;
using Retro.Cli.Serving;
using static Retro.Tests.Cli.Serving.Requests;

namespace Retro.Tests.Cli.Serving;

/// <summary>What a server says to whoever runs it of what fails in it.</summary>
public sealed class FaultLogTests
{
    [Fact]
    public async Task A_fault_of_the_server_is_said_to_whoever_runs_it_and_one_of_a_request_is_not()
    {
        using StringWriter said = new();
        await using ServedModel served = await ServedModel.StartAsync(options => options with { Errors = TextWriter.Synchronized(said) });
        string request = """{"model":"tiny","messages":[{"role":"user","content":"What is a river?"}]}""";
        Assert.Equal(HttpStatusCode.BadRequest, (await served.Http.PostAsync("/v1/chat/completions", Body("{}"), Cancel)).StatusCode);
        Assert.Equal("", said.ToString());
        served.Database.Dispose();
        using HttpResponseMessage answer = await served.Http.PostAsync("/v1/chat/completions", Body(request), Cancel);
        Assert.Equal(HttpStatusCode.InternalServerError, answer.StatusCode);
        Assert.Contains("Z POST /v1/chat/completions failed: ", said.ToString(), StringComparison.Ordinal);
        Assert.Contains(nameof(ObjectDisposedException), said.ToString(), StringComparison.Ordinal);
        Assert.Equal(1, (int)JsonNode.Parse(await served.Http.GetStringAsync("/api/state", Cancel))!["failed"]!);
    }

    [Fact]
    public void The_same_is_said_once_a_minute_with_how_often_it_came()
    {
        using StringWriter said = new();
        SteppingClock clock = new(TimeSpan.Zero);
        FaultLog log = new(said, clock);
        for (int i = 0; i < 100; i++)
        {
            log.Add("GET /", new RetroException("A block is damaged."));
        }

        Assert.EndsWith("Z GET / failed: RetroException: A block is damaged.", Assert.Single(Lines()), StringComparison.Ordinal);
        clock.Advance(TimeSpan.FromMinutes(1));
        log.Add("GET /", new RetroException("A block is damaged."));
        Assert.Equal((3, 101), (Lines().Length, log.Count));
        Assert.EndsWith("Z 99 more requests failed like those before.", Lines()[1], StringComparison.Ordinal);

        // What is different each time is no reason for more.
        clock.Advance(TimeSpan.FromMinutes(1));
        for (int i = 0; i < 100; i++)
        {
            log.Add("GET /", new RetroException($"Block {i} is damaged."));
        }

        Assert.Equal(3 + FaultLog.Most, Lines().Length);

        string[] Lines() => said.ToString().Split(Environment.NewLine)[..^1];
    }
}
