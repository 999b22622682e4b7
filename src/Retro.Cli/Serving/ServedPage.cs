using Retro.Cli.Reports;

namespace Retro.Cli.Serving;

/// <summary>The page of a server: a text to ask or to go on with, the answer as it comes with what is read, and then what reading gained.</summary>
internal static class ServedPage
{
    /// <summary>The page.</summary>
    /// <param name="model">What the model is called.</param>
    public static string Html(string model) => $$$"""
        <!DOCTYPE html>
        <html lang="en"><head><meta charset="utf-8"><meta name="generator" content="Retro"><meta name="viewport" content="width=device-width,initial-scale=1">
        <title>Retro: {{{Page.Escape(model)}}}</title>
        <style>{{{Page.Style}}}
        form{display:grid;gap:.6rem}fieldset{border:0;padding:0;margin:0;display:flex;flex-wrap:wrap;gap:.4rem 1.2rem;align-items:center}
        legend{padding:0;float:left;margin-right:1rem}@media(max-width:32rem){legend{float:none;width:100%}}
        textarea,input[type=number],input[type=password]{background:var(--panel);color:inherit;border:1px solid var(--soft);border-radius:4px}
        textarea,input[type=number],input[type=password]{padding:.4rem .5rem}
        textarea{width:100%;min-height:6rem;resize:vertical}input[type=number]{width:6rem}
        button{background:var(--link);color:var(--back);border:0;border-radius:4px;padding:.45rem 1.1rem;font-weight:600;cursor:pointer}
        button.plain{background:none;color:var(--link);border:1px solid var(--link)}
        button:disabled{background:var(--line);color:var(--soft);border-color:var(--line);cursor:default}
        :focus-visible{outline:3px solid var(--link);outline-offset:2px}
        .sides{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:0 1.5rem}@media(max-width:56rem){.sides{grid-template-columns:minmax(0,1fr)}}
        #answer{min-height:4rem;white-space:pre-wrap;overflow-wrap:anywhere;background:var(--panel);padding:.7rem}
        #sources{list-style:none;padding:0;margin:0;max-height:32rem;overflow-y:auto}
        #sources li{background:var(--panel);padding:.5rem .7rem;margin-bottom:.5rem;font-size:.9rem;overflow-wrap:anywhere}
        #status{min-height:1.5em;margin:.3rem 0}
        </style></head><body><main><h1>{{{Page.Escape(model)}}}</h1>
        <form id="form">
        <fieldset><legend>What to do</legend>
        <label><input type="radio" name="mode" value="ask" checked> answer a question</label>
        <label><input type="radio" name="mode" value="generate"> go on with a text</label></fieldset>
        <label for="text">Question or beginning of a text</label>
        <textarea id="text" required></textarea>
        <fieldset><label>tokens at most <input type="number" id="tokens" min="1" value="64"></label>
        <label>temperature <input type="number" id="temperature" min="0" step="0.1" value="0"></label>
        <label>seed <input type="number" id="seed" value="1"></label>
        <label id="keybox" hidden>key of the server <input type="password" id="key" autocomplete="off"></label></fieldset>
        <div><button id="go">Write</button> <button id="stop" type="button" class="plain" disabled>Stop</button></div>
        </form>
        <p id="status" role="status"></p>
        <div class="sides"><section aria-labelledby="h-answer"><h2 id="h-answer">Text</h2><div id="answer" tabindex="0" aria-live="polite"></div></section>
        <section aria-labelledby="h-sources"><h2 id="h-sources">What it read</h2><ul id="sources" tabindex="0" role="list" aria-labelledby="h-sources"></ul></section></div>
        <section aria-labelledby="h-inspect"><h2 id="h-inspect">Token by token</h2>
        <div id="inspector"><p class="soft">Comes when the text is written.</p></div></section>
        </main><script src="/app.js"></script></body></html>

        """;

    /// <summary>The page's script.</summary>
    public const string Script = """
        'use strict';
        const $ = id => document.getElementById(id);
        let running = null;
        const ends = { MaximumNewTokens: 'as many as were asked for', EndOfText: 'the text is at its end', StopString: 'a text to stop before came',
          MaximumLength: 'longer the model does not read' };
        const say = text => { $('status').textContent = text; };
        const post = async (path, body, signal) => {
          const headers = { 'content-type': 'application/json' };
          if ($('key').value) headers.authorization = 'Bearer ' + $('key').value;
          const response = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body), signal });
          if (response.ok) return response;
          if (response.status === 401) $('keybox').hidden = false;
          let message = 'The server answered ' + response.status + '.';
          try { message = (await response.json()).error.message; } catch { }
          throw new Error(message);
        };
        const show = source => {
          const item = document.createElement('li'), name = document.createElement('strong'), place = document.createElement('div'),
            text = document.createElement('div');
          name.textContent = (source.title || source.document || 'given passage') +
            (source.passage === undefined ? ', chunk ' + (source.chunkInDocument + 1) : ', passage ' + (source.passage + 1));
          place.className = 'soft';
          place.textContent = source.read + (source.location ? '; ' + source.location : '') +
            (source.score === null ? '' : '; score ' + source.score.toFixed(2));
          text.textContent = source.text.trim();
          item.append(name, place, text);
          $('sources').append(item);
        };
        const events = async function* (response) {
          const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
          let held = '';
          for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            held += value;
            for (let end; (end = held.indexOf('\n\n')) >= 0; held = held.slice(end + 2)) yield JSON.parse(held.slice(6, end));
          }
        };
        $('stop').addEventListener('click', () => running && running.abort());
        $('form').addEventListener('submit', async event => {
          event.preventDefault();
          if (running) return;
          running = new AbortController();
          $('go').disabled = true;
          $('stop').disabled = false;
          $('answer').textContent = '';
          $('sources').replaceChildren();
          $('inspector').replaceChildren();
          say('Writing …');
          try {
            const seed = Number($('seed').value) || 0, ask = document.querySelector('input[name=mode]:checked').value === 'ask';
            const response = await post('/api/write', { text: $('text').value, ask, max_tokens: Number($('tokens').value),
              temperature: Number($('temperature').value), seed }, running.signal);
            let prompt;
            for await (const one of events(response)) {
              if (one.error) throw new Error(one.error.message);
              if (one.source) show(one.source);
              if (one.text) $('answer').append(one.text);
              if (one.end) { prompt = one.prompt; say(one.tokens + ' tokens: ' + ends[one.end] + '.'); }
            }
            if (prompt === null) {
              $('inspector').textContent = 'The model has answered from passages, as it was fitted to; they stand beside the answer.';
            } else if (prompt !== undefined) {
              try {
                const shown = await post('/api/inspect', { text: prompt + (ask ? ' ' : '') + $('answer').textContent }, running.signal);
                $('inspector').innerHTML = await shown.text();
              } catch (fault) {
                if (fault.name === 'AbortError') throw fault;
                $('inspector').textContent = fault.message; // the text is whole all the same
              }
            }
          } catch (fault) {
            say(fault.name === 'AbortError' ? 'Stopped.' : fault.message);
          } finally {
            running = null;
            $('go').disabled = false;
            $('stop').disabled = true;
          }
        });

        """;
}
