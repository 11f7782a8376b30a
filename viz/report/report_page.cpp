// The report's look and skeleton. Everything that comes from a trace reaches the page as data and is shown as
// text; nothing of it is ever markup.
#include "viz/report/report.h"

namespace pictor {

const char* const report_style = R"css(
:root{--paper:#ffffff;--ink:#1d2230;--soft:#5b6475;--line:#d9dde5;--panel:#f5f6f9;--accent:#c4501b;--accent-ink:#ffffff;--row:#33518f;--bar:#33518f;--glow:196,80,27}
@media (prefers-color-scheme:dark){:root{--paper:#14171d;--ink:#e9ecf2;--soft:#a6afbf;--line:#323947;--panel:#1c2129;--accent:#f0894f;--accent-ink:#17100b;--row:#8fb4ff;--bar:#8fb4ff;--glow:240,137,79}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 "DejaVu Sans","Segoe UI","Helvetica Neue",Arial,sans-serif}
main,header{max-width:1240px;margin:0 auto;padding:0 24px}
header{padding-top:28px}
h1{font-size:27px;line-height:1.2;margin:0 0 4px}
h2{font-size:20px;margin:40px 0 10px}
p{margin:6px 0}
.soft{color:var(--soft)}
.small{font-size:13.5px}
.columns{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:30px;align-items:start;margin-top:18px}
@media (max-width:860px){.columns{grid-template-columns:minmax(0,1fr)}main,header{padding:0 14px}.words meter{display:none}.words span{margin-right:8px}}
.controls{display:flex;flex-wrap:wrap;gap:10px 18px;align-items:center;margin:14px 0}
.controls label{display:flex;gap:8px;align-items:center;font-size:14px}
button,select,input[type=search]{font:inherit;font-size:14px;color:inherit;background:var(--panel);border:1px solid var(--line);border-radius:7px;padding:5px 11px}
button{cursor:pointer}
button:hover{border-color:var(--soft)}
button[aria-pressed=true]:not([data-token]){background:var(--row);color:var(--paper)}
:focus-visible{outline:3px solid var(--row);outline-offset:2px}
input[type=range]{width:130px;accent-color:var(--accent)}
.stage{position:relative;margin:0 0 14px}
.stage canvas{display:block;max-width:100%;height:auto;border-radius:6px;cursor:crosshair}
.stage figcaption,.pin figcaption{font-size:14px;margin-top:7px}
.veil{position:absolute;left:50%;top:45%;transform:translate(-50%,-50%);background:var(--paper);border:1px solid var(--line);border-radius:9px;padding:8px 18px;text-align:center;font-weight:bold}
.ledger{display:flex;height:13px;border-radius:3px;overflow:hidden;margin-top:8px;gap:1px}
.ledger i{display:block;height:100%}
.ledger-words{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:13px;margin:5px 0 0;padding:0;list-style:none}
.ledger-words b{font-variant-numeric:tabular-nums}
.ledger-words i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px}
.legend{display:flex;gap:9px;align-items:center;font-size:13px;color:var(--soft);margin-top:8px}
.legend canvas{flex:1;height:11px;border-radius:3px;min-width:60px}
.tokens{font:15px/1 "DejaVu Sans Mono",Menlo,Consolas,monospace;display:flex;flex-wrap:wrap;gap:5px 2px}
.tokens button{font:inherit;white-space:pre;padding:6px 4px;border:1.5px solid transparent;border-radius:5px;background:none;max-width:100%;overflow-wrap:anywhere;unicode-bidi:isolate}
.tokens button:hover{border-color:var(--line)}
.tokens .prompt{color:var(--soft)}
.tokens button.reads{border-color:var(--row)}
.tokens button.chosen{background:var(--accent)!important;color:var(--accent-ink);font-weight:bold}
.tokens button.blind{text-decoration:underline dotted}
.part{font-size:13px;color:var(--soft);margin:14px 0 5px}
.pins{display:grid;grid-template-columns:repeat(auto-fit,minmax(230px,1fr));gap:18px}
.pin{margin:0}
.pin canvas{max-width:100%;max-height:420px;display:block;border-radius:6px}
kbd{font:12px "DejaVu Sans Mono",monospace;border:1px solid var(--line);border-bottom-width:2px;border-radius:4px;padding:0 5px;background:var(--panel)}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:left;padding:5px 10px;border-bottom:1px solid var(--line);vertical-align:middle;white-space:nowrap}
th{background:var(--panel);font-size:12.5px;color:var(--soft)}
td.number{text-align:right;font-variant-numeric:tabular-nums}
td.name{font-family:"DejaVu Sans Mono",Menlo,monospace;font-size:12.5px}
tr.odd td{color:#d1123f;font-weight:bold}
@media (prefers-color-scheme:dark){tr.odd td{color:#ff8097}}
svg.bars{display:block}
svg.bars rect{fill:var(--bar)}
.words{display:flex;flex-wrap:wrap;gap:4px 12px}
.words span{white-space:pre;font-family:"DejaVu Sans Mono",Menlo,monospace;font-size:13px;unicode-bidi:isolate}
.words .taken{font-weight:bold}
.words meter{width:54px;height:9px;vertical-align:middle;margin:0 5px}
.graph-box{overflow:auto;border:1px solid var(--line);border-radius:8px;height:640px;background:var(--paper);margin-top:10px}
.graph-box>svg{display:block;margin:0 auto;max-width:none;height:auto}
.graph-box a:focus-visible{outline:3px solid var(--row)}
.spreads{display:flex;flex-wrap:wrap;gap:5px;margin:8px 0;align-items:end}
.spreads button{padding:3px 7px 5px;font-size:12px;line-height:1.4;min-width:58px;font-variant-numeric:tabular-nums}
.spreads i{display:block;height:4px;background:var(--line);border-radius:2px;margin-top:2px;overflow:hidden}
.spreads i i{margin:0;background:var(--accent)}
a{color:var(--row)}
@media (prefers-reduced-motion:no-preference){.tokens button{transition:background-color .12s}}
)css";

const char* const report_body = R"html(<header>
<h1 id="title">A run, opened up</h1>
<p class="soft" id="about"></p>
</header>
<main>
<section aria-labelledby="look">
<h2 id="look">Where it looked</h2>
<p class="soft small">Point at a word, or focus it: the picture shows where a cross-attention layer looked before the word was written. Point at a patch: the words that read it light up.
Keys: <kbd>&#8592;</kbd> <kbd>&#8594;</kbd> word, <kbd>&#8593;</kbd> <kbd>&#8595;</kbd> layer, <kbd>[</kbd> <kbd>]</kbd> head, <kbd>m</kbd> mean, <kbd>p</kbd> pin, <kbd>o</kbd> the picture itself; on a focused picture the arrows move from patch to patch, <kbd>Esc</kbd> leaves it.</p>
<div class="columns">
<div>
<div class="controls">
<label>layer <select id="layer"></select></label>
<label>head <input type="range" id="head" min="0" max="0" value="0"><output id="head-name"></output></label>
<button type="button" id="pin">Pin to compare</button>
<button type="button" id="plain" aria-pressed="false">Show the picture itself</button>
</div>
<div id="stages"></div>
<div class="legend"><span>0</span><canvas id="scale" width="256" height="1" role="img" aria-label="colour scale from nothing to the strongest patch"></canvas><span id="most"></span></div>
</div>
<div>
<div class="part">prompt</div><div class="tokens" id="prompt"></div>
<div class="part">answer</div><div class="tokens" id="answer"></div>
<p class="small" id="sentence" aria-live="polite"></p>
<div class="spreads" id="spreads" role="group" aria-label="how far each head's attention spreads, in bits; choose a head"></div>
<p class="small soft" id="pointed" aria-live="polite"></p>
<div class="pins" id="pins"></div>
</div>
</div>
</section>
<section aria-labelledby="steps-title">
<h2 id="steps-title">Step by step: the likeliest next words</h2>
<div class="scroll"><table><thead><tr><th scope="col">step</th><th scope="col">row</th><th scope="col">after</th><th scope="col">next word and its probability</th></tr></thead><tbody id="steps"></tbody></table></div>
</section>
<section aria-labelledby="graphs-title">
<h2 id="graphs-title">The layers as they ran</h2>
<div class="controls"><label>layer <select id="graph-layer"></select></label>
<button type="button" id="zoom-out" aria-label="zoom out">&#8722;</button><output id="zoom">fit</output><button type="button" id="zoom-in" aria-label="zoom in">+</button><button type="button" id="zoom-fit">fit</button></div>
<p class="soft small" id="graph-help">A box leads to the source that made its tensor. Boxes can be reached with <kbd>Tab</kbd>; <kbd>+</kbd> and <kbd>&#8722;</kbd> zoom.</p>
<div class="graph-box" id="graph" tabindex="0" role="region" aria-label="layer graph, scrollable" aria-describedby="graph-help"></div>
</section>
<section aria-labelledby="tensors-title">
<h2 id="tensors-title">Every tensor</h2>
<div class="controls"><label>search <input type="search" id="search" placeholder="cross_attn probs step:0"></label><span class="soft small" id="found" aria-live="polite"></span><button type="button" id="more">Show more</button></div>
<div class="scroll"><table><thead><tr><th scope="col">name</th><th scope="col">step</th><th scope="col">histogram</th><th scope="col">axes</th><th scope="col">shape</th><th scope="col">min</th><th scope="col">max</th><th scope="col">mean</th><th scope="col">std</th><th scope="col">source</th><th scope="col">chapter</th></tr></thead><tbody id="tensors"></tbody></table></div>
</section>
<section aria-labelledby="left-title" id="left">
<h2 id="left-title">What is not in this page</h2>
<ul id="left-out"></ul>
</section>
<p class="soft small">&#160;</p>
</main>
<noscript><p>This page draws from the data inside it and needs JavaScript; nothing is loaded from elsewhere.</p></noscript>
)html";

}  // namespace pictor
