"""The routes of the document "LoRA Training System", over HTTP on loopback, with a twin of RunPod behind them."""

import json
import stat
import threading

import psutil
import pytest

from tests.support import runpod_twin, serving
from tests.support.runpod_twin import KEY, Fault
from tests.support.serving import ask, call, process, remote_run
from trainer_core import places
from trainer_core.errors import RemoteError
from trainer_core.remote import credentials, serve
from trainer_core.remote.runpod import webhook
from trainer_core.remote.serve import keys, public
from trainer_core.remote.style_stores import LocalStore
from trainer_core.remote.styles import Styles

home, said, server, twin = serving.home, serving.said, serving.server, serving.twin
START, VERSIONS = "/api/training/start", "/api/styles/16/training-versions"
IMAGES = ["s3://bucket/styles/16/image_001.jpg", "s3://bucket/styles/16/image_002.jpg"]
DOCUMENT = {
    "id": "style_16_1234567890",
    "name": "v1.0",
    "timestamp": "2025-01-15T10:30:00Z",
    "parameters": {
        "network_dim": 16,
        "network_alpha": 16,
        "learning_rate": 0.0001,
        "max_train_steps": 1200,
        "class_tokens": "style_16",
    },
    "status": "completed",
    "loraUrl": "https://s3.amazonaws.com/...",
    "selectionSetId": 1,
    "imageCount": 30,
}
"""The version of the document, unchanged."""


# ---- "Backend API Routes" ----
def test_post_training_start_submits_a_job_to_runpod(twin, server, home):
    said = ask(server, "POST", START, {"styleId": "16", "versionName": "v1.0", "imageUrls": IMAGES})
    assert said.status == 200
    sent = twin.asked[-1].data
    assert said.data["status"] == "started"
    assert said.data["job_id"] == sent["input"]["training_config"]["request_id"]
    assert said.data["runpod_job_id"] in twin.jobs
    assert sent["input"]["training_data"] == {"s3_urls": IMAGES}
    assert said.data["webhook_url"] is None
    row = Styles(LocalStore(home)).rows("16")[0][0]
    assert (row["id"], row["name"], row["status"], row["imageCount"]) == (said.data["job_id"], "v1.0", "pending", 2)
    assert row["parameters"] == {
        "network_dim": 16,
        "network_alpha": 16,
        "learning_rate": 0.0004,
        "max_train_steps": 500,
        "class_tokens": "style_16",
    }


def test_parameters_that_were_chosen_are_sent_and_noted(twin, server, home):
    chosen = {"network_dim": 32, "network_alpha": 32, "learning_rate": 0.0002, "max_train_steps": 900}
    body = {"styleId": "16", "imageUrls": IMAGES, "parameters": {**chosen, "class_tokens": "sks"}}
    assert ask(server, "POST", START, body).status == 200
    nodes = twin.asked[-1].data["input"]["workflow"]
    assert nodes["107"]["inputs"]["network_dim"] == nodes["107"]["inputs"]["network_alpha"] == 32
    assert nodes["107"]["inputs"]["max_train_steps"] == 900
    assert Styles(LocalStore(home)).rows("16")[0][0]["parameters"] == {**chosen, "class_tokens": "sks"}


def test_a_selection_set_becomes_the_addresses_of_its_images_and_captions(twin, server, home, monkeypatch):
    monkeypatch.setenv("S3_USER_BUCKET", "your-s3-bucket-name")
    found = Styles(LocalStore(home)).add_set("16", "Set 1", ("image_001.jpg", "image_002.png"))
    start = "s3://your-s3-bucket-name/styles/16"
    body = {"styleId": "16", "selectionSetId": found.id}
    assert ask(server, "POST", START, body).status == 200
    urls = [f"{start}/image_00{name}" for name in ("1.jpg", "1.txt", "2.png", "2.txt")]
    assert twin.asked[-1].data["input"]["training_data"]["s3_urls"] == urls
    assert ask(server, "POST", START, {**body, "captions": False}).status == 200
    assert twin.asked[-1].data["input"]["training_data"]["s3_urls"] == urls[::2]
    missing = ask(server, "POST", START, {"styleId": "16", "selectionSetId": 7})
    assert (missing.status, missing.data["error"]) == (404, "The style 16 has no selection set 7.")


