"""Content credentials signed on the spot are read as they were written, whole or broken, and never from the network."""

from __future__ import annotations

import builtins
import datetime
import http.server
import io
import json
import random
import threading
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from PIL import Image

from fakeclf import content_credentials, provenance
from fakeclf.content_credentials import read_credentials
from fakeclf.file_metadata import read_blocks

REASON = "content credentials need pip install 'fakeclf[c2pa]'"
c2pa = pytest.importorskip("c2pa", reason=REASON)
x509 = pytest.importorskip("cryptography.x509", reason=REASON)

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@cache
def keys() -> tuple[bytes, bytes]:
    """A certificate chain and the signer's private key, PEM."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    root, signer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    now = datetime.datetime.now(datetime.UTC)

    def name(common: str):
        pairs = [(x509.NameOID.ORGANIZATION_NAME, "Test Press"), (x509.NameOID.COMMON_NAME, common)]
        return x509.Name([x509.NameAttribute(*pair) for pair in pairs])

    def certificate(common: str, key, usage: set[str], *extensions):
        parts = "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
        parts += " key_cert_sign crl_sign encipher_only decipher_only"
        builder = (
            x509.CertificateBuilder(name("Root"), name(common), key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), False)
            .add_extension(x509.KeyUsage(**{part: part in usage for part in parts.split()}), True)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, False)
        return builder.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    mail = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
    chain = certificate("Signer", signer, {"digital_signature"}, x509.BasicConstraints(False, None), mail)
    chain += certificate("Root", root, {"key_cert_sign", "crl_sign"}, x509.BasicConstraints(True, None))
    private = signer.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return chain, private


def picture(kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(out, kind)
    return out.getvalue()


def signed(data: bytes, *actions: dict, mime: str = "image/jpeg", name: str = "Dream Machine", **how) -> bytes:
    manifest = {
        "claim_generator_info": [{"name": name, "version": "1.0"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": list(actions)}}] if actions else [],
    }
    plain = c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})  # which would take a second
    builder = c2pa.Builder(json.dumps(manifest), context=plain)
    if how.get("edit"):
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
    if how.get("remote"):
        builder.set_remote_url(how["remote"])
        builder.set_no_embed()
    out = io.BytesIO()
    builder.sign(c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", *keys(), None)), mime, io.BytesIO(data), out)
    return out.getvalue()


def created(term: str, **more) -> dict:
    return {"action": "c2pa.created", "digitalSourceType": IPTC + term, **more}


@cache
def generated() -> bytes:
    agent = {"name": "Dreamer", "version": "3\x1b[31m"}
    return signed(picture(), created("trainedAlgorithmicMedia", softwareAgent=agent))


def test_what_was_signed_is_read():
    found = read_credentials(generated())
    assert (found.state, found.generator, found.signer) == ("valid", "Dream Machine 1.0", "Signer, Test Press")
    assert found.problems == ()
    (action,) = found.actions
    assert (action.name, action.source) == ("c2pa.created", "trainedAlgorithmicMedia")
    assert (action.agent, action.part) == ("Dreamer 3 [31m", False)
    assert found.sentences() == [
        "The file has content credentials (C2PA) written by Dream Machine 1.0 and signed by Signer, Test Press; "
        "the signature fits the file. Whether the signer can be trusted was not checked.",
        "They list these steps: created.",
    ]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_every_container(kind, tmp_path):
    path = tmp_path / "picture"
    path.write_bytes(signed(picture(kind), created("digitalCapture"), mime=f"image/{kind.lower()}"))
    assert read_blocks(path).credentials and not read_blocks(picture(kind)).credentials
    found = provenance.read(path)
    assert found.format == kind
    assert found.credentials and found.credentials.state == "valid"
    assert found.marks == ()


def test_marks_of_the_picture_and_of_parts():
    (mark,) = provenance.read(generated()).marks
    assert (mark.generator, mark.where, mark.part) == ("Dreamer 3 [31m", "content credentials", False)
    filled = signed(
        picture(),
        created("digitalCapture"),
        {"action": "c2pa.edited", "digitalSourceType": IPTC + "trainedAlgorithmicMedia", "softwareAgent": "Filler"},
    )
    (mark,) = read_credentials(filled).marks()
    assert (mark.generator, mark.part) == ("Filler", True)
    assert (
        mark.sentence()
        == "According to its content credentials, a part of the picture is made by a trained model (Filler)."
    )


def test_history_is_followed():
    edited = read_credentials(signed(generated(), name="Editor", edit=True))
    assert (edited.state, edited.generator) == ("valid", "Editor 1.0")
    assert [action.name for action in edited.actions] == ["c2pa.opened", "c2pa.created"]
    assert [mark.part for mark in edited.marks()] == [False]


def test_changed_picture():
    data = bytearray(generated())
    data[-20] ^= 1  # among the pixels
    found = read_credentials(bytes(data))
    assert (found.state, found.problems) == ("invalid", ("the file was changed after it was signed",))
    assert "but the file was changed after it was signed. What they say cannot be relied on." in found.sentences()[0]
    assert [mark.where for mark in found.marks()] == ["content credentials (not valid)"]


def test_broken_manifests_are_told_and_raise_nothing():
    data = generated()
    chance = random.Random(0)
    states = set()
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(3):
            broken[chance.randrange(20, 3500)] = chance.randrange(256)
        found = read_credentials(bytes(broken))
        states.add(found.state)
        assert found.sentences() and all(line.isprintable() for line in found.sentences())
        json.dumps(found.problems)
    assert {"invalid", "unreadable"} <= states <= {"invalid", "unreadable", "valid"}


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Its address, and the paths it was asked for."""
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    listening = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}/manifest.c2pa", asked
    listening.shutdown()
    thread.join()
    listening.server_close()


