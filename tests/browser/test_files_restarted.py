"""A file that is being sent through JupyterLab goes on where it was after the kernel of its notebook was restarted."""

from dataclasses import replace

from playwright.sync_api import expect

from tests.support import lab, shipped
from tests.support.relay import relay
from tests.support.sending import LARGE_BYTES, digest, large_file, sent

KEPT = ".easel[data-easel-keys=kept]"


def test_an_upload_goes_on_after_its_kernel_was_restarted_in_the_middle(server, page, home, tmp_path):
    large = large_file(tmp_path)
    with relay(server.address) as network:
        shipped.write(server, "restarted.ipynb", {"EASEL_HOME": str(home)}, shipped="File_Uploader")
        book = lab.Notebook(page, replace(server, address=f"http://127.0.0.1:{network.port}"), "restarted.ipynb")
        book.open().run()
        page.wait_for_selector(KEPT)
        page.locator(".easel-arrive input[type=file]").first.set_input_files(large)
        assert sent(page, 0.4) >= 0.4
        book.restart_kernel()
        assert list((home / "models").glob("[!.]*")) == [], "it was not complete"
        book.run()
        page.wait_for_selector(KEPT)
        expect(page.locator(".easel-files-unfinished")).to_contain_text("base.dat")
        before = network.sent_bytes
        page.locator(".easel-arrive input[type=file]").first.set_input_files(large)
        expect(page.locator(".easel-arrive-is-ok")).to_contain_text("the same here and on your computer")
        assert network.sent_bytes - before < 0.75 * LARGE_BYTES, "what was there already was not sent again"
    assert digest(home / "models" / "base.dat") == digest(large)
    expect(page.locator(".easel-files-unfinished")).to_be_hidden()
    for session in server.call("sessions"):
        server.call(f"sessions/{session['id']}", "DELETE")
