"""Self-contained HTML pages: words, facts, tables that sort, charts with hover; nothing is fetched.

Charts are Vega-Lite (rendered by vl-convert's bundle of it, which the page carries): its SVG follows the width and the
scheme of the page, every mark has its values as text for readers of a screen, hover is escaped, and its interpreter of
expressions runs under a policy that forbids `eval`. The bundle is 0.9 MB. Weighed against it: plotly's Python package
has its 4.8 MB bundle alone; bokeh (1.3 MB, 0.3 more for tables) draws on a canvas, which neither selects, prints,
reads aloud nor follows dark mode; SVG of our own would be axes, ticks, scales and hover written again. HTML is made by
Jinja2, which escapes every text. Tables sort by twenty lines of script: no library is as small.
"""
