#!/usr/bin/python3
"""A steady load of GET requests, as clients make it: load.py URL --threads N --style new|keep-alive.

Runs until standard input is closed, then prints one JSON object: requests, failures (the first few in words), and how
many answers came from each version and pod. A client that is told "Connection: close" opens a new connection; it never
sends a request twice, so that every request that was lost counts.
"""
import argparse
import collections
import http.client
import json
import sys
import threading
import urllib.parse

TIMEOUT = 10
FAILURES_SHOWN = 20


class Client(threading.Thread):
    def __init__(self, url, keep_alive, stop):
        super().__init__(daemon=True)
        self.url, self.keep_alive, self.stop = urllib.parse.urlsplit(url), keep_alive, stop
        self.requests, self.failures = 0, []
        self.versions, self.pods = collections.Counter(), collections.Counter()

    def ask(self, connection):
        connection.request("GET", self.url.path or "/", headers={} if self.keep_alive else {"Connection": "close"})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise http.client.HTTPException(f"status {response.status}: {body[:100]!r}")
        answer = json.loads(body)
        self.versions[answer["version"]] += 1
        self.pods[answer["pod"]] += 1
        return response.getheader("Connection", "").lower() != "close"

    def run(self):
        connection = None
        while not self.stop.is_set():
            connection = connection or http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=TIMEOUT)
            self.requests += 1
            try:
                again = self.ask(connection) and self.keep_alive
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                again = False
            if not again:
                connection.close()
                connection = None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--style", choices=("new", "keep-alive"), default="new")
    arguments = parser.parse_args()
    stop = threading.Event()
    clients = [Client(arguments.url, arguments.style == "keep-alive", stop) for _ in range(arguments.threads)]
    for client in clients:
        client.start()
    sys.stdin.read()
    stop.set()
    for client in clients:
        client.join(TIMEOUT * 2)
    failures = [failure for client in clients for failure in client.failures]
    print(json.dumps({
        "requests": sum(client.requests for client in clients),
        "failed": len(failures),
        "failures": failures[:FAILURES_SHOWN],
        "versions": sum((client.versions for client in clients), collections.Counter()),
        "pods": sum((client.pods for client in clients), collections.Counter()),
    }))


if __name__ == "__main__":
    main()