def test_nothing_is_fetched(server):
    address, asked = server
    data = signed(picture(), created("digitalCapture"), remote=address)
    with pytest.raises(c2pa.C2paError):
        c2pa.Reader(io.BytesIO(data))
    assert asked == ["/manifest.c2pa"]  # what the library does unless it is told not to

    asked.clear()
    assert read_credentials(data).state == "unreadable"
    found = provenance.read(data)
    assert asked == []
    assert found.credentials and (found.credentials.state, found.credentials.address) == ("elsewhere", address)
    assert f"kept at {address}; not fetched." in found.sentences()[0]


def test_without_the_library(monkeypatch):
    original = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "c2pa":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    data = generated()
    monkeypatch.setattr(builtins, "__import__", missing)
    assert provenance.read(data).sentences()[0] == (
        "The file has content credentials (C2PA); install the library that reads them: pip install 'fakeclf[c2pa]'."
    )


@pytest.mark.parametrize(
    "store",
    [
        {},
        {"active_manifest": 3, "manifests": []},
        {"active_manifest": "a", "manifests": {"a": {"assertions": [1, {"label": 2}], "claim_generator_info": [None]}}},
        {"active_manifest": "a", "manifests": {"a": {"ingredients": [{"active_manifest": "a"}, "x"]}}},
        {"validation_state": 1, "validation_status": [{"code": 7}, 8]},
        {
            "active_manifest": "a",
            "manifests": {
                "a": {"assertions": [{"label": "c2pa.actions", "data": {"actions": [{"softwareAgentIndex": 9}]}}]}
            },
        },
    ],
)
def test_stores_of_any_shape(store):
    found = content_credentials._told(store)
    assert found.state == "invalid" and found.sentences()


def test_agents_by_number():
    data = {"softwareAgents": [{"name": "A"}], "actions": [{"action": "c2pa.created", "softwareAgentIndex": 0}]}
    store = {"active_manifest": "a", "manifests": {"a": {"assertions": [{"label": "c2pa.actions.v2", "data": data}]}}}
    assert [action.agent for action in content_credentials._told(store).actions] == ["A"]