def test_the_whole_request_of_the_document_is_sent_as_it_is(twin, server):
    ask(server, "POST", START, {"actorId": "abc", "imageUrls": IMAGES})
    whole = twin.asked[-1].data["input"]
    hook = "https://abc123.ngrok.io/api/training-webhook"
    said = ask(server, "POST", START, {"input": whole, "webhook": hook})
    assert (said.status, said.data["webhook_url"], said.data["training_type"]) == (200, hook, "custom-actors")
    assert (twin.asked[-1].data["input"], twin.asked[-1].data["webhook"]) == (whole, hook)
    whole["training_config"].pop("tenant_id")
    refused = ask(server, "POST", START, {"input": whole})
    assert refused.status == 400
    assert refused.data["error"] == "Missing required training_config fields: tenant_id"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"imageUrls": IMAGES}, "Give `styleId`, or `actorId`, or `input`."),
        ({"styleId": "16", "actorId": "1", "imageUrls": IMAGES}, "Give `styleId`, or `actorId`"),
        ({"styleId": "16"}, "Give either `imageUrls` or `selectionSetId`."),
        ({"actorId": "a", "selectionSetId": 1}, "Only a style has selection sets"),
        ({"styleId": "16", "imageUrls": IMAGES, "colour": 1}, "colour"),
        ({"styleId": "16", "imageUrls": IMAGES, "parameters": {"optimizer_type": "x"}}, "optimizer_type"),
        ({"styleId": "16", "imageUrls": IMAGES, "parameters": {"max_train_steps": "9"}}, "max_train_steps"),
        ({"styleId": "16", "imageUrls": IMAGES, "parameters": {"network_dim": 8, "network_alpha": 4}}, "network_alpha"),
        ({"styleId": 16, "imageUrls": IMAGES}, "styleId"),
        ({"input": {}, "styleId": "16"}, "styleId"),
        ({"styleId": "../x", "imageUrls": IMAGES}, "The id of the style"),
        ({"styleId": "16", "imageUrls": ["s3://bucket/notes.pdf"]}, "is neither an image"),
        ([], "does not fit"),
        (b'{"styleId": "1", "styleId": "2"}', "a key is there twice"),
        (b'{"styleId": NaN}', "no number of JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b"[" * 100000, "not JSON"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_with_a_sentence_and_nothing_is_sent(twin, server, body, reason):
    found = ask(server, "POST", START, body)
    assert (found.status, found.data["status"]) == (400, "failed")
    assert reason in found.data["error"]
    assert twin.asked == []


def test_without_a_key_or_an_endpoint_the_errors_are_those_of_the_document(twin, server, monkeypatch):
    body = {"styleId": "16", "imageUrls": IMAGES}
    monkeypatch.delenv("MODEL_TRAINING_RUNPOD_ENDPOINT_ID")
    said = ask(server, "POST", START, body).data["error"]
    assert said == "MODEL_TRAINING_RUNPOD_ENDPOINT_ID environment variable is required"
    monkeypatch.delenv("RUNPOD_API_KEY")
    assert ask(server, "POST", START, body).data["error"] == "RunPod API key is required"


def test_a_request_that_runpod_refuses_is_a_failure_and_adds_no_version(twin, server, home):
    twin.faults.append(Fault(401))
    said = ask(server, "POST", START, {"styleId": "16", "imageUrls": IMAGES})
    assert (said.status, said.data["status"]) == (502, "failed")
    assert KEY not in said.body.decode()
    assert Styles(LocalStore(home)).rows("16")[0] == []


def test_a_training_that_has_begun_is_no_failure_when_its_version_cannot_be_added(twin, server, home):
    folder = home / "resources/style_images/16_a"
    folder.mkdir(parents=True)
    (folder / "training_versions.json").write_text("{")
    said = ask(server, "POST", START, {"styleId": "16", "imageUrls": IMAGES})
    assert (said.status, said.data["status"]) == (200, "started")
    assert "will not show what becomes of it" in said.data["warning"]
    assert (folder / "training_versions.json").read_text() == "{"


def test_training_versions_are_saved_and_fetched_as_the_document_has_them(server, home):
    assert ask(server, "GET", VERSIONS).data == {"versions": []}
    saved = ask(server, "POST", VERSIONS, DOCUMENT)
    assert (saved.status, saved.data) == (201, {"versions": [DOCUMENT]})
    assert ask(server, "GET", VERSIONS).data == {"versions": [DOCUMENT]}
    file = next(home.glob("resources/style_images/16_*/training_versions.json"))
    assert json.loads(file.read_text()) == {"versions": [DOCUMENT]}


def test_the_etag_of_versions_saves_a_transfer_and_a_lost_change(server):
    first = ask(server, "GET", VERSIONS).headers["etag"]
    assert ask(server, "GET", VERSIONS, headers={"If-None-Match": first}).status == 304
    ask(server, "POST", VERSIONS, DOCUMENT)
    assert ask(server, "GET", VERSIONS, headers={"If-None-Match": first}).status == 200
    changed = {**DOCUMENT, "status": "failed"}
    late = ask(server, "POST", VERSIONS, changed, headers={"If-Match": first})
    assert late.status == 412
    now = ask(server, "POST", VERSIONS, changed, headers={"If-Match": late.headers["etag"]})
    assert (now.status, now.data["versions"][0]["status"]) == (201, "failed")


def test_a_version_that_is_there_already_is_not_replaced_unseen(server):
    ask(server, "POST", VERSIONS, DOCUMENT)
    assert ask(server, "POST", VERSIONS, DOCUMENT).status == 201
    assert ask(server, "POST", VERSIONS, {**DOCUMENT, "name": "v2"}).status == 409
    assert ask(server, "GET", VERSIONS).data == {"versions": [DOCUMENT]}


def test_keys_of_other_programs_in_the_versions_are_kept_and_shown(server, home):
    ask(server, "POST", VERSIONS, DOCUMENT)
    file = next(home.glob("resources/style_images/16_*/training_versions.json"))
    file.write_text(json.dumps({"versions": [{**DOCUMENT, "colour": "red"}], "theme": 1}))
    ask(server, "POST", VERSIONS, {**DOCUMENT, "id": "b"})
    assert ask(server, "GET", VERSIONS).data["versions"][0]["colour"] == "red"
    assert json.loads(file.read_text())["theme"] == 1


def test_writers_at_the_same_time_lose_nothing(server):
    def add(number):
        assert ask(server, "POST", VERSIONS, {**DOCUMENT, "id": f"v{number}"}).status == 201

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {row["id"] for row in ask(server, "GET", VERSIONS).data["versions"]} == {f"v{n}" for n in range(8)}


@pytest.mark.parametrize("style", ["..", "a_b", "%2e%2e", "a%2Fb", "x" * 100, "%00"])
def test_an_id_that_could_lead_out_of_the_folder_is_refused(server, home, style):
    found = ask(server, "POST", f"/api/styles/{style}/training-versions", DOCUMENT)
    assert found.status in {400, 404}
    assert not (home / "resources").exists()


def test_ngrok_status_start_and_stop_answer_in_one_shape(server):
    assert ask(server, "GET", "/api/ngrok/status").data["state"] == "off"
    started = ask(server, "POST", "/api/ngrok/start")
    assert started.status == 502
    assert started.data["error"].startswith("Failed to start ngrok: no authtoken is set.")
    assert "NGROK_AUTHTOKEN" in started.data["advice"]
    failed = ask(server, "GET", "/api/ngrok/status").data
    assert (failed["running"], failed["url"], failed["state"]) == (False, None, "failed")
    assert ask(server, "POST", "/api/ngrok/stop").data["state"] == "off"


# ---- who may come in ----
@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer x", "Basic {}", "bearer {}x", "{}", "Bearer é"])
@pytest.mark.parametrize("path", ["/api/ngrok/status", "/openapi.json", "/", "/unknown", VERSIONS])
def test_without_the_token_nothing_is_answered(server, path, given):
    value = given.format(server.token.reveal()).encode().decode("latin-1")
    found = call(server.address, "GET", path, headers={"Authorization": value} if given else {})
    assert (found.status, found.data["error"]) == (401, "The token is missing or wrong.")
    assert server.token.reveal() not in found.body.decode()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{}", "127.0.0.1.evil.example:{}", "127.0.0.1:1", ""])
def test_a_page_whose_name_was_rebound_to_this_machine_is_refused(server, host):
    found = ask(server, "GET", "/api/ngrok/status", headers={"Host": host.format(server.port)})
    assert found.status == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_the_names_of_this_machine_are_accepted(server, name):
    assert ask(server, "GET", "/api/ngrok/status", headers={"Host": f"{name}:{server.port}"}).status == 200


def test_pages_of_others_get_no_permission_unless_the_user_gave_it(server, home):
    page = "http://localhost:3000"
    asks = {"Origin": page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    found = call(server.address, "OPTIONS", START, headers=asks)
    assert found.status == 401
    assert not [name for name in found.headers if name.startswith("access-control")]
    with serve.start(port=0, origins=[page]) as other:
        found = call(other.address, "OPTIONS", START, headers=asks)
        assert (found.status, found.headers["access-control-allow-origin"]) == (200, page)
        stranger = call(other.address, "OPTIONS", START, headers={**asks, "Origin": "http://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers
        assert call(other.address, "GET", "/api/ngrok/status", headers={"Origin": page}).status == 401


def test_a_body_that_is_too_large_or_not_declared_as_json_is_refused(server):
    assert ask(server, "POST", VERSIONS, b" " * ((1 << 20) + 1)).status == 413
    found = ask(server, "POST", VERSIONS, b"{}", headers={"Content-Type": "text/plain"})
    assert (found.status, found.data["error"]) == (415, "The body must be JSON.")


def test_unknown_paths_and_methods_have_the_same_shape_of_error(server):
    assert ask(server, "GET", "/unknown").data["error"] == "There is nothing at this path."
    found = ask(server, "DELETE", VERSIONS)
    assert (found.status, found.data["status"]) == (405, "failed")


def test_the_description_is_openapi_and_names_every_route(server):
    validator = pytest.importorskip("openapi_spec_validator")
    found = ask(server, "GET", "/openapi.json").data
    validator.validate(found)
    operations = {(method.upper(), path) for path, each in found["paths"].items() for method in each}
    assert operations == {
        ("POST", "/api/training/start"),
        ("POST", "/api/training-webhook"),
        ("POST", "/core/training-webhooks/runpod-serverless"),
        ("GET", "/api/styles/{id}/training-versions"),
        ("POST", "/api/styles/{id}/training-versions"),
        ("GET", "/api/ngrok/status"),
        ("POST", "/api/ngrok/start"),
        ("POST", "/api/ngrok/stop"),
    }
    assert "styleId" in found["components"]["schemas"]["Start"]["properties"]


# ---- keys and the process ----
def test_the_token_is_in_a_file_that_only_the_user_can_read(server):
    file = keys.folder() / keys.TOKEN_FILE
    assert file.read_text().strip() == server.token.reveal()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.folder().stat().st_mode) == 0o700
    assert server.token.reveal() not in f"{server.token} {server.token!r}"


def test_a_token_that_others_could_have_read_is_not_used(home):
    serve.start(port=0).close()
    (keys.folder() / keys.TOKEN_FILE).chmod(0o644)
    with pytest.raises(RemoteError, match="Others on this machine can read"):
        serve.start(port=0)


def test_a_short_token_from_the_environment_is_refused_and_not_shown(home, monkeypatch):
    monkeypatch.setenv(keys.TOKEN_NAME, "hunter2")
    with pytest.raises(RemoteError, match="too short") as found:
        serve.start(port=0)
    assert "hunter2" not in str(found.value)


def test_two_servers_that_make_the_secrets_at_once_agree(home):
    found = []
    threads = [threading.Thread(target=lambda: found.append(keys.webhook_secret().reveal())) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(found), len(set(found))) == (8, 1)


def test_a_second_server_at_the_same_port_says_so(server, home):
    with pytest.raises(RemoteError, match="Another `easel remote serve` listens at port"):
        serve.start(port=server.port)
    with runpod_twin.running() as other, pytest.raises(RemoteError, match="is used by another program"):
        serve.start(port=other.server_port)


def test_a_port_that_is_none_is_refused(home, monkeypatch):
    monkeypatch.setenv("PORT", "many")
    with pytest.raises(RemoteError, match="PORT from the environment variable PORT is no port"):
        serve.start()


def test_a_server_that_has_ended_leaves_nothing(home):
    before = threading.active_count()
    made = serve.start(port=0, receiver_port=0)
    made.close()
    made.close()
    assert threading.active_count() == before
    with pytest.raises(OSError, match="refused"):
        call(made.address, "GET", "/")


@pytest.mark.parametrize("number", [2, 15])
def test_the_command_serves_until_ctrl_c_and_says_the_token_nowhere(home, number):
    secret = "serve-token-" + "q7" * 16
    with process(home, "--port", "0", EASEL_SERVE_TOKEN=secret, PYTHONWARNINGS="default") as found:
        assert found.first["token_from"] == "the environment variable EASEL_SERVE_TOKEN"
        assert call(found.address, "GET", "/api/ngrok/status", token=secret).status == 200
        run = remote_run(places.runs(), "cat", "cat-0123abcd")
        path = webhook.path(keys.webhook_secret(), "cat-0123abcd")
        assert call(found.address, "POST", path, b"{}").status == 200
        arguments = " ".join(psutil.Process(found.program.pid).cmdline())
        code, out, err = found.end(number)
    assert (code, err) == (0, "")
    assert (run / "remote").is_dir()
    written = [file.read_text() for file in home.rglob("*") if file.is_file() and file.name != "webhook-secret"]
    assert not [text for text in [out, err, arguments, json.dumps(found.first), *written] if secret in text]


def test_the_address_of_a_webhook_is_known_while_a_receiver_has_a_public_address(home, monkeypatch):
    values = credentials.settings()
    monkeypatch.setenv("GATEWAY_BASE_URL", "https://api.example.com/")
    assert public.webhook_of("r1", values) == ""
    with serve.start(port=0) as server:
        address = public.webhook_of("r1", values)
        assert address == f"https://api.example.com{webhook.path(keys.webhook_secret(), 'r1')}"
        state = ask(server, "GET", "/api/ngrok/status").data
        assert (state["running"], state["url"], state["state"]) == (True, "https://api.example.com", "given")
    assert public.webhook_of("r1", values) == ""
