"""A report read back: a strict little tree of its HTML, and what is found in it."""

from __future__ import annotations

import html.parser
import re
from collections.abc import Iterator

VOID = {"meta", "br", "wbr", "link", "img", "input", "hr", "base"}


class Node:
    """An element with its attributes, children and text."""

    def __init__(self, tag: str, attributes: dict[str, str | None], parent: Node | None):
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.children: list[Node | str] = []

    def __iter__(self) -> Iterator[Node]:
        """All elements below."""
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child

    @property
    def text(self) -> str:
        """As a reader sees it, white space collapsed."""
        parts = [c if isinstance(c, str) else c.text for c in self.children]
        return re.sub(r"[ \t\n]+", " ", "".join(parts)).strip()

    def find_all(self, tag: str = "", **attributes: str) -> list[Node]:
        """Elements with a tag and exact attributes; `_` in their names is `-`."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        return [
            node
            for node in self
            if (not tag or node.tag == tag)
            and all(node.attributes.get(key) == value for key, value in wanted.items())
        ]

    def find(self, tag: str = "", **attributes: str) -> Node:
        """The first of them; there must be one."""
        found = self.find_all(tag, **attributes)
        assert found, f"no <{tag}> with {attributes}"
        return found[0]

    def numbers(self) -> list[float]:
        """The exact values of the figures below."""
        return [float(node.attributes["value"] or "nan") for node in self.find_all("data")]


class _Parser(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.here = Node("", {}, None)

    def handle_starttag(self, tag, attrs):
        node = Node(tag, dict(attrs), self.here)
        assert len(node.attributes) == len(attrs), f"<{tag}> repeats an attribute: {attrs}"
        self.here.children.append(node)
        if tag not in VOID:
            self.here = node

    def handle_startendtag(self, tag, attrs):
        self.here.children.append(Node(tag, dict(attrs), self.here))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}>"
        self.here = self.here.parent

    def handle_data(self, data):
        self.here.children.append(data)


def parse(text: str) -> Node:
    """The tree of a page; fails where an element is not closed in order."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    assert parser.here is parser.root, f"<{parser.here.tag}> is never closed"
    return parser.root
