using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace Retro.Cli.Serving;

/// <summary>A response of server-sent events, each of which is told at once.</summary>
internal sealed class EventStream(HttpContext context)
{
    private static readonly JsonSerializerOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Sends an event.</summary>
    /// <param name="json">What it says.</param>
    /// <param name="cancellationToken">The client that goes away.</param>
    public Task SendAsync(JsonObject json, CancellationToken cancellationToken) => SendAsync(json.ToJsonString(s_json), cancellationToken);

    /// <summary>Sends the event after which there is none.</summary>
    public Task EndAsync(CancellationToken cancellationToken) => SendAsync("[DONE]", cancellationToken);

    private async Task SendAsync(string data, CancellationToken cancellationToken)
    {
        if (!context.Response.HasStarted)
        {
            context.Response.ContentType = "text/event-stream; charset=utf-8";
            context.Response.Headers.CacheControl = "no-cache";
        }

        await context.Response.WriteAsync($"data: {data}\n\n", cancellationToken).ConfigureAwait(false);
        await context.Response.Body.FlushAsync(cancellationToken).ConfigureAwait(false);
    }
}
