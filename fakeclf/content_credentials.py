"""Reads the content credentials (C2PA) of a picture file: who signed what about how it was made.

The library is c2pa-python (``pip install 'fakeclf[c2pa]'``). It is told to keep off the network: manifests that are
kept elsewhere are not fetched, nor is the state of a certificate asked for. With no list of trusted signers at hand,
what is checked is that the signature fits the file, not whose it is.

Reference: C2PA Technical Specification 2.2.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakeclf.exif import clean
from fakeclf.generator_marks import GENERATED, Mark, source_term

_OFFLINE = {
    "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
_ACTIONS = 50
_PROBLEMS = {
    "assertion.dataHash.mismatch": "the file was changed after it was signed",
    "assertion.boxesHash.mismatch": "the file was changed after it was signed",
    "assertion.hashedURI.mismatch": "an entry was changed after it was signed",
    "claimSignature.mismatch": "the signature does not fit",
    "claimSignature.missing": "the signature is missing",
    "claimSignature.outsideValidity": "the certificate was not valid at the time of signing",
    "signingCredential.expired": "the certificate has expired",
    "signingCredential.invalid": "the certificate is not one for signing pictures",
    "signingCredential.revoked": "the certificate was revoked",
    "signingCredential.ocsp.revoked": "the certificate was revoked",
}
_NO_LIST = "signingCredential.untrusted"  # what a signer is without a list to be on


@dataclass(frozen=True)
class Action:
    """A step in the making of a picture.

    Attributes:
        name: ``c2pa.created``, ``c2pa.opened``, ``c2pa.edited`` ...
        source: term of the IPTC digital source type, or "".
        agent: the program that did it, or "".
        part: whether it was done to something that is only a part of the picture.
    """

    name: str
    source: str
    agent: str
    part: bool


@dataclass(frozen=True)
class Credentials:
    """What the content credentials of a file say.

    Attributes:
        state: ``valid`` (the signature fits the file), ``trusted`` (and the signer is on a list), ``invalid``,
            ``unreadable``, ``not read`` (the library is not installed) or ``elsewhere`` (not in the file).
        generator: the program that wrote them.
        signer: whom the certificate names.
        signed: time of signing, where a time stamp says so.
        actions: of this file and of those it was made from, the latest file's first.
        problems: what is wrong with them, in words.
        address: where they are kept, if not in the file.
    """

    state: str
    generator: str = ""
    signer: str = ""
    signed: str = ""
    actions: tuple[Action, ...] = ()
    problems: tuple[str, ...] = ()
    address: str = ""

    def marks(self) -> list[Mark]:
        """The actions that made the picture, or a part of it, with a generator."""
        where = "content credentials" if self.state in ("valid", "trusted") else "content credentials (not valid)"
        marks = []
        for action in self.actions:
            if action.source in GENERATED:
                # Only the source of what was created is that of the picture; a later step adds to it.
                part = action.part or action.name != "c2pa.created" or GENERATED[action.source]
                marks.append(Mark(action.agent or self.generator, where, action.source, part))
        return list(dict.fromkeys(marks))

    def sentences(self) -> list[str]:
        """The credentials in plain words; what :meth:`marks` holds is left to the marks."""
        has = "The file has content credentials (C2PA)"
        if self.state == "elsewhere":
            return [f"The file says that its content credentials (C2PA) are kept at {self.address}; not fetched."]
        if self.state == "not read":
            return [f"{has}; install the library that reads them: pip install 'fakeclf[c2pa]'."]
        if self.state == "unreadable":
            return [f"{has} that cannot be read: {'; '.join(self.problems)}."]
        by = (f" written by {self.generator}" if self.generator else "") + (
            f" and signed by {self.signer}" if self.signer else ""
        )
        on = f" on {self.signed}" if self.signed else ""
        if self.state == "invalid":
            wrong = "; ".join(self.problems) or "they do not stand up to a check"
            told = [f"{has}{by}{on}, but {wrong}. What they say cannot be relied on."]
        elif self.state == "trusted":
            told = [f"{has}{by}{on}; the signature fits the file, and the signer is a trusted one."]
        else:
            told = [f"{has}{by}{on}; the signature fits the file. Whether the signer can be trusted was not checked."]
        steps = dict.fromkeys(action.name.removeprefix("c2pa.").replace("_", " ") for action in self.actions)
        return [*told, f"They list these steps: {', '.join(steps)}."] if steps else told


def read_credentials(source: str | Path | bytes) -> Credentials:
    """The content credentials in a file that has some. Never raises, never asks the network."""
    try:
        import c2pa
    except (ImportError, OSError, RuntimeError):  # RuntimeError: its native library is not there for this machine
        return Credentials("not read")
    try:
        with (
            io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as stream,
            c2pa.Context.from_dict(_OFFLINE) as context,
            c2pa.Reader(None, stream, context=context) as reader,
        ):
            store = json.loads(reader.json())
    except (c2pa.C2paError, OSError, ValueError, RecursionError) as error:
        return Credentials("unreadable", problems=(clean(str(error)) or type(error).__name__,))
    return _told(_mapping(store))


def _told(store: dict[str, Any]) -> Credentials:
    manifests = _mapping(store.get("manifests"))
    label = _text(store.get("active_manifest"))
    active = _mapping(manifests.get(label))
    signature = _mapping(active.get("signature_info"))
    who = [_text(signature.get(key)) for key in ("common_name", "issuer")]
    codes = [_text(_mapping(status).get("code")) for status in _sequence(store.get("validation_status"))]
    return Credentials(
        state=_text(store.get("validation_state")).casefold() or "invalid",
        generator=_generator(active),
        signer=", ".join(dict.fromkeys(filter(None, who))),
        signed=_text(signature.get("time")),
        actions=tuple(_actions(manifests, label)),
        problems=tuple(dict.fromkeys(_PROBLEMS.get(code, code) for code in codes if code != _NO_LIST)),
    )


def _generator(manifest: dict[str, Any]) -> str:
    for info in _sequence(manifest.get("claim_generator_info")):
        return _agent(info)
    return _text(manifest.get("claim_generator"))


def _actions(manifests: dict[str, Any], label: str) -> list[Action]:
    """The actions of a manifest, then those of what it was made from, each manifest once."""
    found: list[Action] = []
    waiting, seen = [(label, False)], set[str]()
    while waiting and len(found) < _ACTIONS:
        label, part = waiting.pop(0)
        if label in seen:
            continue
        seen.add(label)
        manifest = _mapping(manifests.get(label))
        for assertion in map(_mapping, _sequence(manifest.get("assertions"))):
            if _text(assertion.get("label")).startswith("c2pa.actions"):
                found += _listed(_mapping(assertion.get("data")), part)
        for ingredient in map(_mapping, _sequence(manifest.get("ingredients"))):
            beside = ingredient.get("relationship") != "parentOf"
            waiting.append((_text(ingredient.get("active_manifest")), part or beside))
    return found[:_ACTIONS]


def _listed(data: dict[str, Any], part: bool) -> list[Action]:
    agents = _sequence(data.get("softwareAgents"))
    listed = []
    for action in map(_mapping, _sequence(data.get("actions"))):
        agent, index = action.get("softwareAgent"), action.get("softwareAgentIndex")
        if agent is None and isinstance(index, int) and 0 <= index < len(agents):
            agent = agents[index]
        source = source_term(_text(action.get("digitalSourceType")))
        listed.append(Action(_text(action.get("action")), source, _agent(agent), part))
    return listed


def _agent(value: Any) -> str:
    """Name and version of a program, given as text or as an object."""
    if isinstance(value, dict):
        return clean(f"{_text(value.get('name'))} {_text(value.get('version'))}")
    return _text(value)


def _text(value: Any) -> str:
    return clean(value) if isinstance(value, str) else ""


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
