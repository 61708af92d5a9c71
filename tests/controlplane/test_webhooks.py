"""The API server asks webhooks about tokens and about access, when it is told to."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from entra_sandbox.local import certs
from entra_sandbox.local.commands import Options, Webhook
from entra_sandbox.local.controlplane import ControlPlane, ControlPlaneError

Json = dict[str, Any]


def token_review(review: Json) -> Json:
    if review["spec"]["token"] != "open-sesame":
        return {"authenticated": False}
    return {"authenticated": True, "user": {"username": "ali@contoso.com", "groups": ["forty"]}}


def access_review(review: Json) -> Json:
    spec = review["spec"]
    asked = spec.get("resourceAttributes", {}).get("resource")
    return {"allowed": spec["user"] == "ali@contoso.com" and asked == "secrets", "reason": "as in the tale"}


class Service:
    """Answers reviews over HTTPS and remembers them."""

    def __init__(self, folder: Path) -> None:
        self.reviews: list[Json] = []
        service = self
        answers: dict[str, Callable[[Json], Json]] = {"/token": token_review, "/access": access_review}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.reviews.append(review)
                review["status"] = answers[self.path.partition("?")[0]](review)
                body = json.dumps(review).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
                pass

        own = certs.prepare(folder)
        self.ca_file = own.ca.cert
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own.server.cert, own.server.key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True  # the API server keeps its connections
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def webhook(self, name: str) -> Webhook:
        return Webhook(f"https://127.0.0.1:{self._server.server_port}/{name}", self.ca_file)

    def asked(self, kind: str) -> list[Json]:
        return [review["spec"] for review in self.reviews if review["kind"] == kind]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("service"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def asking(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    options = Options(
        authorization_modes=("RBAC", "Webhook"),
        token_webhook=service.webhook("token"),
        authorization_webhook=service.webhook("access"),
        audiences=("https://here",),
        apiserver_arguments=("--v=1",),
        controller_manager_arguments=("--v=1",),
    )
    with ControlPlane(tmp_path_factory.mktemp("asking"), options) as running:
        yield running


def test_a_token_is_what_the_webhook_says(asking: ControlPlane, service: Service) -> None:
    config = asking.token_kubeconfig("ali", "open-sesame")

    who = json.loads(asking.run_kubectl("auth", "whoami", "-o=json", config=config))["status"]["userInfo"]

    assert who["username"] == "ali@contoso.com"
    assert "forty" in who["groups"]
    assert {"token": "open-sesame", "audiences": ["https://here"]} in service.asked("TokenReview")


def test_a_token_that_the_webhook_does_not_know_is_refused(asking: ControlPlane) -> None:
    config = asking.token_kubeconfig("kassim", "open-barley")

    with pytest.raises(ControlPlaneError, match="Unauthorized"):
        asking.run_kubectl("auth", "whoami", config=config)


def test_the_webhook_decides_what_rbac_leaves_open(asking: ControlPlane, service: Service) -> None:
    config = asking.token_kubeconfig("ali", "open-sesame", "default")

    assert asking.run_kubectl("get", "secrets", config=config) == ""
    with pytest.raises(ControlPlaneError, match="as in the tale"):
        asking.run_kubectl("get", "configmaps", config=config)

    assert [spec for spec in service.asked("SubjectAccessReview") if spec["user"] == "ali@contoso.com"]


def test_without_a_cache_each_question_is_asked(asking: ControlPlane, service: Service) -> None:
    config = asking.token_kubeconfig("ali", "open-sesame", "default")

    def questions() -> int:
        asking.run_kubectl("get", "--raw=/api/v1/namespaces/default/secrets", config=config)
        return len(service.asked("SubjectAccessReview"))

    assert questions() < questions() < questions()
