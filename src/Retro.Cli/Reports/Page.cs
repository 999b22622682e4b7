using System.Globalization;
using System.Net;
using System.Text;
using Retro.Cli.Workflow;

namespace Retro.Cli.Reports;

/// <summary>One HTML page without anything from outside of it, light or dark as its reader has it, to be read on a telephone too.</summary>
/// <param name="title">Its title, which is its heading too.</param>
internal sealed class Page(string title)
{
    /// <summary>The looks of all pages. Series of plots are --series1 to --series6.</summary>
    public const string Style = """
        :root{color-scheme:light dark;--back:#fff;--ink:#1c1f23;--soft:#565d66;--line:#d4d8dd;--panel:#f5f6f8;--link:#1a56c4;--mark:#ffe08a;--under:#2f7d4f;
        --series1:#1f5fd0;--series2:#c2410c;--series3:#0f7b53;--series4:#8b2fb8;--series5:#a16207;--series6:#0e7490}
        @media(prefers-color-scheme:dark){:root{--back:#14171b;--ink:#e8eaed;--soft:#a7aeb8;--line:#3a4048;--panel:#1d2127;--link:#8ab4f8;--mark:#6b5300;
        --under:#7bd3a0;--series1:#7fb0ff;--series2:#ffa06b;--series3:#5fd0a0;--series4:#d59bf6;--series5:#e6c35c;--series6:#63cfe6}}
        *{box-sizing:border-box}
        body{font:16px/1.5 system-ui,sans-serif;background:var(--back);color:var(--ink);max-width:76rem;margin:0 auto;padding:1rem}
        h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
        p{max-width:60rem}a{color:var(--link)}small,.soft{color:var(--soft)}
        .wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}
        td,th{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}thead th{white-space:normal;vertical-align:bottom;min-width:7rem}
        th:first-child{text-align:left;white-space:normal;min-width:8rem;position:sticky;left:0;background:var(--back)}
        .plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr));gap:1rem;align-items:end}
        figure{margin:0}figcaption{font-weight:600;margin-bottom:.2rem}svg{width:100%;height:auto;display:block}
        .key{display:flex;flex-wrap:wrap;gap:0 1rem;font-size:.85rem;list-style:none;margin:.2rem 0;padding:0}
        .key i{display:inline-block;width:1rem;height:.25rem;vertical-align:middle;margin-right:.3rem}
        pre,textarea,input,button,select{font:inherit}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--panel);padding:.7rem;margin:.5rem 0}
        .chunk{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,4fr);gap:.5rem 1.2rem;border-top:1px solid var(--line);padding:.6rem 0}
        @media(max-width:56rem){.chunk{grid-template-columns:minmax(0,1fr)}}
        .text{white-space:pre-wrap;overflow-wrap:anywhere}.text.own{font-size:1rem}.read{font-size:.88rem}
        .read article{background:var(--panel);padding:.5rem .7rem;margin:0 0 .5rem}.read header{font-weight:600;overflow-wrap:anywhere}.read>p{margin:0}
        @media(hover:none){.own span[title]{cursor:pointer}.own span[title]:hover{outline:2px solid var(--ink)}
        .own span[title]:hover::after{content:attr(title);position:fixed;inset:auto 0 0 0;z-index:1;padding:.7rem 1rem;background:var(--ink);color:var(--back)}}
        mark{background:var(--mark);color:inherit}.found{text-decoration:underline;text-decoration-color:var(--under);text-decoration-thickness:2px}
        """;

    private readonly StringBuilder _body = new();

    /// <summary>Text as HTML; control characters, which a model that gives bytes can give, as pictures of them.</summary>
    public static string Escape(string text) => WebUtility.HtmlEncode(Printable.Of(text.ReplaceLineEndings("\n")));

    /// <summary>A number as pages show it.</summary>
    public static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    /// <summary>Adds HTML as it is.</summary>
    public Page Html(string html)
    {
        _body.Append(html).Append('\n');
        return this;
    }

    /// <summary>Adds a heading.</summary>
    public Page Heading(string text, int level = 2) => Html($"<h{level}>{Escape(text)}</h{level}>");

    /// <summary>Adds a paragraph.</summary>
    public Page Paragraph(string text, bool soft = false) => Html($"<p{(soft ? " class=\"soft\"" : "")}>{Escape(text)}</p>");

    /// <summary>Adds a table; it scrolls by itself where it is wider than the page.</summary>
    /// <param name="name">What it shows, for those who do not see it.</param>
    /// <param name="header">Its columns; the first is aligned to the left.</param>
    /// <param name="rows">Its rows.</param>
    public Page Table(string name, IEnumerable<string> header, IEnumerable<IEnumerable<string>> rows)
    {
        string head = string.Concat(header.Select(cell => $"<th scope=\"col\">{Escape(cell)}</th>"));
        Html($"<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{Escape(name)}\"><table><thead><tr>{head}</tr></thead><tbody>");
        foreach (IEnumerable<string> row in rows)
        {
            Html($"<tr>{string.Concat(row.Select((cell, i) => i == 0 ? $"<th scope=\"row\">{Escape(cell)}</th>" : $"<td>{Escape(cell)}</td>"))}</tr>");
        }

        return Html("</tbody></table></div>");
    }

    /// <summary>Adds plots, side by side where there is room.</summary>
    public Page Plots(IEnumerable<string> figures)
    {
        string[] all = [.. figures];
        return all.Length == 0 ? this : Html($"<div class=\"plots\">{string.Concat(all)}</div>");
    }

    /// <summary>Adds text that is shown when it is asked for.</summary>
    public Page Details(string summary, string text) => Html($"<details><summary>{Escape(summary)}</summary><pre>{Escape(text)}</pre></details>");

    /// <summary>The page.</summary>
    public override string ToString() => $"""
        <!DOCTYPE html>
        <html lang="en"><head><meta charset="utf-8"><meta name="generator" content="Retro">
        <meta name="viewport" content="width=device-width,initial-scale=1"><title>{Escape(title)}</title>
        <style>{Style}</style></head><body><main><h1>{Escape(title)}</h1>
        {_body}</main></body></html>

        """;
}
