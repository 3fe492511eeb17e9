"""The style sheet of the page of a report."""

#: Screens on which tables are shown row by row, and figures in their narrow form.
NARROW = "(max-width: 40rem)"

STYLE = f"""
:root {{ --text: #1c1c1c; --faint: #555; --line: #d9d9d9; --ground: #fff; --shade: #f4f5f7;
         --link: #0059a3; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --text: #e4e4e4; --faint: #a9a9a9; --line: #3f3f3f; --ground: #171717; --shade: #242424;
           --link: #7ab8f5; }}
  /* Figures are drawn on white: their lightness is turned round, their hues stay. */
  figure img {{ filter: invert(.91) hue-rotate(180deg); }}
}}
* {{ box-sizing: border-box; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; color: var(--text); background: var(--ground);
        max-width: 54rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: break-word; }}
h1 {{ font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; }}
h2 {{ font-size: 1.2rem; margin: 2.5rem 0 .6rem; border-bottom: 1px solid var(--line);
      padding-bottom: .2rem; }}
p {{ margin: .5rem 0; }}
a {{ color: var(--link); }}
.facts, caption, figcaption, summary {{ color: var(--faint); }}
b {{ color: var(--text); }}
.verdict {{ background: var(--shade); border-left: .4rem solid #808080; padding: .3rem 1rem; }}
.verdict p:first-child {{ font-weight: 600; }}
.good {{ border-color: #009e73; }} .doubtful {{ border-color: #e69f00; }}
.poor {{ border-color: #d55e00; }}
.table {{ overflow-x: auto; margin: 1.2rem 0; }}
table {{ border-collapse: collapse; width: 100%; font-size: .95rem; }}
caption {{ text-align: left; padding-bottom: .4rem; font-size: .95rem; }}
th, td {{ text-align: left; padding: .35rem .8rem .35rem 0; vertical-align: top;
          border-bottom: 1px solid var(--line); font-weight: normal; }}
thead th {{ font-weight: 600; border-bottom: 2px solid var(--text); vertical-align: bottom; }}
td.number {{ white-space: nowrap; font-variant-numeric: tabular-nums; }}
figure {{ margin: 1.6rem 0; }}
figure img {{ display: block; max-width: 100%; height: auto; margin: 0 auto; }}
figcaption {{ margin-top: .4rem; font-size: .95rem; }}
summary {{ cursor: pointer; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; background: var(--shade); padding: .7rem;
       font-size: .8rem; }}
@media {NARROW} {{
  body {{ padding-top: 1rem; }}
  h1 {{ font-size: 1.35rem; }}
  table, caption, tbody, tr, th, td {{ display: block; }}
  thead {{ display: none; }}
  tr {{ border-bottom: 1px solid var(--line); padding: .4rem 0; }}
  th, td {{ border: 0; padding: .05rem 0; }}
  tbody th {{ font-weight: 600; }}
  td:empty {{ display: none; }}
  td.number {{ white-space: normal; }}
  td[data-label]::before {{ content: attr(data-label) ": "; color: var(--faint); }}
}}
"""
