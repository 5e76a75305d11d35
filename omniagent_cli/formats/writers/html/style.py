"""Style sheet of the page, embedded and allowed by its hash."""

from __future__ import annotations

import hashlib
from base64 import b64encode

SHEET = """
:root {
  color-scheme: light dark;
  --back: #ffffff; --text: #1f2328; --dim: #59636e; --panel: #f6f8fa; --line: #d1d9e0; --link: #0550ae;
  --user: #0a5d9c; --assistant: #1a6b34; --tool: #8a5300; --system: #6639ba; --warn: #a0111f;
  --k: #a0111f; --s: #0a3069; --c: #59636e; --n: #0550ae; --f: #6639ba; --b: #8a3700; --i: #116329; --d: #82071e;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --back: #0d1117; --text: #e6edf3; --dim: #9198a1; --panel: #161c24; --line: #3d444d; --link: #79b8ff;
    --user: #6cb6ff; --assistant: #6bd98a; --tool: #e3b341; --system: #d2a8ff; --warn: #ff9b94;
    --k: #ff7b72; --s: #a5d6ff; --c: #9198a1; --n: #79c0ff; --f: #d2a8ff; --b: #ffa657; --i: #7ee787; --d: #ffa198;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--back); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  display: flex; flex-direction: column;
}
a { color: var(--link); }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
main { min-width: 0; padding: 1rem; }
section + section { margin-top: 3rem; border-top: 2px solid var(--line); padding-top: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0; overflow-wrap: anywhere; }
h3, h4, h5, h6 { line-height: 1.3; margin: 1.2em 0 .5em; }
h3 { font-size: 1.25rem; } h4 { font-size: 1.1rem; } h5, h6 { font-size: 1rem; }
bdi, dd, h1, h2, h3, h4, h5, h6, p, li, td, th { overflow-wrap: anywhere; unicode-bidi: plaintext; }
.facts { display: flex; flex-wrap: wrap; gap: .15rem 1.5rem; margin: .5rem 0 1rem; color: var(--dim); font-size: .9rem; }
.facts div { display: flex; gap: .4rem; min-width: 0; }
.facts dt::after { content: ":"; }
.facts dd { margin: 0; color: var(--text); }
article {
  border-top: 1px solid var(--line); padding: .8rem 0 1rem;
  content-visibility: auto; contain-intrinsic-size: auto 10rem; scroll-margin-top: .5rem;
}
article:target { background: var(--panel); box-shadow: inset 3px 0 var(--link); padding-left: .8rem; }
article > header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 .8rem; color: var(--dim); font-size: .85rem; }
article h2 { font-size: .95rem; margin: 0; color: var(--role, var(--text)); }
.user { --role: var(--user); } .assistant { --role: var(--assistant); } .tool { --role: var(--tool); }
.system, .summary { --role: var(--system); }
.anchor { color: var(--dim); text-decoration: none; margin-inline-start: auto; }
.anchor:hover { text-decoration: underline; }
.status, .error { color: var(--warn); font-weight: 600; }
.plain { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; margin: .5rem 0; tab-size: 4; }
.summary > div { border-inline-start: 3px solid var(--line); padding-inline-start: .8rem; }
.math { overflow: auto hidden; padding: .3em 0; } math { font-size: 1.1em; } pre.math { white-space: pre-wrap; }
.footnote { font-size: .9rem; margin: .6em 0; } .footnote > p:first-of-type { display: inline; } ul > .task-list-item { list-style: none; }
sub, sup { line-height: 0; }
p { margin: .6em 0; } ul, ol { padding-inline-start: 1.6em; margin: .6em 0; }
blockquote { margin: .6em 0; padding-inline-start: .9em; border-inline-start: 3px solid var(--line); color: var(--dim); }
code, pre { font: .875em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; tab-size: 4; }
code { background: var(--panel); border-radius: 4px; padding: .1em .3em; overflow-wrap: anywhere; }
pre {
  direction: ltr; text-align: left; background: var(--panel); border: 1px solid var(--line); border-radius: 6px;
  padding: .7rem .8rem; margin: .7em 0; overflow: auto; max-width: 100%; max-height: 40rem;
}
pre code { background: none; padding: 0; font-size: 1em; overflow-wrap: normal; unicode-bidi: plaintext; }
.wide { overflow-x: auto; max-width: 100%; margin: .7em 0; }
table { border-collapse: collapse; }
.wide th, .wide td { border: 1px solid var(--line); padding: .3em .6em; text-align: start; overflow-wrap: normal; min-width: 3em; }
th { background: var(--panel); }
.wide .right { text-align: right; } .wide .center { text-align: center; } .wide .left { text-align: left; }
hr { border: 0; border-top: 1px solid var(--line); margin: 1.2em 0; }
.to { color: var(--dim); font-size: .85em; overflow-wrap: anywhere; }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--dim); font-size: .9rem; overflow-wrap: anywhere; }
summary b { color: var(--role, var(--text)); }
.thinking { color: var(--dim); border-inline-start: 3px solid var(--line); padding-inline-start: .8rem; }
figure { margin: .7em 0; } img { max-width: 100%; max-height: 40rem; height: auto; border: 1px solid var(--line); border-radius: 6px; }
figcaption, .attached { color: var(--dim); font-size: .85rem; overflow-wrap: anywhere; }
nav { order: -1; padding: .8rem 1rem; background: var(--panel); border-bottom: 1px solid var(--line); font-size: .9rem; max-height: 40vh; overflow: auto; }
nav h2 { font-size: .95rem; margin: 0 0 .3rem; }
nav ol { list-style: none; padding: 0; margin: 0; }
nav ol ol { padding-inline-start: .8rem; border-inline-start: 1px solid var(--line); margin-bottom: .6rem; }
nav li { content-visibility: auto; contain-intrinsic-size: auto 1.6rem; overflow: hidden; text-overflow: ellipsis; }
nav a { text-decoration: none; unicode-bidi: plaintext; }
nav ol ol a { color: var(--text); display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
nav a:hover { text-decoration: underline; }
.k { color: var(--k); } .s { color: var(--s); } .c { color: var(--c); } .n { color: var(--n); }
.f { color: var(--f); } .b { color: var(--b); } .i { color: var(--i); } .d { color: var(--d); }
@media screen and (min-width: 70rem) {
  body { display: grid; grid-template-columns: 19rem minmax(0, 1fr); align-items: start; }
  nav {
    order: 0; grid-row: 1; grid-column: 1; position: sticky; top: 0; height: 100vh; max-height: none;
    border-bottom: 0; border-inline-end: 1px solid var(--line);
  }
  main { grid-row: 1; grid-column: 2; max-width: 60rem; padding: 1rem 2.5rem; }
}
@media print {
  body { display: block; font-size: 10.5pt; }
  main { padding: 0; }
  nav { display: none; }
  .anchor { text-decoration: none; }
  article, nav li { content-visibility: visible; }
  article > header, summary { break-after: avoid; }
  section + section { break-before: page; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; max-height: none; overflow: visible; }
  .wide { overflow: visible; }
  tr, figure, img { break-inside: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""

_HASH = b64encode(hashlib.sha256(SHEET.encode()).digest()).decode()

POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; form-action 'none'"
"""Content security policy: the one style sheet and embedded images; no scripts, requests or forms.
https://www.w3.org/TR/CSP3/"""
