#include "trainer/report_page.h"

namespace gorgon {

// Colours differ in lightness too, and every line carries its name: nothing is told by colour alone.
const char* const kReportStyle = R"css(
:root {
  --paper: #ffffff; --card: #f6f8fa; --ink: #1b1f24; --soft: #57606a; --rule: #d8dee4; --good: #116329; --bad: #a40e26;
  --c0: #0b5cc4; --c1: #b3470f; --c2: #17703a; --c3: #7a3fc9; --c4: #b02a7e; --c5: #0b6b7a; --c6: #7d5a00; --c7: #54606c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #0f1318; --card: #181e26; --ink: #e6edf3; --soft: #9aa7b4; --rule: #2d3640; --good: #56d37a; --bad: #ff8b8b;
    --c0: #6cb0ff; --c1: #f39a55; --c2: #5ed184; --c3: #c9a2ff; --c4: #ff93cd; --c5: #4fd0df; --c6: #e3c04d; --c7: #a9b4bf;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 1020px; padding: 28px 20px 48px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .7rem; padding-top: .6rem; border-top: 1px solid var(--rule); }
h3 { font-size: .95rem; margin: 0 0 .4rem; }
p { margin: .3rem 0; }
.soft, figcaption { color: var(--soft); font-size: .88rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(138px, 1fr)); gap: 12px; margin: 1.4rem 0 0; padding: 0; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 12px 14px; }
.card dt { color: var(--soft); font-size: .82rem; }
.card dd { margin: 0; font-size: 1.45rem; font-weight: 650; font-variant-numeric: tabular-nums; line-height: 1.3; }
.card dd small { display: block; font-size: .78rem; font-weight: 400; color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 18px; align-items: start; }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 14px; min-width: 0; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; max-width: 560px; margin: 0 auto; }
figcaption { margin-top: .4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; min-width: 100%; }
th, td { padding: 4px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-weight: 600; }
details { margin-top: .5rem; font-size: .9rem; }
.paper { display: none; }
summary { cursor: pointer; color: var(--c0); }
ul.verdict { margin: .6rem 0 0; padding-left: 1.2rem; } ul.verdict li:last-child { font-weight: 650; }
pre { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 14px; margin: 0; overflow-x: auto;
  font: .82rem/1.5 ui-monospace, "SFMono-Regular", "DejaVu Sans Mono", monospace; }
footer { margin-top: 2.4rem; color: var(--soft); font-size: .82rem; overflow-wrap: anywhere; }
svg text { font: 13.5px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--ink); }
svg text.axis { fill: var(--soft); font-size: 13px; }
svg text.strong, svg text.name { font-weight: 600; }
svg text.halo { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; font-size: 13px; }
.grid { stroke: var(--rule); stroke-width: 1; }
.axis-line, .whisker { stroke: var(--soft); stroke-width: 1.2; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.dashed { stroke-width: 1.5; stroke-dasharray: 1 5; }
.edge { fill: none; stroke: var(--soft); opacity: .55; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.curve { stroke: var(--c); } .bar { fill: var(--c); } svg text.name { fill: var(--c); }
.mark { fill: var(--card); stroke: var(--c); stroke-width: 2; } .node { fill: var(--c); stroke: var(--card); stroke-width: 1.5; }
@media (max-width: 480px) {
  body { padding: 20px 14px 36px; } figure { padding: 10px; }
  th, td { padding: 4px 3px; font-size: .78rem; }
}
@media print {
  :root {
    --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --rule: #bbb; --good: #116329; --bad: #a40e26;
    --c0: #0b5cc4; --c1: #b3470f; --c2: #17703a; --c3: #7a3fc9; --c4: #b02a7e; --c5: #0b6b7a; --c6: #7d5a00; --c7: #54606c;
  }
  body { max-width: none; padding: 0; font-size: 11pt; }
  .charts { grid-template-columns: 1fr 1fr; grid-auto-flow: dense; gap: 10px; }
  figure { grid-column: 1 / -1; display: grid; grid-template-columns: 78mm 1fr; column-gap: 12px; align-items: start; }
  figure.bare { grid-column: auto; display: block; }
  figure > * { grid-column: 1; } figure > .paper { grid-column: 2; grid-row: 1 / span 4; }
  .card, figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .paper { display: block; } details.screen { display: none; } .scroll { overflow: visible; }
  .paper th, .paper td { padding: 1px 2px; font-size: 6.5pt; } .paper th { white-space: normal; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 8pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
@page { margin: 14mm; }
)css";

}  // namespace gorgon
