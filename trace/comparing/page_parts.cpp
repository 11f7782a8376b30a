// The fixed parts of the page: its look, and what filters its tensors.
#include "trace/comparing/page.h"

namespace pictor {

const char* const page_style = R"css(
:root{--paper:#ffffff;--ink:#1d2230;--soft:#5b6475;--line:#d9dde5;--panel:#f5f6f9;--accent:#c4501b;
--row:#33518f;--good:#2f7d4f;--band:#eef0f5}
@media (prefers-color-scheme:dark){:root{--paper:#14171d;--ink:#e9ecf2;--soft:#a6afbf;--line:#323947;
--panel:#1c2129;--accent:#f0894f;--row:#8fb4ff;--good:#7fcf9f;--band:#1a1f28}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 "DejaVu Sans","Segoe UI","Helvetica Neue",Arial,sans-serif}
main,header{max-width:1240px;margin:0 auto;padding:0 24px}
header{padding-top:28px}
h1{font-size:27px;line-height:1.2;margin:0 0 4px}
h2{font-size:20px;margin:40px 0 10px}
h3{font-size:16px;margin:0 0 6px;overflow-wrap:anywhere}
p{margin:6px 0}
.soft{color:var(--soft)}
.small{font-size:13.5px}
code,.name{font-family:"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:.9em;overflow-wrap:anywhere}
.card{border:1px solid var(--line);border-left:5px solid var(--accent);border-radius:8px;
background:var(--panel);padding:14px 18px;margin:12px 0}
.card.same{border-left-color:var(--good)}
.cause{display:inline-block;background:var(--accent);color:var(--paper);border-radius:5px;padding:0 8px;
font-size:13.5px;font-weight:bold}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:3px 18px;margin:8px 0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
details{margin:8px 0 0}
summary{cursor:pointer;color:var(--row)}
.counts{display:flex;flex-wrap:wrap;gap:10px 26px;margin:10px 0;padding:0;list-style:none}
.counts b{font-size:20px;font-variant-numeric:tabular-nums;display:block;line-height:1.2}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:left;padding:5px 10px;border-bottom:1px solid var(--line);vertical-align:top}
th{background:var(--panel);font-size:12.5px;color:var(--soft);white-space:nowrap}
details.layer{border-bottom:1px solid var(--line);margin:0;padding:6px 0}
details.layer>summary{display:flex;flex-wrap:wrap;gap:2px 16px;align-items:baseline;color:var(--ink)}
details.layer>summary .name{min-width:min(330px,100%);color:var(--row)}
details.layer[open]>summary{margin-bottom:8px}
.command{display:block;margin-top:4px;color:var(--ink)}
td.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.name{min-width:300px}
td.why{min-width:330px}
td.place{min-width:210px}
tr.fault td:first-child{box-shadow:inset 4px 0 var(--accent)}
tr.best td{font-weight:bold}
.verdict-fault{color:var(--accent);font-weight:bold}
.verdict-explained{color:var(--good)}
.controls{display:flex;flex-wrap:wrap;gap:10px 18px;align-items:center;margin:12px 0}
.controls label{display:flex;gap:8px;align-items:center;font-size:14px}
input,select{font:inherit;font-size:14px;color:inherit;background:var(--panel);border:1px solid var(--line);
border-radius:7px;padding:5px 11px}
input[type=search]{width:min(420px,70vw)}
:focus-visible{outline:3px solid var(--row);outline-offset:2px}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font-size:12px}
svg .band{fill:var(--band)}
svg .grid{stroke:var(--line)}
svg .line{fill:none;stroke:var(--row);stroke-width:1.6}
svg .first{stroke:var(--accent);stroke-dasharray:4 3}
svg .fault{fill:var(--accent)}
@media (max-width:760px){main,header{padding:0 14px}}
)css";

const char* const page_script = R"js(
'use strict';
(() => {
const groups = [...document.querySelectorAll('details.layer')];
const [search, only, found] = ['search', 'only', 'found'].map(id => document.getElementById(id));
if (!search) return;
function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const asked = words.length > 0 || only.value !== 'all';
  let shown = 0, all = 0;
  for (const group of groups) {
    let here = 0;
    for (const row of group.querySelectorAll('tbody tr')) {
      const text = row.dataset.name.toLowerCase();
      const wanted = only.value === 'all' || row.dataset.verdict === only.value;
      row.hidden = !(wanted && words.every(word => text.includes(word)));
      here += !row.hidden;
      ++all;
    }
    group.hidden = here === 0;
    if (asked) group.open = here > 0 && here <= 12;
    shown += here;
  }
  found.textContent = shown + ' of ' + all + ' tensors';
}
search.addEventListener('input', filter);
only.addEventListener('change', filter);
filter();
})();
)js";

}  // namespace pictor
