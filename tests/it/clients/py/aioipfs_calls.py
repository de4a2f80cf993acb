"""The PyPI package aioipfs against a running daemon: aioipfs_calls.py <multiaddr>."""

import asyncio
import os
import sys
import tempfile

import aioipfs

HELLO = "QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN"
# Stores list blocks by their hash, as CIDv1 of raw.
HELLO_RAW = "bafkreiffndsajwhk3lwjewwdxqntmjm4b5wxaaanokonsggenkbw6slwk4"


async def main(address):
    client = aioipfs.AsyncIPFS(maddr=address)
    failed = []

    async def step(name, call):
        try:
            await call()
            print(f"ok {name}", flush=True)
        except Exception as error:  # every call is told of, not only the first
            failed.append(name)
            print(f"not ok {name}: {type(error).__name__}: {error}", flush=True)

    async def version():
        assert (await client.core.version())["Repo"] == "18"

    async def who():
        assert (await client.core.id())["ID"].startswith("12D3KooW")

    async def add():
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "hello")
            with open(path, "w") as file:
                file.write("hello\n")
            names = [(e["Name"], e["Hash"]) async for e in client.add(path)]
            assert names == [("hello", HELLO)], names
            os.mkdir(os.path.join(folder, "d"))
            with open(os.path.join(folder, "d", "b"), "w") as file:
                file.write("b")
            names = [e["Name"] async for e in client.add(os.path.join(folder, "d"), recursive=True)]
            assert names == ["d/b", "d"], names

    async def add_bytes():
        assert (await client.core.add_bytes(b"hello\n"))["Hash"] == HELLO
        assert (await client.core.add_str("hello\n"))["Hash"] == HELLO

    async def cat():
        assert await client.cat(HELLO) == b"hello\n"

    async def get():
        with tempfile.TemporaryDirectory() as folder:
            await client.get(HELLO, dstdir=folder)
            with open(os.path.join(folder, HELLO), "rb") as file:
                assert file.read() == b"hello\n"

    async def ls():
        await client.ls(HELLO)

    async def block():
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"a block")
            file.flush()
            put = await client.block.put(file.name)
        key = put["Key"]
        assert await client.block.get(key) == b"a block"
        assert (await client.block.stat(key))["Size"] == 7
        assert (await client.block.rm(key))["Hash"] == key

    async def pin():
        assert HELLO in (await client.pin.ls())["Keys"]
        assert (await client.pin.rm(HELLO))["Pins"] == [HELLO]
        pinned = [reply async for reply in client.pin.add(HELLO)]
        assert pinned[-1]["Pins"] == [HELLO], pinned

    async def refs():
        assert any([ref["Ref"] == HELLO_RAW async for ref in client.refs.local()])

    async def repo():
        assert (await client.repo.stat())["Version"] == "fs-repo@18"
        assert [e async for e in client.repo.gc()] is not None

    async def config():
        assert (await client.config.show())["Identity"]["PeerID"]

    async def error():
        try:
            await client.cat("nonsense")
        except aioipfs.APIError as said:
            assert "invalid path" in said.message, said.message
            return
        raise AssertionError("no error")

    steps = [
        ("version", version), ("id", who), ("add", add),
        ("add_bytes", add_bytes), ("cat", cat), ("get", get), ("ls", ls), ("block", block),
        ("pin", pin), ("refs.local", refs), ("repo", repo), ("config", config), ("error", error),
    ]
    for name, call in steps:
        await step(name, call)
    await client.close()
    return 1 if failed else 0


sys.exit(asyncio.run(main(sys.argv[1])))
