"""Kubo as a child process: a library, driven by JSON lines.

usage: kubo_peer.py LIBRARY REPO TRANSPORTS     (TRANSPORTS: some of tcp,quic,ws)

The first line out is {"id": ..., "addrs": [...]}. Then each line in is an operation
{"op": name, ...} and has one line out, in turn: its result, or {"error": text}. The end of the
input ends the process. Listens on the loopback only, and refuses every address elsewhere.

The library takes over signals and cannot be unloaded, so it lives in a process of its own; it is
ended by `quit`, the end of input, or SIGKILL.
"""

import ctypes
import json
import os
import sys

LISTEN = {
    "tcp": "/ip4/127.0.0.1/tcp/0",
    "quic": "/ip4/127.0.0.1/udp/0/quic-v1",
    "ws": "/ip4/127.0.0.1/tcp/0/ws",
}
# All of IPv6, and all of IPv4 but 127.0.0.0/8.
ELSEWHERE = ["/ip6/::/ipcidr/0", "/ip4/128.0.0.0/ipcidr/1", "/ip4/0.0.0.0/ipcidr/2",
             "/ip4/64.0.0.0/ipcidr/3", "/ip4/96.0.0.0/ipcidr/4", "/ip4/112.0.0.0/ipcidr/5",
             "/ip4/120.0.0.0/ipcidr/6", "/ip4/124.0.0.0/ipcidr/7", "/ip4/126.0.0.0/ipcidr/8"]


def configure(repo, transports):
    """Writes a configuration that stays on this machine."""
    path = os.path.join(repo, "config")
    with open(path) as file:
        config = json.load(file)
    config["Bootstrap"] = []
    config["DNS"] = {"Resolvers": {}}
    config["Discovery"]["MDNS"]["Enabled"] = False
    config["AutoNAT"] = {"ServiceMode": "disabled"}
    config["Addresses"].update(Swarm=[LISTEN[name] for name in transports],
                               API="/ip4/127.0.0.1/tcp/0", Gateway="/ip4/127.0.0.1/tcp/0")
    config["Swarm"].update(AddrFilters=ELSEWHERE, DisableNatPortMap=True, EnableHolePunching=False,
                           RelayClient={"Enabled": False}, RelayService={"Enabled": False})
    with open(path, "w") as file:
        json.dump(config, file)


class Kubo:
    """A running node."""

    def __init__(self, library, repo, transports):
        self.library = ctypes.CDLL(library)
        self.repo = repo.encode()
        if self.call("CreateRepo", ctypes.c_int) < 0:
            sys.exit("no repository can be made")
        configure(repo, transports)
        if self.call("RunNode", ctypes.c_int) != 1:
            sys.exit("the node does not start")

    def call(self, name, result, *more):
        function = getattr(self.library, name)
        function.restype = result
        return function(ctypes.c_char_p(self.repo), *more)

    def text(self, name, *more):
        return (self.call(name, ctypes.c_char_p, *more) or b"").decode()

    def done(self, name, *more):
        """Calls what tells by a number whether it worked."""
        code = self.call(name, ctypes.c_int, *more)
        return {} if code >= 0 else {"error": f"{name} gave {code}"}

    def id(self):
        peer = self.text("GetNodeID")
        addresses = json.loads(self.text("GetNodeMultiAddrs"))
        return {"id": peer, "addrs": [f"{address}/p2p/{peer}" for address in addresses]}

    def add(self, path):
        return {"cid": self.text("AddFile", path.encode(), ctypes.c_bool(False))}

    def hash(self, path):
        return {"cid": self.text("AddFile", path.encode(), ctypes.c_bool(True))}

    def get(self, cid, dest):
        return self.done("Download", cid.encode(), dest.encode())

    def pin(self, cid):
        return self.done("PinCID", cid.encode())

    def connect(self, addr):
        return self.done("ConnectToPeer", addr.encode())

    def peers(self):
        return {"peers": json.loads(self.text("ListPeers") or "null") or []}


def main():
    library, repo, transports = sys.argv[1:]
    # The library writes its log where it is loaded, and to standard output.
    os.chdir(repo)
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    node = Kubo(library, repo, transports.split(","))
    out.write(json.dumps(node.id()) + "\n")
    for line in sys.stdin:
        asked = json.loads(line)
        op = asked.pop("op")
        if op == "quit":
            break
        try:
            answer = getattr(node, op)(**asked)
        except Exception as error:
            answer = {"error": repr(error)}
        out.write(json.dumps(answer) + "\n")
    node.call("CleanupNode", ctypes.c_int)
    os._exit(0)


main()
