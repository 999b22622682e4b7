using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;

namespace Retro.Cli.Serving;

/// <summary>
/// Whose pages' scripts may ask the server, and read what it answers (CORS, https://fetch.spec.whatwg.org): a browser lets no other page's. It says nothing of
/// who may come in: keys are asked for all the same.
/// </summary>
internal sealed class Origins
{
    /// <summary>Every page, wherever it comes from.</summary>
    public const string Any = "*";

    private readonly HashSet<string> _known;

    /// <param name="known">Origins as <see cref="Parse"/> gives them, or <see cref="Any"/>.</param>
    public Origins(IEnumerable<string> known) => _known = [.. known];

    /// <summary>An origin as browsers write it.</summary>
    /// <param name="said">What a person writes.</param>
    /// <returns>Null: it is none.</returns>
    public static string? Parse(string said)
        => said == Any ? Any
            : Uri.TryCreate(said, UriKind.Absolute, out Uri? uri) && uri is { Host.Length: > 0, UserInfo: "", PathAndQuery: "/" or "", Fragment: "" }
                && !said.EndsWith('/')
                ? $"{uri.Scheme}://{(uri.HostNameType == UriHostNameType.IPv6 ? uri.Host : uri.IdnHost)}{(uri.IsDefaultPort ? "" : $":{uri.Port}")}"
                : null;

    /// <summary>Says in the answer that the page which asks may read it, where it may.</summary>
    /// <returns>
    /// Whether that is all that is asked: before a page sends a request that a form could not send, the browser asks whether it may, without the page's key.
    /// </returns>
    public bool Admit(HttpContext context)
    {
        IHeaderDictionary answer = context.Response.Headers;
        if (_known.Count == 0)
        {
            return false;
        }

        bool any = _known.Contains(Any);
        string origin = context.Request.Headers.Origin.ToString();
        if (!any)
        {
            answer.Append(HeaderNames.Vary, HeaderNames.Origin); // what is kept of the answer is not for another page
        }

        if (origin.Length == 0 || !(any || _known.Contains(origin)))
        {
            return false;
        }

        answer.AccessControlAllowOrigin = any ? Any : origin;
        if (!HttpMethods.IsOptions(context.Request.Method) || context.Request.Headers.AccessControlRequestMethod.Count == 0)
        {
            answer.AccessControlExposeHeaders = HeaderNames.RetryAfter;
            return false;
        }

        // Clients send headers of their own with each request, which mean nothing here.
        answer.AccessControlAllowMethods = $"{HttpMethods.Get}, {HttpMethods.Head}, {HttpMethods.Post}";
        answer.AccessControlAllowHeaders = context.Request.Headers.AccessControlRequestHeaders;
        answer.AccessControlMaxAge = "600"; // seconds
        return true;
    }
}
