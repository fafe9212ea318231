"""A broker that is none: answers as a test wants it, for what real ones do in moments that no test can wait for."""

import socket
import struct
import threading

from harness import read_frame
from messages import API_VERSIONS, APIS, SCHEMAS, read_request, response_codec


class Pretender:
    """Broker 7, and the controller. `answers` has by each API's name its version and what makes an answer of a request; of None the
    connection ends. Those it has no answer to it does not speak."""

    def __init__(self, **answers):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port, self.asked = self.server.getsockname()[1], []
        self.clients = set()  # their ids
        self.bootstrap, self.topics, self.others = f"127.0.0.1:{self.port}", [], []
        self.answers = {"ApiVersions": (0, self.versions), "Metadata": (1, self.metadata), **answers}
        threading.Thread(target=self.run, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.close()

    def run(self):
        while True:
            try:
                sock = self.server.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=[sock], daemon=True).start()

    def serve(self, sock):
        with sock:
            while (data := read_frame(sock)) and self.answer(sock, data):
                pass

    def answer(self, sock, data):
        head, request = read_request(data)
        key, version = head["RequestApiKey"], head["RequestApiVersion"]
        self.asked.append(APIS[key].name)
        self.clients.add(head["ClientId"])
        tree = self.answers[APIS[key].name][1](request)
        if tree is not None:
            tags = b"\0" if version >= APIS[key].flexible and key != API_VERSIONS else b""
            said = struct.pack(">i", head["CorrelationId"]) + tags + response_codec(key, version).write(tree)
            sock.sendall(struct.pack(">i", len(said)) + said)
        return tree is not None

    def versions(self, _):
        return {"ApiKeys": [{"ApiKey": SCHEMAS[name].key, "MinVersion": v, "MaxVersion": v} for name, (v, _) in self.answers.items()]}

    def brokers(self):
        return [{"NodeId": 7, "Host": "127.0.0.1", "Port": self.port}, *self.others]

    def metadata(self, _):
        return {"Brokers": self.brokers(), "ControllerId": 7, "Topics": self.topics}
