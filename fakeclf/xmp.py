"""Reads single properties of an XMP packet, as XML and not as text: a word in a caption is no property.

Only properties of the picture itself are taken; what a packet says of the pictures it was made from is left alone.
Document types are refused, and with them entities: they serve no purpose here but to make a small packet grow.

Reference: XMP: ISO 16684-1. Digital source type, AI system used: IPTC Photo Metadata Standard 2025.1.
"""

from __future__ import annotations

from xml.parsers import expat

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
_XMP = "http://ns.adobe.com/xap/1.0/ "
_HISTORY = "http://ns.adobe.com/xap/1.0/mm/ History"
_AGENT = "http://ns.adobe.com/xap/1.0/sType/ResourceEvent# softwareAgent"
_PROPERTIES = {
    f"{_XMP}CreatorTool": "tool",
    "http://ns.adobe.com/photoshop/1.0/ Credit": "credit",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ DigitalSourceType": "source",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/ AISystemUsed": "system",
    "http://purl.org/dc/terms/ provenance": "manifest",
    "http://ns.adobe.com/tiff/1.0/ Make": "make",
    "http://ns.adobe.com/tiff/1.0/ Model": "model",
    "http://ns.adobe.com/tiff/1.0/ Orientation": "orientation",
}
_LISTS = (f"{_RDF}Seq", f"{_RDF}Bag", f"{_RDF}Alt", f"{_RDF}li")
_VALUES = 100  # of one property; an edit history can be long
_ELEMENTS = 100_000  # a packet of more, or nested deeper than any that is meant to be read, is given up
_DEPTH = 100


class _Refused(Exception):
    """Stops the parser, with the reason."""


def read_xmp(packet: bytes) -> tuple[dict[str, list[str]], str]:
    """The properties of a packet, and what is wrong with it in words, or "".

    Returns:
        values by name: ``tool`` (xmp:CreatorTool), ``agent`` (software of the edit history), ``credit``
        (photoshop:Credit), ``source`` (Iptc4xmpExt:DigitalSourceType), ``system`` (Iptc4xmpExt:AISystemUsed),
        ``manifest`` (dcterms:provenance), ``make``, ``model``, ``orientation``; up to the place where the packet is
        damaged.
    """
    reader = _Reader()
    parser = expat.ParserCreate("utf-8", namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(packet.strip(b"\0\t\n\r "), True)
    except _Refused as reason:
        return {}, f"XMP: {reason}, not read"
    except expat.ExpatError:
        return reader.found, "XMP: damaged, read up to the damage"
    return reader.found, ""


def _refuse(*_: object) -> None:
    raise _Refused("has a document type")


class _Reader:
    """Keeps the path of the open elements, and the text since the last of them began."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}
        self.path: list[str] = []
        self.text: list[str] = []
        self.elements = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(name)
        self.elements += 1
        if self.elements > _ELEMENTS or len(self.path) > _DEPTH:
            raise _Refused("too many elements")
        self.text.clear()
        below = self._below()
        if len(below) == 1:  # rdf:Description: simple properties may stand as attributes
            for key, value in attributes.items():
                self._keep(_PROPERTIES.get(key), value)
        elif len(below) == 2:
            self._keep(_PROPERTIES.get(name), attributes.get(f"{_RDF}resource", ""))
        if below[1:2] == [_HISTORY]:
            self._keep("agent", attributes.get(_AGENT, ""))

    def characters(self, text: str) -> None:
        self.text.append(text)

    def end(self, name: str) -> None:
        below = self._below()
        if below[1:2] == [_HISTORY] and name == _AGENT:
            self._keep("agent", "".join(self.text))
        elif len(below) >= 2 and all(part in _LISTS for part in below[2:]):
            self._keep(_PROPERTIES.get(below[1]), "".join(self.text))
        self.text.clear()
        self.path.pop()

    def _below(self) -> list[str]:
        """The path below rdf:RDF, beginning with rdf:Description; empty elsewhere."""
        for depth in (0, 1):  # rdf:RDF may stand in x:xmpmeta
            if self.path[depth : depth + 2] == [f"{_RDF}RDF", f"{_RDF}Description"]:
                return self.path[depth + 1 :]
        return []

    def _keep(self, key: str | None, value: str) -> None:
        value = value.strip()
        if key and value and len(self.found.setdefault(key, [])) < _VALUES:
            self.found[key].append(value)
