# SPDX-License-Identifier: Apache-2.0
"""Opens WATCHERS watches, changes one object ROUNDS times, and prints the median and the 99th percentile of the
milliseconds from sending the change until the last watcher has it. watch.py SERVER WATCHERS ROUNDS"""
import asyncio, json, os, ssl, sys, time

server, watchers, rounds = sys.argv[1].removeprefix("https://"), int(sys.argv[2]), int(sys.argv[3])
host, port = server.split(":")
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
head = f"Host: {server}\r\nAuthorization: Bearer {os.environ['TOKEN']}\r\nAccept: application/json\r\n"
path = "/api/v1/namespaces/default/endpoints"


async def connect():
    return await asyncio.open_connection(host, int(port), ssl=context, limit=1 << 22)


async def call(reader, writer, method, where, body, kind="application/json"):
    data = json.dumps(body).encode()
    writer.write(f"{method} {where} HTTP/1.1\r\n{head}Content-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
                 .encode() + data)
    header = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in header.split(b"\r\n") if line.lower().startswith(b"content-length"))
    answer = await reader.readexactly(length)
    assert header.split()[1].startswith(b"2"), answer
    return json.loads(answer)


async def main():
    reader, writer = await connect()
    made = await call(reader, writer, "POST", path, {
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": f"watched-{watchers}"}})
    version = made["metadata"]["resourceVersion"]
    # How many watchers have seen a round, and when the last of them did.
    seen, finished = [0] * rounds, [asyncio.Event() for _ in range(rounds)]
    ends = [0.0] * rounds
    ready = asyncio.Semaphore(0)

    async def watch():
        reader, writer = await connect()
        writer.write(f"GET {path}?watch=1&resourceVersion={version}&fieldSelector=metadata.name=watched-{watchers} "
                     f"HTTP/1.1\r\n{head}\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        ready.release()
        step = 0
        while step < rounds:
            line = await reader.readline()
            if b'"MODIFIED"' not in line:
                continue
            seen[step] += 1
            if seen[step] == watchers:
                ends[step] = time.perf_counter()
                finished[step].set()
            step += 1
        writer.close()

    tasks = []
    for _ in range(watchers):
        tasks.append(asyncio.create_task(watch()))
        if len(tasks) % 50 == 0:
            await ready.acquire()
            ready.release()
            await asyncio.sleep(0)
    for _ in range(watchers):
        await ready.acquire()
    times = []
    for step in range(rounds):
        start = time.perf_counter()
        await call(reader, writer, "PATCH", f"{path}/watched-{watchers}",
                   {"metadata": {"labels": {"step": str(step)}}}, "application/merge-patch+json")
        await finished[step].wait()
        times.append(1000 * (ends[step] - start))
    for task in tasks:
        task.cancel()
    times.sort()
    print(f"{times[len(times) // 2]:.2f} {times[min(len(times) - 1, int(len(times) * 0.99))]:.2f}")


asyncio.run(main())
