using System.Net;
using Retro.Cli.Serving;
using static Retro.Tests.Cli.Serving.Requests;

namespace Retro.Tests.Cli.Serving;

/// <summary>Which pages may ask a server from a browser.</summary>
public sealed class OriginsTests
{
    [Fact]
    public async Task Scripts_of_pages_that_are_named_may_ask_and_no_others()
    {
        const string Page = "https://app.example", Other = "https://app.example.evil.example";
        await using ServedModel none = await ServedModel.StartAsync(),
            named = await ServedModel.StartAsync(options => options with { Origins = new([Page]), Access = Keys(("secret", null)) }),
            any = await ServedModel.StartAsync(options => options with { Origins = new([Origins.Any]), Access = Keys(("secret", null)) }),
            open = await ServedModel.StartAsync(options => options with { Origins = new([Page]) });

        // Before it sends the request, a browser asks without its key.
        using (HttpResponseMessage asked = await Ask(named, HttpMethod.Options, Page, method: "POST"))
        {
            Assert.Equal((HttpStatusCode.NoContent, Page), (asked.StatusCode, Header(asked, "Access-Control-Allow-Origin")));
            Assert.Equal("GET, HEAD, POST", Header(asked, "Access-Control-Allow-Methods"));
            Assert.Equal("authorization,x-stainless-os", Header(asked, "Access-Control-Allow-Headers"));
            Assert.Equal(("600", "Origin"), (Header(asked, "Access-Control-Max-Age"), Header(asked, "Vary")));
            Assert.Empty(await asked.Content.ReadAsByteArrayAsync(Cancel));
        }

        // And asks with it, or is told that it is missing.
        foreach ((string? key, HttpStatusCode status) in new[] { ("secret", HttpStatusCode.OK), (null, HttpStatusCode.Unauthorized) })
        {
            using HttpResponseMessage answered = await Ask(named, HttpMethod.Get, Page, key);
            Assert.Equal((status, Page), (answered.StatusCode, Header(answered, "Access-Control-Allow-Origin")));
            Assert.Equal(("Retry-After", "Origin"), (Header(answered, "Access-Control-Expose-Headers"), Header(answered, "Vary")));
        }

        // Another page is told nothing, and keys count for it as for all.
        foreach ((ServedModel served, string origin, HttpStatusCode asked, HttpStatusCode got) in new[]
        {
            (named, Other, HttpStatusCode.Unauthorized, HttpStatusCode.OK),
            (named, "null", HttpStatusCode.Unauthorized, HttpStatusCode.OK),
            (none, Page, HttpStatusCode.MethodNotAllowed, HttpStatusCode.OK),
            (open, Other, HttpStatusCode.MethodNotAllowed, HttpStatusCode.OK),
        })
        {
            using HttpResponseMessage before = await Ask(served, HttpMethod.Options, origin, method: "POST");
            using HttpResponseMessage answered = await Ask(served, HttpMethod.Get, origin, "secret");
            Assert.Equal((asked, got), (before.StatusCode, answered.StatusCode));
            Assert.DoesNotContain(before.Headers.Concat(answered.Headers), header => header.Key.StartsWith("Access-Control", StringComparison.Ordinal));
        }

        foreach (string origin in new[] { Page, Other, "null" })
        {
            using HttpResponseMessage before = await Ask(any, HttpMethod.Options, origin, method: "POST");
            using HttpResponseMessage answered = await Ask(any, HttpMethod.Get, origin, "secret");
            Assert.Equal((HttpStatusCode.NoContent, "*"), (before.StatusCode, Header(before, "Access-Control-Allow-Origin")));
            Assert.Equal((HttpStatusCode.OK, "*"), (answered.StatusCode, Header(answered, "Access-Control-Allow-Origin")));
        }

        // A name that leads here by another site's doing opens nothing.
        using (HttpResponseMessage strange = await Ask(open, HttpMethod.Options, Page, method: "POST", host: "evil.example"))
        {
            Assert.Equal((HttpStatusCode.Forbidden, ""), (strange.StatusCode, Header(strange, "Access-Control-Allow-Origin")));
        }

        static string Header(HttpResponseMessage answer, string name)
            => answer.Headers.TryGetValues(name, out IEnumerable<string>? values) ? string.Join(',', values) : "";

        static async Task<HttpResponseMessage> Ask(
            ServedModel served, HttpMethod how, string origin, string? key = null, string? method = null, string? host = null)
        {
            using HttpRequestMessage message = new(how, how == HttpMethod.Options ? "/v1/chat/completions" : "/v1/models");
            message.Headers.Add("Origin", origin);
            message.Headers.Host = host;
            if (key is not null)
            {
                message.Headers.Authorization = new("Bearer", key);
            }

            if (method is not null)
            {
                message.Headers.Add("Access-Control-Request-Method", method);
                message.Headers.Add("Access-Control-Request-Headers", "authorization,x-stainless-os");
            }

            return await served.Http.SendAsync(message, Cancel);
        }
    }

    [Theory]
    [InlineData("*", "*")]
    [InlineData("https://App.Example", "https://app.example")]
    [InlineData("https://app.example:443", "https://app.example")]
    [InlineData("http://localhost:3000", "http://localhost:3000")]
    [InlineData("http://[::1]:3000", "http://[::1]:3000")]
    [InlineData("https://bücher.example", "https://xn--bcher-kva.example")]
    [InlineData("chrome-extension://abcdef", "chrome-extension://abcdef")]
    [InlineData("https://app.example/", null)]
    [InlineData("https://app.example/page", null)]
    [InlineData("https://app.example?a", null)]
    [InlineData("https://me@app.example", null)]
    [InlineData("app.example", null)]
    [InlineData("https://*.example", null)]
    [InlineData("null", null)]
    [InlineData("file:///home", null)]
    [InlineData("", null)]
    public void An_origin_is_read_as_browsers_write_it(string said, string? expected) => Assert.Equal(expected, Origins.Parse(said));
}
