using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Retro.Generation;
using Retro.Readers;

namespace Retro.Cli.Serving;

/// <summary>
/// A model behind a web server: a page to ask and generate with, and the part of OpenAI's interface that a model of text has, so that existing clients work.
/// </summary>
internal sealed class Server : IAsyncDisposable
{
    private readonly ReadingOptions.Opened _opened;
    private readonly GenerationOptions _defaults;
    private readonly ServingOptions _options;
    private readonly WebApplication _app;
    private readonly Turns _turns;
    private readonly Writer _writer;
    private readonly PrefixCache? _prefixes;
    private readonly FaultLog _faults;

    /// <summary>Makes a server; it listens after <see cref="StartAsync"/>.</summary>
    /// <param name="opened">The model, and what it reads from; they stay the caller's.</param>
    /// <param name="answerer">Asks it questions where it was fitted to answer them; null: it was not.</param>
    /// <param name="defaults">How text is written where a request says nothing.</param>
    /// <param name="options">How it serves.</param>
    /// <exception cref="RetroOptionsException">The defaults contradict themselves, or are not for this model: no request could change them.</exception>
    public Server(ReadingOptions.Opened opened, Answerer? answerer, GenerationOptions defaults, ServingOptions options)
    {
        _opened = opened;
        _defaults = defaults;
        _options = options;
        _faults = new(options.Errors ?? Console.Error, TimeProvider.System);
        _prefixes = options.PrefixBytes > 0 ? new(options.PrefixBytes) : null;
        RetroGenerator generator = opened.Generator(running: options.Running, prefixes: _prefixes);
        _ = generator.GenerateAsync("", defaults); // which is checked, and not begun
        _ = answerer?.WriteAsync("", [], defaults, default); // as is this
        _turns = new(options.Running, options.Waiting);

        // An empty builder: an appsettings.json of the current folder, or a variable of the environment, would else add addresses that nobody named.
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new());
        builder.Services.AddRoutingCore();
        builder.Services.AddSingleton<IHostLifetime>(new CallersLifetime());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(options.Address, options.Port);
            kestrel.Limits.MaxRequestBodySize = options.MostBytes;
            kestrel.AddServerHeader = false;
        });
        _app = builder.Build();
        _writer = new(opened, generator, answerer, defaults, options, _turns);
        _app.Use(GuardAsync);
        Get("/", (HttpContext context) => Asset(context, "text/html; charset=utf-8", ServedPage.Html(options.Name)));
        Get("/app.js", (HttpContext context) => Asset(context, "text/javascript; charset=utf-8", ServedPage.Script));
        Get("/v1/models", (HttpContext context) => context.Response.WriteAsJsonAsync(new JsonObject
        {
            ["object"] = "list", ["data"] = new JsonArray([.. ModelNames().Select(Model)]),
        }));
        Get("/v1/models/{**name}", (HttpContext context) => context.Response.WriteAsJsonAsync(ModelOf(context)));
        Get("/api/state", (HttpContext context) =>
        {
            (int computing, int waiting, long served) = _turns.State;
            JsonObject state = new() { ["running"] = computing, ["waiting"] = waiting, ["served"] = served, ["failed"] = _faults.Count };
            if (options.Access is null)
            {
                // It would tell one caller how much of a guess another one has written.
                state["reusedTokens"] = _prefixes?.ReusedTokens ?? 0;
            }

            return context.Response.WriteAsJsonAsync(state);
        });
        _app.MapPost("/v1/chat/completions", (HttpContext context) => new ChatCompletions(_writer, options.Template).AnswerAsync(context));
        _app.MapPost("/v1/completions", (HttpContext context) => new Completions(_writer).AnswerAsync(context));
        _app.MapPost("/v1/embeddings", (HttpContext context) => Embeddings.AnswerAsync(context, opened, options, _turns));
        _app.MapPost("/api/write", (HttpContext context) => _writer.WriteAsync(context));
        _app.MapPost("/api/inspect", InspectAsync);

        // What can be got can be asked for without its body.
        void Get(string path, RequestDelegate answer) => _app.MapMethods(path, [HttpMethods.Get, HttpMethods.Head], answer);
    }

    /// <summary>Where it listens; known after <see cref="StartAsync"/>.</summary>
    public string Url => _app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();

    /// <summary>Begins to listen.</summary>
    /// <exception cref="RetroException">The port is taken or not allowed, or the address is not this machine's.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _app.StartAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception fault) when (fault is IOException or SocketException)
        {
            throw new RetroException(
                $"{_options.Address}:{_options.Port} cannot be listened at ({fault.Message}); name another port (--port) or address (--address).", fault);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        using CancellationTokenSource soon = new(TimeSpan.FromSeconds(5)); // streams that run are cut off then
        await _app.StopAsync(soon.Token).ConfigureAwait(false);
        await _turns.EndAsync(TimeSpan.FromMinutes(1)).ConfigureAwait(false); // what computes needs the model until it is done
        await _app.DisposeAsync().ConfigureAwait(false);
        _prefixes?.Dispose();
    }

    /// <summary>Lets in who may come in, and says in JSON what went wrong.</summary>
    private async Task GuardAsync(HttpContext context, RequestDelegate next)
    {
        try
        {
            context.Response.Headers.XContentTypeOptions = "nosniff";
            RequireThisMachine(context);
            if (_options.Origins.Admit(context))
            {
                context.Response.StatusCode = StatusCodes.Status204NoContent;
                return;
            }

            RequireAllowed(context);
            await next(context).ConfigureAwait(false);
            if (!context.Response.HasStarted && context.Response.StatusCode is StatusCodes.Status404NotFound or StatusCodes.Status405MethodNotAllowed)
            {
                // Of no path here, or of one that takes other methods, which Allow names.
                string what = $"There is nothing to {context.Request.Method} at {context.Request.Path}.";
                throw context.Response.StatusCode == StatusCodes.Status404NotFound
                    ? new Fault(404, what, "not_found")
                    : new Fault(405, $"{what} It takes {context.Response.Headers.Allow}.", "method_not_allowed");
            }
        }
        catch (Exception exception) when (
            exception is ConnectionResetException || (exception is OperationCanceledException && context.RequestAborted.IsCancellationRequested))
        {
            // Whoever asked has gone, and nobody is to be told.
        }
        catch (Exception exception)
        {
            Fault fault = exception switch
            {
                Fault one => one,
                RetroOptionsException or UsageException or ArgumentException => new(400, exception.Message, "invalid_value"),
                RetroException => new(500, exception.Message),
                _ => new(500, $"The server failed: {exception.Message}"),
            };
            if (fault.Status >= StatusCodes.Status500InternalServerError)
            {
                _faults.Add($"{context.Request.Method} {context.Request.Path.ToUriComponent()}", exception);
            }

            if (context.Response.HasStarted)
            {
                // In the middle of a stream; the client reads an error event in place of the rest.
                await new EventStream(context).SendAsync(fault.Json(), context.RequestAborted).ConfigureAwait(false);
                return;
            }

            context.Response.StatusCode = fault.Status;
            if (fault.Status == StatusCodes.Status429TooManyRequests)
            {
                context.Response.Headers.RetryAfter = "1";
            }
            else if (fault.Status == StatusCodes.Status401Unauthorized)
            {
                context.Response.Headers.WWWAuthenticate = "Bearer";
            }

            await context.Response.WriteAsJsonAsync(fault.Json(), context.RequestAborted).ConfigureAwait(false);
        }
    }

    /// <summary>Without keys, a name of another site that leads to this machine must not make its pages this server's.</summary>
    private void RequireThisMachine(HttpContext context)
    {
        string host = context.Request.Host.Host;
        if (_options.Access is null
            && !host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
            && !(IPAddress.TryParse(host, out IPAddress? address) && IPAddress.IsLoopback(address)))
        {
            throw new Fault(403, $"The server is for this machine alone, and was asked for by the name '{host}'.", "forbidden");
        }
    }

    private void RequireAllowed(HttpContext context)
    {
        if (_options.Access is not { } access)
        {
            new Caller(_defaults.Labels).Sent(context);
            return;
        }

        // The page holds nothing; it asks for the key.
        if ((string?)context.Request.Path is "/" or "/app.js")
        {
            return;
        }

        Caller caller = access.Find(context.Request.Headers.Authorization.ToString())
            ?? throw new Fault(401, "Send a key that the server knows: Authorization: Bearer KEY.", "invalid_api_key");
        caller.Sent(context);
    }

    private static Task Asset(HttpContext context, string type, string content)
    {
        context.Response.ContentType = type;
        context.Response.Headers.ContentSecurityPolicy =
            "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        return context.Response.WriteAsync(content);
    }

    private string[] ModelNames() => _opened.Sources?.HasEmbedder == true ? [_options.Name, Embeddings.NameFor(_options)] : [_options.Name];

    private JsonObject ModelOf(HttpContext context)
    {
        string name = $"{context.Request.RouteValues["name"]}".Replace("%2F", "/", StringComparison.OrdinalIgnoreCase); // the one escape that stays in a path
        return ModelNames().Contains(name) ? Model(name)
            : throw new Fault(404, $"There is no model '{name}' here; ask for '{string.Join("' or '", ModelNames())}'.", "model_not_found", "model");
    }

    private static JsonObject Model(string name) => new() { ["id"] = name, ["object"] = "model", ["created"] = 0, ["owned_by"] = Tool.Name };

    private async Task InspectAsync(HttpContext context)
    {
        RequestBody body = await RequestBody.ReadAsync(context, _options.MostBytes).ConfigureAwait(false);
        string text = body.Required("text");
        GenerationOptions settings = _defaults with { Labels = Caller.Of(context).Labels };
        if (_opened.Inspection(settings) is not { } inspection)
        {
            throw new Fault(400, "The model reads nothing, so that there is nothing to inspect; serve a RETRO, or what retro fit made.", "reads_nothing");
        }

        int most = Math.Min(_options.MostPrompt, _opened.Trained.Model.Config.MaximumLength ?? int.MaxValue);
        int[] tokens = [_opened.Tokenizer.BeginOfText, .. _opened.Tokenizer.Encode(_opened.AsCleaned(text))];
        if (tokens.Length < 2 || tokens.Length > most)
        {
            throw new Fault(400, $"The text has {tokens.Length} tokens with the one before it; inspect 2 to {most}.", "out_of_range", "text");
        }

        using IDisposable turn = await _turns.TakeAsync(1, context.RequestAborted).ConfigureAwait(false);
        CancellationToken aborted = context.RequestAborted;

        // By the rules by which it writes: of a reader that looks up by itself they alone say what is passed over.
        IReadOnlyList<ScoredToken> scored = await _writer.ScoreAsync(tokens[1..], settings, aborted).ConfigureAwait(false);
        double[] on = [double.NaN, .. scored.Select(token => -token.LogProbability!.Value / Math.Log(2))];
        string html = await Task.Run(
            () =>
            {
                double[] off = TextReading.Bits(new DecoderReader(_opened.Trained.Model), tokens, 1, null, _opened.Source!.Database!.ChunkLength);
                return inspection.Show(tokens, off, on, _opened.Excluded(settings.ExcludedDocuments), aborted);
            },
            aborted).ConfigureAwait(false);
        context.Response.ContentType = "text/html; charset=utf-8";
        await context.Response.WriteAsync(Reports.Inspection.Legend + html, aborted).ConfigureAwait(false);
    }

    /// <summary>The host's own would take the signals that end the process, which are the tool's: a second Ctrl-C could not end it.</summary>
    private sealed class CallersLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
