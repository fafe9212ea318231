"""Apache's command-line tools in a Java machine that is there already: the starts of so many cost more than all they do."""

import struct
import subprocess
import threading
from collections import namedtuple

THREADS = 20  # what tools leave behind that count on the end of the machine; then it ends
Done = namedtuple("Done", "returncode stdout stderr")


class Toolbox:
    """One machine; who asks waits until it is free."""

    def __init__(self, command):
        self.command, self.lock, self.process = [str(c) for c in command], threading.Lock(), None

    def run(self, tool, *args, stdin=None, timeout):
        with self.lock:
            if self.process is None:
                self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            timer = threading.Timer(timeout, self.process.kill)
            timer.start()
            try:
                done, threads = self.ask([tool, *map(str, args)], stdin or "")
            except (EOFError, BrokenPipeError):
                self.stop()
                raise AssertionError(f"{tool} {args} has not ended within {timeout} s") from None
            finally:
                timer.cancel()
            if threads > THREADS:
                self.end()
            return done

    def ask(self, words, stdin):
        texts = [text.encode() for text in (*words, stdin)]
        self.process.stdin.write(struct.pack(">i", len(words)) + b"".join(struct.pack(">i", len(t)) + t for t in texts))
        self.process.stdin.flush()
        code, out, err, threads = self.number(), self.text(), self.text(), self.number()
        return Done(code, out, err), threads

    def read(self, count):
        data = self.process.stdout.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def number(self):
        return struct.unpack(">i", self.read(4))[0]

    def text(self):
        return self.read(self.number()).decode()

    def end(self):
        """It ends when it is asked nothing more."""
        self.process.communicate()
        self.process = None

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
