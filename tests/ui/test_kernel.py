"""What Easel needs of its kernel: it answers each request, and a widget gets the messages of a page, whatever happened before."""

import random
import time

import pytest
from jupyter_client.manager import start_new_kernel

HEARING = """
import threading
from ipywidgets import Button
from trainer_ui.components.monitor import Monitor

heard = threading.Event()
monitor = Monitor(heard.set)

def feed():
    while not heard.wait(0.05):
        monitor.tell({"kind": "run"}, [])

threading.Thread(target=feed, daemon=True).start()
"""


@pytest.fixture
def kernel():
    manager, client = start_new_kernel(startup_timeout=200)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def ask(client, kind, content, channel="control", subshell=None):
    """Sends a request and returns the content of the answer."""
    message = client.session.msg(kind, content)
    message["header"]["subshell_id"] = subshell
    where = client.control_channel if channel == "control" else client.shell_channel
    where.send(message)
    if kind.startswith("comm"):
        return None
    while True:
        answer = where.get_msg(timeout=200)
        if answer["parent_header"].get("msg_id") == message["header"]["msg_id"]:
            return answer["content"]


def evaluate(client, code, expression):
    content = {"code": code, "silent": False, "user_expressions": {"it": expression}, "store_history": False}
    answer = ask(client, "execute_request", content, "shell")
    assert answer["status"] == "ok", answer
    return answer["user_expressions"]["it"]["data"]["text/plain"].strip("'")


def test_a_request_that_arrives_while_another_is_answered_is_answered_too(kernel):
    """ipykernel 7.0 to 7.3 lose one in some hundred of them, and then all others, until a new client connects.

    Source: https://github.com/ipython/ipykernel/issues/1554
    """
    pauses = random.Random(0)
    for _ in range(400):
        for _ in range(2):
            kernel.shell_channel.send(kernel.session.msg("kernel_info_request", {}))
            time.sleep(pauses.random() * 0.004)
        kernel.shell_channel.get_msg(timeout=60)
        kernel.shell_channel.get_msg(timeout=60)


def test_a_widget_hears_a_page_after_a_thread_sent_messages_while_another_page_closed(kernel):
    widget = evaluate(kernel, HEARING, "monitor.comm.comm_id")
    # A page asks for all widgets in a subshell of its own and gives it up at once, as JupyterLab does where there are subshells.
    features = ask(kernel, "kernel_info_request", {}, "shell").get("supported_features", ())
    made = "kernel subshells" in features
    passing = ask(kernel, "create_subshell_request", {})["subshell_id"] if made else None
    ask(kernel, "comm_close", {"comm_id": "gone", "data": {}}, "shell", passing)
    if made:
        time.sleep(0.5)
        assert ask(kernel, "delete_subshell_request", {"subshell_id": passing})["status"] == "ok"
        time.sleep(0.5)
    staying = ask(kernel, "create_subshell_request", {})["subshell_id"] if made else None
    hello = {"comm_id": widget, "data": {"method": "custom", "content": {"kind": "hello"}}}
    ask(kernel, "comm_msg", hello, "shell", staying)
    assert evaluate(kernel, "", "heard.wait(100)") == "True"
