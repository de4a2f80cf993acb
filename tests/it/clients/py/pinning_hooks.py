"""What schemathesis cannot know from the schema: what is a CID, and what a peer's address."""

import hashlib

import schemathesis

PEER = "QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ"


def cid(text):
    """One of sixteen CIDs, so that requests meet: identity, thus here at once."""
    number = hashlib.sha256(text.encode("utf-8", "replace")).digest()[0] % 16
    return "f01550001" + f"{number:02x}"


def origin(text):
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:2], "big")
    return f"/ip4/127.0.0.1/tcp/{number}/p2p/{PEER}"


def unlike_a_cid(text):
    """Texts that are to stay as they are: a tenth, to see them refused."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[1] < 25


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    text = body.get("cid")
    if isinstance(text, str) and not unlike_a_cid(text):
        body["cid"] = cid(text)
    origins = body.get("origins")
    if isinstance(origins, list) and all(isinstance(text, str) for text in origins):
        body["origins"] = [origin(text) for text in origins]
    return body


@schemathesis.hook
def map_query(context, query):
    cids = query.get("cid") if query else None
    if isinstance(cids, list) and all(isinstance(text, str) for text in cids):
        query["cid"] = list(dict.fromkeys(cid(text) for text in cids))
    return query
