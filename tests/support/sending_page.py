"""The page of the File Uploader, played: what it says to the kernel, and what it hears."""

import hashlib

from tests.support.page import hear, wait_for
from trainer_core.keeping import bounds, receiving

PIECE = 1 << 20


def filled(home):
    """Puts a LoRA and a dataset into the folders of Easel."""
    (home / "models" / "loras").mkdir(parents=True)
    (home / "models" / "loras" / "elena.safetensors").write_bytes(b"weights")
    (home / "datasets" / "elena").mkdir(parents=True)
    for number in range(3):
        (home / "datasets" / "elena" / f"{number}.png").write_bytes(bytes(1000))


class Page:
    """The page's side of the component that sends files."""

    def __init__(self, app, number=1):
        self.drop, self.number, self.told = app.arriving.drop, number, []
        self.drop.send = lambda message, _=None: self.told.append(message)

    def say(self, kind, buffers=(), **more):
        self.drop._handle_custom_msg({"kind": kind, "number": self.number, **more}, list(buffers))

    def answer(self, kind, **fitting):
        def found():
            return next((one for one in self.told if one["kind"] == kind and fitting.items() <= one.items()), None)

        wait_for(lambda: found() is not None)
        one = found()
        self.told.remove(one)
        return one

    def announce(self, *files, at=1):
        self.say("announce", at=at, files=[list(file) for file in files])
        return self.answer("answers", at=at)["rows"]

    def send(self, name, content, start=0):
        for at in range(start, len(content), PIECE):
            self.say("pieces", [content[at : at + PIECE]], parts=[[name, at]])
        return self.told[-1]

    def finish(self, name, content, **more):
        self.say("finish", id=name, sha256=hashlib.sha256(content).hexdigest(), **more)
        return self.answer("arrived", id=name)


def idle(app):
    wait_for(lambda: not app.session.doing)
    with app.session.lock:
        app.session.show()


def table(app, kind, *names, **more):
    hear(app.files.table, {"kind": kind, "version": app.files.table._version, "names": list(names), **more})


def part(app, folder, name, content, have):
    """A part of a file in a folder of Models, from an earlier time."""
    bounds.spot("models", folder).path.mkdir(parents=True)
    receiver = receiving.Receiver(bounds.spot("models", folder))
    [one] = receiver.announce([{"path": name, "size": len(content)}])
    receiver.write(one.id, 0, content[:have])
    receiver.close()
    app.session.show()
