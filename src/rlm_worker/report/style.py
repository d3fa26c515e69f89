"""How a report looks: light and dark, on paper, from 320 pixels up. No script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5c6670; --line: #d9dee3; --paper: #fff; --panel: #f6f8fa;
  --found: #fff0b3; --found-edge: #b7860b; --near: #ffe0d1; --near-edge: #c2410c; --link: #0b5cad;
  --evidence: #1f7a4d; --read: #8fb8a4; --nothing: #c5ced6; --unread: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #9aa5b0; --line: #343c45; --paper: #14181d;
  --panel: #1c2229; --found: #4a3d0c; --found-edge: #e3b341; --near: #4d2413; --near-edge: #fb923c; --link: #7ab7ff;
  --evidence: #3fb27f; --read: #3d6b57; --nothing: #48525d; --unread: #fb923c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.3; margin: .25rem 0 .75rem; overflow-wrap: anywhere; white-space: pre-wrap; }
h2 { font-size: .8rem; letter-spacing: .06em; text-transform: uppercase; color: var(--soft); margin: 0 0 .75rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; overflow-wrap: anywhere; }
p { margin: 0 0 .75rem; } a { color: var(--link); } small, .soft { color: var(--soft); }
.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.kicker { color: var(--soft); font-size: .85rem; margin: 0; }
.facts { display: flex; flex-wrap: wrap; gap: .4rem; margin: 0 0 1.5rem; padding: 0; list-style: none; }
.facts li { border: 1px solid var(--line); border-radius: 1rem; padding: .1rem .7rem; font-size: .85rem; }
.facts .good { border-color: var(--evidence); } .facts .poor { border-color: var(--unread); }
.notice { border-left: 4px solid var(--near-edge); background: var(--panel); padding: .6rem 1rem; margin: 0 0 .75rem;
  overflow-wrap: anywhere; }
header .soft { margin: 0 0 .75rem; } .pair { margin-top: 2rem; }
section { margin: 0 0 2.25rem; }
.answer { font-size: 1.06rem; }
mark { background: var(--found); color: inherit; border-bottom: 2px solid var(--found-edge); border-radius: 2px; }
mark.near { background: var(--near); border-bottom-style: dashed; border-bottom-color: var(--near-edge); }
mark { scroll-margin-top: 5rem; }
mark:target, .passage:target { outline: 2px solid var(--link); outline-offset: 2px; }
sup { line-height: 0; } sup a { text-decoration: none; padding: 0 .1rem; }
.passage { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem;
  margin: 0 0 .75rem; font: .92rem/1.6 ui-serif, Georgia, "Noto Serif", serif; }
.passage .where { font: .78rem/1.4 system-ui, sans-serif; color: var(--soft); margin: 0 0 .35rem; }
.map { display: block; width: 100%; height: 1.4rem; border: 1px solid var(--line); border-radius: 4px;
  margin: 0 0 .6rem; }
.evidence { fill: var(--evidence); } .read { fill: var(--read); } .nothing { fill: var(--nothing); }
.failed { fill: var(--unread); } .unread { fill: url(#hatch); } .hatch { stroke: var(--unread); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; list-style: none; margin: 0 0 .75rem; padding: 0;
  font-size: .85rem; } .legend svg { width: .9rem; height: .9rem; vertical-align: -.1rem; margin-right: .35rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } .number { text-align: right; font-variant-numeric: tabular-nums; }
td { overflow-wrap: anywhere; } code { font: .85rem/1.5 ui-monospace, monospace; }
tfoot td { font-weight: 600; border-bottom: 0; }
footer { border-top: 1px solid var(--line); padding-top: 1rem; color: var(--soft); font-size: .85rem; }
@media (min-width: 64rem) { .pair { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 6fr); gap: 2.5rem;
  align-items: start; } .pair > section:first-child { position: sticky; top: 1.5rem; max-height: calc(100vh - 3rem);
  overflow-y: auto; } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --paper: #fff; --panel: #fff; --line: #bbb;
  --found: #fff0b3; --found-edge: #b7860b; --near: #ffe0d1; --near-edge: #c2410c; --link: #000; --evidence: #1f7a4d;
  --read: #8fb8a4; --nothing: #c5ced6; --unread: #c2410c; }
  body { max-width: none; padding: 0; font-size: 11pt; } .pair { display: block; }
  .pair > section:first-child { position: static; max-height: none; overflow: visible; }
  .passage, .notice, tr { break-inside: avoid; } mark, .map, .legend svg { print-color-adjust: exact;
  -webkit-print-color-adjust: exact; } }
"""

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# What a report may do: show itself. Its one style sheet is named by its digest, so that no other is taken.
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"


def report_headers() -> dict[str, str]:
    """What a report's response says of itself: nothing runs in it, nobody frames it, nobody keeps it."""
    return {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": f"{POLICY}; frame-ancestors 'none'; sandbox",
        "referrer-policy": "no-referrer",
        "cache-control": "private, no-store",
    }
