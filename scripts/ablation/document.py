"""A report as headings, text, tables and figures, written once, rendered as Markdown and as HTML.

Text may hold `code` and **bold**; everything else is taken as it is and escaped.
"""
import base64
import html
import re
from dataclasses import dataclass, field
from pathlib import Path

STYLE = Path(__file__).with_name("report.css")
# What colours a verdict's words in HTML; Markdown shows the words alone.
BADGES = {"resolved": "yes", "supported": "yes", "contradicted": "no", "failed": "no",
          "not resolved": "open", "open": "open", "missing": "open", "done": "plain"}


@dataclass
class Table:
    head: list
    rows: list
    caption: str = ""
    text_columns: tuple = (0,)  # aligned left; all others hold numbers

    def markdown(self):
        bars = [":--" if i in self.text_columns else "--:" for i in range(len(self.head))]
        lines = [self.head, bars, *self.rows]
        text = "\n".join("| " + " | ".join(_cell_markdown(cell) for cell in row) + " |"
                         for row in lines)
        return text + (f"\n\n{escape_markdown(self.caption)}" if self.caption else "")

    def html(self):
        def row(cells, tag):
            made = []
            for i, cell in enumerate(cells):
                side = ' class="text"' if i in self.text_columns else ""
                scope = ' scope="col"' if tag == "th" else ""
                made.append(f"<{tag}{scope}{side}>{_cell_html(cell)}</{tag}>")
            return "<tr>" + "".join(made) + "</tr>"

        caption = f"<figcaption>{inline_html(self.caption)}</figcaption>" if self.caption else ""
        body = "\n".join(row(cells, "td") for cells in self.rows)
        return (f'<figure class="table"><div class="scroll" tabindex="0"><table><thead>'
                f'{row(self.head, "th")}</thead>\n<tbody>{body}</tbody></table></div>'
                f"{caption}</figure>")


@dataclass
class Figures:
    """Plots side by side where there is room: (file stem, caption) of plots/<stem>.png and .svg."""
    folder: Path
    items: list

    def markdown(self):
        return "\n\n".join(f"![{_alt(caption)}](plots/{stem}.png)\n\n{escape_markdown(caption)}"
                           for stem, caption in self.items)

    def html(self):
        made = []
        for stem, caption in self.items:
            data = base64.b64encode((self.folder / f"{stem}.svg").read_bytes()).decode()
            made.append(f'<figure><img src="data:image/svg+xml;base64,{data}" '
                        f'alt="{html.escape(_alt(caption), quote=True)}">'
                        f"<figcaption>{inline_html(caption)}</figcaption></figure>")
        return f'<div class="figures">{"".join(made)}</div>'


@dataclass
class Folded:
    """Shown on request in HTML, in full in Markdown."""
    summary: str
    text: str

    def markdown(self):
        return f"{escape_markdown(self.summary)}\n\n```\n{self.text}\n```"

    def html(self):
        return (f"<details><summary>{inline_html(self.summary)}</summary>"
                f"<pre>{html.escape(self.text)}</pre></details>")


@dataclass
class Document:
    title: str
    blocks: list = field(default_factory=list)  # (kind, value)

    def heading(self, text):
        self.blocks.append(("heading", text))

    def subheading(self, text):
        self.blocks.append(("subheading", text))

    def text(self, text):
        self.blocks.append(("text", text))

    def bullets(self, items):
        items = list(items)
        if items:
            self.blocks.append(("bullets", items))

    def add(self, block):
        self.blocks.append(("block", block))

    def markdown(self):
        made = [f"# {escape_markdown(self.title)}"]
        for kind, value in self.blocks:
            if kind == "heading":
                made.append(f"## {escape_markdown(value)}")
            elif kind == "subheading":
                made.append(f"### {escape_markdown(value)}")
            elif kind == "text":
                made.append(escape_markdown(value))
            elif kind == "bullets":
                made.append("\n".join(f"- {escape_markdown(item)}" for item in value))
            else:
                made.append(value.markdown())
        return "\n\n".join(made) + "\n"

    def html(self):
        links, made = [], []
        for kind, value in self.blocks:
            if kind == "heading":
                anchor = re.sub("[^a-z0-9]+", "-", value.lower()).strip("-")
                links.append(f'<a href="#{anchor}">{inline_html(value)}</a>')
                made.append(f'<h2 id="{anchor}">{inline_html(value)}</h2>')
            elif kind == "subheading":
                made.append(f"<h3>{inline_html(value)}</h3>")
            elif kind == "text":
                made.append(f"<p>{inline_html(value)}</p>")
            elif kind == "bullets":
                made.append("<ul>" + "".join(f"<li>{inline_html(item)}</li>" for item in value)
                            + "</ul>")
            else:
                made.append(value.html())
        body = "\n".join(made)
        return (f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
                f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
                f"<title>{html.escape(self.title)}</title>\n"
                f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n"
                f"<h1>{inline_html(self.title)}</h1>\n<nav>{''.join(links)}</nav>\n{body}\n"
                f"</main>\n</body>\n</html>\n")


def inline_html(text):
    text = html.escape(str(text), quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)


def escape_markdown(text):
    """Keeps `code` and **bold**; what would be HTML, or end a table's cell, is escaped outside."""
    parts = str(text).split("`")
    parts[::2] = [re.sub(r"([<>|_])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [part.replace("|", "\\|") for part in parts[1::2]]
    return "`".join(parts)


def _alt(caption):
    """The caption's first clause, without marks."""
    return re.sub(r"[`*\[\]<>]", "", re.split("[,;:.(]", caption)[0]).strip()


def _cell_markdown(cell):
    return " ".join(escape_markdown(cell).split()) or " "


def _cell_html(cell):
    badge = BADGES.get(cell)
    return f'<span class="badge {badge}">{cell}</span>' if badge else inline_html(cell)
